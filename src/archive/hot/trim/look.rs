//! Compares rows of the hot tier with the archive, as a run would, without archiving anything.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;

use super::TrimRequest;
use crate::archive::dead_letters::Collector;
use crate::archive::hot::HotDay;
use crate::archive::read::{self, Input};
use crate::archive::run::row_memory;
use crate::archive::write::{self, Writing};
use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::data::cells::Cells;
use crate::data::columns::Columns;
use crate::data::rows::Rules;
use crate::error::Result;
use crate::model::Mapping;
use crate::store::Layout;

/// What became of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// As the server counted them.
    pub rows: u64,
    /// The archive has no event of their identity.
    pub missing: u64,
    /// It has one with other content.
    pub different: u64,
    /// It may have one, in a file that cannot be read now.
    pub undecided: u64,
    /// They are no events: the nightly job makes dead letters of them.
    pub no_events: u64,
}

impl Looked {
    /// Whether the archive has every row as it is.
    pub fn is_whole(&self) -> bool {
        self.missing + self.different + self.undecided + self.no_events == 0
    }
}

impl fmt::Display for Looked {
    /// `2 of 7 rows are not in the archive`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Looked { rows, missing, different, undecided, no_events } = *self;
        let all = [
            (missing, "not in the archive"),
            (different, "other than in the archive"),
            (undecided, "perhaps in files that cannot be read now"),
            (no_events, "dead letters and no events"),
        ];
        let parts: Vec<String> =
            all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        write!(f, "of {rows} rows {}", parts.join(", "))
    }
}

/// Reads the day's rows and compares each with the archive. Rows that the archive lacks are encoded as if they were to be
/// archived, and thrown away.
pub fn look(
    ctx: &Ctx,
    runtime: &Handle,
    request: &TrimRequest,
    mapping: &Mapping,
    snapshot: &Snapshot,
    day: HotDay,
) -> Result<Looked> {
    let rules = Rules {
        mapping: mapping.clone(),
        columns: Columns::new(snapshot.schema()),
        cells: Cells::default(),
        // A late time was accepted when it was archived, or it is not in the archive.
        max_time: i64::MAX,
        null_tokens: Vec::new(),
        renamed: Mutex::default(),
    };
    let (buffer_bytes, cell_bytes) = row_memory(request.memory_bytes, request.threads);
    let inputs = [Input::Hot(Arc::new(day.clone()))];
    let decoded = read::decode(ctx, runtime, &inputs, rules, Collector::default(), buffer_bytes, request.threads)?;
    let counts = decoded.inputs[0].hot;
    day.check(decoded.inputs[0].read, &counts)?;
    let schema = decoded.rules.columns.settle(snapshot.schema())?;
    let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
    let writing = Writing {
        ctx,
        runtime,
        decoded: &decoded,
        snapshot: Some(snapshot),
        schema: &schema,
        layout: &layout,
        cell_bytes,
        threads: request.threads,
    };
    let written = writing.write_cells()?;
    write::discard(ctx, runtime, &written);
    let undecided = written.refused.iter().filter(|refused| refused.perhaps_in.is_some()).count() as u64;
    Ok(Looked {
        rows: counts.counted,
        missing: written.files.iter().map(|new| new.file.rows).sum(),
        different: written.refused.len() as u64 - undecided,
        undecided,
        no_events: decoded.dead.count(0),
    })
}
