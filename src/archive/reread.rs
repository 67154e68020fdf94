//! The raw text of records that turned out to be conflicts, or undecided, only when their cell was written.
//!
//! Keeping every record's text until then would cost the memory of the whole run; such records are rare, so their
//! exports are read a second time instead. Rows of the hot tier may have changed by then; they are taken from the run's
//! own buffer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::hot;
use super::read::{Decoded, Input, dead_letter};
use super::write::Refused;
use crate::data::blocks::Blocks;
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::parquet_rows::{self, BATCH_ROWS, to_json};
use crate::data::rows::{Rejection, export_and_line};
use crate::error::{Context, Error, Result};
use crate::exports::source::{self, Digest};
use crate::exports::{Export, Format, next_block};
use crate::model::{DeadLetter, Reason, Schema};

/// The refused records of one input, by line.
pub(super) type Lines<'a> = BTreeMap<u64, &'a Refused>;

/// Makes dead letters of these records.
pub fn refused(
    runtime: &Handle,
    inputs: &[Input],
    decoded: &Decoded,
    schema: &Schema,
    refused: &[Refused],
) -> Result<()> {
    let mut by_input: BTreeMap<u64, Lines<'_>> = BTreeMap::new();
    for record in refused {
        let (input, line) = export_and_line(record.order);
        by_input.entry(input).or_default().insert(line, record);
    }
    for (number, lines) in by_input {
        let input = &inputs[number as usize];
        let found = match input {
            Input::Letters(letters) => {
                for (line, record) in &lines {
                    let Rejection { reason, detail } = why(record);
                    let letter = DeadLetter { reason, detail, ..letters[*line as usize - 1].clone() };
                    decoded.dead.add(number, &letter)?;
                }
                lines.len()
            }
            Input::Hot(day) => hot::letters_of(decoded, schema, &lines, |record, raw| {
                let (_, line) = export_and_line(record.order);
                decoded.dead.add(number, &dead_letter(day.name(), line, raw, None, why(record)))
            })?,
            Input::Export(export) => {
                let read = &decoded.inputs[number as usize];
                reread(runtime, export, &read.digest, &lines, |letter| decoded.dead.add(number, &letter))
                    .with_context(|| format!("read {} again", export.stamp.path))?
            }
        };
        if found != lines.len() {
            return Err(Error::failed(format!(
                "found {found} of {} refused records again in {}",
                lines.len(),
                input.name()
            )));
        }
    }
    Ok(())
}

fn why(record: &Refused) -> Rejection {
    match &record.perhaps_in {
        None => Rejection::new(Reason::Conflict, "an event of this identity with other content came first"),
        Some(file) => {
            let detail =
                format!("{} may hold an event of this identity and cannot be read before a restore", file.path);
            Rejection::new(Reason::Undecided, detail)
        }
    }
}

/// Hands over the records at `lines` and returns how many there were.
fn reread(
    runtime: &Handle,
    export: &Export,
    expected: &str,
    lines: &Lines<'_>,
    mut take: impl FnMut(DeadLetter) -> Result<()>,
) -> Result<usize> {
    let digest = Digest::default();
    let mut found = 0;
    let mut keep = |line, raw: &[u8], header: Option<&Header>| {
        let Some(record) = lines.get(&line) else { return Ok(()) };
        found += 1;
        let raw = header.map_or(Cow::Borrowed(raw), |header| Cow::Owned(header.to_line(raw)));
        take(dead_letter(&export.stamp.path, line, &raw, header, why(record)))
    };
    match export.format {
        Format::Ndjson => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), |_| {})?, None);
            while let Some(block) = next_block(&mut blocks)? {
                let mut all = (block.first_line..).zip(ndjson::lines(&block.bytes));
                all.try_for_each(|(line, raw)| keep(line, raw, None))?;
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
                csv::records(&block, header).try_for_each(|(line, raw)| keep(line, raw, Some(header)))?;
            }
        }
        Format::Parquet => {
            let file = source::open_file(export, runtime, digest.clone(), |_| {})?;
            let reader = parquet_rows::open(file)?.with_batch_size(BATCH_ROWS).build();
            let mut first = 1;
            for batch in reader.context("open the Parquet file")? {
                let batch = batch.context("decode the Parquet file")?;
                for row in (0..batch.num_rows()).filter(|row| lines.contains_key(&(first + *row as u64))) {
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
