//! What an archive will cost, month by month, before there is one: arithmetic over prices, without a store.
//!
//! Events arrive evenly, each day in as many cells as tenants have event types, and stay until the end. Three policies
//! see the same events:
//!
//! - **bundled**: STANDARD, and each month's cells rewritten into bundles of the colder class when the whole month is old
//!   enough;
//! - **cell by cell**: every cell moved as the object it is, as a bucket's lifecycle rule does it;
//! - **all STANDARD**: nothing moves.
//!
//! A month is billed for what lies there at its end, a year has 365 days, and the cells of real tenants are far less
//! even: the median cell is smaller than the mean, and cell by cell is dearer than shown here.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::{Prices, StorageClass, Usd};

/// What a bundle aims at: large enough that requests and overheads do not count, small enough that a restore of one
/// tenant brings little else.
const BUNDLE_TARGET_BYTES: u64 = 512 << 20;

const DAYS_PER_YEAR: u64 = 365;
const MONTHS_PER_YEAR: u32 = 12;

/// What arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Workload {
    pub years: u32,
    pub events_per_day: u64,
    pub tenants: u64,
    /// Of each tenant.
    pub event_types: u64,
    /// As stored: compressed Parquet.
    pub bytes_per_event: u64,
}

/// When events leave STANDARD, and for which class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SimulatedMove {
    pub after_days: u32,
    pub class: StorageClass,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    pub workload: Workload,
    #[serde(rename = "move")]
    pub moves: SimulatedMove,
    pub cells_per_day: u64,
    /// The size of each cell's one object.
    pub cell_bytes: u64,
    pub prices_date: Date,
    pub prices_region: String,
    /// What one entry of a bill covers: `month` or `year`.
    pub period: &'static str,
    pub bundled: Bill,
    pub cell_by_cell: Bill,
    pub all_standard: Bill,
}

/// What one policy costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Bill {
    pub periods: Vec<Period>,
    pub total: Usd,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Period {
    /// Counted from 1.
    pub number: u32,
    /// What lies there at the end of the period, by class.
    pub held: BTreeMap<StorageClass, Held>,
    /// Objects that appeared in the colder class: bundles written, or cells moved.
    pub moved_objects: u64,
    pub storage: Usd,
    /// Writing the new cells.
    pub requests: Usd,
    /// Reading, writing and transitions of what was moved.
    pub moves: Usd,
    pub total: Usd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Held {
    pub objects: u64,
    pub bytes: u64,
}

/// Refuses a workload of nothing, one that no 64-bit number counts, and a move to where events are already.
pub fn simulate(workload: Workload, moves: SimulatedMove, prices: &Prices) -> Result<Simulation> {
    workload.check()?;
    if moves.class == StorageClass::Standard {
        return Err(Error::usage("events are in STANDARD to begin with").hint("name the class that they move to"));
    }
    Ok(Simulation {
        workload,
        moves,
        cells_per_day: workload.cells_per_day(),
        cell_bytes: workload.cell_bytes(),
        prices_date: prices.date,
        prices_region: prices.region.clone(),
        period: "month",
        bundled: bill(&workload, moves.class, prices, |month| bundles(&workload, moves, prices, month)),
        cell_by_cell: bill(&workload, moves.class, prices, |month| vec![cells(&workload, moves, prices, month)]),
        all_standard: bill(&workload, moves.class, prices, |_| Vec::new()),
    })
}

impl Simulation {
    /// The same sums, a year in each entry.
    pub fn by_year(mut self) -> Self {
        self.period = "year";
        for bill in [&mut self.bundled, &mut self.cell_by_cell, &mut self.all_standard] {
            bill.periods = bill.periods.chunks(MONTHS_PER_YEAR as usize).zip(1..).map(year).collect();
        }
        self
    }
}

fn year((months, number): (&[Period], u32)) -> Period {
    let sum = |get: fn(&Period) -> Usd| months.iter().map(get).sum();
    Period {
        number,
        held: months.last().map(|last| last.held.clone()).unwrap_or_default(),
        moved_objects: months.iter().map(|month| month.moved_objects).sum(),
        storage: sum(|month| month.storage),
        requests: sum(|month| month.requests),
        moves: sum(|month| month.moves),
        total: sum(|month| month.total),
    }
}

impl Workload {
    fn check(&self) -> Result<()> {
        let numbers =
            [u64::from(self.years), self.events_per_day, self.tenants, self.event_types, self.bytes_per_event];
        if numbers.contains(&0) {
            return Err(Error::usage("there is nothing to simulate: every number must be at least 1"));
        }
        let days = u64::from(self.years) * DAYS_PER_YEAR;
        let bytes = self.events_per_day.checked_mul(self.bytes_per_event).and_then(|day| day.checked_mul(days));
        match (bytes, self.tenants.checked_mul(self.event_types)) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(Error::usage("the workload is larger than 64 bits can count")),
        }
    }

    fn months(&self) -> u32 {
        self.years * MONTHS_PER_YEAR
    }

    /// How many days there are up to the end of a month, which is counted from 1.
    fn days_until(&self, month: u32) -> u64 {
        u64::from(month) * DAYS_PER_YEAR / u64::from(MONTHS_PER_YEAR)
    }

    fn days_of(&self, month: u32) -> u64 {
        self.days_until(month) - self.days_until(month - 1)
    }

    fn bytes_per_day(&self) -> u64 {
        self.events_per_day * self.bytes_per_event
    }

    /// No cell is empty.
    fn cells_per_day(&self) -> u64 {
        (self.tenants * self.event_types).min(self.events_per_day)
    }

    fn cell_bytes(&self) -> u64 {
        self.bytes_per_day().div_ceil(self.cells_per_day())
    }
}

/// Objects that appear in the colder class in place of some days' cells.
struct Batch {
    days: u64,
    objects: u64,
    object_bytes: u64,
    price: Usd,
}

/// The months that became old enough during this one, each rewritten into the fewest bundles that their size allows.
fn bundles(workload: &Workload, moves: SimulatedMove, prices: &Prices, month: u32) -> Vec<Batch> {
    let is_old_at =
        |moved: u32, month: u32| workload.days_until(moved) + u64::from(moves.after_days) <= workload.days_until(month);
    let newly_old = (1..=month).filter(|moved| is_old_at(*moved, month) && !is_old_at(*moved, month - 1));
    newly_old
        .map(|moved| {
            let days = workload.days_of(moved);
            let bytes = days * workload.bytes_per_day();
            let objects = bytes.div_ceil(BUNDLE_TARGET_BYTES);
            let price =
                prices.get(StorageClass::Standard, days * workload.cells_per_day()) + prices.put(moves.class, objects);
            Batch { days, objects, object_bytes: bytes.div_ceil(objects), price }
        })
        .collect()
}

/// The cells that became old enough during this month, moved as they are.
fn cells(workload: &Workload, moves: SimulatedMove, prices: &Prices, month: u32) -> Batch {
    let old_at = |month: u32| workload.days_until(month).saturating_sub(u64::from(moves.after_days));
    let days = old_at(month) - old_at(month - 1);
    let objects = days * workload.cells_per_day();
    let price = prices.transition(moves.class, objects);
    Batch { days, objects, object_bytes: workload.cell_bytes(), price }
}

/// Every month's bill, where `moved` says what leaves STANDARD for `class` in a month.
fn bill(workload: &Workload, class: StorageClass, prices: &Prices, moved: impl Fn(u32) -> Vec<Batch>) -> Bill {
    let cells_per_day = workload.cells_per_day();
    let cell_month = prices.storage_month(StorageClass::Standard, workload.cell_bytes());
    let (mut cold, mut cold_days, mut cold_storage) = (Held::default(), 0, Usd::default());
    let mut bill = Bill::default();
    for number in 1..=workload.months() {
        let batches = moved(number);
        for batch in &batches {
            cold_days += batch.days;
            cold.objects += batch.objects;
            cold.bytes += batch.days * workload.bytes_per_day();
            cold_storage += prices.storage_month(class, batch.object_bytes) * batch.objects as f64;
        }
        let days = workload.days_until(number) - cold_days;
        let standard = Held { objects: days * cells_per_day, bytes: days * workload.bytes_per_day() };
        let storage = cell_month * standard.objects as f64 + cold_storage;
        let requests = prices.put(StorageClass::Standard, workload.days_of(number) * cells_per_day);
        let moves: Usd = batches.iter().map(|batch| batch.price).sum();
        let total = storage + requests + moves;
        bill.total += total;
        let held = [(StorageClass::Standard, standard), (class, cold)];
        bill.periods.push(Period {
            number,
            held: held.into_iter().filter(|(_, held)| held.objects > 0).collect(),
            moved_objects: batches.iter().map(|batch| batch.objects).sum(),
            storage,
            requests,
            moves,
            total,
        });
    }
    bill
}

#[cfg(test)]
mod tests {
    use super::*;
    use StorageClass::{DeepArchive, GlacierIr, Standard};

    const GB: u64 = 1 << 30;

    /// A GB a day in 4 cells of 256 MB.
    const GIGABYTE_A_DAY: Workload =
        Workload { years: 2, events_per_day: 1024, tenants: 2, event_types: 2, bytes_per_event: 1 << 20 };
    const AFTER_A_YEAR: SimulatedMove = SimulatedMove { after_days: 365, class: DeepArchive };

    fn run(workload: Workload, moves: SimulatedMove) -> Simulation {
        simulate(workload, moves, &Prices::built_in()).unwrap()
    }

    #[track_caller]
    fn same(amount: Usd, by_hand: f64) {
        assert!((amount.0 - by_hand).abs() <= by_hand.abs() * 1e-9, "{} is not {by_hand}", amount.0);
    }

    #[test]
    fn the_first_month_pays_for_what_lies_there_at_its_end() {
        let simulation = run(GIGABYTE_A_DAY, AFTER_A_YEAR);
        assert_eq!((simulation.cells_per_day, simulation.cell_bytes), (4, 256 << 20));
        for bill in [&simulation.bundled, &simulation.cell_by_cell, &simulation.all_standard] {
            let month = &bill.periods[0];
            assert_eq!(month.held, BTreeMap::from([(Standard, Held { objects: 120, bytes: 30 * GB })]));
            same(month.storage, 0.69); // 30 × 0.023
            same(month.requests, 0.0006); // 120 × 0.005 / 1000
            same(month.total, 0.6906);
            assert_eq!((month.moves, month.moved_objects), (Usd(0.0), 0));
        }
    }

    #[test]
    fn a_year_later_the_first_month_moves_as_bundles_or_cell_by_cell() {
        // 2^20 KB are a GB: an archived object carries 32 KB at its own price, 8 KB at STANDARD's.
        let overhead = (32.0 * 0.00099 + 8.0 * 0.023) / 1_048_576.0;
        let simulation = run(GIGABYTE_A_DAY, AFTER_A_YEAR);
        let [twelfth, bundled] = &simulation.bundled.periods[11..13] else { unreachable!() };
        assert_eq!(twelfth.moved_objects, 0);
        // Day 395: the 30 days of month 1 are 365 days old.
        let standard = Held { objects: 1460, bytes: 365 * GB };
        let held = |objects| BTreeMap::from([(Standard, standard), (DeepArchive, Held { objects, bytes: 30 * GB })]);
        assert_eq!((bundled.moved_objects, &bundled.held), (60, &held(60)));
        same(bundled.storage, 365.0 * 0.023 + 30.0 * 0.00099 + 60.0 * overhead);
        same(bundled.moves, 120.0 * 0.0004 / 1000.0 + 60.0 * 0.05 / 1000.0);
        let cell_by_cell = &simulation.cell_by_cell.periods[12];
        assert_eq!((cell_by_cell.moved_objects, &cell_by_cell.held), (120, &held(120)));
        same(cell_by_cell.storage, 365.0 * 0.023 + 30.0 * 0.00099 + 120.0 * overhead);
        same(cell_by_cell.moves, 120.0 * 0.05 / 1000.0);
        same(simulation.all_standard.periods[12].storage, 395.0 * 0.023);
    }

    #[test]
    fn years_are_the_sums_of_their_months() {
        let monthly = run(GIGABYTE_A_DAY, AFTER_A_YEAR);
        let yearly = monthly.clone().by_year();
        assert_eq!((yearly.period, yearly.all_standard.periods.len()), ("year", 2));
        // Days at the ends of the months: 30 + 60 + 91 + 121 + 152 + 182 + 212 + 243 + 273 + 304 + 334 + 365 = 2367.
        same(yearly.all_standard.periods[0].storage, 2367.0 * 0.023);
        same(yearly.all_standard.periods[1].storage, (2367.0 + 12.0 * 365.0) * 0.023);
        same(yearly.all_standard.total, (2.0 * 2367.0 + 12.0 * 365.0) * 0.023 + 2.0 * 1460.0 * 0.005 / 1000.0);
        assert_eq!(yearly.bundled.periods[1].held, monthly.bundled.periods[23].held);
        assert_eq!(yearly.bundled.periods[1].moved_objects, 730, "365 GB in halves");
        for (bill, months) in [(&yearly.bundled, &monthly.bundled), (&yearly.cell_by_cell, &monthly.cell_by_cell)] {
            assert_eq!(bill.total, months.total);
            same(bill.periods.iter().map(|period| period.total).sum(), months.total.0);
        }
    }

    #[test]
    fn a_small_month_is_one_bundle_and_a_small_cell_is_billed_as_a_larger_one() {
        let tiny = Workload { years: 1, events_per_day: 2, tenants: 1000, event_types: 50, bytes_per_event: 1024 };
        let at_once = SimulatedMove { after_days: 0, class: GlacierIr };
        let simulation = run(tiny, at_once);
        assert_eq!(simulation.cells_per_day, 2, "two events are in two cells");
        let month = &simulation.bundled.periods[0];
        assert_eq!(month.held, BTreeMap::from([(GlacierIr, Held { objects: 1, bytes: 60 << 10 })]));
        same(month.storage, 0.004 / 8192.0); // billed as 128 KB
        let month = &simulation.cell_by_cell.periods[0];
        same(month.storage, 60.0 * 0.004 / 8192.0);
        same(month.moves, 60.0 * 0.02 / 1000.0);
    }

    #[test]
    fn a_workload_of_nothing_or_too_much_is_refused() {
        let refused = |workload, class| {
            let moves = SimulatedMove { after_days: 365, class };
            simulate(workload, moves, &Prices::built_in()).unwrap_err().to_string()
        };
        let nothing = Workload { tenants: 0, ..GIGABYTE_A_DAY };
        assert!(refused(nothing, DeepArchive).contains("at least 1"));
        let too_much = Workload { events_per_day: u64::MAX, ..GIGABYTE_A_DAY };
        assert!(refused(too_much, DeepArchive).contains("64 bits"));
        assert!(refused(GIGABYTE_A_DAY, Standard).contains("STANDARD"));
    }
}
