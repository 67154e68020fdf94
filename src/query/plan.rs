//! A statement that is ready to be answered, and what that takes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;

use super::answer::{Incomplete, LeftOut};
use super::archived::Unreadable;
use super::ladder::Ladder;
use super::live::HotLog;
use crate::clock::Stopwatch;
use crate::model::DateRange;
use crate::store::Requests;

/// Made by [`super::Engine::plan`]; no data has been read.
pub struct Plan {
    pub(super) sql: Arc<str>,
    pub(super) work: Work,
    pub(super) is_explained: bool,
    pub(super) ladder: Ladder,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) possibly_incomplete: Vec<DateRange>,
    pub(super) skipped: Option<LeftOut>,
    pub(super) hot: Arc<HotLog>,
    /// Requests of the process before this statement, and those of its planning.
    pub(super) before: Requests,
    pub(super) planning: Requests,
    pub(super) watch: Stopwatch,
}

pub(super) enum Work {
    /// The columns of a table are the rows.
    Described(SchemaRef),
    Plan(Arc<dyn ExecutionPlan>),
}

impl Plan {
    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Archived files that are needed and cannot be read now: while there are any, it cannot be started.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// What the answer will lack, as far as is known before it is started.
    pub fn incomplete(&self) -> Option<Incomplete> {
        Incomplete::of(self.skipped.clone(), self.hot.missing())
    }
}
