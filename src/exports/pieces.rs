//! Pieces of an export: whole records, ready to be decoded by themselves.

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;

use super::source::{self, Digest};
use super::{Export, Format};
use crate::data::blocks::{Block, Blocks, Content, MAX_RECORD_BYTES};
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::parquet_rows::{self, BATCH_ROWS};
use crate::data::rows::{Refused, Rejection, RowBuilder};
use crate::error::{Context, Error, Result};
use crate::model::Reason;

const MAX_RECORD_MIB: usize = MAX_RECORD_BYTES >> 20;

/// Some records of an export.
#[derive(Debug)]
pub enum Piece {
    Lines(Block),
    Csv(Block, Arc<Header>),
    /// With the number of the first row, counted from 1.
    Rows(RecordBatch, u64),
}

/// A record that is no event.
pub struct Unfit<'a> {
    /// Its place in the export.
    pub line: u64,
    pub raw: &'a [u8],
    /// Whether `raw` is only its beginning.
    pub is_truncated: bool,
    /// Of a CSV record.
    pub header: Option<&'a Header>,
    pub why: Refused,
}

/// Hands over an export from front to end. `digest` is complete when all was read; `advance` hears of packed bytes.
pub fn read(
    export: &Export,
    runtime: &Handle,
    digest: &Digest,
    advance: impl Fn(u64) + Send + 'static,
    mut send: impl FnMut(Piece) -> Result<()>,
) -> Result<()> {
    match export.format {
        Format::Ndjson => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), advance)?, None);
            while let Some(block) = next_block(&mut blocks)? {
                if block.first_line == 1 {
                    check_is_text(&block.bytes)?;
                    check_is_lines(&block.bytes)?;
                }
                send(Piece::Lines(block))?;
            }
        }
        Format::Csv(delimiter) => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), advance)?, Some(delimiter));
            let mut header: Option<Arc<Header>> = None;
            while let Some(mut block) = next_block(&mut blocks)? {
                let header = match &header {
                    Some(header) => header.clone(),
                    None => {
                        check_is_text(&block.bytes)?;
                        header.insert(Arc::new(Header::take(&mut block, delimiter)?)).clone()
                    }
                };
                send(Piece::Csv(block, header))?;
            }
        }
        Format::Parquet => {
            let file = source::open_file(export, runtime, digest.clone(), advance)?;
            let reader = parquet_rows::open(file)?.with_batch_size(BATCH_ROWS).build();
            let reader = reader.context("open the Parquet file: is it whole?")?;
            let mut first_row = 1;
            for batch in reader {
                let batch = batch.context("decode the Parquet file")?;
                let rows = batch.num_rows() as u64;
                send(Piece::Rows(batch, first_row))?;
                first_row += rows;
            }
        }
    }
    Ok(())
}

impl<'a> Unfit<'a> {
    fn plain(line: u64, raw: &'a [u8], why: Refused) -> Self {
        Unfit { line, raw, is_truncated: false, header: None, why }
    }
}

impl Piece {
    /// Adds the events to `builder` and returns how many records there were; `unfit` receives those that are none.
    pub fn decode(
        &self,
        null_tokens: &[String],
        builder: &mut RowBuilder<'_>,
        mut unfit: impl FnMut(Unfit<'_>),
    ) -> Result<u64> {
        Ok(match self {
            Piece::Lines(block) | Piece::Csv(block, _) if block.content == Content::TooLong => {
                unfit(Unfit { is_truncated: true, ..Unfit::plain(block.first_line, &block.bytes, too_long()) });
                1
            }
            Piece::Csv(block, header) if block.content == Content::OpenQuote => {
                let raw = block.bytes.trim_ascii_end();
                unfit(Unfit { header: Some(header), ..Unfit::plain(block.first_line, raw, open_quote()) });
                1
            }
            Piece::Lines(block) => ndjson::decode(block, builder, |line, raw, why| unfit(Unfit::plain(line, raw, why))),
            Piece::Csv(block, header) => csv::decode(block, header, null_tokens, builder, |line, raw, why| {
                unfit(Unfit { header: Some(header), ..Unfit::plain(line, &header.to_line(raw), why) });
            }),
            Piece::Rows(batch, first) => {
                parquet_rows::decode(batch, *first, builder, |row, raw, why| unfit(Unfit::plain(row, &raw, why)))?
            }
        })
    }
}

fn too_long() -> Refused {
    let detail = format!("the record is longer than {MAX_RECORD_MIB} MiB");
    Refused::Record(Rejection::new(Reason::TooLong, detail))
}

/// Of a record whose quote does not close.
pub fn open_quote() -> Refused {
    let detail = format!("a quote opens and does not close within {MAX_RECORD_MIB} MiB or before the end");
    Refused::Record(Rejection::new(Reason::Syntax, detail))
}

/// The next block, with what a broken file means in words.
pub fn next_block<R: Read>(blocks: &mut Blocks<R>) -> Result<Option<Block>> {
    blocks.next_block().map_err(|error| {
        let ends_early =
            error.kind() == std::io::ErrorKind::UnexpectedEof || error.to_string().contains("incomplete frame");
        let message = if ends_early { "it ends in the middle" } else { "its bytes cannot be read or unpacked" };
        Error::failed(message).code("bad-export").hint("deliver it again whole, or leave it out").with_source(error)
    })
}

/// A packed or Parquet file under a text's name, or UTF-16, would pass for a few bad lines.
fn check_is_text(bytes: &[u8]) -> Result<()> {
    let magic: [(&[u8], &str, &str); 5] = [
        (b"\x1f\x8b", "gzip", "name it .gz"),
        (b"\x28\xb5\x2f\xfd", "zstd", "name it .zst"),
        (b"PAR1", "Parquet", "name it .parquet"),
        (b"\xff\xfe", "UTF-16", "convert it with: iconv -f UTF-16 -t UTF-8 FILE"),
        (b"\xfe\xff", "UTF-16", "convert it with: iconv -f UTF-16 -t UTF-8 FILE"),
    ];
    match magic.iter().find(|(magic, _, _)| bytes.starts_with(magic)) {
        None => Ok(()),
        Some((_, what, way_out)) => Err(Error::failed(format!("it holds {what}, not the text that its name says"))
            .code("bad-export")
            .hint(*way_out)),
    }
}

/// `[` and then an object is a whole JSON document, which no line of ours begins with.
fn check_is_lines(bytes: &[u8]) -> Result<()> {
    let mut visible = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    if visible.next() == Some(&b'[') && visible.next() == Some(&b'{') {
        return Err(Error::failed("it is a JSON array, not one object per line")
            .hint("write one event per line, for example with: jq -c '.[]' FILE"));
    }
    Ok(())
}
