//! `--estimate`: what a question would take, before anything is paid.

use jiff::civil::Date;
use serde::Serialize;

use crate::cli::App;
use crate::error::Result;
use crate::query::{Engine, Estimate, HotMissing, Missing, Offer, Plan, PlannedHot, count, size};

/// The document of `--estimate --json`.
#[derive(Serialize)]
struct Document {
    /// Of the archive that would answer.
    version: u64,
    files_total: u64,
    #[serde(flatten)]
    estimate: Estimate,
    prices_date: Date,
    simulated: bool,
    /// Files that must be restored first, and what that costs.
    unreadable_files: u64,
    unreadable_bytes: u64,
    restore: Vec<Offer>,
    /// Empty unless archived files are to be skipped.
    missing: Vec<Missing>,
    hot_partitions: u64,
    hot_missing: Option<HotMissing>,
    #[serde(skip)]
    hot: PlannedHot,
}

/// Prints what a plan would take: words, or with --json one document.
pub fn print(app: &App, engine: &Engine, plan: &Plan) -> Result<()> {
    let prices_date = engine.tariff().prices.date;
    let (unreadable, hot) = (plan.unreadable(), plan.ladder().hot.planned);
    let incomplete = plan.incomplete();
    let archived = incomplete.as_ref().and_then(|incomplete| incomplete.archived.as_ref());
    let document = Document {
        version: engine.snapshot().version(),
        files_total: plan.ladder().pruned.files_total,
        estimate: engine.estimate(plan),
        prices_date,
        simulated: app.context.store.classes().is_simulated(),
        unreadable_files: unreadable.len() as u64,
        unreadable_bytes: unreadable.iter().map(|file| file.share.size_bytes).sum(),
        restore: if unreadable.is_empty() { Vec::new() } else { engine.offers(plan) },
        missing: archived.map(|archived| archived.missing.clone()).unwrap_or_default(),
        hot_partitions: hot.partitions,
        hot_missing: incomplete.as_ref().and_then(|incomplete| incomplete.hot.clone()),
        hot,
    };
    if app.ui.json {
        return app.ui.document(&document);
    }
    app.ui.data(&document.words())
}

impl Document {
    fn words(&self) -> String {
        let Estimate { files, requests, bytes, cost_usd } = self.estimate;
        let simulated = if self.simulated { ", simulated" } else { "" };
        let mut words = format!(
            "{} of {} files · {} requests · {} · {cost_usd} (prices of {}{simulated})\n",
            count(files),
            count(self.files_total),
            count(requests),
            size(bytes),
            self.prices_date
        );
        if !self.hot.is_empty() {
            words += &format!("and of the hot tier {}\n", self.hot);
        }
        if let Some(missing) = &self.hot_missing {
            words += &format!("{missing}\n");
        }
        if self.unreadable_files > 0 {
            words += &format!(
                "{} files ({}) are archived and must be restored first, for 7 days:\n",
                count(self.unreadable_files),
                size(self.unreadable_bytes)
            );
            words.extend(self.restore.iter().map(|offer| format!("  {offer}\n")));
        }
        words
    }
}
