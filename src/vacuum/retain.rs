//! Which versions stay, and why. Decided from roots, and from leaves that lost files.
//!
//! A file is part of the archive from the version that added it to the one that removed it, without a gap. So what a
//! version names beside the next one that stays is what was removed in between and had been added by then.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use roaring::RoaringBitmap;
use serde::Serialize;

use super::named::Named;
use crate::catalog::{LeafRef, LiveRun, Root, Snapshot, Version};
use crate::context::Context as Ctx;
use crate::error::Result;
use crate::model::Hold;

/// Roots read ahead; one may be a few MiB.
const ROOTS_IN_FLIGHT: usize = 4;

/// What clocks of different machines may differ by.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// How long what is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Files younger than this are left alone, and versions that were the newest since stay.
    pub grace: Duration,
    /// Versions that were the newest within this time stay.
    pub keep: Duration,
    /// So many of the newest versions stay.
    pub keep_versions: u64,
    /// A version that has not been the newest for this long goes though it keeps no data file; `None`: it stays.
    pub expire_after: Option<Duration>,
    pub pins: Vec<Pin>,
}

impl Retention {
    /// With no more than a grace period.
    pub fn of(grace: Duration) -> Self {
        Retention { grace, ..Retention::default() }
    }
}

/// A version that somebody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub version: u64,
    pub by: String,
}

/// Why a version stays that is past its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Need {
    Pin {
        by: String,
    },
    /// Some of its files are under the hold and in no later version.
    LegalHold {
        hold: String,
    },
    /// It was the newest, or came, while a nightly job has been at work.
    LiveRun {
        host: String,
        pid: u32,
    },
}

/// A version that stays past its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptVersion {
    pub version: u64,
    pub time: Timestamp,
    #[serde(flatten)]
    pub need: Need,
}

/// What becomes of the versions.
#[derive(Debug, Default)]
pub struct Versions {
    /// Newest first.
    pub kept: Vec<KeptVersion>,
    /// Newest first.
    pub expire: Vec<u64>,
    /// What those that stay name.
    pub named: Named,
    /// Of a live run: no file that it may have written is of a run begun below this version.
    pub live_from: Option<u64>,
}

/// Whether a moment is at least so long ago. One in the future, where clocks differ, is not.
pub fn is_past(now: Timestamp, time: Timestamp, age: Duration) -> bool {
    now.duration_since(time) >= SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)
}

/// Decides, from the newest version back.
pub async fn decide(ctx: &Ctx, newest: &Snapshot, retention: &Retention, run: Option<&LiveRun>) -> Result<Versions> {
    let mut decided = Versions::default();
    let mut walk = Walk {
        now: ctx.now(),
        retention,
        holds: &newest.root().document.holds,
        run,
        run_since: run.map(|run| run.since.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN)),
        superseded: None,
        seen: 0,
        newer: None,
        above: newest.clone(),
        oldest_removed: Some(u64::MAX),
    };
    let versions = newest.versions().await?.into_iter().rev().filter(|version| *version <= newest.version());
    let looks = versions.map(|version| async move {
        match version == newest.version() {
            true => Ok(Some(Version::Retained(newest.clone()))),
            false => Snapshot::look(newest.store(), version).await,
        }
    });
    let mut looks = futures::stream::iter(looks).buffered(ROOTS_IN_FLIGHT);
    while let Some(version) = looks.try_next().await? {
        ctx.stop.check()?;
        let Some(version) = version else { continue };
        if let Version::Retained(snapshot) = &version {
            match walk.decide(snapshot).await? {
                Fate::Stays(need) => {
                    decided.named.add(snapshot, 0);
                    let (version, time) = (snapshot.version(), snapshot.root().document.time);
                    decided.kept.extend(need.map(|need| KeptVersion { version, time, need }));
                    (walk.above, walk.oldest_removed) = (snapshot.clone(), Some(u64::MAX));
                }
                Fate::Expires => decided.expire.push(snapshot.version()),
            }
        }
        if walk.pass(&version) {
            decided.live_from = Some(match &version {
                Version::Retained(snapshot) => snapshot.version(),
                Version::Expired(stub) => stub.version,
            });
        }
    }
    if run.is_some() {
        decided.live_from.get_or_insert(0);
    }
    Ok(decided)
}

enum Fate {
    /// With a reason where it is past its time.
    Stays(Option<Need>),
    Expires,
}

/// Where the walk stands.
struct Walk<'a> {
    now: Timestamp,
    retention: &'a Retention,
    holds: &'a [Hold],
    run: Option<&'a LiveRun>,
    /// When the live run had surely not begun; `None` once the version is passed that was the newest then.
    run_since: Option<Timestamp>,
    /// When the version after the one at hand was committed: from then on nobody opens this one as the newest.
    superseded: Option<Timestamp>,
    /// Versions passed.
    seen: u64,
    /// The last one passed, unless it has expired before.
    newer: Option<Snapshot>,
    /// The last one that stays.
    above: Snapshot,
    /// Of the files that were removed since the version at hand and up to `above`: the oldest version that added one.
    /// `None` where roots are missing that would tell.
    oldest_removed: Option<u64>,
}

impl Walk<'_> {
    /// Goes on to the version before; whether this is the one that was the newest when the live run began.
    fn pass(&mut self, version: &Version) -> bool {
        self.superseded = Some(version.time());
        self.seen += 1;
        self.newer = match version {
            Version::Retained(snapshot) => Some(snapshot.clone()),
            Version::Expired(_) => None,
        };
        let is_first = self.run_since.is_some_and(|since| version.time() <= since);
        if is_first {
            self.run_since = None;
        }
        is_first
    }

    async fn decide(&mut self, snapshot: &Snapshot) -> Result<Fate> {
        let Retention { grace, keep, keep_versions, expire_after, pins } = self.retention;
        let is_past = |age: Duration| self.superseded.is_some_and(|time| is_past(self.now, time, age));
        if self.seen < *keep_versions || !is_past(*grace.max(keep)) {
            return Ok(Fate::Stays(None));
        }
        if let Some(run) = self.run.filter(|_| self.run_since.is_some()) {
            return Ok(Fate::Stays(Some(Need::LiveRun { host: run.host.clone(), pid: run.pid })));
        }
        if let Some(pin) = pins.iter().find(|pin| pin.version == snapshot.version()) {
            return Ok(Fate::Stays(Some(Need::Pin { by: pin.by.clone() })));
        }
        let goes_anyway = expire_after.is_some_and(is_past);
        let lost = self.lost(snapshot).await?;
        self.oldest_removed = lost.as_ref().and_then(|lost| Some(lost.oldest.min(self.oldest_removed?)));
        let keeps_no_file = match self.oldest_removed {
            Some(oldest) => oldest > snapshot.version(),
            None => gone(snapshot.root(), self.above.root()).is_empty(),
        };
        if keeps_no_file {
            return Ok(if goes_anyway { Fate::Expires } else { Fate::Stays(None) });
        }
        let lost = match lost {
            Some(lost) => lost,
            // Perhaps they are listed elsewhere by now: a hold rather keeps too much.
            None => Lost::of(snapshot, gone(snapshot.root(), self.above.root()), self.holds).await?,
        };
        Ok(lost.hold.map_or(Fate::Expires, |hold| Fate::Stays(Some(Need::LegalHold { hold }))))
    }

    /// What the next version no longer names; `None` where it is not known.
    async fn lost(&self, snapshot: &Snapshot) -> Result<Option<Lost>> {
        let Some(next) = self.newer.as_ref().filter(|newer| newer.version() == snapshot.version() + 1) else {
            return Ok(None);
        };
        if next.root().document.operation.keeps_paths() {
            return Ok(Some(Lost::NOTHING));
        }
        Lost::of(snapshot, gone(snapshot.root(), next.root()), self.holds).await.map(Some)
    }
}

/// Files that a version names and a later one does not.
struct Lost {
    /// The oldest version that added one of them.
    oldest: u64,
    /// On one of them.
    hold: Option<String>,
}

impl Lost {
    const NOTHING: Lost = Lost { oldest: u64::MAX, hold: None };

    async fn of(snapshot: &Snapshot, gone: Vec<Gone>, holds: &[Hold]) -> Result<Self> {
        let mut lost = Lost::NOTHING;
        // A leaf of one version tells which: only merged ones are read for it.
        let (told, unread): (Vec<Gone>, Vec<Gone>) =
            gone.into_iter().partition(|gone| holds.is_empty() && !gone.leaf.is_merged());
        lost.oldest = told.iter().map(|gone| gone.leaf.added_version).min().unwrap_or(u64::MAX);
        let leaves = unread.iter().map(|gone| gone.leaf.clone()).collect();
        let mut tables = std::pin::pin!(snapshot.tables(leaves).zip(futures::stream::iter(unread)));
        while let Some((table, Gone { positions, .. })) = tables.next().await {
            let is_gone = |at: u32| positions.as_ref().is_none_or(|gone| gone.contains(at));
            for listed in table?.files_at(is_gone)? {
                let (_, version, file) = listed?;
                lost.oldest = lost.oldest.min(version);
                if lost.hold.is_none() {
                    lost.hold = holds.iter().find(|hold| hold.may_cover(&file)).map(|hold| hold.id.clone());
                }
            }
        }
        Ok(lost)
    }
}

/// Files of a leaf that a later version does not name there.
struct Gone {
    leaf: LeafRef,
    /// `None`: all that are alive.
    positions: Option<RoaringBitmap>,
}

fn gone(older: &Root, newer: &Root) -> Vec<Gone> {
    let newer: HashMap<&str, &LeafRef> = newer.leaves.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect();
    let lost = |leaf: &LeafRef| {
        let positions = match newer.get(leaf.path.as_str()) {
            None => None,
            Some(now) if now.deleted == leaf.deleted => return None,
            Some(now) => Some(&now.deleted - &leaf.deleted),
        };
        Some(Gone { leaf: leaf.clone(), positions })
    };
    older.leaves.iter().filter_map(lost).collect()
}
