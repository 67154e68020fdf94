//! One nightly job at a time: a lease in the archive, so that two schedulers do not read the hot tier side by side.
//!
//! # Consistency
//! The lease saves work and load; that nothing is archived twice is the commit's promise, not this one's. Only
//! create-if-absent is relied on: whoever creates `_tier/lease/<n+1>` holds the lease after holder `n`.
//!
//! # Crash
//! A holder renews its lease while it works. A dead one's expires by itself; on the same host a process that is gone is
//! seen at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{Layout, PutOutcome, Store};

/// A lease that is not renewed for this long is free.
pub const EXPIRES_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Three renewals may fail before it expires.
const RENEW_EVERY: Duration = Duration::from_secs(150);

/// Takers of the same expired lease race for its successor; more losses than this mean that somebody holds it.
const MAX_RACES: usize = 4;

/// Who holds the lease, as it stands in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    id: String,
    host: String,
    /// Tells the machine's starts apart: after one no process of before is alive.
    boot: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: a later process may have its number.
    pid_started: u64,
    taken_at: Timestamp,
    renewed_at: Timestamp,
    released: bool,
}

/// The lease, while it is held. [`Lease::release`] gives it back; dropped without that it expires.
#[derive(Debug)]
pub struct Lease {
    lost: Lost,
    store: Store,
    number: u64,
    holder: Holder,
    renewing: JoinHandle<()>,
}

/// A nightly job at work, as its lease tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveRun {
    pub host: String,
    pub pid: u32,
    pub since: Timestamp,
}

/// Set when somebody else took the lease over.
type Lost = Arc<AtomicBool>;

impl Lease {
    /// Takes the lease, or says who has it: try again later.
    pub async fn take(ctx: &Ctx) -> Result<Self> {
        for _ in 0..MAX_RACES {
            let newest = newest(&ctx.store).await?;
            if let Some((_, holder)) = &newest
                && let Some(until) = holder.is_held_until(ctx.now())
            {
                return Err(held(holder, until));
            }
            let number = newest.as_ref().map_or(1, |(number, _)| number + 1);
            let holder = Holder::of_this_process(ctx.random.id(), ctx.now());
            match ctx.store.put_if_absent(&Layout::lease(number), holder.encode()).await? {
                PutOutcome::Created => {
                    let old = newest.map(|(number, _)| Layout::lease(number));
                    // A left-over of an old lease is harmless.
                    let _ = ctx.store.delete(old.into_iter().collect()).await;
                    return Ok(Self::hold(ctx, number, holder));
                }
                PutOutcome::AlreadyExists => continue,
            }
        }
        Err(Error::new(Kind::TryAgain, "other nightly jobs keep taking the lease").hint("run it again later"))
    }

    /// Who holds it now, if anybody does.
    pub async fn holder(ctx: &Ctx) -> Result<Option<LiveRun>> {
        let newest = newest(&ctx.store).await?;
        let held = newest.filter(|(_, holder)| holder.is_held_until(ctx.now()).is_some());
        Ok(held.map(|(_, Holder { host, pid, taken_at, .. })| LiveRun { host, pid, since: taken_at }))
    }

    fn hold(ctx: &Ctx, number: u64, holder: Holder) -> Self {
        let lost = Lost::default();
        let renewing = tokio::spawn(renew(ctx.clone(), number, holder.clone(), lost.clone()));
        Lease { lost, store: ctx.store.clone(), number, holder, renewing }
    }

    /// An error once somebody else holds the lease: this process stood still for too long.
    pub fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::TryAgain, "another nightly job took over: this one stood still for too long")
                .code("lease-lost")
                .hint("what it committed is safe; run it again for the rest"));
        }
        Ok(())
    }

    pub async fn release(self) -> Result<()> {
        self.renewing.abort();
        if self.check().is_err() {
            return Ok(());
        }
        let holder = Holder { released: true, ..self.holder };
        self.store.put(&Layout::lease(self.number), holder.encode()).await.context("release the lease")
    }
}

async fn renew(ctx: Ctx, number: u64, holder: Holder, lost: Lost) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let renewed = Holder { renewed_at: ctx.now(), ..holder.clone() };
        match newest(&ctx.store).await {
            Ok(Some((newest, _))) if newest > number => return lost.store(true, Ordering::Relaxed),
            // It may be the store that is down: the next turn tries again, and until then the lease runs.
            Err(error) => tracing::warn!("the lease is not renewed: {error}"),
            Ok(_) => {
                if let Err(error) = ctx.store.put(&Layout::lease(number), renewed.encode()).await {
                    tracing::warn!("the lease is not renewed: {error}");
                }
            }
        }
    }
}

async fn newest(store: &Store) -> Result<Option<(u64, Holder)>> {
    let listed = store.list(Layout::LEASES, None).await.context("look at the lease")?;
    let Some(number) = listed.iter().filter_map(|object| Layout::lease_number(&object.path)).max() else {
        return Ok(None);
    };
    let path = Layout::lease(number);
    let bytes = store.get(&path).await?;
    let holder = serde_json::from_slice(&bytes).with_context(|| format!("read {}", store.address(&path)))?;
    Ok(Some((number, holder)))
}

fn held(holder: &Holder, until: Timestamp) -> Error {
    let Holder { host, pid, taken_at, .. } = holder;
    Error::new(Kind::TryAgain, format!("another nightly job is at work: process {pid} on {host}, since {taken_at:.0}"))
        .code("lease-held")
        .hint(format!("run it again when that one is done; if it is dead, its lease ends at {until:.0}"))
}

impl Holder {
    fn of_this_process(id: String, now: Timestamp) -> Self {
        let pid = std::process::id();
        Holder {
            id,
            host: this_host(),
            boot: boot(),
            pid,
            pid_started: process_started(pid).unwrap_or(0),
            taken_at: now,
            renewed_at: now,
            released: false,
        }
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain data")
    }

    /// Until when the lease is not to be taken; `None` when it is free.
    fn is_held_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.renewed_at.checked_add(EXPIRES_AFTER).unwrap_or(Timestamp::MAX);
        let is_dead = self.host == this_host()
            && (self.boot != boot() || process_started(self.pid).is_none_or(|started| started != self.pid_started));
        (!self.released && now < until && !is_dead).then_some(until)
    }
}

/// The name of this machine, as other machines see it in the archive.
pub fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Empty where the kernel does not say: then a start of the machine goes unseen, and the lease expires.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Field 22 of `/proc/<pid>/stat`, which follows the command's name in parentheses (proc(5)); `None` when there is no
/// such process. Where there is no `/proc` every process counts as alive.
fn process_started(pid: u32) -> Option<u64> {
    const AFTER_NAME: usize = 19;
    if !std::path::Path::new("/proc/self/stat").exists() {
        return Some(0);
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(AFTER_NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder::of_this_process("a".into(), "2026-08-24T02:00:00Z".parse().unwrap())
    }

    fn at(minute: i32) -> Timestamp {
        format!("2026-08-24T02:{minute:02}:00Z").parse().unwrap()
    }

    #[test]
    fn a_live_holder_keeps_the_lease_for_ten_minutes() {
        assert_eq!(holder().is_held_until(at(9)), Some(at(10)));
        assert_eq!(holder().is_held_until(at(10)), None);
    }

    #[test]
    fn a_dead_process_of_this_host_holds_nothing_and_one_of_another_host_does() {
        let dead = Holder { pid_started: 1, ..holder() };
        assert_eq!(dead.is_held_until(at(1)), None);
        assert_eq!(Holder { host: "elsewhere".into(), ..dead }.is_held_until(at(1)), Some(at(10)));
        assert_eq!(Holder { boot: "before".into(), ..holder() }.is_held_until(at(1)), None);
        assert_eq!(Holder { released: true, ..holder() }.is_held_until(at(1)), None);
    }
}
