//! Cuts a stream of records into blocks of whole records, so that many threads can decode one export.
//!
//! A record ends at a line break; in CSV only at one outside quotes. A quote opens only at the beginning of a field, as
//! the CSV reader has it: in `5" disk` it is a letter like others. One that opens and never closes would swallow the
//! rest of the export, so its line alone is given up and the next is a record again.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memrchr};

use super::reused::Reused;
use super::step::{equal, find};

/// Big enough that a block amortises its set-up, small enough that it is decoded while the cache still has it.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest record. Longer ones become dead letters with their beginning.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// What a dead letter keeps of a record that is too long.
const KEPT_OF_LONG_RECORD: usize = 64 << 10;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Whole records; the last may lack its line break.
    Records,
    /// The beginning of a record that is longer than [`MAX_RECORD_BYTES`].
    TooLong,
    /// One line, in which a quote opens that does not close within [`MAX_RECORD_BYTES`].
    OpenQuote,
}

#[derive(Debug)]
pub struct Block {
    pub bytes: Reused,
    /// Line of the first record, counted from 1.
    pub first_line: u64,
    pub content: Content,
}

/// Reads blocks one after another.
pub struct Blocks<R> {
    source: R,
    /// Of CSV, whose quotes can hold line breaks.
    delimiter: Option<u8>,
    block_bytes: usize,
    /// Bytes read and not yet given out, and room for more.
    memory: Reused,
    /// How many were read.
    filled: usize,
    line: u64,
    ended: bool,
}

/// What is known of the pending bytes so far.
#[derive(Default)]
struct Scan {
    /// Bytes looked at.
    at: usize,
    /// Ends of the first and the last whole record.
    first_end: Option<usize>,
    end: Option<usize>,
    /// Whether a quote is open.
    is_open: bool,
    /// Where one closed: another right after it opens it again.
    closed_at: Option<usize>,
}

impl<R: Read> Blocks<R> {
    /// `delimiter` is given for CSV: line breaks inside double quotes do not end a record.
    pub fn new(source: R, delimiter: Option<u8>) -> Self {
        Self::with_block_size(source, delimiter, BLOCK_BYTES)
    }

    fn with_block_size(source: R, delimiter: Option<u8>, block_bytes: usize) -> Self {
        Blocks { source, delimiter, block_bytes, memory: Reused::default(), filled: 0, line: 1, ended: false }
    }

    pub fn next_block(&mut self) -> io::Result<Option<Block>> {
        let mut scan = Scan::default();
        loop {
            self.scan(&mut scan);
            match (scan.first_end, scan.end) {
                (Some(first), _) if first > MAX_RECORD_BYTES => return Ok(Some(self.take_long_record(first))),
                (_, Some(end)) if self.filled >= self.block_bytes => return Ok(Some(self.take(end))),
                (_, None) if self.filled > MAX_RECORD_BYTES => {
                    return if scan.is_open {
                        Ok(Some(self.take_open_line()))
                    } else {
                        self.skip_long_record().map(Some)
                    };
                }
                _ if self.fill()? => {}
                (_, None) if scan.is_open => return Ok(Some(self.take_open_line())),
                (_, Some(end)) if scan.is_open => return Ok(Some(self.take(end))),
                _ if self.filled == 0 => return Ok(None),
                _ => return Ok(Some(self.take(self.filled))),
            }
        }
    }

    fn pending(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    /// The first `end` bytes, which are whole records.
    fn take(&mut self, end: usize) -> Block {
        let mut next = self.memory.another();
        let rest = &self.pending()[end..];
        let kept = rest.len();
        if next.len() < kept {
            next.resize(kept, 0);
        }
        next[..kept].copy_from_slice(rest);
        let mut bytes = std::mem::replace(&mut self.memory, next);
        self.filled = kept;
        bytes.truncate(end);
        let first_line = self.line;
        self.line += memchr_iter(b'\n', &bytes).count() as u64;
        Block { bytes, first_line, content: Content::Records }
    }

    fn take_open_line(&mut self) -> Block {
        let end = memchr(b'\n', self.pending()).map_or(self.filled, |at| at + 1);
        Block { content: Content::OpenQuote, ..self.take(end) }
    }

    fn take_long_record(&mut self, end: usize) -> Block {
        let mut block = Block { content: Content::TooLong, ..self.take(end) };
        block.bytes.truncate(KEPT_OF_LONG_RECORD);
        block
    }

    /// Reads more; `false` at the end. The first bytes lose their byte-order mark.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let at_start = self.line == 1 && self.filled == 0;
        // Never more than a block beyond what is there, so that a long record cannot make it grow in leaps.
        let (before, wanted) = (self.filled, self.filled + self.block_bytes);
        if self.memory.len() < wanted {
            self.memory.resize(wanted, 0);
        }
        while self.filled < wanted && !self.ended {
            match self.source.read(&mut self.memory[self.filled..wanted]) {
                Ok(read) => (self.filled, self.ended) = (self.filled + read, read == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if at_start && self.pending().starts_with(b"\xEF\xBB\xBF") {
            self.drop_first(3);
        }
        Ok(self.filled > before)
    }

    fn drop_first(&mut self, bytes: usize) {
        self.memory.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Looks at the bytes that came since the last time.
    fn scan(&self, scan: &mut Scan) {
        let new = &self.pending()[scan.at..];
        let offset = scan.at;
        scan.at = self.filled;
        let Some(delimiter) = self.delimiter else {
            if scan.first_end.is_none() {
                scan.first_end = memchr(b'\n', new).map(|at| offset + at + 1);
            }
            scan.end = memrchr(b'\n', new).map(|at| offset + at + 1).or(scan.end);
            return;
        };
        let (bytes, mut at) = (self.pending(), offset);
        loop {
            if scan.is_open {
                let Some(quote) = find(bytes, at, |eight| equal(eight, b'"')) else { return };
                let is_doubled = bytes.get(quote + 1) == Some(&b'"');
                at = quote + 1 + usize::from(is_doubled);
                if !is_doubled {
                    (scan.is_open, scan.closed_at) = (false, Some(quote));
                }
                continue;
            }
            let Some(found) = find(bytes, at, |eight| equal(eight, b'"') | equal(eight, b'\n')) else { return };
            at = found + 1;
            if bytes[found] == b'\n' {
                scan.first_end.get_or_insert(at);
                scan.end = Some(at);
            } else {
                let before = found.checked_sub(1).map(|before| bytes[before]);
                let begins_field = before.is_none_or(|byte| byte == delimiter || matches!(byte, b'\n' | b'\r'));
                scan.is_open = begins_field || (found > 0 && scan.closed_at == Some(found - 1));
            }
        }
    }

    /// Gives out the beginning of a record whose end is not in sight and drops the rest of it.
    fn skip_long_record(&mut self) -> io::Result<Block> {
        let first_line = self.line;
        self.line += memchr_iter(b'\n', self.pending()).count() as u64;
        let kept = self.pending()[..KEPT_OF_LONG_RECORD].to_vec();
        self.filled = 0;
        while self.fill()? {
            let end = memchr(b'\n', self.pending());
            self.drop_first(end.map_or(self.filled, |at| at + 1));
            if end.is_some() {
                self.line += 1;
                break;
            }
        }
        Ok(Block { bytes: kept.into(), first_line, content: Content::TooLong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, delimiter: Option<u8>, size: usize) -> Vec<(String, u64)> {
        let mut blocks = Blocks::with_block_size(text.as_bytes(), delimiter, size);
        let mut all = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            all.push((String::from_utf8(block.bytes.to_vec()).unwrap(), block.first_line));
        }
        all
    }

    #[test]
    fn blocks_hold_whole_lines_and_know_their_numbers() {
        let text = "one\ntwo\n\nfour\nfive";
        for size in 1..30 {
            let got = blocks(text, None, size);
            assert_eq!(got.iter().map(|(t, _)| t.as_str()).collect::<String>(), text, "block size {size}");
            let mut before = 0;
            for (block, line) in &got {
                assert_eq!(*line, before + 1, "block {block:?} of size {size}");
                before += block.matches('\n').count() as u64;
            }
            let (last, whole) = got.split_last().unwrap();
            assert!(whole.iter().all(|(t, _)| t.ends_with('\n')) && last.0.ends_with("five"));
        }
    }

    #[test]
    fn a_quoted_line_break_does_not_end_a_csv_record() {
        for size in 1..30 {
            let got = blocks("a,\"x\ny\"\nb,\"\"\"\n\"\nc,1\n", Some(b','), size);
            for (block, _) in &got {
                assert_eq!(block.matches('"').count() % 2, 0, "block {block:?} of size {size}");
                assert!(block.starts_with(['a', 'b', 'c']));
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        assert_eq!(blocks("\u{feff}a\n", None, 100), [("a\n".to_owned(), 1)]);
    }

    fn contents(text: &str, delimiter: Option<u8>) -> Vec<(Content, u64, usize)> {
        let mut reader = Blocks::new(text.as_bytes(), delimiter);
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            seen.push((block.content, block.first_line, block.bytes.len()));
        }
        seen
    }

    #[test]
    fn a_record_that_is_too_long_is_cut_and_the_next_is_whole() {
        use Content::{Records, TooLong};
        let cut = (TooLong, 2, KEPT_OF_LONG_RECORD);
        for length in [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES + 2 * BLOCK_BYTES] {
            let long = "x".repeat(length);
            for delimiter in [None, Some(b',')] {
                let got = contents(&format!("a\n{long}\nb\n"), delimiter);
                assert_eq!(got, [(Records, 1, 2), cut, (Records, 3, 2)], "{length} {delimiter:?}");
            }
            let got = contents(&format!("a\n{long}"), None);
            let last = if length > MAX_RECORD_BYTES { cut } else { (Records, 2, length) };
            assert_eq!(got, [(Records, 1, 2), last], "{length}");
        }
    }

    #[test]
    fn an_open_quote_costs_one_line() {
        use Content::{OpenQuote, Records};
        let rest = "d,1\n".repeat(MAX_RECORD_BYTES / 4 + BLOCK_BYTES);
        let got = contents(&format!("a,1\nb,\"2\n{rest}"), Some(b','));
        assert_eq!(got[..2], [(Records, 1, 4), (OpenQuote, 2, 5)]);
        assert_eq!(
            got[2..]
                .iter()
                .map(|(content, _, bytes)| {
                    assert_eq!(*content, Records);
                    bytes
                })
                .sum::<usize>(),
            rest.len()
        );
        assert_eq!(contents("a,1\nb,\"2\nc,3\n", Some(b',')), [(Records, 1, 4), (OpenQuote, 2, 5), (Records, 3, 4)]);
        assert_eq!(contents("a,5\" x\nb,\"2\n\"\nc,\"\"\n", Some(b',')), [(Records, 1, 19)]);
    }
}
