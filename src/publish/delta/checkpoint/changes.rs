//! What happened to the table's files since a checkpoint, in the order of their paths.

use super::super::action::Add;
use crate::data::sorted_lines::{LineSorter, SortedLines};
use crate::error::{Context, Error, Result};

/// Of all changes before they go to disk.
const MEMORY_BYTES: usize = 32 << 20;

/// A file that came or went.
#[derive(Debug, PartialEq)]
pub struct Change {
    pub path: String,
    /// `None`: it is gone.
    pub add: Option<Add>,
}

impl Change {
    /// No path has a tab in it, and a tab is before all that one has: lines are in the order of paths, then of commits.
    fn line(version: u64, path: &str, add: Option<&Add>) -> Result<Vec<u8>> {
        let mut line = format!("{path}\t{version:020}\t").into_bytes();
        if let Some(add) = add {
            serde_json::to_writer(&mut line, add).context("write down a change of the Delta table")?;
        }
        Ok(line)
    }

    fn of_line(line: &[u8]) -> Result<Self> {
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let (Some(path), Some(_), Some(add)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::failed("a change of the Delta table was not read as it was written"));
        };
        let path = String::from_utf8(path.to_vec()).context("read a path of the Delta table")?;
        let add = (!add.is_empty()).then(|| serde_json::from_slice(add)).transpose();
        Ok(Change { path, add: add.context("read a change of the Delta table")? })
    }
}

/// Takes changes in any order.
pub struct ChangeSorter(LineSorter);

impl ChangeSorter {
    pub fn new() -> Self {
        ChangeSorter(LineSorter::new(MEMORY_BYTES))
    }

    /// What the commit of `version` did to the file at `path`.
    pub fn push(&mut self, version: u64, path: &str, add: Option<&Add>) -> Result<()> {
        self.0.push(&Change::line(version, path, add)?)
    }

    pub fn finish(self) -> Result<Changes> {
        let mut lines = self.0.finish()?;
        let next = next(&mut lines)?;
        Ok(Changes { lines, next })
    }
}

/// Changes by path, of each the last.
pub struct Changes {
    lines: SortedLines,
    next: Option<Change>,
}

impl Changes {
    /// The next one whose path `is_meant`.
    pub fn next_if(&mut self, is_meant: impl FnOnce(&str) -> bool) -> Result<Option<Change>> {
        let Some(mut change) = self.next.take_if(|next| is_meant(&next.path)) else { return Ok(None) };
        loop {
            self.next = next(&mut self.lines)?;
            match self.next.take_if(|next| next.path == change.path) {
                Some(later) => change = later,
                None => return Ok(Some(change)),
            }
        }
    }
}

fn next(lines: &mut SortedLines) -> Result<Option<Change>> {
    lines.next().map(|line| Change::of_line(&line?)).transpose()
}
