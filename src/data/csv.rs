//! CSV with a header line (RFC 4180), any one-byte delimiter.

use std::borrow::Cow;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::blocks::{Block, Content};
use super::csv_records::{NotUtf8, Records};
use super::rows::{Refused, Rejection, RowBuilder};
use super::sources::Fields;
use super::values::Scalar;
use crate::error::{Context, Error, Result};
use crate::model::Reason;

/// Room for those texts of a record that hold quotes.
const UNESCAPED_BYTES: usize = 64 << 10;

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
        let mut reader = reader(&block.bytes, delimiter);
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

    /// A record as one comma-delimited line without its end, in the export's own encoding: the form of a dead letter.
    pub fn to_line(&self, raw: &[u8]) -> Vec<u8> {
        let mut record = ByteRecord::new();
        // Reading from memory and flexible about lengths, the reader has nothing to fail on.
        _ = reader(raw, self.delimiter).read_byte_record(&mut record);
        to_line(&record)
    }
}

fn reader(text: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text)
}

/// Decodes a block of records; `refused` receives each that is no event, with its line and its text.
pub fn decode<'a>(
    block: &'a Block,
    header: &Header,
    null_tokens: &[String],
    builder: &mut RowBuilder<'_>,
    mut refused: impl FnMut(u64, &'a [u8], Refused),
) -> u64 {
    let (mut memory, mut unescaped) = (Fields::default(), vec![0; UNESCAPED_BYTES]);
    // A column is one of the archive's once it has a value.
    let mut sources = vec![None; header.names.len()];
    let mut records = Records::new(&block.bytes, header.delimiter, block.first_line);
    let mut count = 0;
    while let Some((line, start)) = records.begin() {
        count += 1;
        let mut fields = memory.reuse();
        let mut columns = header.names.iter().zip(&mut sources);
        let mut outcome = Ok(());
        let found = records.read(&mut unescaped, |text| {
            if let (Some((name, source)), Ok(())) = (columns.next(), &outcome) {
                outcome = match text {
                    Ok(text) if text.is_empty() || null_tokens.iter().any(|token| *token == text) => Ok(()),
                    Ok(text) => add(builder, &mut fields, name, source, text),
                    Err(NotUtf8) => Err(Rejection::new(Reason::Encoding, format!("column `{name}` is not UTF-8"))),
                };
            }
        });
        if found != header.names.len() {
            let detail = format!("{found} fields where the header has {}", header.names.len());
            outcome = Err(Rejection::new(Reason::Syntax, detail));
        }
        let outcome = outcome.map_err(Refused::from).and_then(|()| builder.finish(&mut fields, line));
        if let Err(why) = outcome {
            builder.abandon(&mut fields);
            refused(line, records.raw(start), why);
        }
        memory = fields.reuse();
    }
    count
}

#[inline(always)]
fn add<'a>(
    builder: &mut RowBuilder<'_>,
    fields: &mut Fields<'a>,
    name: &str,
    source: &mut Option<usize>,
    text: Cow<'a, str>,
) -> Result<(), Rejection> {
    let source = match *source {
        Some(source) => source,
        None => *source.insert(builder.source(name)?),
    };
    builder.field_of(fields, source, Scalar::Untyped(text))
}

/// The records of a block as they are written, with their line numbers.
pub fn records<'a>(block: &'a Block, header: &Header) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
    let mut records = Records::new(&block.bytes, header.delimiter, block.first_line);
    let mut unescaped = vec![0; UNESCAPED_BYTES];
    std::iter::from_fn(move || {
        let (line, start) = records.begin()?;
        records.read(&mut unescaped, |_| {});
        Some((line, records.raw(start)))
    })
}

fn to_line(record: &ByteRecord) -> Vec<u8> {
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let written = writer.write_byte_record(record).ok().and_then(|()| writer.into_inner().ok());
    let mut line = written.unwrap_or_default();
    line.pop_if(|byte| *byte == b'\n');
    line
}
