//! CSV with a header line (RFC 4180), any one-byte delimiter.

use std::borrow::Cow;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::blocks::{Block, Content};
use super::rows::{Refused, Rejection, RowBuilder};
use super::sources::Fields;
use super::values::Scalar;
use crate::error::{Context, Error, Result};
use crate::model::Reason;

/// The columns of a CSV export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub names: Vec<String>,
    pub delimiter: u8,
    /// As one CSV line, comma-delimited.
    pub line: String,
}

impl Header {
    /// Takes the header off an export's first block.
    pub fn take(block: &mut Block, delimiter: u8) -> Result<Self> {
        if block.content != Content::Records {
            return Err(Error::failed("the header line does not end, or a quote in it does not close"));
        }
        let mut reader =
            ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(&block.bytes[..]);
        let mut record = ByteRecord::new();
        reader.read_byte_record(&mut record).context("read the header line")?;
        let names = record
            .iter()
            .map(|name| std::str::from_utf8(name).map(|name| name.trim().to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::failed("the header line is not UTF-8").with_source(error))?;
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(Error::failed(format!("column {} has no name in the header line", index + 1))
                    .hint("the first line of a CSV export must name its columns"));
            }
            if name.contains('\0') {
                return Err(Error::failed(format!("a column name in the header line has a NUL in it: {name:?}"))
                    .hint("if the file is UTF-16, convert it with: iconv -f UTF-16 -t UTF-8 FILE"));
            }
            if names[..index].iter().any(|earlier| earlier.to_lowercase() == name.to_lowercase()) {
                return Err(Error::failed(format!("column `{name}` is in the header line twice")));
            }
        }
        let end = reader.position().byte() as usize;
        if block.bytes[..end.min(block.bytes.len())].ends_with(b"\r") && block.bytes.get(end) != Some(&b'\n') {
            return Err(Error::failed("its lines end with a carriage return alone")
                .hint("convert it, for example with: tr '\\r' '\\n' < FILE"));
        }
        let end = end.min(block.bytes.len());
        block.first_line += memchr::memchr_iter(b'\n', &block.bytes[..end]).count() as u64;
        block.bytes.drain(..end);
        Ok(Header {
            line: String::from_utf8_lossy(&to_line(&ByteRecord::from(names.clone()))).into_owned(),
            names,
            delimiter,
        })
    }

    /// The header of a dead letter.
    pub fn parse(line: &str) -> Result<Self> {
        let mut block = Block { bytes: line.as_bytes().to_vec().into(), first_line: 1, content: Content::Records };
        Self::take(&mut block, b',')
    }
}

/// Decodes a block of records; `refused` receives each that is no event, with its line and its text.
pub fn decode(
    block: &Block,
    header: &Header,
    null_tokens: &[String],
    builder: &mut RowBuilder<'_>,
    mut refused: impl FnMut(u64, Vec<u8>, Refused),
) -> u64 {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(header.delimiter)
        .from_reader(&block.bytes[..]);
    let (mut record, mut records, mut memory) = (ByteRecord::new(), 0, Fields::default());
    let mut lines = Lines::new(block);
    // Reading from memory and flexible about lengths, the reader has nothing left to fail on.
    while matches!(reader.read_byte_record(&mut record), Ok(true)) {
        let line = lines.of(&record);
        let mut fields = memory.reuse();
        records += 1;
        let outcome = read_record(&record, header, null_tokens, builder, &mut fields).map_err(Refused::from);
        let outcome = outcome.and_then(|()| builder.finish(&mut fields, line));
        if let Err(why) = outcome {
            builder.abandon(&mut fields);
            refused(line, to_line(&record), why);
        }
        memory = fields.reuse();
    }
    records
}

/// The records of a block as comma-delimited lines, with their line numbers.
pub fn records<'a>(block: &'a Block, header: &Header) -> impl Iterator<Item = (u64, Vec<u8>)> + use<'a> {
    let reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(header.delimiter)
        .from_reader(&block.bytes[..]);
    let mut lines = Lines::new(block);
    reader.into_byte_records().map_while(Result::ok).map(move |record| (lines.of(&record), to_line(&record)))
}

/// The lines that records begin at. The reader's own count lags behind after `\r\n` and blank lines.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(block: &'a Block) -> Self {
        Lines { bytes: &block.bytes, at: 0, line: block.first_line }
    }

    /// Records must come in their order.
    fn of(&mut self, record: &ByteRecord) -> u64 {
        let after_the_last = record.position().map_or(self.at, |position| position.byte() as usize);
        let ends = self.bytes[after_the_last..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = after_the_last + ends;
        self.line += memchr::memchr_iter(b'\n', &self.bytes[self.at..start]).count() as u64;
        self.at = start;
        self.line
    }
}

fn read_record<'a>(
    record: &'a ByteRecord,
    header: &Header,
    null_tokens: &[String],
    builder: &mut RowBuilder<'_>,
    fields: &mut Fields<'a>,
) -> Result<(), Rejection> {
    if record.len() != header.names.len() {
        let detail = format!("{} fields where the header has {}", record.len(), header.names.len());
        return Err(Rejection::new(Reason::Syntax, detail));
    }
    for (name, value) in header.names.iter().zip(record) {
        let text = std::str::from_utf8(value)
            .map_err(|_| Rejection::new(Reason::Encoding, format!("column `{name}` is not UTF-8")))?;
        if !text.is_empty() && !null_tokens.iter().any(|token| token == text) {
            builder.field(fields, name, Scalar::Untyped(Cow::Borrowed(text)))?;
        }
    }
    Ok(())
}

/// A record as one comma-delimited line without its end, in the export's own encoding.
fn to_line(record: &ByteRecord) -> Vec<u8> {
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let written = writer.write_byte_record(record).ok().and_then(|()| writer.into_inner().ok());
    let mut line = written.unwrap_or_default();
    line.pop_if(|byte| *byte == b'\n');
    line
}
