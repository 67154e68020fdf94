//! Where events go, one date after the other.

use arrow::array::RecordBatch;
use jiff::civil::Date;

use super::files::{DateFile, Folder};
use super::record::Finished;
use super::table::HotTable;
use crate::error::{Context, Result};

pub enum Sink {
    Folder { folder: Folder, file: Option<DateFile> },
    Table(HotTable),
}

impl Sink {
    pub fn folder(folder: Folder) -> Self {
        Sink::Folder { folder, file: None }
    }

    /// Takes events of a date, which come in order.
    pub async fn write(&mut self, date: Date, events: &RecordBatch) -> Result<()> {
        match self {
            Sink::Folder { folder, file } => {
                let file = match file {
                    Some(file) => file,
                    None => file.insert(folder.begin(date, events.schema_ref())?),
                };
                file.write(events)
            }
            Sink::Table(table) => table.insert(events).await,
        }
        .with_context(|| format!("put the events of {date}"))
    }

    /// The date has no more than these rows. Of a date without any nothing is kept.
    pub fn finish(&mut self, date: Date, rows: u64) -> Result<Option<Finished>> {
        match self {
            Sink::Folder { file, .. } => file.take().map(DateFile::finish).transpose(),
            Sink::Table(_) if rows == 0 => Ok(None),
            Sink::Table(_) => Ok(Some(Finished { date, rows, file: None, bytes: 0, sha256: None })),
        }
    }
}
