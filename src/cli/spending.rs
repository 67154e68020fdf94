//! Consent to what costs money: a limit, a yes, or a person at the terminal. Played money needs none.

use super::App;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::Usd;

/// What spends or deletes does not believe a `--now` that has not come yet, unless the classes are only played.
pub fn refuse_a_later_now(app: &App) -> Result<()> {
    if app.context.store.classes().is_simulated() { Ok(()) } else { refuse_a_later_now_of_a_bill(app) }
}

/// [`refuse_a_later_now`] for what costs real money wherever the archive lies.
pub fn refuse_a_later_now_of_a_bill(app: &App) -> Result<()> {
    if app.context.now() <= Clock::System.now() {
        return Ok(());
    }
    Err(Error::usage("--now has not come yet, and this store bills real money").hint(
        "leave --now out; to rehearse the future, plan only, or use a local folder, where storage classes are simulated",
    ))
}

/// Refuses, before any work, a verb that could not ask in the end, or that lives in the future.
pub fn check_consent(app: &App, max_cost: Option<Usd>) -> Result<()> {
    if app.context.store.classes().is_simulated() { Ok(()) } else { check_real_consent(app, max_cost) }
}

/// [`check_consent`] for what costs real money wherever the archive lies.
pub fn check_real_consent(app: &App, max_cost: Option<Usd>) -> Result<()> {
    refuse_a_later_now_of_a_bill(app)?;
    if max_cost.is_none() && !app.settings.yes && !app.ui.can_ask() {
        return Err(Error::usage("this spends money, and there is no terminal to ask on")
            .hint("add --max-cost USD to set a limit, or --yes"));
    }
    Ok(())
}

/// Refuses what costs more than `--max-cost`, or without one more than `[budget] per_run`.
pub fn check_budget(app: &App, what: &str, cost: Usd, max_cost: Option<Usd>) -> Result<()> {
    let limit = max_cost.or(app.settings.file.budget.per_run.map(Usd));
    match limit.filter(|limit| cost > *limit) {
        None => Ok(()),
        Some(limit) => Err(Error::new(Kind::OverBudget, format!("{what} would cost {cost}, more than {limit}"))
            .hint(format!("--max-cost {} would pass", cost.round_up()))),
    }
}

/// Whether it may be done: never above the limit, and without `--max-cost` only after a yes.
pub fn consent(app: &App, what: &str, cost: Usd, max_cost: Option<Usd>) -> Result<()> {
    match app.context.store.classes().is_simulated() {
        true => check_budget(app, what, cost, max_cost),
        false => real_consent(app, what, cost, max_cost),
    }
}

/// [`consent`] to what costs real money wherever the archive lies.
pub fn real_consent(app: &App, what: &str, cost: Usd, max_cost: Option<Usd>) -> Result<()> {
    check_budget(app, what, cost, max_cost)?;
    if max_cost.is_some() {
        return Ok(());
    }
    match app.ui.confirm(&format!("{what} costs {cost}. Do it?"), app.settings.yes)? {
        true => Ok(()),
        false => Err(Error::failed("nothing was asked for")),
    }
}
