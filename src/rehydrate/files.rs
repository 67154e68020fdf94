//! A file for each date, in a folder.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::json::writer::{LineDelimited, Writer, WriterBuilder};
use jiff::civil::Date;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::record::{Finished, Record};
use crate::error::{Context, Error, Kind, Result};
use crate::model::hex;

/// The record's name: what begins with `_` is no export.
const RECORD: &str = "_rehydrate.json";

/// Unfinished files begin with it; as all that begins with a dot they are no exports.
pub const PARTIAL: &str = ".tier-partial-";

/// Readable by all whom the umask lets.
pub const FILE_MODE: u32 = 0o666;

/// A row group is written out when it holds this much, so that memory stays bounded.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Times as in RFC 3339, with microseconds.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One object per line, nulls left out.
    Ndjson,
    Parquet,
}

impl FileFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            FileFormat::Ndjson => "ndjson",
            FileFormat::Parquet => "parquet",
        }
    }
}

impl FromStr for FileFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ndjson" => Ok(FileFormat::Ndjson),
            "parquet" => Ok(FileFormat::Parquet),
            _ => Err(Error::usage(format!("`{text}` is no place to put events"))
                .hint("write --to hot, --to ndjson FOLDER or --to parquet FOLDER")),
        }
    }
}

/// A folder that is being filled, by this process alone.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    format: FileFormat,
    /// Locked while it is open.
    _lock: Arc<File>,
}

impl Folder {
    /// Makes the folder, unless it is there, and locks it. Unfinished files of a killed run go.
    pub fn open(path: &Path, format: FileFormat) -> Result<Self> {
        let phrase = || format!("fill the folder {}", path.display());
        fs::create_dir_all(path).with_context(phrase)?;
        let lock = File::open(path).with_context(phrase)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is filling {}", path.display());
                return Err(Error::new(Kind::TryAgain, message).hint("run it again when that one is done"));
            }
            // Not every file system knows locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        for entry in fs::read_dir(path).with_context(phrase)? {
            let entry = entry.with_context(phrase)?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_file(entry.path()).with_context(phrase)?;
            }
        }
        Ok(Folder { path: path.to_owned(), format, _lock: Arc::new(lock) })
    }

    pub fn record(&self) -> PathBuf {
        self.path.join(RECORD)
    }

    /// A folder without a record must be empty: other files would pass for events of this archive.
    pub fn check_empty(&self) -> Result<()> {
        let phrase = || format!("look into {}", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(phrase)? {
            let name = entry.with_context(phrase)?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                return Err(Error::usage(format!("{} is not empty: it has {name}", self.path.display()))
                    .code("folder-not-empty")
                    .hint("name an empty folder, or one that does not exist"));
            }
        }
        Ok(())
    }

    /// The files that the record names must still be as they were written.
    pub fn check_files(&self, record: &Record) -> Result<()> {
        for done in &record.dates {
            let Some(name) = &done.file else { continue };
            let size = fs::metadata(self.path.join(name)).ok().map(|metadata| metadata.len());
            if size != Some(done.bytes) {
                return Err(Error::usage(format!("{} is not as it was written", self.path.join(name).display()))
                    .code("file-changed")
                    .hint("put it back, or add --restart to begin anew"));
            }
        }
        Ok(())
    }

    /// Deletes what the record names, and the record.
    pub fn clear(&self, record: Record) -> Result<()> {
        for name in record.dates.iter().filter_map(|done| done.file.as_ref()) {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("delete {name}"));
                }
                _ => {}
            }
        }
        record.remove()
    }

    pub fn begin(&self, date: Date, schema: &SchemaRef) -> Result<DateFile> {
        let name = format!("{date}.{}", self.format.as_str());
        let temporary = tempfile::Builder::new()
            .prefix(PARTIAL)
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(&self.path)
            .with_context(|| format!("write {name}"))?;
        let out = Digesting { out: BufWriter::new(temporary), digest: Sha256::new(), bytes: 0 };
        let rows = match self.format {
            FileFormat::Ndjson => {
                let builder = WriterBuilder::new().with_timestamp_tz_format(TIME_FORMAT.to_owned());
                Rows::Ndjson(Box::new(builder.build(out)))
            }
            FileFormat::Parquet => Rows::Parquet(Box::new(parquet(out, schema)?)),
        };
        Ok(DateFile { date, target: self.path.join(&name), name, rows, written: 0 })
    }
}

/// The events of a date on their way into a file.
pub struct DateFile {
    date: Date,
    name: String,
    target: PathBuf,
    rows: Rows,
    written: u64,
}

enum Rows {
    Ndjson(Box<Writer<Digesting, LineDelimited>>),
    Parquet(Box<ArrowWriter<Digesting>>),
}

fn parquet(out: Digesting, schema: &SchemaRef) -> Result<ArrowWriter<Digesting>> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    // Plain Parquet types say all there is to say.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(out, schema.clone(), options).context("write Parquet")
}

impl DateFile {
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.rows {
            Rows::Ndjson(writer) => {
                check_numbers(batch)?;
                writer.write(batch).context("write JSON")?;
            }
            Rows::Parquet(writer) => {
                writer.write(batch).context("write Parquet")?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush().context("write Parquet")?;
                }
            }
        }
        self.written += batch.num_rows() as u64;
        Ok(())
    }

    /// Gives the file its name, durably. Dropping it instead leaves none.
    pub fn finish(self) -> Result<Finished> {
        let phrase = || format!("write {}", self.target.display());
        let out = match self.rows {
            Rows::Ndjson(mut writer) => {
                writer.finish().context("write JSON").with_context(phrase)?;
                writer.into_inner()
            }
            Rows::Parquet(writer) => writer.into_inner().context("write Parquet").with_context(phrase)?,
        };
        let (sha256, bytes) = (hex(&out.digest.finalize()), out.bytes);
        let file = out.out.into_inner().map_err(io::IntoInnerError::into_error).with_context(phrase)?;
        file.as_file().sync_all().with_context(phrase)?;
        file.persist(&self.target).with_context(phrase)?;
        let folder = self.target.parent().expect("a file lies in a folder");
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(phrase)?;
        Ok(Finished { date: self.date, rows: self.written, file: Some(self.name), bytes, sha256: Some(sha256) })
    }
}

/// JSON has no word for what is no number; written as null it would be lost.
fn check_numbers(batch: &RecordBatch) -> Result<()> {
    for (array, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
        if *array.data_type() != DataType::Float64 {
            continue;
        }
        let numbers = array.as_primitive::<Float64Type>();
        if let Some(odd) = numbers.iter().flatten().find(|number| !number.is_finite()) {
            return Err(Error::usage(format!("`{}` is {odd} in an event, which JSON cannot say", field.name()))
                .hint("use --to parquet, or leave the column out with --omit"));
        }
    }
    Ok(())
}

/// Counts and digests what is written.
struct Digesting {
    out: BufWriter<NamedTempFile>,
    digest: Sha256,
    bytes: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
