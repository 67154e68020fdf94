//! Consent to what costs money: a limit, a yes, or a person at the terminal. Played money needs none.

use super::App;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::Usd;

/// Refuses, before any work, a verb that could not ask in the end, or that lives in the future.
pub fn check_consent(app: &App, max_cost: Option<Usd>) -> Result<()> {
    if app.context.store.classes().is_simulated() {
        return Ok(());
    }
    if app.context.now() > Clock::System.now() {
        return Err(Error::usage("--now is later than the real time, and this store bills real money")
            .hint("leave --now out; on a local folder, where storage classes are simulated, it may be any time"));
    }
    if max_cost.is_none() && !app.settings.yes && !app.ui.can_ask() {
        return Err(Error::usage("this spends money, and there is no terminal to ask on")
            .hint("add --max-cost USD to set a limit, or --yes"));
    }
    Ok(())
}

/// Whether it may be done: never above the limit, and without one only after a yes.
pub fn consent(app: &App, what: &str, cost: Usd, max_cost: Option<Usd>) -> Result<()> {
    if let Some(max) = max_cost {
        return match cost <= max {
            true => Ok(()),
            false => Err(Error::new(Kind::OverBudget, format!("{what} would cost {cost}, more than {max}"))
                .hint(format!("--max-cost {} would pass", cost.round_up()))),
        };
    }
    if app.context.store.classes().is_simulated() {
        return Ok(());
    }
    match app.ui.confirm(&format!("{what} costs {cost}. Do it?"), app.settings.yes)? {
        true => Ok(()),
        false => Err(Error::failed("nothing was asked for")),
    }
}
