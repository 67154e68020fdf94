//! Cuts a stream of records into blocks of whole records, so that many threads can decode one export.
//!
//! A record ends at a line break; in CSV only at one outside quotes. RFC 4180 escapes a quote by doubling it, so a
//! record is open exactly while its quotes are odd in number.

use std::io::{self, Read};

use memchr::{memchr_iter, memchr2_iter};

/// Big enough that a block's columns amortise their set-up, small enough that a few of them per thread are cheap.
const BLOCK_BYTES: usize = 4 << 20;

/// The longest record. Longer ones become dead letters with their beginning.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// What a dead letter keeps of a record that is too long.
const KEPT_OF_LONG_RECORD: usize = 64 << 10;

/// Whole records; the last may lack its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub bytes: Vec<u8>,
    /// Line of the first record, counted from 1.
    pub first_line: u64,
    /// Not records but the beginning of one that is longer than [`MAX_RECORD_BYTES`].
    pub too_long: bool,
}

/// Reads blocks one after another.
pub struct Blocks<R> {
    source: R,
    quoted: bool,
    block_bytes: usize,
    /// Bytes read and not yet given out.
    pending: Vec<u8>,
    line: u64,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    /// `quoted`: line breaks inside double quotes do not end a record.
    pub fn new(source: R, quoted: bool) -> Self {
        Self::with_block_size(source, quoted, BLOCK_BYTES)
    }

    fn with_block_size(source: R, quoted: bool, block_bytes: usize) -> Self {
        Blocks { source, quoted, block_bytes, pending: Vec::new(), line: 1, ended: false }
    }

    pub fn next_block(&mut self) -> io::Result<Option<Block>> {
        let mut scanned = 0;
        let mut end = None;
        let mut open = false;
        loop {
            if end.is_some() && self.pending.len() >= self.block_bytes {
                break;
            }
            if self.pending.len() - end.unwrap_or(0) > MAX_RECORD_BYTES && end.is_none() {
                return self.skip_long_record(open).map(Some);
            }
            if !self.fill()? {
                end = (!self.pending.is_empty()).then_some(self.pending.len());
                break;
            }
            (end, open) = self.last_end(scanned, end, open);
            scanned = self.pending.len();
        }
        let Some(end) = end else { return Ok(None) };
        let rest = self.pending.split_off(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        Ok(Some(self.block(bytes, false)))
    }

    fn block(&mut self, bytes: Vec<u8>, too_long: bool) -> Block {
        let first_line = self.line;
        self.line += memchr_iter(b'\n', &bytes).count() as u64;
        Block { bytes, first_line, too_long }
    }

    /// Reads more; `false` at the end. The first bytes lose their byte-order mark.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let at_start = self.line == 1 && self.pending.is_empty();
        let before = self.pending.len();
        // Never more than a block beyond what is there, so that a long record cannot make it grow in leaps.
        let wanted = self.block_bytes as u64;
        let read = (&mut self.source).take(wanted).read_to_end(&mut self.pending)?;
        self.ended = read < self.block_bytes;
        if at_start && self.pending.starts_with(b"\xEF\xBB\xBF") {
            self.pending.drain(..3);
        }
        Ok(self.pending.len() > before)
    }

    /// The end of the last whole record, looking only at bytes from `from` on; and whether a quote is open at the end.
    fn last_end(&self, from: usize, before: Option<usize>, mut open: bool) -> (Option<usize>, bool) {
        let new = &self.pending[from..];
        if !self.quoted {
            return (memchr::memrchr(b'\n', new).map(|at| from + at + 1).or(before), false);
        }
        let mut end = before;
        for at in memchr2_iter(b'"', b'\n', new) {
            match new[at] {
                b'"' => open = !open,
                _ if !open => end = Some(from + at + 1),
                _ => {}
            }
        }
        (end, open)
    }

    /// Gives out the beginning of a record that is too long and drops the rest, up to the next line break outside
    /// quotes, or for want of one the end.
    fn skip_long_record(&mut self, mut open: bool) -> io::Result<Block> {
        let mut kept = self.pending.clone();
        kept.truncate(KEPT_OF_LONG_RECORD);
        let first_line = self.line;
        self.line += memchr_iter(b'\n', &self.pending).count() as u64;
        self.pending.clear();
        while self.fill()? {
            let mut end = None;
            for at in memchr2_iter(b'"', b'\n', &self.pending) {
                match self.pending[at] {
                    b'"' if self.quoted => open = !open,
                    b'\n' if !open => {
                        end = Some(at + 1);
                        break;
                    }
                    _ => {}
                }
            }
            let skipped = end.unwrap_or(self.pending.len());
            self.line += memchr_iter(b'\n', &self.pending[..skipped]).count() as u64;
            self.pending.drain(..skipped);
            if end.is_some() {
                break;
            }
        }
        Ok(Block { bytes: kept, first_line, too_long: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, quoted: bool, size: usize) -> Vec<(String, u64)> {
        let mut blocks = Blocks::with_block_size(text.as_bytes(), quoted, size);
        let mut all = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            all.push((String::from_utf8(block.bytes).unwrap(), block.first_line));
        }
        all
    }

    #[test]
    fn blocks_hold_whole_lines_and_know_their_numbers() {
        let text = "one\ntwo\n\nfour\nfive";
        for size in 1..30 {
            let got = blocks(text, false, size);
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
            let got = blocks("a,\"x\ny\"\nb,\"\"\"\n\"\nc,1\n", true, size);
            for (block, _) in &got {
                assert_eq!(block.matches('"').count() % 2, 0, "block {block:?} of size {size}");
                assert!(block.starts_with(['a', 'b', 'c']));
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        assert_eq!(blocks("\u{feff}a\n", false, 100), [("a\n".to_owned(), 1)]);
    }

    #[test]
    fn a_record_that_is_too_long_is_cut_and_the_next_is_whole() {
        let long = "x".repeat(MAX_RECORD_BYTES + BLOCK_BYTES);
        let text = format!("a\n{long}\nb\n");
        let mut reader = Blocks::new(text.as_bytes(), false);
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            seen.push((block.too_long, block.first_line, block.bytes.len()));
        }
        assert_eq!(seen, [(false, 1, 2), (true, 2, KEPT_OF_LONG_RECORD), (false, 3, 2)]);
    }
}
