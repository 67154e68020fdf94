//! Inputs to validated rows, on all cores.
//!
//! One thread reads and unpacks and cuts blocks; the others decode them into the buffer. The queue between them is
//! short: it is what bounds memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;

use super::dead_letters::Collector;
use super::hot::{HotCounts, HotDay};
use crate::context::Context as Ctx;
use crate::data::blocks::{Block, Blocks, Content};
use crate::data::buffer::{Buffer, Parts};
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::rows::{Refused, Rejection, RowBuilder, Rules};
use crate::data::threads;
use crate::error::{Context, Error, Result};
use crate::exports::source::Digest;
use crate::exports::{self, Export, Piece, Unfit, open_quote};
use crate::model::{DeadLetter, RecordFormat, hex};
use crate::progress::{Task, Unit};

/// Blocks read ahead of each decoding thread.
const AHEAD: usize = 1;

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

/// Something to decode, with the number of its input.
enum Work {
    Piece(u64, Piece),
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
    let buffer = Buffer::new(buffer_bytes);
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
            let outcome = threads::outcome(decoder.join());
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
    Ok(Decoded { parts: buffer.finish(), rules, inputs, dead })
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
                    send(Work::Piece(number, Piece::Rows(batch, first_row)))
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
                exports::read(export, runtime, &digest, advance, |piece| send(Work::Piece(number, piece)))
                    .with_context(|| format!("read {}", export.stamp.path))?;
            }
        }
        sources.push(InputRead { read: 0, digest: digest.hex(), hot });
    }
    Ok(sources)
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
        let mut builder = RowBuilder::new(self.rules);
        receiver.iter().try_for_each(|work| self.decode(work, &mut builder))
    }

    fn decode(&self, work: Work, builder: &mut RowBuilder<'_>) -> Result<()> {
        let mut refusals = Ok(());
        let mut note = |outcome: Result<()>| {
            if refusals.is_ok() {
                refusals = outcome;
            }
        };
        let (Work::Piece(input, _) | Work::Letters(input, _, _)) = work;
        let date = match &self.inputs[input as usize] {
            Input::Hot(day) => Some(day.date),
            _ => None,
        };
        builder.begin(input, date);
        let records = match work {
            Work::Piece(_, piece) => {
                piece.decode(&self.rules.null_tokens, builder, |unfit| note(self.refuse(input, unfit)))?
            }
            Work::Letters(_, letters, range) => {
                for index in range.clone() {
                    self.decode_letter(input, &letters[index], index as u64 + 1, builder, &mut note)?;
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

    fn refuse(&self, input: u64, unfit: Unfit<'_>) -> Result<()> {
        let name = self.inputs[input as usize].name();
        let why = match unfit.why {
            Refused::Record(why) => why,
            Refused::Run(error) => return Err(error).with_context(|| format!("read {name} line {}", unfit.line)),
        };
        let letter = dead_letter(name, unfit.line, unfit.raw, unfit.header, why);
        self.dead.add(input, &DeadLetter { truncated: unfit.is_truncated, ..letter })
    }
}

/// A dead letter of a record, of CSV if there is a header; bytes that are no text are kept as hex.
pub(super) fn dead_letter(file: &str, line: u64, raw: &[u8], header: Option<&Header>, why: Rejection) -> DeadLetter {
    let text = std::str::from_utf8(raw);
    DeadLetter {
        file: file.to_owned(),
        line,
        reason: why.reason,
        detail: why.detail,
        format: header.map_or(RecordFormat::Ndjson, |_| RecordFormat::Csv),
        header: header.map(|header| header.line.clone()),
        raw: text.map_or_else(|_| hex(raw), str::to_owned),
        raw_is_hex: text.is_err(),
        truncated: false,
    }
}
