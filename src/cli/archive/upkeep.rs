//! What the nightly job does after its commit, so that the catalog stays in shape without anybody calling `tier compact`:
//! a bounded part of the merging that is due.
//!
//! The archive's commit is done by then: what fails here is told, and the next night tries again.

use indicatif::{HumanBytes, HumanCount};
use serde::{Deserialize, Serialize};

use crate::catalog::{FILES_PER_LEAF, Snapshot};
use crate::cli::App;
use crate::cli::parse::parse_bytes;
use crate::cli::spending::{check_budget, refuse_a_later_now};
use crate::cli::words::counted;
use crate::compact::{self, Bound, CatalogReport, CompactReport, Planner, Policy};
use crate::error::{Error, Result};

/// Of the catalog, written anew in one night: about 10 MiB.
const DEFAULT_LEAVES: u64 = 64;

/// So few leaves are read side by side in one round trip: merging them would save nothing.
const FEW_LEAVES: usize = 16;

/// The `[compact]` section of `tier.toml`: what each run of `tier archive` merges after its commit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactSection {
    /// Whether the catalog's own leaves are merged.
    pub catalog: Option<bool>,
    /// About so many leaves are written anew.
    pub catalog_leaves: Option<u64>,
    /// So many bytes of small files are merged; none where it is not said.
    pub cells: Option<String>,
}

/// What is to be done.
pub struct Upkeep {
    catalog: Option<Bound>,
    cells_bytes: Option<u64>,
}

/// What was done, beside a report of the run.
#[derive(Serialize)]
pub struct WithUpkeep<'a, T> {
    #[serde(flatten)]
    report: &'a T,
    upkeep: &'a Done,
}

/// What was done; nothing where nothing was due.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    catalog: Option<CatalogReport>,
    cells: Option<CompactReport>,
    /// What did not succeed.
    errors: Vec<String>,
}

impl Upkeep {
    /// As the settings say.
    pub fn of(app: &App) -> Result<Self> {
        let CompactSection { catalog, catalog_leaves, cells } = &app.settings.file.compact;
        let leaves = catalog_leaves.unwrap_or(DEFAULT_LEAVES);
        if leaves == 0 {
            return Err(Error::usage("`[compact] catalog_leaves` is at least 1")
                .hint("write catalog = false to leave the catalog to tier compact --catalog"));
        }
        let bound = Bound { files: leaves.saturating_mul(FILES_PER_LEAF as u64), ..Bound::default() };
        let cells_bytes = cells.as_deref().map(|text| {
            parse_bytes(text).map_err(|_| {
                Error::usage(format!("`[compact] cells` is `{text}`, which is not a size"))
                    .hint("write for example 1GiB; leave it out to merge no files")
            })
        });
        Ok(Upkeep { catalog: catalog.unwrap_or(true).then_some(bound), cells_bytes: cells_bytes.transpose()? })
    }

    /// Files first: their new ones are listed in leaves of their own.
    pub async fn after(&self, app: &App, has_committed: bool) -> Done {
        let mut done = Done::default();
        if !has_committed {
            return done;
        }
        if let Some(bytes) = self.cells_bytes.filter(|bytes| *bytes > 0) {
            match merge_files(app, bytes).await {
                Ok(report) => done.cells = Some(report).filter(|report| report.commits > 0),
                Err(error) => done.errors.push(told("merge small files", &error)),
            }
        }
        if let Some(bound) = self.catalog {
            match merge_catalog(app, bound).await {
                Ok(report) => done.catalog = report.filter(|report| report.commits > 0),
                Err(error) => done.errors.push(told("merge the catalog", &error)),
            }
        }
        done
    }
}

async fn merge_files(app: &App, max_bytes: u64) -> Result<CompactReport> {
    refuse_a_later_now(app)?;
    let (policy, prices) = (Policy { max_bytes: Some(max_bytes), ..Policy::default() }, app.settings.prices()?);
    let snapshot = Snapshot::open(&app.context.store).await?;
    let planner = Planner::new(&policy, &snapshot.root().document.holds, &prices, app.context.now());
    let plan = compact::plan(&snapshot, planner).await?;
    if plan.groups.is_empty() {
        return Ok(CompactReport::default());
    }
    check_budget(app, "merging", plan.totals.one_off_usd, None)?;
    compact::apply(&app.context, &plan).await
}

async fn merge_catalog(app: &App, bound: Bound) -> Result<Option<CatalogReport>> {
    let newest = Snapshot::open(&app.context.store).await?;
    if newest.root().leaves.len() <= FEW_LEAVES {
        return Ok(None);
    }
    compact::merge_runs(&app.context, bound).await.map(Some)
}

fn told(what: &str, error: &Error) -> String {
    format!("{what}: {error}")
}

impl Done {
    pub fn beside<'a, T>(&'a self, report: &'a T) -> WithUpkeep<'a, T> {
        WithUpkeep { report, upkeep: self }
    }

    pub fn say(&self, app: &App) {
        if let Some(CompactReport { files_before, files_after, bytes_after, version, .. }) = self.cells {
            app.ui.say(&format!(
                "{} became {}, {}: version {version} committed",
                counted(files_before, "small file"),
                HumanCount(files_after),
                HumanBytes(bytes_after)
            ));
        }
        if let Some(CatalogReport { leaves_before, leaves_after, version, .. }) = self.catalog {
            app.ui.say(&format!(
                "{} of the catalog became {}: version {version} committed",
                counted(leaves_before, "leaf file"),
                HumanCount(leaves_after)
            ));
        }
        for error in &self.errors {
            app.ui.warn(&format!("the events are archived, but what follows was not done: {error}"));
        }
    }
}
