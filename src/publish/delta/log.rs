//! The folder `_delta_log/`: which versions there are, and what the newest of them shows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::action::{Action, Shown};
use crate::error::{Context, Error, Result};
use crate::store::{Layout, Listed, PutOutcome, Store, TempFile};

/// A commit's first lines say whose it is and what it shows; the rest may be long.
const HEAD_BYTES: u64 = 64 << 10;

/// Delta's own default of `delta.logRetentionDuration`.
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A sidecar that is younger may be of a checkpoint that is being written.
const SIDECAR_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Where readers begin; advisory.
pub const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

pub fn commit_path(version: u64) -> String {
    format!("{}/{version:020}.json", Layout::DELTA_LOG)
}

pub fn checkpoint_path(version: u64) -> String {
    format!("{}/{version:020}.checkpoint.parquet", Layout::DELTA_LOG)
}

/// The name of the top file of a V2 checkpoint.
pub fn top_name(version: u64, id: Uuid) -> String {
    format!("{version:020}.checkpoint.{id}.json")
}

/// A file in the log's folder.
pub fn path(name: &str) -> String {
    format!("{}/{name}", Layout::DELTA_LOG)
}

pub fn sidecar_path(name: &str) -> String {
    format!("{}/_sidecars/{name}", Layout::DELTA_LOG)
}

/// What a file of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Commit(u64),
    Checkpoint(u64),
}

fn part(path: &str) -> Option<Part> {
    let name = path.strip_prefix(Layout::DELTA_LOG)?.strip_prefix('/')?;
    let (digits, rest) = name.split_once('.')?;
    let version = digits.parse().ok().filter(|_| digits.len() == 20)?;
    match rest {
        "json" => Some(Part::Commit(version)),
        _ if rest.starts_with("checkpoint.") => Some(Part::Checkpoint(version)),
        _ => None,
    }
}

/// The log as it is listed.
#[derive(Debug)]
pub struct Log {
    files: Vec<Listed>,
}

/// The newest commit.
#[derive(Debug)]
pub enum Tip {
    /// There is no table.
    None,
    Ours {
        version: u64,
        shown: Shown,
    },
    /// Somebody else's, or of another archive, or of a log that lacks files: why it cannot be followed.
    Unknown(String),
}

impl Log {
    pub async fn list(store: &Store) -> Result<Self> {
        Ok(Log { files: store.list(Layout::DELTA_LOG, None).await? })
    }

    fn commits(&self) -> BTreeSet<u64> {
        let commit = |file: &Listed| match part(&file.path) {
            Some(Part::Commit(version)) => Some(version),
            _ => None,
        };
        self.files.iter().filter_map(commit).collect()
    }

    fn checkpoints(&self) -> impl Iterator<Item = (u64, &Listed)> {
        self.files.iter().filter_map(|file| match part(&file.path) {
            Some(Part::Checkpoint(version)) => Some((version, file)),
            _ => None,
        })
    }

    /// The version of the newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<u64> {
        self.checkpoints().map(|(version, _)| version).max()
    }

    /// The top files of V2 checkpoints.
    pub fn tops(&self) -> impl Iterator<Item = &str> {
        self.checkpoints().map(|(_, file)| file.path.as_str()).filter(|path| path.ends_with(".json"))
    }

    /// The newest checkpoint where it is V2: its version and its top file. Of several for one version any is as good.
    pub fn newest_top(&self) -> Option<(u64, &str)> {
        let newest = self.newest_checkpoint()?;
        let top = self.tops().filter(|path| part(path) == Some(Part::Checkpoint(newest))).max()?;
        Some((newest, top))
    }

    /// The commits of later versions than one, in order.
    pub fn commits_after<'a>(&'a self, base: u64) -> BTreeMap<u64, &'a Listed> {
        let commit = |file: &'a Listed| match part(&file.path) {
            Some(Part::Commit(version)) if version > base => Some((version, file)),
            _ => None,
        };
        self.files.iter().filter_map(commit).collect()
    }

    /// The sidecars that are not of a checkpoint at work.
    pub fn old_sidecars(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let is_old = move |file: &&Listed| now.duration_since(file.modified) >= SIDECAR_GRACE;
        let folder = sidecar_path("");
        self.files.iter().filter(is_old).map(|file| file.path.as_str()).filter(move |path| path.starts_with(&folder))
    }

    /// What the table shows now; `archive` is the archive's id.
    pub async fn tip(&self, store: &Store, archive: &str) -> Result<Tip> {
        let (commits, checkpoint) = (self.commits(), self.newest_checkpoint());
        let Some(&newest) = commits.last() else {
            return Ok(match checkpoint {
                None => Tip::None,
                Some(version) => Tip::Unknown(format!("its log has a checkpoint of version {version} and no commit")),
            });
        };
        if let Some(missing) = (checkpoint.map_or(0, |version| version + 1)..newest).find(|v| !commits.contains(v)) {
            return Ok(Tip::Unknown(format!("its log lacks version {missing}")));
        }
        let path = commit_path(newest);
        let size = self.files.iter().find(|file| file.path == path).map_or(0, |file| file.size_bytes);
        let head = store.get_range(&path, 0..size.min(HEAD_BYTES)).await?;
        Ok(match shown(&head, archive) {
            Some(shown) => Tip::Ours { version: newest, shown },
            None => Tip::Unknown(format!("its version {newest} was committed by somebody else")),
        })
    }

    /// What is no longer needed to read any version of the last thirty days: everything before the newest checkpoint
    /// that is as old.
    pub fn outdated(&self, now: Timestamp) -> Vec<String> {
        let is_old = |file: &Listed| now.duration_since(file.modified) >= RETENTION;
        let first = self.checkpoints().filter(|(_, file)| is_old(file)).map(|(version, _)| version).max();
        let is_before = |file: &&Listed| match (part(&file.path), first) {
            (Some(Part::Commit(version) | Part::Checkpoint(version)), Some(first)) => version < first && is_old(file),
            _ => false,
        };
        self.files.iter().filter(is_before).map(|file| file.path.clone()).collect()
    }

    /// Deletes the table, in an order in which a reader finds it whole or fails, and never an older version: the
    /// checkpoints first, then the first commits, then all others.
    pub async fn remove(self, store: &Store) -> Result<usize> {
        let mut phases: [Vec<String>; 3] = Default::default();
        let files = self.files.len();
        let first = self.commits().first().copied();
        for file in self.files {
            let phase = match part(&file.path) {
                Some(Part::Commit(version)) if Some(version) != first => 2,
                Some(Part::Commit(_)) => 1,
                _ => 0,
            };
            phases[phase].push(file.path);
        }
        for paths in phases {
            store.delete(paths).await.context("delete the Delta table's log")?;
        }
        Ok(files)
    }
}

/// What the lines at the beginning of a commit say of it, where it is ours.
fn shown(head: &[u8], archive: &str) -> Option<Shown> {
    let (mut shown, mut is_ours) = (None, false);
    for line in head.split(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Action>(line) {
            Ok(Action::CommitInfo(info)) => shown = info.tier,
            Ok(Action::Txn(txn)) => is_ours |= txn.app_id == archive,
            _ => {}
        }
    }
    shown.filter(|_| is_ours)
}

/// Creates the file of a commit; durable when it returns.
pub async fn put_commit(store: &Store, version: u64, file: &TempFile) -> Result<PutOutcome> {
    store
        .put_file_if_absent(&commit_path(version), file)
        .await
        .with_context(|| format!("commit version {version} of the Delta table"))
}

/// Why a table cannot be followed, with the way out.
pub fn unknown(store: &Store, why: &str) -> Error {
    Error::usage(format!("the Delta table cannot be continued: {why}"))
        .code("foreign-delta-table")
        .hint("delete the log and publish the newest version anew; whoever wrote to it must stop")
        .command(format!(
            "tier publish delta --replace --archive {}",
            crate::model::shell_word(&store.location().to_string())
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_log_are_told_apart() {
        assert_eq!(part(&commit_path(7)), Some(Part::Commit(7)));
        assert_eq!(part(&checkpoint_path(7)), Some(Part::Checkpoint(7)));
        assert_eq!(
            part("_delta_log/00000000000000000007.checkpoint.0000000001.0000000002.parquet"),
            Some(Part::Checkpoint(7))
        );
        assert_eq!(part(&path(&top_name(7, Uuid::nil()))), Some(Part::Checkpoint(7)));
        assert_eq!(part(&sidecar_path("00000000000000000007.checkpoint.parquet")), None);
        for other in ["_last_checkpoint", "00000000000000000007.crc", "7.json", ".00000000000000000007.json.1.2"] {
            assert_eq!(part(&format!("_delta_log/{other}")), None, "{other}");
        }
    }

    #[test]
    fn what_is_older_than_an_old_checkpoint_is_outdated() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let file = |path: String, days: i64| Listed {
            path,
            size_bytes: 1,
            modified: now - SignedDuration::from_hours(24 * days),
            etag: None,
        };
        let mut files: Vec<Listed> = (0..=40).map(|version| file(commit_path(version), 60 - version as i64)).collect();
        files.extend([10, 20, 30, 40].map(|version| file(checkpoint_path(version), 60 - version as i64)));
        let outdated = Log { files }.outdated(now);
        assert!(outdated.contains(&commit_path(29)) && outdated.contains(&checkpoint_path(20)), "{outdated:?}");
        assert!(!outdated.contains(&commit_path(30)) && !outdated.contains(&checkpoint_path(30)), "{outdated:?}");
        assert_eq!(outdated.len(), 30 + 2);
    }

    #[test]
    fn a_young_sidecar_may_be_of_a_checkpoint_that_is_being_written() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let file = |path: String, hours: i64| Listed {
            path,
            size_bytes: 1,
            modified: now - SignedDuration::from_hours(hours),
            etag: None,
        };
        let files = vec![
            file(commit_path(0), 99),
            file(path(&top_name(0, Uuid::nil())), 99),
            file(sidecar_path("young.parquet"), 23),
            file(sidecar_path("old.parquet"), 24),
        ];
        let log = Log { files };
        assert_eq!(log.old_sidecars(now).collect::<Vec<_>>(), [sidecar_path("old.parquet")]);
        assert_eq!(log.newest_top(), Some((0, path(&top_name(0, Uuid::nil())).as_str())));
    }
}
