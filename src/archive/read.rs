//! Inputs to validated rows, on all cores.
//!
//! One thread reads and unpacks and cuts blocks; the others decode them into the buffer. The queue between them is
//! short: it is what bounds memory.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;

use super::dead_letters::Collector;
use super::hot::{HotCounts, HotDay};
use super::inputs::{Export, Format};
use super::source::{self, Digest};
use crate::context::Context as Ctx;
use crate::data::blocks::{Block, Blocks, Content, MAX_RECORD_BYTES};
use crate::data::buffer::{Buffer, Parts};
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::parquet_rows::{self, BATCH_ROWS};
use crate::data::rows::{Refused, Rejection, RowBuilder, Rules};
use crate::error::{Context, Error, Result};
use crate::model::{DeadLetter, Reason, RecordFormat, hex};
use crate::progress::{Task, Unit};

/// Blocks read ahead of each decoding thread.
const AHEAD: usize = 1;

const MAX_RECORD_MIB: usize = MAX_RECORD_BYTES >> 20;

/// Something that holds records.
#[derive(Debug, Clone)]
pub enum Input {
    Export(Box<Export>),
    /// A day of the hot tier.
    Hot(Arc<HotDay>),
    /// Dead letters to be tried again; their lines are counted from 1.
    Letters(Arc<Vec<DeadLetter>>),
}

impl Input {
    pub fn name(&self) -> &str {
        match self {
            Input::Export(export) => &export.stamp.path,
            Input::Hot(day) => day.name(),
            Input::Letters(_) => "dead letters",
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match self {
            Input::Export(export) => export.stamp.size_bytes,
            Input::Hot(_) => 0,
            Input::Letters(letters) => letters.iter().map(|letter| letter.raw.len() as u64).sum(),
        }
    }
}

/// The rows of all inputs and what was seen on the way.
pub struct Decoded {
    pub parts: Parts,
    pub rules: Rules,
    /// Records read and digest, by input number.
    pub inputs: Vec<InputRead>,
    pub dead: Collector,
}

#[derive(Debug, Clone, Default)]
pub struct InputRead {
    pub read: u64,
    pub digest: String,
    /// Of a day of the hot tier.
    pub hot: HotCounts,
}

/// A piece of an input, with its number.
enum Work {
    Lines(u64, Block),
    Csv(u64, Block, Arc<Header>),
    Rows(u64, RecordBatch, u64),
    Letters(u64, Arc<Vec<DeadLetter>>, std::ops::Range<usize>),
}

/// Reads and validates all inputs; nothing is written to the archive.
pub fn decode(
    ctx: &Ctx,
    runtime: &Handle,
    inputs: &[Input],
    rules: Rules,
    dead: Collector,
    buffer_bytes: usize,
    threads: usize,
) -> Result<Decoded> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let buffer = Buffer::new(buffer_bytes, folder);
    let counts: Mutex<Vec<InputRead>> = Mutex::new(vec![InputRead::default(); inputs.len()]);
    let task = match inputs {
        // How much there is nobody has counted yet.
        [Input::Hot(_)] => ctx.progress.task("read", Unit::Rows, None),
        _ => ctx.progress.task("read", Unit::Bytes, Some(inputs.iter().map(Input::size_bytes).sum())),
    };
    let (sender, receiver) = bounded(AHEAD * threads);
    thread::scope(|scope| {
        let decoders: Vec<_> = (0..threads)
            .map(|_| {
                let decoder = Decoder { inputs, rules: &rules, buffer: &buffer, dead: &dead, counts: &counts };
                let receiver: Receiver<Work> = receiver.clone();
                scope.spawn(move || decoder.run(&receiver))
            })
            .collect();
        // With the last decoder gone, sending fails and the reader ends.
        drop(receiver);
        let read = read_inputs(ctx, runtime, inputs, &sender, &task);
        drop(sender);
        let mut decoded = Ok(());
        for decoder in decoders {
            let outcome = decoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            decoded = decoded.and(outcome);
        }
        // A decoder's error is the cause of the reader's.
        decoded?;
        let sources = read?;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (count, source) in counts.iter_mut().zip(sources) {
            *count = InputRead { read: count.read, ..source };
        }
        Ok::<_, Error>(())
    })?;
    let inputs = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Decoded { parts: buffer.finish()?, rules, inputs, dead })
}

fn read_inputs(
    ctx: &Ctx,
    runtime: &Handle,
    inputs: &[Input],
    sender: &Sender<Work>,
    task: &Arc<dyn Task>,
) -> Result<Vec<InputRead>> {
    let mut sources = Vec::new();
    for (number, input) in (0..).zip(inputs) {
        ctx.stop.check()?;
        let send = |work| {
            ctx.stop.check()?;
            sender.send(work).map_err(|_| Error::failed("decoding stopped"))
        };
        let (digest, mut hot) = (Digest::default(), HotCounts::default());
        match input {
            Input::Hot(day) => {
                let read = day.read(runtime, |batch, first_row| {
                    task.advance(batch.num_rows() as u64);
                    send(Work::Rows(number, batch, first_row))
                });
                hot = read.with_context(|| format!("read {}", day.name()))?;
            }
            Input::Letters(letters) => {
                const LETTERS_AT_ONCE: usize = 1024;
                for start in (0..letters.len()).step_by(LETTERS_AT_ONCE) {
                    let end = letters.len().min(start + LETTERS_AT_ONCE);
                    send(Work::Letters(number, letters.clone(), start..end))?;
                }
            }
            Input::Export(export) => {
                let task = task.clone();
                let advance = move |bytes| task.advance(bytes);
                read_export(export, number, runtime, &digest, advance, send)
                    .with_context(|| format!("read {}", export.stamp.path))?;
            }
        }
        sources.push(InputRead { read: 0, digest: digest.hex(), hot });
    }
    Ok(sources)
}

fn read_export(
    export: &Export,
    number: u64,
    runtime: &Handle,
    digest: &Digest,
    advance: impl Fn(u64) + Send + 'static,
    mut send: impl FnMut(Work) -> Result<()>,
) -> Result<()> {
    match export.format {
        Format::Ndjson => {
            let mut blocks = Blocks::new(source::open(export, runtime, digest.clone(), advance)?, None);
            while let Some(block) = next_block(&mut blocks)? {
                if block.first_line == 1 {
                    check_is_text(&block.bytes)?;
                    check_is_lines(&block.bytes)?;
                }
                send(Work::Lines(number, block))?;
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
                send(Work::Csv(number, block, header))?;
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
                send(Work::Rows(number, batch, first_row))?;
                first_row += rows;
            }
        }
    }
    Ok(())
}

pub(super) fn next_block<R: Read>(blocks: &mut Blocks<R>) -> Result<Option<Block>> {
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

struct Decoder<'a> {
    inputs: &'a [Input],
    rules: &'a Rules,
    buffer: &'a Buffer,
    dead: &'a Collector,
    counts: &'a Mutex<Vec<InputRead>>,
}

impl Decoder<'_> {
    fn run(&self, receiver: &Receiver<Work>) -> Result<()> {
        receiver.iter().try_for_each(|work| self.decode(work))
    }

    fn decode(&self, work: Work) -> Result<()> {
        let mut refusals = Ok(());
        let mut note = |outcome: Result<()>| {
            if refusals.is_ok() {
                refusals = outcome;
            }
        };
        let input = match &work {
            Work::Lines(input, _) | Work::Csv(input, _, _) | Work::Rows(input, _, _) | Work::Letters(input, _, _) => {
                *input
            }
        };
        let mut builder = RowBuilder::new(self.rules, input);
        if let Input::Hot(day) = &self.inputs[input as usize] {
            builder = builder.of_date(day.date);
        }
        let records = match work {
            Work::Lines(_, block) | Work::Csv(_, block, _) if block.content == Content::TooLong => {
                let why = Rejection::new(Reason::TooLong, format!("the record is longer than {MAX_RECORD_MIB} MiB"));
                let letter = self.letter(input, block.first_line, &block.bytes, why);
                note(self.dead.add(input, &DeadLetter { truncated: true, ..letter }));
                1
            }
            Work::Csv(_, block, header) if block.content == Content::OpenQuote => {
                note(self.refuse(input, block.first_line, block.bytes.trim_ascii_end(), open_quote(), Some(&header)));
                1
            }
            Work::Lines(_, block) => {
                ndjson::decode(&block, &mut builder, |line, raw, why| note(self.refuse(input, line, raw, why, None)))
            }
            Work::Csv(_, block, header) => {
                csv::decode(&block, &header, &self.rules.null_tokens, &mut builder, |line, raw, why| {
                    note(self.refuse(input, line, &raw, why, Some(&header)));
                })
            }
            Work::Rows(_, batch, first) => parquet_rows::decode(&batch, first, &mut builder, |row, raw, why| {
                note(self.refuse(input, row, &raw, why, None))
            })?,
            Work::Letters(_, letters, range) => {
                for index in range.clone() {
                    self.decode_letter(input, &letters[index], index as u64 + 1, &mut builder, &mut note)?;
                }
                range.len() as u64
            }
        };
        refusals?;
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)[input as usize].read += records;
        match builder.build() {
            Some(rows) => self.buffer.add(rows),
            None => Ok(()),
        }
    }

    /// Tries a dead letter again; refused once more it keeps its origin.
    fn decode_letter(
        &self,
        input: u64,
        letter: &DeadLetter,
        line: u64,
        builder: &mut RowBuilder<'_>,
        note: &mut impl FnMut(Result<()>),
    ) -> Result<()> {
        let mut again = |why| match why {
            Refused::Run(error) => note(Err(error)),
            Refused::Record(why) => {
                let letter = DeadLetter { reason: why.reason, detail: why.detail, ..letter.clone() };
                note(self.dead.add(input, &letter));
            }
        };
        if letter.raw_is_hex || letter.truncated {
            again(Refused::Record(Rejection { reason: letter.reason, detail: letter.detail.clone() }));
            return Ok(());
        }
        let delimiter = (letter.format == RecordFormat::Csv).then_some(b',');
        let Some(block) = Blocks::new(letter.raw.as_bytes(), delimiter).next_block().context("read a dead letter")?
        else {
            again(Refused::Record(Rejection { reason: letter.reason, detail: letter.detail.clone() }));
            return Ok(());
        };
        let block = Block { first_line: line, ..block };
        match (letter.format, &letter.header) {
            (RecordFormat::Csv, Some(_)) if block.content == Content::OpenQuote => again(open_quote()),
            (RecordFormat::Csv, Some(header)) => {
                let header = Header::parse(header)?;
                csv::decode(&block, &header, &self.rules.null_tokens, builder, |_, _, why| again(why));
            }
            _ => {
                ndjson::decode(&block, builder, |_, _, why| again(why));
            }
        }
        Ok(())
    }

    fn refuse(&self, input: u64, line: u64, raw: &[u8], why: Refused, header: Option<&Header>) -> Result<()> {
        let why = match why {
            Refused::Record(why) => why,
            Refused::Run(error) => {
                return Err(error).with_context(|| format!("read {} line {line}", self.inputs[input as usize].name()));
            }
        };
        let mut letter = self.letter(input, line, raw, why);
        if let Some(header) = header {
            letter.format = RecordFormat::Csv;
            letter.header = Some(header.line.clone());
        }
        self.dead.add(input, &letter)
    }

    fn letter(&self, input: u64, line: u64, raw: &[u8], why: Rejection) -> DeadLetter {
        dead_letter(self.inputs[input as usize].name(), line, raw, why)
    }
}

fn open_quote() -> Refused {
    let detail = format!("a quote opens and does not close within {MAX_RECORD_MIB} MiB or before the end");
    Refused::Record(Rejection::new(Reason::Syntax, detail))
}

/// A dead letter of an NDJSON record; bytes that are no text are kept as hex.
pub(super) fn dead_letter(file: &str, line: u64, raw: &[u8], why: Rejection) -> DeadLetter {
    let text = std::str::from_utf8(raw);
    DeadLetter {
        file: file.to_owned(),
        line,
        reason: why.reason,
        detail: why.detail,
        format: RecordFormat::Ndjson,
        header: None,
        raw: text.map_or_else(|_| hex(raw), str::to_owned),
        raw_is_hex: text.is_err(),
        truncated: false,
    }
}
