//! Where an archive or an export lies: what a user types, understood.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::error::{Error, Result};

/// A store and a place in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// An absolute folder on this machine.
    Local(PathBuf),
    /// `prefix` has no slash at either end.
    S3 { bucket: String, prefix: String },
    /// Lives as long as the process.
    Memory,
}

impl Location {
    /// Whether it answers slowly, and many requests at once.
    pub fn is_remote(&self) -> bool {
        matches!(self, Location::S3 { .. })
    }

    /// The address of a path below this location.
    pub fn join(&self, path: &str) -> String {
        match self {
            Location::Local(root) => root.join(path).display().to_string(),
            _ => format!("{}/{path}", self.to_string().trim_end_matches('/')),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// A plain path, `file://`, or `s3://bucket/prefix`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::usage(format!("`{text}` is not an address: {why}"));
        let hint = "write a folder, file:///folder or s3://bucket/prefix";
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(bad("it is empty").hint(hint));
            }
            let absolute = std::path::absolute(text).map_err(|error| bad("no such folder").with_source(error))?;
            return Ok(Location::Local(without_dots(&absolute)));
        };
        match scheme {
            "file" => {
                let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                path.map(Location::Local).ok_or_else(|| bad("a file address has three slashes").hint(hint))
            }
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.trim_matches('/');
                if bucket.is_empty() {
                    return Err(bad("it names no bucket").hint(hint));
                }
                object_store::path::Path::parse(prefix)
                    .map_err(|_| bad("its prefix has an empty or dotted part").hint(hint))?;
                Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            "memory" => Ok(Location::Memory),
            _ => Err(bad(&format!("`{scheme}` stores are not known")).hint(hint)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(root) => write!(f, "{}", root.display()),
            Location::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Location::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Location::Memory => f.write_str("memory://"),
        }
    }
}

/// Resolves `.` and `..` by name: the store's own paths may hold neither.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        let s3 = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!("s3://events/prod/".parse::<Location>().unwrap(), s3("events", "prod"));
        assert_eq!("s3://events".parse::<Location>().unwrap(), s3("events", ""));
        assert_eq!("file:///a/b".parse::<Location>().unwrap(), Location::Local("/a/b".into()));
        assert_eq!("/a/../b/./c".parse::<Location>().unwrap(), Location::Local("/b/c".into()));
        for wrong in ["", "s3://", "gs://x", "s3://b/a//c", "file://a"] {
            assert_eq!(wrong.parse::<Location>().unwrap_err().kind(), crate::error::Kind::Usage, "{wrong}");
        }
    }
}
