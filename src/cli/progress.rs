//! Shows progress: bars on a terminal, else a line at the start of a task and one a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Stopwatch;
use crate::progress::{Progress, Task, Unit};

const REDRAWS_PER_SECOND: u8 = 8;
const LINE_EVERY_MS: u64 = 60_000;

pub struct Bars(MultiProgress);

impl Bars {
    pub fn new(bars: MultiProgress) -> Self {
        bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        Bars(bars)
    }
}

impl Progress for Bars {
    fn task(&self, name: &'static str, unit: Unit, total: Option<u64>) -> Arc<dyn Task> {
        let amount = match (unit, total.is_some()) {
            (Unit::Bytes, true) => "{bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Unit::Bytes, false) => "{bytes} {bytes_per_sec}",
            (_, true) => "{human_pos}/{human_len} {per_sec} {eta}",
            (_, false) => "{human_pos} {per_sec}",
        };
        let template = format!("{{msg:>8}} {{wide_bar:.cyan}} {amount}");
        let bar = self.0.add(match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        });
        bar.set_style(ProgressStyle::with_template(&template).expect("a template of known fields"));
        bar.set_message(name);
        Arc::new(Bar(bar))
    }

    fn warn(&self, message: &str) {
        let _ = self.0.println(format!("warning: {message}"));
    }
}

struct Bar(ProgressBar);

impl Task for Bar {
    fn advance(&self, amount: u64) {
        self.0.inc(amount);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub struct Lines;

impl Progress for Lines {
    fn task(&self, name: &'static str, unit: Unit, total: Option<u64>) -> Arc<dyn Task> {
        Arc::new(Line {
            name,
            unit,
            total,
            done: AtomicU64::new(0),
            watch: Stopwatch::start(),
            said: AtomicU64::new(0),
        })
    }

    fn warn(&self, message: &str) {
        eprintln!("warning: {message}");
    }
}

struct Line {
    name: &'static str,
    unit: Unit,
    total: Option<u64>,
    done: AtomicU64,
    watch: Stopwatch,
    /// How many minutes have been reported.
    said: AtomicU64,
}

impl Task for Line {
    fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        let minute = self.watch.elapsed_ms() / LINE_EVERY_MS;
        if minute > self.said.load(Ordering::Relaxed) && self.said.swap(minute, Ordering::Relaxed) < minute {
            let of = self.total.map(|total| format!(" of {}", human(self.unit, total))).unwrap_or_default();
            eprintln!("{}: {}{of} after {minute} min", self.name, human(self.unit, done));
        }
    }
}

/// Sizes in powers of 1024, counts with thousands separators.
pub fn human(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Bytes => HumanBytes(amount).to_string(),
        Unit::Rows => format!("{} rows", HumanCount(amount)),
        Unit::Files => format!("{} files", HumanCount(amount)),
    }
}
