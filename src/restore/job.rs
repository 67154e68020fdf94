//! The durable record of what was asked for: `_tier/restore/<id>.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Needed;
use crate::error::{Context, Error, Result};
use crate::model::{ArchivedFile, Retrieval, sha256};
use crate::store::{Layout, PutOutcome, Store};

const FORMAT_VERSION: u32 = 1;

/// Hex digits of a job's id.
const ID_DIGITS: usize = 12;

/// Jobs read at once.
const READS_IN_FLIGHT: usize = 16;

/// What was asked for, and what came of asking; how far the files are only the store knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    format_version: u32,
    pub id: String,
    /// The version of the archive that the files were picked from.
    pub version: u64,
    pub sql: String,
    /// Sorted by path.
    pub files: Vec<ArchivedFile>,
    /// The slowest tier that files were asked for by, where their class has it.
    pub retrieval: Retrieval,
    pub days: u32,
    pub created: Timestamp,
    /// When the last request was begun: files are ready within their time from here.
    pub asked: Timestamp,
    /// When everything had been requested; `None` while that is not so.
    pub complete: Option<Timestamp>,
    /// To here the files were to be readable.
    pub until: Timestamp,
    pub cancelled: Option<Timestamp>,
}

impl Job {
    pub fn new(needed: &Needed, retrieval: Retrieval, days: u32, now: Timestamp, until: Timestamp) -> Self {
        let mut files = needed.files.clone();
        files.sort();
        Job {
            format_version: FORMAT_VERSION,
            id: Self::id_of(needed),
            version: needed.version,
            sql: needed.sql.clone(),
            files,
            retrieval,
            days,
            created: now,
            asked: now,
            complete: None,
            until,
            cancelled: None,
        }
    }

    /// The same question over the same files of the same version is the same job.
    pub fn id_of(needed: &Needed) -> String {
        let mut paths: Vec<&str> = needed.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let version = needed.version.to_string();
        let parts = [version.as_str(), needed.sql.as_str()].into_iter().chain(paths);
        let text: String = parts.flat_map(|part| [part, "\n"]).collect();
        sha256(text.as_bytes())[..ID_DIGITS].to_owned()
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain data")
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let job: Job = serde_json::from_slice(bytes).context("read the job's JSON")?;
        if job.format_version != FORMAT_VERSION {
            return Err(Error::failed(format!("the job has format {}", job.format_version))
                .hint("a newer tier wrote it: update this one"));
        }
        Ok(job)
    }

    /// Makes the job durable where there is none of its name; `false` where there is.
    pub(super) async fn create(&self, store: &Store) -> Result<bool> {
        let outcome = store.put_if_absent(&Layout::restore_job(&self.id), self.encode()).await?;
        Ok(outcome == PutOutcome::Created)
    }

    /// Replaces the job, durably.
    pub(super) async fn write(&self, store: &Store) -> Result<()> {
        store.put(&Layout::restore_job(&self.id), self.encode()).await?;
        store.make_durable().await
    }
}

pub(super) async fn find_job(store: &Store, id: &str) -> Result<Option<Job>> {
    let path = Layout::restore_job(id);
    match store.get_opt(&path).await? {
        Some(bytes) => Job::decode(&bytes).map(Some).with_context(|| format!("read {}", store.address(&path))),
        None => Ok(None),
    }
}

/// A job that must exist; where it does not, the error lists those that do.
pub async fn read_job(store: &Store, id: &str) -> Result<Job> {
    let is_id = id.len() == ID_DIGITS && id.chars().all(|c| c.is_ascii_hexdigit());
    if is_id && let Some(job) = find_job(store, id).await? {
        return Ok(job);
    }
    let known: Vec<String> = jobs(store).await?.into_iter().map(|job| job.id).collect();
    let hint = match known.is_empty() {
        true => "there are no restore jobs yet: tier restore plan shows what a restore takes".to_owned(),
        false => format!("the jobs are {}", known.join(", ")),
    };
    Err(Error::usage(format!("there is no restore job `{id}`")).code("no-such-job").hint(hint))
}

/// All jobs, oldest first.
pub async fn jobs(store: &Store) -> Result<Vec<Job>> {
    use futures::{StreamExt, TryStreamExt};
    let listed = store.list(Layout::RESTORES, None).await?;
    let ids = listed.iter().filter_map(|object| Layout::restore_job_id(&object.path).map(str::to_owned));
    let reads = ids.map(|id| async move { find_job(store, &id).await });
    let read: Vec<Option<Job>> =
        futures::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_IN_FLIGHT).try_collect().await?;
    let mut jobs: Vec<Job> = read.into_iter().flatten().collect();
    jobs.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    Ok(jobs)
}
