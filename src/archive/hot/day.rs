//! A day of the hot tier as an input of the run.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::StreamExt;
use jiff::civil::Date;
use tokio::runtime::Handle;

use crate::archive::read::Decoded;
use crate::archive::reread::Lines;
use crate::archive::write::Refused;
use crate::data::parquet_rows::to_json;
use crate::data::rows::export_and_line;
use crate::data::typed::Typed;
use crate::error::{Context, Error, Kind, Result};
use crate::hot::{Cassandra, Read, Restriction, Unit};
use crate::model::{KeySource, Mapping, Partition, Schema};

/// A day to read, and where its rows are.
#[derive(Debug, Clone)]
pub struct HotDay {
    pub date: Date,
    /// Its first events have expired already.
    pub incomplete: bool,
    name: String,
    hot: Cassandra,
    units: Vec<Unit>,
    restriction: Restriction,
}

/// What the hot tier said of a day beside its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HotCounts {
    /// Rows as the server counted them, partition by partition.
    pub counted: u64,
    /// Rows that were handed over in vain: their partition was read again, because its count was another.
    pub again: u64,
    /// Rows that expire sooner than the warning allows.
    pub expiring: u64,
}

impl HotDay {
    pub fn new(hot: &Cassandra, date: Date, incomplete: bool, units: Vec<Unit>, restriction: Restriction) -> Self {
        let name = format!("{} {date}", hot.name());
        HotDay { date, incomplete, name, hot: hot.clone(), units, restriction }
    }

    /// For reports, dead letters and the ledger: `cassandra prod.events 2026-08-24`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands over every row of the day, with the number of a page's first row, counted from 1 as they arrive.
    pub fn read(&self, runtime: &Handle, mut take: impl FnMut(RecordBatch, u64) -> Result<()>) -> Result<HotCounts> {
        let mut counts = HotCounts::default();
        let mut next_row = 1;
        runtime.block_on(async {
            let mut reads = self.hot.read(self.units.clone(), self.restriction.clone(), true);
            while let Some(read) = reads.next().await.transpose()? {
                match read {
                    Read::Rows(page) => {
                        let rows = page.batch.num_rows() as u64;
                        counts.expiring += page.expiring;
                        take(page.batch, next_row)?;
                        next_row += rows;
                        counts.again += rows;
                    }
                    Read::Done { rows, counted, .. } => {
                        counts.counted += counted.unwrap_or(rows);
                        counts.again = counts.again.saturating_sub(rows);
                    }
                }
            }
            Ok(counts)
        })
    }

    /// The independent count must agree with the rows that were read.
    pub fn check(&self, read: u64, counts: &HotCounts) -> Result<()> {
        if read == counts.counted + counts.again {
            return Ok(());
        }
        let message = format!("{read} rows were read of {}, and it counts {}", self.name, counts.counted);
        Err(Error::new(Kind::TryAgain, message).code("hot-changing").hint("nothing was committed of it; run it again"))
    }
}

/// Hands over the rows at `lines` as JSON, from the run's own buffer, and returns how many there were.
pub fn letters_of(
    decoded: &Decoded,
    schema: &Schema,
    lines: &Lines<'_>,
    mut take: impl FnMut(&Refused, &[u8]) -> Result<()>,
) -> Result<usize> {
    let cells = decoded.rules.cells.all();
    let typed = Typed::for_run(schema, &decoded.rules.columns);
    let numbers: BTreeSet<u32> = lines.values().map(|refused| refused.cell).collect();
    let mut found = 0;
    for number in numbers {
        decoded.parts.read_cell(number, |row| {
            let Some(refused) = lines.get(&export_and_line(row.order()).1) else { return Ok(()) };
            let columns = typed.gather(std::iter::once(row))?;
            take(refused, &to_json(&event(&columns, &cells[number as usize], &decoded.rules.mapping)?))?;
            found += 1;
            Ok(())
        })?;
    }
    Ok(found)
}

/// The record that a row was made from: its columns, and the keys where no column has their value.
fn event(row: &RecordBatch, cell: &Partition, mapping: &Mapping) -> Result<RecordBatch> {
    let schema = row.schema();
    let mut columns: Vec<(String, ArrayRef)> =
        (0..row.num_columns()).map(|at| (schema.field(at).name().clone(), row.column(at).clone())).collect();
    let keys = [(&mapping.tenant, cell.tenant_id.as_str()), (&mapping.event_type, cell.event_type.as_str())];
    for (source, value) in keys {
        let KeySource::Column(name) = source else { continue };
        if !columns.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            columns.push((name.clone(), std::sync::Arc::new(StringArray::from(vec![value]))));
        }
    }
    RecordBatch::try_from_iter(columns).context("make the record of a row")
}
