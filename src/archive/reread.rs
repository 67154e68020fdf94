//! The raw text of records that turned out to be conflicts only when their cell was written.
//!
//! Keeping every record's text until then would cost the memory of the whole run; conflicts are rare, so their exports
//! are read a second time instead.

use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::inputs::{Export, Format};
use super::read::{Decoded, Input, dead_letter, next_block};
use super::source::{self, Digest};
use crate::data::blocks::Blocks;
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::parquet_rows::{self, BATCH_ROWS, to_json};
use crate::data::rows::{Rejection, export_and_line};
use crate::error::{Context, Error, Result};
use crate::model::{DeadLetter, Reason, RecordFormat};

/// Makes dead letters of the records at `orders`.
pub fn conflicts(runtime: &Handle, inputs: &[Input], decoded: &Decoded, orders: &[u64]) -> Result<()> {
    let mut lines: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (input, line) in orders.iter().map(|&order| export_and_line(order)) {
        lines.entry(input).or_default().push(line);
    }
    for (number, mut lines) in lines {
        lines.sort_unstable();
        let input = &inputs[number as usize];
        let found = match input {
            Input::Letters(letters) => {
                let letter = |line: &u64| DeadLetter {
                    reason: why().reason,
                    detail: why().detail,
                    ..letters[*line as usize - 1].clone()
                };
                lines.iter().try_for_each(|line| decoded.dead.add(number, &letter(line)))?;
                lines.len()
            }
            Input::Export(export) => {
                let read = &decoded.inputs[number as usize];
                reread(runtime, export, &read.digest, &lines, |letter| decoded.dead.add(number, &letter))
                    .with_context(|| format!("read {} again", export.stamp.path))?
            }
        };
        if found != lines.len() {
            return Err(Error::failed(format!(
                "found {found} of {} conflicting records again in {}",
                lines.len(),
                input.name()
            )));
        }
    }
    Ok(())
}

fn why() -> Rejection {
    Rejection::new(Reason::Conflict, "an event of this identity with other content came first")
}

/// Hands over the records at `lines` (ascending) and returns how many there were.
fn reread(
    runtime: &Handle,
    export: &Export,
    expected: &str,
    lines: &[u64],
    mut take: impl FnMut(DeadLetter) -> Result<()>,
) -> Result<usize> {
    let digest = Digest::default();
    let wanted = |line: u64| lines.binary_search(&line).is_ok();
    let mut found = 0;
    let mut keep = |line, raw: &[u8], header: Option<&Header>| {
        found += 1;
        let letter = dead_letter(&export.stamp.path, line, raw, why());
        match header {
            Some(header) => take(DeadLetter { format: RecordFormat::Csv, header: Some(header.line.clone()), ..letter }),
            None => take(letter),
        }
    };
    match export.format {
        Format::Ndjson => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), |_| {})?, None);
            while let Some(block) = next_block(&mut blocks)? {
                let all = (block.first_line..).zip(ndjson::lines(&block.bytes));
                all.filter(|(line, _)| wanted(*line)).try_for_each(|(line, raw)| keep(line, raw, None))?;
            }
        }
        Format::Csv(delimiter) => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), |_| {})?, Some(delimiter));
            let mut header: Option<Header> = None;
            while let Some(mut block) = next_block(&mut blocks)? {
                let header = match &header {
                    Some(header) => header,
                    None => header.insert(Header::take(&mut block, delimiter)?),
                };
                for (line, raw) in csv::records(&block, header) {
                    if wanted(line) {
                        keep(line, &raw, Some(header))?;
                    }
                }
            }
        }
        Format::Parquet => {
            let file = source::open_file(export, runtime, digest.clone(), |_| {})?;
            let reader = parquet_rows::open(file)?.with_batch_size(BATCH_ROWS).build();
            let mut first = 1;
            for batch in reader.context("open the Parquet file")? {
                let batch = batch.context("decode the Parquet file")?;
                for row in (0..batch.num_rows()).filter(|row| wanted(first + *row as u64)) {
                    keep(first + row as u64, &to_json(&batch.slice(row, 1)), None)?;
                }
                first += batch.num_rows() as u64;
            }
        }
    }
    if digest.hex() != expected {
        return Err(Error::failed("it changed while it was being archived")
            .code("export-changed")
            .hint("an export must be complete before it is archived; --settle 5m leaves young files alone"));
    }
    Ok(found)
}
