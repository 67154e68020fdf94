//! A commit of the Delta table on its way: lines go to a temporary file, and what they add up to stands before them.

use std::io::{self, BufWriter, Seek, Write};

use jiff::Timestamp;
use tempfile::SpooledTempFile;

use super::action::{Action, Add, Remove};
use crate::catalog::Totals;
use crate::error::{Context, Result};
use crate::model::DataFile;
use crate::store::TempFile;

/// Beyond it the lines go to disk.
const MEMORY_BYTES: usize = 8 << 20;

/// The lines of files.
pub struct Draft {
    lines: BufWriter<SpooledTempFile>,
    at: Timestamp,
    data_change: bool,
    pub added: Totals,
    pub removed: Totals,
}

impl Draft {
    /// Of a change at `at`; without `data_change` what is added holds exactly the events of what is removed.
    pub fn new(at: Timestamp, data_change: bool) -> Self {
        let lines = BufWriter::new(SpooledTempFile::new(MEMORY_BYTES));
        Draft { lines, at, data_change, added: Totals::default(), removed: Totals::default() }
    }

    pub fn add(&mut self, file: &DataFile) -> Result<()> {
        self.added.add(1, file.rows, file.size_bytes);
        write_line(&mut self.lines, &Action::Add(Add::new(file, self.data_change)?))
    }

    pub fn remove(&mut self, file: &DataFile) -> Result<()> {
        self.removed.add(1, file.rows, file.size_bytes);
        write_line(&mut self.lines, &Action::Remove(Remove::new(file, self.at, self.data_change)))
    }

    /// The whole commit, `head` first.
    pub fn finish(self, head: &[Action]) -> Result<TempFile> {
        let finish = |lines: BufWriter<SpooledTempFile>| {
            let mut lines = lines.into_inner().map_err(io::IntoInnerError::into_error)?;
            lines.rewind()?;
            Ok::<_, io::Error>(lines)
        };
        let mut lines = finish(self.lines).context(PHRASE)?;
        let mut file = tempfile::tempfile().context(PHRASE)?;
        for action in head {
            write_line(&mut file, action)?;
        }
        io::copy(&mut lines, &mut file).context(PHRASE)?;
        TempFile::new(file)
    }
}

const PHRASE: &str = "write a commit of the Delta table to a temporary file";

/// Writes an action as the log has it.
pub fn write_line(out: &mut impl Write, action: &Action) -> Result<()> {
    serde_json::to_writer(&mut *out, action).context(PHRASE)?;
    out.write_all(b"\n").context(PHRASE)
}
