//! Objects that nobody needs, on disk: there may be as many as the archive has files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Context, Result};
use crate::store::{Listed, ObjectSum};

/// An object that no version needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub path: String,
    pub bytes: u64,
    pub modified: Timestamp,
}

impl From<Listed> for Orphan {
    fn from(object: Listed) -> Self {
        Orphan { path: object.path, bytes: object.size_bytes, modified: object.modified }
    }
}

/// A list of orphans in a temporary file. Serializes as a sequence, one at a time.
#[derive(Debug)]
pub struct Orphans {
    file: File,
    pub sum: ObjectSum,
}

impl Orphans {
    pub fn writer() -> Result<OrphansWriter> {
        let file = tempfile::tempfile().context("make a temporary file")?;
        Ok(OrphansWriter { lines: BufWriter::new(file), sum: ObjectSum::default() })
    }

    /// In the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = Result<Orphan>> + '_ {
        let lines = BufReader::new(FromStart { file: &self.file, at: 0 }).lines();
        lines.map(|line| {
            let line = line.context("read a temporary file")?;
            serde_json::from_str(&line).context("read a temporary file")
        })
    }
}

impl Serialize for Orphans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(usize::try_from(self.sum.objects).ok())?;
        for orphan in self.iter() {
            sequence.serialize_element(&orphan.map_err(S::Error::custom)?)?;
        }
        sequence.end()
    }
}

#[derive(Debug)]
pub struct OrphansWriter {
    lines: BufWriter<File>,
    sum: ObjectSum,
}

impl OrphansWriter {
    pub fn add(&mut self, orphan: &Orphan) -> Result<()> {
        self.sum.add(orphan.bytes);
        serde_json::to_writer(&mut self.lines, orphan).context("write a temporary file")?;
        self.lines.write_all(b"\n").context("write a temporary file")
    }

    pub fn finish(self) -> Result<Orphans> {
        let file = self.lines.into_inner().map_err(io::IntoInnerError::into_error).context("write a temporary file")?;
        Ok(Orphans { file, sum: self.sum })
    }
}

/// Reads from the beginning, whoever else reads the same file.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_comes_back_in_order_and_as_a_sequence() {
        let orphan = |number: u64| Orphan {
            path: format!("events/date=2026-08-24/event_type=a\n/{number}.parquet"),
            bytes: number,
            modified: Timestamp::UNIX_EPOCH,
        };
        let mut writer = Orphans::writer().unwrap();
        let all: Vec<Orphan> = (0..1000).map(orphan).collect();
        all.iter().for_each(|orphan| writer.add(orphan).unwrap());
        let orphans = writer.finish().unwrap();
        for _ in 0..2 {
            assert_eq!(orphans.iter().collect::<Result<Vec<_>>>().unwrap(), all);
        }
        assert_eq!(orphans.sum, ObjectSum { objects: 1000, bytes: 499_500 });
        assert_eq!(serde_json::to_value(&orphans).unwrap(), serde_json::to_value(&all).unwrap());
    }
}
