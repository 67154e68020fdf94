//! `tier simulate`: what an archive will cost, without one.

use clap::Args;
use clap::value_parser;
use indicatif::{HumanBytes, HumanCount};

use super::parse::parse_age_days;
use super::{Settings, Ui};
use crate::error::Result;
use crate::model::{StorageClass, Usd};
use crate::simulate::{Held, Period, SimulatedMove, Simulation, Workload, simulate};

/// S3's lifecycle rules leave smaller objects alone unless told otherwise,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>
const LIFECYCLE_MIN_BYTES: u64 = 128 << 10;

const MAX_YEARS: i64 = 100;

/// Of the table on stdout.
const COLUMNS: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier simulate
  tier simulate --events-per-day 8640000000 --after 90d --class GLACIER
  tier simulate --years 3 --monthly --json

Needs no archive. Prices are built in, or those of `[prices] file` in tier.toml.
The total is that of bundles; beside it, the same events moved one object per
cell, and never moved.")]
pub struct SimulateArgs {
    /// How long events are kept
    #[arg(long, value_name = "YEARS", default_value_t = 7, value_parser = value_parser!(u32).range(1..=MAX_YEARS))]
    years: u32,

    /// How many events arrive each day, of all tenants
    #[arg(long, value_name = "N", default_value_t = 100_000_000, value_parser = value_parser!(u64).range(1..))]
    events_per_day: u64,

    /// How many tenants send events
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u64).range(1..))]
    tenants: u64,

    /// How many types of event each tenant has
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u64).range(1..))]
    event_types: u64,

    /// What an event takes in the archive, compressed
    #[arg(long, value_name = "BYTES", default_value_t = 30, value_parser = value_parser!(u64).range(1..))]
    bytes_per_event: u64,

    /// The age at which events leave STANDARD
    #[arg(long, value_name = "AGE", default_value = "1y")]
    after: String,

    /// The class that they leave it for
    #[arg(long, value_name = "CLASS", default_value = "DEEP_ARCHIVE")]
    class: String,

    /// Show every month instead of every year
    #[arg(long)]
    monthly: bool,
}

pub fn run(ui: &Ui, settings: &Settings, args: SimulateArgs) -> Result<u8> {
    let workload = Workload {
        years: args.years,
        events_per_day: args.events_per_day,
        tenants: args.tenants,
        event_types: args.event_types,
        bytes_per_event: args.bytes_per_event,
    };
    let moves = SimulatedMove { after_days: parse_age_days(&args.after)?, class: args.class.parse()? };
    let simulation = simulate(workload, moves, &settings.prices()?)?;
    let simulation = if args.monthly { simulation } else { simulation.by_year() };
    if ui.json {
        return ui.document(&simulation).map(|()| 0);
    }
    ui.data(&show(&simulation))?;
    if simulation.cell_bytes < LIFECYCLE_MIN_BYTES {
        ui.say(&format!(
            "note: a lifecycle rule leaves objects under {} alone unless it names a size; these cells have {}",
            HumanBytes(LIFECYCLE_MIN_BYTES),
            HumanBytes(simulation.cell_bytes)
        ));
    }
    Ok(0)
}

fn show(simulation: &Simulation) -> String {
    let Simulation { workload, moves, .. } = simulation;
    let mut text = format!(
        "{} events a day of {} for {} years, in {} cells a day of {}\n\
         STANDARD, after {} days in bundles in {}; prices of {}, {}\n\n",
        HumanCount(workload.events_per_day),
        HumanBytes(workload.bytes_per_event),
        workload.years,
        HumanCount(simulation.cells_per_day),
        HumanBytes(simulation.cell_bytes),
        moves.after_days,
        moves.class,
        simulation.prices_date,
        simulation.prices_region
    );
    let rows = rows(simulation);
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
        text.push_str(&cells.collect::<Vec<_>>().join("  "));
        text.push('\n');
    }
    text
}

/// The table: a heading, one row per period, and the sums.
fn rows(simulation: &Simulation) -> Vec<[String; COLUMNS]> {
    let heading = [
        simulation.period,
        "STANDARD",
        simulation.moves.class.as_str(),
        "objects",
        "storage",
        "requests",
        "moves",
        "total",
        "cell by cell",
        "all STANDARD",
    ];
    let (bundled, others) = (&simulation.bundled, [&simulation.cell_by_cell, &simulation.all_standard]);
    let mut rows = vec![heading.map(str::to_owned)];
    for (index, period) in bundled.periods.iter().enumerate() {
        let held = |class| period.held.get(&class).copied().unwrap_or_default();
        let bytes = |held: Held| if held.bytes == 0 { "-".to_owned() } else { HumanBytes(held.bytes).to_string() };
        let [cell_by_cell, all_standard] = others.map(|bill| bill.periods[index].total.to_string());
        rows.push([
            period.number.to_string(),
            bytes(held(StorageClass::Standard)),
            bytes(held(simulation.moves.class)),
            HumanCount(period.held.values().map(|held| held.objects).sum()).to_string(),
            period.storage.to_string(),
            period.requests.to_string(),
            period.moves.to_string(),
            period.total.to_string(),
            cell_by_cell,
            all_standard,
        ]);
    }
    let sum = |get: fn(&Period) -> Usd| bundled.periods.iter().map(get).sum::<Usd>().to_string();
    let [cell_by_cell, all_standard] = others.map(|bill| bill.total.to_string());
    let nothing = String::new;
    rows.push([
        "total".to_owned(),
        nothing(),
        nothing(),
        nothing(),
        sum(|period| period.storage),
        sum(|period| period.requests),
        sum(|period| period.moves),
        bundled.total.to_string(),
        cell_by_cell,
        all_standard,
    ]);
    rows
}
