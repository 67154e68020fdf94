//! The formats rows can be written in, and what all their writers have in common.

use std::path::Path;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use clap::ValueEnum;

use super::output::Target;
use super::{json, plans, table, text};
use crate::error::{Context, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A drawn table
    Table,
    Csv,
    Tsv,
    /// One array of objects
    Json,
    /// One object per line
    Ndjson,
    Parquet,
    /// The Arrow IPC file format, also known as Feather
    Arrow,
    Markdown,
    /// One line per value: for wide rows
    Line,
}

impl Format {
    /// Not for a terminal, and one statement's rows are a whole file.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }

    /// What the name of an output file says.
    pub fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "parquet" => Some(Format::Parquet),
            "arrow" | "feather" => Some(Format::Arrow),
            "md" => Some(Format::Markdown),
            _ => None,
        }
    }
}

/// Rows a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxRows {
    All,
    Some(usize),
}

impl MaxRows {
    pub const DEFAULT: MaxRows = MaxRows::Some(40);
}

impl FromStr for MaxRows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(MaxRows::All),
            _ => text.parse().map(MaxRows::Some).map_err(|_| "write a number, or all".to_owned()),
        }
    }
}

/// How the user wants to see rows.
#[derive(Debug, Clone)]
pub struct Style {
    pub format: Format,
    pub null: String,
    pub max_rows: MaxRows,
    /// Whether what is not data (types, NULL) may be dimmed.
    pub is_dimmed: bool,
}

/// Writes rows as they come.
pub trait Rows {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what comes after the last row, and gives the target back.
    fn finish(self: Box<Self>) -> Result<Target>;
}

impl Style {
    pub fn start(&self, schema: &SchemaRef, target: Target) -> Result<Box<dyn Rows>> {
        Ok(match self.format {
            Format::Table if plans::is_plan(schema) => Box::new(plans::Plans::new(target)),
            Format::Table => Box::new(table::Table::new(schema, target, self)),
            Format::Csv => Box::new(text::Separated::start(schema, target, ',', &self.null)?),
            Format::Tsv => Box::new(text::Separated::start(schema, target, '\t', &self.null)?),
            Format::Json => Box::new(json::Array::start(target)),
            Format::Ndjson => Box::new(json::Lines::start(target)),
            Format::Parquet => Box::new(Parquet::start(schema, target)?),
            Format::Arrow => Box::new(Arrow::start(schema, target)?),
            Format::Markdown => Box::new(text::Markdown::start(schema, target)?),
            Format::Line => Box::new(text::Vertical::new(target)),
        })
    }
}

/// A row group is written out when it holds this much, so that memory stays bounded.
const ROW_GROUP_BYTES: usize = 64 << 20;

struct Parquet(parquet::arrow::ArrowWriter<Target>);

impl Parquet {
    fn start(schema: &Schema, target: Target) -> Result<Self> {
        use parquet::basic::{Compression, ZstdLevel};
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = parquet::file::properties::WriterProperties::builder().set_compression(compression).build();
        let writer = parquet::arrow::ArrowWriter::try_new(target, schema.clone().into(), Some(properties));
        writer.map(Parquet).context("write Parquet")
    }
}

impl Rows for Parquet {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).context("write Parquet")?;
        if self.0.in_progress_size() >= ROW_GROUP_BYTES {
            self.0.flush().context("write Parquet")?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        self.0.into_inner().context("write Parquet")
    }
}

struct Arrow(arrow::ipc::writer::FileWriter<Target>);

impl Arrow {
    fn start(schema: &Schema, target: Target) -> Result<Self> {
        arrow::ipc::writer::FileWriter::try_new(target, schema).map(Arrow).context("write Arrow")
    }
}

impl Rows for Arrow {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).context("write Arrow")
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        self.0.into_inner().context("write Arrow")
    }
}
