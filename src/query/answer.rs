//! What a statement answers: a schema, batches as they come, and a report of what it took.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use jiff::civil::Date;
use serde::Serialize;

use super::archived::Missing;
use super::errors;
use super::estimate::{self, Estimate, Tariff};
use super::ladder::{HotPart, Ladder, count};
use super::live::{HotLog, HotMissing};
use crate::clock::Stopwatch;
use crate::error::{Context, Result};
use crate::model::{DateRange, Usd};
use crate::store::{Requests, Store};

/// What a line names before it only counts.
const NAMED: usize = 5;

/// Rows on their way. Dropping it stops the query and what it still has in flight.
pub struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) stream: SendableRecordBatchStream,
    /// Of an EXPLAIN: shown as its last row.
    pub(super) explained: bool,
    pub(super) version: u64,
    pub(super) ladder: Ladder,
    pub(super) rows: u64,
    pub(super) store: Store,
    pub(super) tariff: Tariff,
    pub(super) estimate: Estimate,
    pub(super) skipped: Option<LeftOut>,
    pub(super) possibly_incomplete: Vec<DateRange>,
    pub(super) hot: Arc<HotLog>,
    /// Requests of the process before the statement, and those of planning it.
    pub(super) before: Requests,
    pub(super) planning: Requests,
    pub(super) watch: Stopwatch,
}

/// What an answer lacks. There is one only where it lacks something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    pub archived: Option<LeftOut>,
    pub hot: Option<HotMissing>,
}

/// What an answer lacks because files are archived, and the command that makes them readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub missing: Vec<Missing>,
    /// That the question covers, those that are missing included.
    pub months: u64,
    pub command: String,
}

impl Incomplete {
    pub(super) fn of(archived: Option<LeftOut>, hot: Option<HotMissing>) -> Option<Self> {
        (archived.is_some() || hot.is_some()).then_some(Incomplete { archived, hot })
    }
}

impl fmt::Display for Incomplete {
    /// A line for each tier.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archived = self.archived.as_ref().map(|archived| format!("incomplete: {archived}"));
        let hot = self.hot.as_ref().map(|hot| format!("incomplete: {hot}"));
        f.write_str(&archived.into_iter().chain(hot).collect::<Vec<_>>().join("\n"))
    }
}

impl fmt::Display for LeftOut {
    /// ` 2 of 36 months are archived (2019-03, 2019-04; tenants acme, globex); to complete: tier restore …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let months: Vec<&str> = self.missing.iter().map(|missing| missing.month.as_str()).collect();
        let tenants: BTreeSet<&str> = self.missing.iter().flat_map(|m| m.tenants.iter().map(String::as_str)).collect();
        let tenants: Vec<&str> = tenants.into_iter().collect();
        write!(
            f,
            "{} of {} months {} archived ({}; tenants {}); to complete: {}",
            count(months.len() as u64),
            count(self.months),
            if months.len() == 1 { "is" } else { "are" },
            first_of(&months),
            first_of(&tenants),
            self.command
        )
    }
}

fn first_of(names: &[&str]) -> String {
    match names.len() {
        n if n > NAMED => format!("{} and {} more", names[..NAMED].join(", "), count((n - NAMED) as u64)),
        _ => names.join(", "),
    }
}

/// Requests by kind, as a store bills them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    pub list: u64,
    pub get: u64,
    pub head: u64,
}

/// What an answer took, up to now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub format_version: &'static str,
    /// Of the archive that answered.
    pub version: u64,
    pub rows: u64,
    /// Whether every event that the question covers was looked at.
    pub complete: bool,
    /// By month, what was not because it is archived.
    pub missing: Vec<Missing>,
    /// What was not because the hot tier did not answer.
    pub hot_missing: Option<HotMissing>,
    pub hot_partitions: u64,
    pub hot_rows: u64,
    /// Of these rows, those that are no events and were left out.
    pub hot_refused: u64,
    /// Dates that the question covers and that were first read after their events had begun to expire.
    pub possibly_incomplete: Vec<DateRange>,
    pub files_total: u64,
    pub files_pruned: u64,
    pub files_scanned: u64,
    /// Of those scanned: restored copies.
    pub files_archived: u64,
    /// The catalog's included.
    pub requests: RequestCounts,
    pub bytes_read: u64,
    /// What that costs on S3.
    pub cost_usd: Usd,
    pub prices_date: Date,
    /// Whether the store has no storage classes of its own and sends no bill.
    pub simulated: bool,
    /// What was expected before the first data was read.
    pub estimate: Estimate,
    pub elapsed_ms: u64,
}

impl Answer {
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows; `None` when the answer is whole.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.stream.next().await {
            Some(batch) => Some(batch.map_err(|error| errors::of_running(&error))?),
            None if self.explained => {
                self.explained = false;
                Some(self.ladder_row()?)
            }
            None => None,
        };
        self.rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        Ok(batch)
    }

    /// All rows at once: for small answers.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Dates that the question covers and of which the archive may lack events: nobody read them in time.
    pub fn possibly_incomplete(&self) -> &[DateRange] {
        &self.possibly_incomplete
    }

    pub fn ladder(&self) -> Ladder {
        let (rows, refused) = self.hot.read();
        Ladder { hot: HotPart { rows, refused, ..self.ladder.hot.clone() }, ..self.ladder.clone() }
    }

    /// What it lacks, where it was told to leave out what is archived or a hot tier that is down. Known when all rows
    /// have come.
    pub fn incomplete(&self) -> Option<Incomplete> {
        Incomplete::of(self.skipped.clone(), self.hot.missing())
    }

    pub fn report(&self) -> Report {
        let planned = &self.ladder.planned;
        let requests = self.store.requests().since(&self.before);
        let cost_usd = estimate::spent(&self.tariff, planned, &self.planning, &requests.since(&self.planning));
        let files_total = self.ladder.pruned.files_total;
        let (hot_rows, hot_refused) = self.hot.read();
        let incomplete = self.incomplete();
        Report {
            format_version: "1.0",
            version: self.version,
            rows: self.rows,
            complete: incomplete.is_none(),
            missing: self.skipped.as_ref().map(|skipped| skipped.missing.clone()).unwrap_or_default(),
            hot_missing: self.hot.missing(),
            hot_partitions: self.ladder.hot.planned.partitions,
            hot_rows,
            hot_refused,
            possibly_incomplete: self.possibly_incomplete.clone(),
            files_total,
            files_pruned: files_total.saturating_sub(planned.files),
            files_scanned: planned.files,
            files_archived: planned.archived.len() as u64,
            bytes_read: requests.bytes_read,
            requests: requests.into(),
            cost_usd,
            prices_date: self.tariff.prices.date,
            simulated: self.store.classes().is_simulated(),
            estimate: self.estimate,
            elapsed_ms: self.watch.elapsed_ms(),
        }
    }

    fn ladder_row(&self) -> Result<RecordBatch> {
        let (kind, ladder) = (StringArray::from(vec!["archive"]), StringArray::from(vec![self.ladder().to_string()]));
        RecordBatch::try_new(self.schema.clone(), vec![Arc::new(kind), Arc::new(ladder)]).context("explain the scan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completeness_line_names_months_and_tenants() {
        let month = |month: &str, tenants: &[&str]| Missing {
            month: month.to_owned(),
            files: 1,
            bytes: 10,
            rows: 5,
            tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        };
        let missing = vec![month("2019-03", &["globex", "acme"]), month("2019-04", &["acme"])];
        let archived = LeftOut { missing, months: 36, command: "tier restore start …".to_owned() };
        let mut incomplete = Incomplete { archived: Some(archived), hot: None };
        const ARCHIVED: &str = "incomplete: 2 of 36 months are archived (2019-03, 2019-04; tenants acme, globex); \
                                to complete: tier restore start …";
        assert_eq!(incomplete.to_string(), ARCHIVED);
        let (first, last) = (jiff::civil::date(2026, 11, 24), jiff::civil::date(2026, 11, 25));
        incomplete.hot = Some(HotMissing { first, last, archived_too: false, reason: "timed out".to_owned() });
        let hot = "incomplete: the hot tier did not answer (timed out): events of 2026-11-24 to 2026-11-25 that are \
                   not archived yet are missing";
        assert_eq!(incomplete.to_string(), format!("{ARCHIVED}\n{hot}"));
        incomplete.archived = None;
        assert_eq!(incomplete.to_string(), hot);
    }
}
