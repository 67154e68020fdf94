//! How far a job is, as the store says now.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::job::Job;
use super::plan::{Count, Standing, Terms, standing};
use crate::context::Context as Ctx;
use crate::error::{Error, Result};
use crate::model::Retrieval;
use crate::progress::Unit;

/// How often a waiting run looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(50);

/// What a person wants to know first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// All of it.
    Readable,
    Running,
    /// Some files have no copy: they were never asked for, or their window has ended.
    Incomplete,
    /// The time that was asked for has passed.
    Over,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    pub job: String,
    pub state: JobState,
    pub version: u64,
    pub sql: String,
    pub simulated: bool,
    pub retrieval: Retrieval,
    pub days: u32,
    pub created: Timestamp,
    pub cancelled: Option<Timestamp>,
    pub files: Count,
    pub readable: Count,
    pub running: Count,
    /// Without a copy.
    pub archived: Count,
    /// Not on the store any more.
    pub missing: Count,
    /// When what is running is ready at the latest.
    pub ready_by: Option<Timestamp>,
    /// When the first window ends.
    pub readable_until: Option<Timestamp>,
}

/// Asks the store about a job's files: by LIST where they are many.
pub async fn status(ctx: &Ctx, job: &Job, terms: &Terms<'_>) -> Result<JobStatus> {
    let states = ctx.store.states(job.files.iter().map(|file| file.path.as_str())).await?;
    let mut status = JobStatus {
        job: job.id.clone(),
        state: JobState::Readable,
        version: job.version,
        sql: job.sql.clone(),
        simulated: ctx.store.classes().is_simulated(),
        retrieval: job.retrieval,
        days: job.days,
        created: job.created,
        cancelled: job.cancelled,
        files: Count::of(&job.files),
        readable: Count::default(),
        running: Count::default(),
        archived: Count::default(),
        missing: Count::default(),
        ready_by: None,
        readable_until: None,
    };
    for file in &job.files {
        match standing(file, &states, terms.now) {
            _ if !states.contains_key(&file.path) => status.missing.add(file),
            Standing::Archived => status.archived.add(file),
            Standing::Running => {
                status.running.add(file);
                let ready = terms.ready(job.asked, file.storage_class, job.retrieval);
                status.ready_by = status.ready_by.max(Some(ready));
            }
            Standing::Readable(until) => {
                status.readable.add(file);
                status.readable_until = [status.readable_until, until].into_iter().flatten().min();
            }
        }
    }
    let lacks = status.archived.files + status.missing.files > 0;
    status.state = match (job.cancelled, lacks, status.running.files > 0) {
        (Some(_), _, _) => JobState::Cancelled,
        (None, true, false) if terms.now >= job.until => JobState::Over,
        (None, true, _) => JobState::Incomplete,
        (None, false, true) => JobState::Running,
        (None, false, false) => JobState::Readable,
    };
    Ok(status)
}

/// Looks again and again until nothing is running any more. `terms` makes them anew for each look.
pub async fn wait<'a>(ctx: &Ctx, job: &Job, poll: Duration, terms: impl Fn() -> Terms<'a>) -> Result<JobStatus> {
    let task = ctx.progress.task("restored", Unit::Files, Some(job.files.len() as u64));
    let mut shown = 0;
    loop {
        let status = status(ctx, job, &terms()).await?;
        task.advance(status.readable.files.saturating_sub(shown));
        shown = shown.max(status.readable.files);
        if status.state != JobState::Running {
            return Ok(status);
        }
        sleep(ctx, poll).await?;
    }
}

async fn sleep(ctx: &Ctx, time: Duration) -> Result<()> {
    let stopped = async {
        loop {
            if let Some(kind) = ctx.stop.requested() {
                return Error::new(kind, "stopped waiting on request; the restore goes on");
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    };
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        error = stopped => Err(error),
    }
}
