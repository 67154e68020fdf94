//! What a rehydration did.

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::cli::App;
use crate::cli::words::counted;
use crate::error::Result;
use crate::rehydrate::{Finished, Record};

#[derive(Serialize)]
pub struct Report<'a> {
    version: u64,
    since: Option<u64>,
    /// To be named by `--since` the next time.
    next: u64,
    to: &'a str,
    place: String,
    /// In all, and those that this run wrote.
    rows: u64,
    rows_now: u64,
    bytes: u64,
    dates: &'a [Finished],
    elapsed_ms: u64,
}

impl<'a> Report<'a> {
    pub fn new(record: &'a Record, since: Option<u64>, place: String, rows_now: u64, elapsed_ms: u64) -> Self {
        Report {
            version: record.version,
            since,
            next: record.version,
            to: &record.wanted.to,
            place,
            rows: record.rows(),
            rows_now,
            bytes: record.dates.iter().map(|done| done.bytes).sum(),
            dates: &record.dates,
            elapsed_ms,
        }
    }

    pub fn print(&self, app: &App) -> Result<()> {
        if app.ui.json {
            return app.ui.document(self);
        }
        let size = if self.bytes > 0 { format!(", {}", HumanBytes(self.bytes)) } else { String::new() };
        let whole = format!(
            "{} of {} in {}{size} · version {}",
            counted(self.rows, "event"),
            counted(self.dates.len() as u64, "day"),
            self.place,
            self.version
        );
        let now = match (self.rows_now, self.rows) {
            (0, 0) => String::new(),
            (0, _) => " · all of it was there already".to_owned(),
            (now, all) => {
                let seconds = self.elapsed_ms as f64 / 1000.0;
                let rate = HumanCount(now.saturating_mul(1000) / self.elapsed_ms.max(1));
                let part = if now < all { format!("{} of them now, ", HumanCount(now)) } else { String::new() };
                format!(" · {part}{seconds:.1} s ({rate} rows/s)")
            }
        };
        app.ui.say(&format!("{whole}{now}"));
        app.ui.say(&format!("next: --since {}", self.next));
        Ok(())
    }
}
