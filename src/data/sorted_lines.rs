//! Lines in the order of their bytes: in memory up to a bound, and beyond it in one temporary file.
//!
//! Whenever memory is full its lines are sorted and become a run of the file, compressed; at the end the runs are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::error::{Context, Result};

const PHRASE: &str = "sort lines in a temporary file";

/// The cheapest: lines that follow each other are alike.
const ZSTD_LEVEL: i32 = 1;

/// 128 KiB, which each run holds while it is merged.
const WINDOW_LOG: u32 = 17;

/// Of a run's compressed and uncompressed bytes each, while it is merged.
const BUFFER_BYTES: usize = 16 << 10;

/// Takes lines in any order.
pub struct LineSorter {
    /// Lines without their ends, and where each begins and ends.
    bytes: Vec<u8>,
    lines: Vec<(usize, usize)>,
    max_memory_bytes: usize,
    file: Option<File>,
    /// The offset at which each run ends.
    ends: Vec<u64>,
}

impl LineSorter {
    /// Holds at most about so many bytes of lines.
    pub fn new(max_memory_bytes: usize) -> Self {
        LineSorter { bytes: Vec::new(), lines: Vec::new(), max_memory_bytes, file: None, ends: Vec::new() }
    }

    /// `line` has no end of line in it.
    pub fn push(&mut self, line: &[u8]) -> Result<()> {
        if self.bytes.len() + line.len() > self.max_memory_bytes {
            self.write_run().context(PHRASE)?;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.lines.push((begin, self.bytes.len()));
        Ok(())
    }

    fn write_run(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let line = |&(begin, end): &(usize, usize)| &self.bytes[begin..end];
        self.lines.sort_unstable_by(|a, b| line(a).cmp(line(b)));
        let mut file = self.file.take().map_or_else(tempfile::tempfile, Ok)?;
        let mut run = zstd::Encoder::new(BufWriter::new(&mut file), ZSTD_LEVEL)?;
        run.window_log(WINDOW_LOG)?;
        for place in &self.lines {
            run.write_all(line(place))?;
            run.write_all(b"\n")?;
        }
        run.finish()?.flush()?;
        self.ends.push(file.stream_position()?);
        self.file = Some(file);
        self.bytes.clear();
        self.lines.clear();
        Ok(())
    }

    /// All lines in order; alike ones each.
    pub fn finish(mut self) -> Result<SortedLines> {
        let merged = move || {
            self.write_run()?;
            let Some(file) = self.file.map(Arc::new) else { return Ok(SortedLines::default()) };
            drop(self.bytes);
            let mut sorted = SortedLines::default();
            let begins = std::iter::once(0).chain(self.ends.iter().copied());
            for (number, (begin, &end)) in begins.zip(&self.ends).enumerate() {
                let part = Part { file: file.clone(), next: begin, end };
                let run = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER_BYTES, part))?;
                let mut run = BufReader::with_capacity(BUFFER_BYTES, run);
                sorted.heads.extend(next_line(&mut run)?.map(|line| Reverse((line, number))));
                sorted.runs.push(run);
            }
            Ok::<_, io::Error>(sorted)
        };
        merged().context(PHRASE)
    }
}

type Run = BufReader<zstd::Decoder<'static, BufReader<Part>>>;

/// Gives lines in order.
#[derive(Default)]
pub struct SortedLines {
    runs: Vec<Run>,
    /// The next line of each run that has one.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl SortedLines {
    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
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
        self.take().context(PHRASE).transpose()
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

/// A part of a file that others read too.
struct Part {
    file: Arc<File>,
    next: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min((self.end - self.next) as usize);
        let read = self.file.read_at(&mut buffer[..length], self.next)?;
        self.next += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_in_order_whether_they_fit_in_memory_or_not() {
        for max_memory_bytes in [0, 100, 1 << 20] {
            let mut sorter = LineSorter::new(max_memory_bytes);
            for number in (0..500_u32).rev() {
                sorter.push((number * 7_919 % 400).to_string().as_bytes()).unwrap();
            }
            let sorted: Vec<String> =
                sorter.finish().unwrap().map(|line| String::from_utf8(line.unwrap()).unwrap()).collect();
            let mut expected: Vec<String> = (0..500_u32).map(|number| (number * 7_919 % 400).to_string()).collect();
            expected.sort();
            assert_eq!(sorted, expected);
        }
        assert_eq!(LineSorter::new(0).finish().unwrap().count(), 0);
    }
}
