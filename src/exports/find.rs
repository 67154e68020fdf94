//! What `tier archive EXPORT…` names: files, folders, globs, `s3://` addresses, `-`.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use glob::{MatchOptions, Pattern};
use jiff::Timestamp;

use crate::error::{Context, Error, Result};
use crate::model::ExportStamp;
use crate::store::{ClassTime, Listed, Location, Store, TempFile};

/// How an export's records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Ndjson,
    /// One-byte delimiter.
    Csv(u8),
    Parquet,
}

/// How an export is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// One complete input.
#[derive(Debug, Clone)]
pub struct Export {
    pub stamp: ExportStamp,
    pub format: Format,
    pub compression: Compression,
    pub place: Place,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
}

/// Where an export's bytes are.
#[derive(Debug, Clone)]
pub enum Place {
    File(PathBuf),
    Object(Store, String),
    /// Standard input, kept in a temporary file because an export may be read twice.
    Spooled(TempFile),
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ndjson" | "jsonl" | "json" => Ok(Format::Ndjson),
            "csv" => Ok(Format::Csv(b',')),
            "tsv" => Ok(Format::Csv(b'\t')),
            "parquet" => Ok(Format::Parquet),
            _ => {
                Err(Error::usage(format!("`{text}` is not a format"))
                    .hint("the formats are ndjson, csv, tsv and parquet"))
            }
        }
    }
}

/// Format and packing by the file's name, or by `forced` and the name's last ending.
pub fn kind_of(name: &str, forced: Option<Format>) -> Result<(Format, Compression)> {
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (name, Compression::None),
    };
    let by_name = || stem.rsplit_once('.').and_then(|(_, ending)| ending.to_ascii_lowercase().parse().ok());
    let format: Format = forced.or_else(by_name).ok_or_else(|| {
        Error::usage(format!("what kind of export is {name}?")).code("unknown-format").hint(
            "name it .ndjson, .jsonl, .json, .csv, .tsv or .parquet (and .gz or .zst), or say --format ndjson|csv|tsv|parquet",
        )
    })?;
    if format == Format::Parquet && compression != Compression::None {
        return Err(
            Error::usage(format!("{name} is a packed Parquet file")).hint("Parquet compresses itself: unpack it first")
        );
    }
    Ok((format, compression))
}

/// All exports that `patterns` name, sorted by path, each once.
pub async fn find(patterns: &[String], forced: Option<Format>) -> Result<Vec<Export>> {
    let mut exports = Vec::new();
    for pattern in patterns {
        let before = exports.len();
        match pattern.as_str() {
            "-" => exports.push(spool_stdin(forced)?),
            _ if pattern.starts_with("s3://") => find_objects(pattern, forced, &mut exports).await?,
            _ => find_files(pattern.strip_prefix("file://").unwrap_or(pattern), forced, &mut exports)?,
        }
        if exports.len() == before {
            return Err(Error::failed(format!("nothing to archive at {pattern}"))
                .code("no-exports")
                .hint("names that begin with `_` or `.` are left out"));
        }
    }
    exports.sort_by(|a, b| a.stamp.path.cmp(&b.stamp.path));
    exports.dedup_by(|a, b| a.stamp.path == b.stamp.path);
    Ok(exports)
}

fn find_files(pattern: &str, forced: Option<Format>, exports: &mut Vec<Export>) -> Result<()> {
    let path = Path::new(pattern);
    if path.exists() {
        return add_path(path, forced, exports);
    }
    let is_glob = pattern.contains(['*', '?', '[']);
    if !is_glob {
        return Err(Error::failed(format!("there is no {pattern}")).code("no-exports").hint("check the path"));
    }
    let paths = glob::glob(pattern)
        .map_err(|error| Error::usage(format!("`{pattern}` is not a glob")).with_source(error))?
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("look for {pattern}"))?;
    paths.iter().filter(|path| !is_hidden(path)).try_for_each(|path| add_path(path, forced, exports))
}

fn add_path(path: &Path, forced: Option<Format>, exports: &mut Vec<Export>) -> Result<()> {
    let phrase = || format!("look at {}", path.display());
    if !path.is_dir() {
        exports.push(file_export(path, forced)?);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>())
        .with_context(phrase)?;
    entries.sort();
    entries.iter().filter(|entry| !is_hidden(entry)).try_for_each(|entry| add_path(entry, forced, exports))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| hidden_name(&name.to_string_lossy()))
}

fn hidden_name(name: &str) -> bool {
    name.starts_with('_') || name.starts_with('.')
}

fn file_export(path: &Path, forced: Option<Format>) -> Result<Export> {
    let phrase = || format!("look at {}", path.display());
    let (format, compression) = kind_of(&path.to_string_lossy(), forced)?;
    let metadata = fs::metadata(path).with_context(phrase)?;
    let absolute = fs::canonicalize(path).with_context(phrase)?;
    let modified = metadata.modified().with_context(phrase)?;
    Ok(Export {
        stamp: ExportStamp {
            path: absolute.to_string_lossy().into_owned(),
            size_bytes: metadata.len(),
            version: version_of(modified),
        },
        format,
        compression,
        place: Place::File(path.to_owned()),
        modified: Timestamp::try_from(modified).ok(),
    })
}

/// Of a local file: microseconds since the epoch.
fn version_of(modified: SystemTime) -> String {
    modified.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_micros()).to_string()
}

impl Export {
    /// Whether the file or object is still as it was found.
    pub async fn is_unchanged(&self) -> Result<bool> {
        let now = match &self.place {
            Place::Spooled(_) => return Ok(true),
            Place::File(path) => {
                let metadata = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
                (metadata.len(), version_of(metadata.modified().context("read a modification time")?))
            }
            Place::Object(store, path) => match store.stat(path).await? {
                Some(object) => (object.size_bytes, version_of_object(&object)),
                None => return Ok(false),
            },
        };
        Ok(now == (self.stamp.size_bytes, self.stamp.version.clone()))
    }
}

fn version_of_object(object: &Listed) -> String {
    object.etag.clone().unwrap_or_else(|| object.modified.as_microsecond().to_string())
}

async fn find_objects(pattern: &str, forced: Option<Format>, exports: &mut Vec<Export>) -> Result<()> {
    // A store is opened at the bucket, so that a pattern's path is the object's key.
    let rest = pattern.strip_prefix("s3://").unwrap_or_default();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let store = Store::open(&Location::from_str(&format!("s3://{bucket}"))?, ClassTime::default()).await?;
    let wildcard = key.find(['*', '?', '[']);
    let folder = match wildcard {
        Some(at) => key[..at].rsplit_once('/').map_or("", |(folder, _)| folder),
        None => key.trim_end_matches('/'),
    };
    let glob = match wildcard {
        Some(_) => Some(
            Pattern::new(key).map_err(|error| Error::usage(format!("`{pattern}` is not a glob")).with_source(error))?,
        ),
        None => None,
    };
    let mut listed = Vec::new();
    if wildcard.is_none() && !key.ends_with('/') {
        listed.extend(store.stat(key).await?);
    }
    if listed.is_empty() {
        listed = store.list(folder, None).await.with_context(|| format!("look for {pattern}"))?;
    }
    let below = |path: &str| path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/').to_owned();
    for object in listed {
        let wanted = match &glob {
            Some(glob) => is_named_by(glob, &object.path),
            None => !below(&object.path).split('/').any(hidden_name),
        };
        if !wanted || object.path.ends_with('/') {
            continue;
        }
        let address = store.address(&object.path);
        let (format, compression) = kind_of(&address, forced)?;
        exports.push(Export {
            stamp: ExportStamp { path: address, size_bytes: object.size_bytes, version: version_of_object(&object) },
            format,
            compression,
            place: Place::Object(store.clone(), object.path),
            modified: Some(object.modified),
        });
    }
    Ok(())
}

/// As with local files: `*` stays within a folder, a matching folder stands for everything in it, and hidden names are
/// left out.
fn is_named_by(glob: &Pattern, path: &str) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let mut ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.any(|end| {
        let (matched, below) = path.split_at(end);
        let name = matched.rsplit('/').next().unwrap_or(matched);
        glob.matches_with(matched, options) && !hidden_name(name) && !below.split('/').any(hidden_name)
    })
}

fn spool_stdin(forced: Option<Format>) -> Result<Export> {
    let format = forced.ok_or_else(|| {
        Error::usage("standard input has no name to tell its format by").hint("add --format ndjson|csv|tsv|parquet")
    })?;
    let mut file = tempfile::tempfile().context("make a temporary file for standard input")?;
    let size_bytes = std::io::copy(&mut std::io::stdin().lock(), &mut file).context("read standard input")?;
    Ok(Export {
        stamp: ExportStamp { path: "-".to_owned(), size_bytes, version: String::new() },
        format,
        compression: Compression::None,
        place: Place::Spooled(TempFile::new(file)?),
        modified: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_format_and_packing() {
        assert_eq!(kind_of("a/b.ndjson.gz", None).unwrap(), (Format::Ndjson, Compression::Gzip));
        assert_eq!(kind_of("b.JSONL", None).unwrap(), (Format::Ndjson, Compression::None));
        assert_eq!(kind_of("x.tsv.zst", None).unwrap(), (Format::Csv(b'\t'), Compression::Zstd));
        assert_eq!(kind_of("x.log.gz", Some(Format::Ndjson)).unwrap(), (Format::Ndjson, Compression::Gzip));
        let error = kind_of("x.log", None).unwrap_err();
        assert!(error.hint_text().unwrap().contains("--format"), "{error}");
        assert!(kind_of("x.parquet.gz", None).is_err());
    }

    #[test]
    fn a_glob_over_keys_means_what_it_means_over_files() {
        let named = |glob: &str, path: &str| is_named_by(&Pattern::new(glob).unwrap(), path);
        assert!(named("in/*.ndjson", "in/a.ndjson") && !named("in/*.ndjson", "in/deep/a.ndjson"));
        assert!(named("in/*", "in/deep/er/a.ndjson") && named("in/**/*.ndjson", "in/deep/er/a.ndjson"));
        assert!(!named("in/*", "in/_a.ndjson") && !named("in/*", "in/deep/.a.ndjson") && !named("*", "in/_x/a.ndjson"));
        assert!(
            named("in/2026-08-2[45].csv", "in/2026-08-24.csv") && !named("in/2026-08-2[45].csv", "in/2026-08-26.csv")
        );
    }
}
