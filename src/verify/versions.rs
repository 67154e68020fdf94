//! The chain of roots, and what the versions that may still be asked name together.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use roaring::RoaringBitmap;

use super::problem::{ProblemKind, Problems};
use crate::catalog::{DeadLetterFile, LeafRef, LedgerRef, Snapshot, Version};
use crate::context::Context as Ctx;
use crate::error::Result;
use crate::store::Layout;

/// Roots read ahead; one may be a few MiB.
const ROOTS_IN_FLIGHT: usize = 8;

/// A leaf of some retained version.
#[derive(Debug)]
pub struct KnownLeaf {
    /// As the newest version that names it lists it, without the positions that no version names.
    pub leaf: LeafRef,
    /// Positions that the newest version no longer names; `None` where it does not name the leaf.
    pub newest_deleted: Option<RoaringBitmap>,
}

/// What the retained versions name.
#[derive(Debug, Default)]
pub struct Known {
    pub leaves: BTreeMap<String, KnownLeaf>,
    pub ledgers: BTreeMap<String, LedgerRef>,
    pub dead_letters: BTreeMap<String, DeadLetterFile>,
    pub retained: u64,
    pub expired: u64,
    /// Versions whose files are unknown, because their roots cannot be read.
    pub unreadable: u64,
}

/// Reads every root, newest first.
pub async fn read(ctx: &Ctx, newest: &Snapshot, problems: &mut Problems) -> Result<Known> {
    let listed = newest.versions().await?;
    let versions: Vec<u64> = listed.into_iter().filter(|version| *version <= newest.version()).rev().collect();
    for missing in gaps(&versions) {
        problems.add(ProblemKind::MissingVersion, &Layout::root(missing), format!("version {missing} has no root"));
    }
    let mut known = Known::default();
    let mut child = None;
    let store = &ctx.store;
    let looks = versions.into_iter().map(|version| async move {
        let looked = match version == newest.version() {
            true => Ok(Some(Version::Retained(newest.clone()))),
            false => Snapshot::look(store, version).await,
        };
        Ok::<_, crate::error::Error>((version, looked))
    });
    let mut looks = futures::stream::iter(looks).buffered(ROOTS_IN_FLIGHT);
    while let Some((version, looked)) = looks.try_next().await? {
        ctx.stop.check()?;
        let path = Layout::root(version);
        let this = problems.catch(ProblemKind::BadRoot, &path, looked)?.flatten();
        if let Some(what) = this.as_ref().zip(child.as_ref()).and_then(|(this, child)| not_its_child(this, child)) {
            problems.add(ProblemKind::BrokenChain, &Layout::root(version + 1), what);
        }
        match &this {
            Some(Version::Retained(snapshot)) => known.add(snapshot, version == newest.version()),
            Some(Version::Expired(_)) => known.expired += 1,
            None => known.unreadable += 1,
        }
        child = this.map(|this| Child::of(version, &this));
    }
    Ok(known)
}

/// Versions between the listed ones, which descend, and below them.
fn gaps(versions: &[u64]) -> Vec<u64> {
    let next = versions.iter().skip(1).copied().chain([0]);
    versions.iter().zip(next).flat_map(|(&version, before)| before + 1..version).collect()
}

impl Known {
    fn add(&mut self, snapshot: &Snapshot, is_newest: bool) {
        self.retained += 1;
        for leaf in &snapshot.root().leaves {
            match self.leaves.get_mut(&leaf.path) {
                Some(known) => known.leaf.deleted &= &leaf.deleted,
                None => {
                    let newest_deleted = is_newest.then(|| leaf.deleted.clone());
                    self.leaves.insert(leaf.path.clone(), KnownLeaf { leaf: leaf.clone(), newest_deleted });
                }
            }
        }
        let document = &snapshot.root().document;
        let ledgers = document.ledgers.iter().map(|ledger| (ledger.path.clone(), ledger.clone()));
        self.ledgers.extend(ledgers);
        let letters = document.dead_letters.iter().map(|file| (file.path.clone(), file.clone()));
        self.dead_letters.extend(letters);
    }
}

/// What a version says of its parent.
struct Child {
    version: u64,
    /// Absent of a stub, which does not say it.
    parent: Option<(Option<String>, Option<String>)>,
}

impl Child {
    fn of(version: u64, this: &Version) -> Self {
        let parent = match this {
            Version::Retained(snapshot) => {
                let document = &snapshot.root().document;
                Some((document.parent_commit_id.clone(), document.parent_sha256.clone()))
            }
            Version::Expired(_) => None,
        };
        Child { version, parent }
    }
}

fn not_its_child(this: &Version, child: &Child) -> Option<String> {
    let (commit_id, sha256) = child.parent.as_ref()?;
    let (version, this_commit, this_sha256) = match this {
        Version::Retained(snapshot) => {
            (snapshot.version(), snapshot.root().document.commit_id.as_str(), Some(snapshot.sha256()))
        }
        Version::Expired(stub) => (stub.version, stub.commit_id.as_str(), None),
    };
    if version + 1 != child.version {
        return None;
    }
    if commit_id.as_deref() != Some(this_commit) {
        return Some(format!("its parent has another commit id than version {version}"));
    }
    let is_same = this_sha256.is_none_or(|this| sha256.as_ref() == Some(&this));
    (!is_same).then(|| format!("version {version} is not the bytes it was committed on (SHA-256 differs)"))
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn every_version_below_the_newest_must_be_there() {
        assert_eq!(gaps(&[3, 2, 1]), Vec::<u64>::new());
        assert_eq!(gaps(&[5, 2]), [3, 4, 1]);
    }
}
