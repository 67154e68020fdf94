//! Records that could not be archived: collected during a run, kept on the store, read again.
//!
//! A run writes one file per reason, so that settling a reason settles whole files.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::runtime::Handle;

use crate::catalog::{DeadLetterFile, Snapshot};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Result};
use crate::model::{DeadLetter, Reason, sha256};
use crate::store::{Layout, Store};

/// Examples kept of each reason.
const EXAMPLES: usize = 3;

/// Below this many dead letters of one export a run goes through, whatever the share.
const DEFAULT_ROWS: u64 = 10;
const DEFAULT_PERCENT: f64 = 1.0;

/// How many records of an export may be dead letters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DeadLetterLimit {
    /// The larger of 10 rows and 1%.
    Default,
    Rows(u64),
    Percent(f64),
}

impl DeadLetterLimit {
    pub fn of(self, read: u64) -> u64 {
        let percent = |percent: f64| (read as f64 * percent / 100.0).floor() as u64;
        match self {
            DeadLetterLimit::Default => DEFAULT_ROWS.max(percent(DEFAULT_PERCENT)),
            DeadLetterLimit::Rows(rows) => rows,
            DeadLetterLimit::Percent(share) => percent(share),
        }
    }
}

impl FromStr for DeadLetterLimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::usage(format!("`{text}` is not a limit for dead letters"))
                .hint("write a number or a percentage: 100 or 5%")
        };
        match text.strip_suffix('%') {
            Some(share) => match share.trim().parse::<f64>() {
                Ok(share) if (0.0..=100.0).contains(&share) => Ok(DeadLetterLimit::Percent(share)),
                _ => Err(bad()),
            },
            None => text.parse().map(DeadLetterLimit::Rows).map_err(|_| bad()),
        }
    }
}

/// A dead letter to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    pub reason: Reason,
    pub file: String,
    pub line: u64,
    pub detail: String,
    pub raw: String,
}

impl Example {
    fn of(letter: &DeadLetter) -> Self {
        const SHOWN: usize = 120;
        let mut raw: String = letter.raw.chars().take(SHOWN).collect();
        if raw.len() < letter.raw.len() {
            raw.push('…');
        }
        Example {
            reason: letter.reason,
            file: letter.file.clone(),
            line: letter.line,
            detail: letter.detail.clone(),
            raw,
        }
    }
}

/// Takes dead letters from many threads and keeps them on disk.
#[derive(Default)]
pub struct Collector {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Letters that are kept already, by [`fingerprint`]; absent where every letter is new.
    known: Option<HashSet<blake3::Hash>>,
    files: BTreeMap<Reason, ReasonFile>,
    /// By export number.
    counts: BTreeMap<u64, Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    all: u64,
    undecided: u64,
}

struct ReasonFile {
    writer: zstd::Encoder<'static, File>,
    records: u64,
    examples: Vec<Example>,
}

impl Collector {
    /// For a source that is read again and again: letters of these fingerprints are counted, and not kept twice.
    pub fn knowing(self, known: HashSet<blake3::Hash>) -> Self {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).known = Some(known);
        self
    }

    pub fn add(&self, export: u64, letter: &DeadLetter) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = state.counts.entry(export).or_default();
        counts.all += 1;
        counts.undecided += u64::from(letter.reason == Reason::Undecided);
        if state.known.as_mut().is_some_and(|known| !known.insert(fingerprint(letter))) {
            return Ok(());
        }
        let file = match state.files.entry(letter.reason) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(ReasonFile::create()?),
        };
        let mut line = serde_json::to_vec(letter).context("encode a dead letter")?;
        line.push(b'\n');
        file.writer.write_all(&line).context("write a dead letter")?;
        file.records += 1;
        if file.examples.len() < EXAMPLES {
            file.examples.push(Example::of(letter));
        }
        Ok(())
    }

    /// Dead letters of an export so far.
    pub fn count(&self, export: u64) -> u64 {
        self.counts(export).all
    }

    /// Those of them that are the export's fault. An undecided record is not.
    pub fn bad(&self, export: u64) -> u64 {
        let counts = self.counts(export);
        counts.all - counts.undecided
    }

    fn counts(&self, export: u64) -> Counts {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).counts.get(&export).copied().unwrap_or_default()
    }

    /// Dead letters by reason.
    pub fn reasons(&self) -> BTreeMap<Reason, u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.files.iter().map(|(reason, file)| (*reason, file.records)).collect()
    }

    pub fn examples(&self) -> Vec<Example> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.files.values().flat_map(|file| file.examples.clone()).collect()
    }

    /// Puts the files on the store and returns what the catalog should know of them.
    pub fn store(self, ctx: &Ctx, layout: &Layout, runtime: &Handle) -> Result<Vec<DeadLetterFile>> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut stored = Vec::new();
        for (number, (reason, file)) in state.files.into_iter().enumerate() {
            let mut letters = file.writer.finish().context("write a dead letter")?;
            let mut bytes = Vec::new();
            letters.rewind().and_then(|()| letters.read_to_end(&mut bytes)).context("read the dead letters")?;
            let path = layout.dead_letters(number);
            let sha256 = sha256(&bytes);
            runtime.block_on(ctx.store.put(&path, bytes))?;
            stored.push(DeadLetterFile { path, reason, records: file.records, sha256, version: 0, time: ctx.now() });
        }
        Ok(stored)
    }
}

impl ReasonFile {
    fn create() -> Result<Self> {
        let file = tempfile::tempfile().context("make a temporary file")?;
        let writer = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL).context("make a temporary file")?;
        Ok(ReasonFile { writer, records: 0, examples: Vec::new() })
    }
}

/// Tells whether two letters are of the same record of a source.
fn fingerprint(letter: &DeadLetter) -> blake3::Hash {
    blake3::Hasher::new().update(letter.file.as_bytes()).update(b"\0").update(letter.raw.as_bytes()).finalize()
}

/// The fingerprints of open dead letters of `source`.
pub async fn known_letters(snapshot: &Snapshot, source: &str) -> Result<HashSet<blake3::Hash>> {
    let mut known = HashSet::new();
    for file in list_dead_letters(snapshot, None, None) {
        for letter in read_dead_letters(snapshot.store(), &file).await? {
            let letter = letter?;
            if letter.file == source {
                known.insert(fingerprint(&letter));
            }
        }
    }
    Ok(known)
}

/// The open dead-letter files that `reason` and `version` pick.
pub fn list_dead_letters(snapshot: &Snapshot, reason: Option<Reason>, version: Option<u64>) -> Vec<DeadLetterFile> {
    let all = &snapshot.root().document.dead_letters;
    let picked =
        |file: &&DeadLetterFile| reason.is_none_or(|r| file.reason == r) && version.is_none_or(|v| file.version == v);
    all.iter().filter(picked).cloned().collect()
}

/// The records of a dead-letter file, one after another.
pub async fn read_dead_letters(
    store: &Store,
    file: &DeadLetterFile,
) -> Result<impl Iterator<Item = Result<DeadLetter>> + use<>> {
    let bytes = store.get(&file.path).await?;
    let phrase = format!("read dead letters {}", store.address(&file.path));
    let reader = BufReader::new(zstd::Decoder::new(bytes::Buf::reader(bytes)).with_context(|| phrase.clone())?);
    Ok(reader.lines().map(move |line| {
        let line = line.with_context(|| phrase.clone())?;
        serde_json::from_str(&line).with_context(|| phrase.clone())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limit_is_ten_rows_or_one_percent() {
        assert_eq!(DeadLetterLimit::Default.of(100), 10);
        assert_eq!(DeadLetterLimit::Default.of(100_000), 1_000);
        assert_eq!("5%".parse::<DeadLetterLimit>().unwrap().of(200), 10);
        assert_eq!("0".parse::<DeadLetterLimit>().unwrap().of(200), 0);
        assert!("many".parse::<DeadLetterLimit>().is_err());
        assert!("101%".parse::<DeadLetterLimit>().is_err());
    }
}
