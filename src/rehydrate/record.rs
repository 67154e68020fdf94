//! How far a rehydration is: one small JSON file, replaced as a whole after each date.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::model::shell_word;

/// Bumped when an older program would misread it.
const FORMAT: u32 = 1;

/// What is asked for. A record is only ever continued by the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of the archive's table.
    pub table_id: String,
    /// The SQL condition; absent where every event is wanted.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Only what later versions added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// `ndjson`, `parquet`, or the name of a table.
    pub to: String,
    /// Columns that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omit: Vec<String>,
}

/// A date that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub date: Date,
    pub rows: u64,
    /// Of the date's file, below the folder; absent of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default)]
    pub bytes: u64,
    /// Of the file's bytes, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The file's content, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format_version: u32,
    #[serde(flatten)]
    pub wanted: Wanted,
    /// The version that all events are of. What is added later comes with `--since` this.
    pub version: u64,
    /// What the condition takes for the present time.
    pub now: Timestamp,
    /// All dates are done.
    pub complete: bool,
    /// Dates with events, ascending.
    pub dates: Vec<Finished>,
    #[serde(skip)]
    path: PathBuf,
}

impl Record {
    /// The record at `path`, if there is one.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let phrase = || format!("read {}", path.display());
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(phrase),
        };
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| Error::usage("it is no record of a rehydration").with_source(error))
            .with_context(phrase)?;
        if record.format_version > FORMAT {
            return Err(Error::usage("a newer tier wrote it").code("newer-format").hint("use that one"))
                .with_context(phrase);
        }
        Ok(Some(Record { path: path.to_owned(), ..record }))
    }

    /// A new record, written.
    pub fn begin(path: &Path, wanted: Wanted, version: u64, now: Timestamp) -> Result<Self> {
        let path = path.to_owned();
        let record = Record { format_version: FORMAT, wanted, version, now, complete: false, dates: Vec::new(), path };
        record.write()?;
        Ok(record)
    }

    /// Refuses to go on with something else.
    pub fn check(&self, wanted: &Wanted, as_of: Option<u64>) -> Result<()> {
        let then = &self.wanted;
        let text = |value: &Option<String>| {
            value.as_deref().map_or("no condition".to_owned(), |v| format!("--where {}", shell_word(v)))
        };
        let since = |value: Option<u64>| value.map_or("no --since".to_owned(), |since| format!("--since {since}"));
        let omit = |names: &[String]| {
            if names.is_empty() { "no --omit".to_owned() } else { format!("--omit {}", names.join(",")) }
        };
        let (was, is) = if then.table_id != wanted.table_id {
            ("another archive".to_owned(), "this one".to_owned())
        } else if then.to != wanted.to {
            (format!("--to {}", then.to), format!("--to {}", wanted.to))
        } else if then.condition != wanted.condition {
            (text(&then.condition), text(&wanted.condition))
        } else if then.since != wanted.since {
            (since(then.since), since(wanted.since))
        } else if then.omit != wanted.omit {
            (omit(&then.omit), omit(&wanted.omit))
        } else if let Some(version) = as_of.filter(|version| *version != self.version) {
            (format!("version {}", self.version), format!("version {version}"))
        } else {
            return Ok(());
        };
        Err(Error::usage(format!("{} was begun with {was}, not with {is}", self.path.display()))
            .code("other-rehydration")
            .hint("name another place, or add --restart to begin anew; that deletes what it has written"))
    }

    /// The newest date that is done.
    pub fn last(&self) -> Option<Date> {
        self.dates.last().map(|done| done.date)
    }

    pub fn rows(&self) -> u64 {
        self.dates.iter().map(|done| done.rows).sum()
    }

    /// Notes that a date is done.
    pub fn finish(&mut self, done: Finished) -> Result<()> {
        self.dates.push(done);
        self.write()
    }

    /// Notes that all are.
    pub fn complete(&mut self) -> Result<()> {
        self.complete = true;
        self.write()
    }

    /// Forgets it.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("delete {}", self.path.display()))
    }

    fn write(&self) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).expect("plain data");
        json.push(b'\n');
        write_whole(&self.path, |file| file.write_all(&json)).with_context(|| format!("write {}", self.path.display()))
    }
}

/// Writes a file so that at any moment it is the old one or the new one, also after a power cut.
fn write_whole(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(super::files::PARTIAL)
        .permissions(fs::Permissions::from_mode(super::files::FILE_MODE))
        .tempfile_in(folder)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    File::open(folder)?.sync_all()
}
