//! Lines in the order of their bytes: in memory up to a bound, and beyond it in temporary files.
//!
//! Whenever memory is full its lines are sorted and become a run, a file of its own, compressed; at the end the runs are
//! merged. Since each run takes memory while it is merged, so many of one size become one of the next on the way: lines beyond
//! counting are written a few times more, and not read from more runs at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};

use crate::error::{Context, Result};

const PHRASE: &str = "sort lines in a temporary file";

/// The cheapest: lines that follow each other are alike.
const ZSTD_LEVEL: i32 = 1;

/// 128 KiB, which each run holds while it is merged.
const WINDOW_LOG: u32 = 17;

/// Of a run's compressed and uncompressed bytes each, while it is merged.
const BUFFER_BYTES: usize = 16 << 10;

/// Runs of one size that become one of the next.
const MERGED_RUNS: usize = 32;

/// Takes lines in any order.
pub struct LineSorter {
    /// Lines without their ends, and where each begins and ends.
    bytes: Vec<u8>,
    lines: Vec<(usize, usize)>,
    max_memory_bytes: usize,
    /// Of each size, from one full memory upwards: less than [`MERGED_RUNS`].
    runs: Vec<Vec<File>>,
}

impl LineSorter {
    /// Holds at most about so many bytes of lines.
    pub fn new(max_memory_bytes: usize) -> Self {
        LineSorter { bytes: Vec::new(), lines: Vec::new(), max_memory_bytes, runs: Vec::new() }
    }

    /// `line` has no end of line in it.
    pub fn push(&mut self, line: &[u8]) -> Result<()> {
        if self.bytes.len() + line.len() > self.max_memory_bytes {
            self.spill().context(PHRASE)?;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.lines.push((begin, self.bytes.len()));
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let line = |&(begin, end): &(usize, usize)| &self.bytes[begin..end];
        self.lines.sort_unstable_by(|a, b| line(a).cmp(line(b)));
        let mut run = write_run(self.lines.iter().map(|place| Ok(line(place))))?;
        self.bytes.clear();
        self.lines.clear();
        for size in 0.. {
            if size == self.runs.len() {
                self.runs.push(Vec::new());
            }
            let alike = &mut self.runs[size];
            alike.push(run);
            if alike.len() < MERGED_RUNS {
                break;
            }
            let mut merged = SortedLines::merge(alike.drain(..))?;
            run = write_run(std::iter::from_fn(|| merged.pop().transpose()))?;
        }
        Ok(())
    }

    /// All lines in order; alike ones each.
    pub fn finish(mut self) -> Result<SortedLines> {
        let merged = move || {
            self.spill()?;
            drop(self.bytes);
            SortedLines::merge(self.runs.into_iter().flatten())
        };
        merged().context(PHRASE)
    }
}

/// A file of lines that come in order; it is read from its begin.
fn write_run<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = io::Result<L>>) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut run = zstd::Encoder::new(BufWriter::new(&mut file), ZSTD_LEVEL)?;
    run.window_log(WINDOW_LOG)?;
    for line in lines {
        run.write_all(line?.as_ref())?;
        run.write_all(b"\n")?;
    }
    run.finish()?.flush()?;
    file.rewind()?;
    Ok(file)
}

type Run = BufReader<zstd::Decoder<'static, BufReader<File>>>;

/// Gives lines in order.
pub struct SortedLines {
    runs: Vec<Run>,
    /// The next line of each run that has one.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl SortedLines {
    fn merge(runs: impl Iterator<Item = File>) -> io::Result<Self> {
        let mut sorted = SortedLines { runs: Vec::new(), heads: BinaryHeap::new() };
        for (number, file) in runs.enumerate() {
            let run = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER_BYTES, file))?;
            let mut run = BufReader::with_capacity(BUFFER_BYTES, run);
            sorted.heads.extend(next_line(&mut run)?.map(|line| Reverse((line, number))));
            sorted.runs.push(run);
        }
        Ok(sorted)
    }

    fn pop(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((line, run)) = &mut *head;
        Ok(Some(match next_line(&mut self.runs[*run])? {
            Some(next) => std::mem::replace(line, next),
            None => PeekMut::pop(head).0.0,
        }))
    }
}

impl Iterator for SortedLines {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pop().context(PHRASE).transpose()
    }
}

fn next_line(run: &mut Run) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if run.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    line.pop();
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorter(max_memory_bytes: usize, lines: u32) -> LineSorter {
        let mut sorter = LineSorter::new(max_memory_bytes);
        for number in (0..lines).rev() {
            sorter.push(text(number).as_bytes()).unwrap();
        }
        sorter
    }

    /// Many numbers have the same.
    fn text(number: u32) -> String {
        (number * 7_919 % 400).to_string()
    }

    #[test]
    fn lines_come_out_in_order_whether_they_fit_in_memory_or_not() {
        for max_memory_bytes in [0, 100, 1 << 20] {
            let sorted = sorter(max_memory_bytes, 500).finish().unwrap();
            let sorted: Vec<String> = sorted.map(|line| String::from_utf8(line.unwrap()).unwrap()).collect();
            let mut expected: Vec<String> = (0..500).map(text).collect();
            expected.sort();
            assert_eq!(sorted, expected);
        }
        assert_eq!(LineSorter::new(0).finish().unwrap().count(), 0);
    }

    #[test]
    fn a_thousand_runs_are_never_open_at_once() {
        // Each line is a run, but for the last, which is still in memory.
        let lines = (MERGED_RUNS * MERGED_RUNS) as u32;
        let runs = |lines| sorter(0, lines).runs.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(runs(lines), [MERGED_RUNS - 1, MERGED_RUNS - 1]);
        assert_eq!(runs(lines + 1), [0, 0, 1]);
    }
}
