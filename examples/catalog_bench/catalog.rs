//! The catalog of an archive that has no data.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tier::catalog::{
    FILES_PER_LEAF, FileAudit, LeafRef, LiveFile, NewFile, Operation, Relisted, Root, RootDocument, Totals,
    write_leaves,
};
use tier::compact::Period;
use tier::context::Context;
use tier::model::{ColumnType, DataFile, Key, KeyRange, Partition, Schema, StorageClass, days_of_date};
use tier::store::Layout;

use super::Result;

pub const TODAY: &str = "2026-11-25T12:00:00Z";
const FIRST_DAY: Date = jiff::civil::date(2019, 11, 26);
pub const LAST_DAY: Date = jiff::civil::date(2026, 11, 25);

/// Nights of the open month that no merge has touched, and runs of today.
const UNMERGED_NIGHTS: i64 = 7;
const RUNS_OF_TODAY: u64 = 4;

pub const TENANTS: u64 = 2_000;
/// Files written as one batch of leaves.
const BATCH: usize = 16 * FILES_PER_LEAF;

/// How files are spread over tenants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tenants {
    Uniform,
    /// The n-th largest has 1/n of the largest, which has 12% of all.
    Zipf,
}

impl FromStr for Tenants {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => Err(format!("`{text}` is neither uniform nor zipf")),
        }
    }
}

/// What there is of every cell, known without keeping any.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub files_per_day: f64,
    pub tenants: Tenants,
}

impl Shape {
    pub fn new(files: u64, tenants: Tenants) -> Self {
        let days = days_of_date(LAST_DAY) - days_of_date(FIRST_DAY) + 1;
        Shape { files_per_day: files as f64 / f64::from(days), tenants }
    }

    fn event_types(self) -> u64 {
        match self.tenants {
            Tenants::Uniform => 10,
            Tenants::Zipf => 50,
        }
    }

    /// Files of a cell: so many on average, and the same ones each time it is asked.
    fn files_of(self, tenant: u64, event_type: u64, date: Date) -> u64 {
        let share = match self.tenants {
            Tenants::Uniform => 1.0 / TENANTS as f64,
            Tenants::Zipf => 1.0 / (tenant + 1) as f64 / harmonic(TENANTS),
        };
        let mean = self.files_per_day * share / self.event_types() as f64;
        let random = mix(tenant << 40 ^ event_type << 32 ^ days_of_date(date) as u64);
        mean as u64 + u64::from((random as f64 / u64::MAX as f64) < mean.fract())
    }

    /// The files of these dates, in the order of a leaf; `run` of `runs` that share each day's files.
    fn files(self, dates: Vec<Date>, run: u64, runs: u64) -> impl Iterator<Item = (DataFile, u64)> {
        let cells = (0..TENANTS).flat_map(move |tenant| (0..self.event_types()).map(move |t| (tenant, t)));
        let cells = cells.flat_map(move |(tenant, t)| dates.clone().into_iter().map(move |date| (tenant, t, date)));
        cells.flat_map(move |(tenant, event_type, date)| {
            (0..self.files_of(tenant, event_type, date))
                .map(move |number| {
                    (number, mix(tenant << 44 ^ event_type << 36 ^ number << 24 ^ days_of_date(date) as u64))
                })
                .filter(move |(_, random)| random % runs == run)
                .map(move |(_, random)| data_file(tenant, event_type, date, random))
        })
    }

    /// The files that the next night brings.
    pub fn next_night(self) -> Vec<NewFile> {
        let date = LAST_DAY.tomorrow().expect("dates go on");
        self.files(vec![date], 0, 1).map(|(file, _)| NewFile { file, audit: audit() }).collect()
    }
}

pub fn tenant(number: u64) -> String {
    format!("t_{number:05}")
}

fn data_file(tenant_number: u64, event_type: u64, date: Date, random: u64) -> (DataFile, u64) {
    let (tenant, event_type) = (tenant(tenant_number), format!("e_{event_type:02}"));
    let key = |text: &str| Key::parse(text).expect("a plain name");
    let cell = Partition { tenant_id: key(&tenant), event_type: key(&event_type), date };
    let night = days_of_date(date) as u64;
    let version = version_of(date);
    let run = format!("{:016x}{:016x}", mix(night), 0);
    let midnight = i64::from(days_of_date(date)) * 86_400_000_000;
    let file = DataFile {
        path: Layout::for_run(version, &run).data_file(&cell, (random % 20_000) as usize),
        tenants: KeyRange::one(&*tenant).to_text(),
        event_types: KeyRange::one(&*event_type).to_text(),
        dates: KeyRange::one(date),
        ts: KeyRange {
            min: midnight + (random % 3_600_000_000) as i64,
            max: midnight + 82_800_000_000 + (random / 7 % 3_600_000_000) as i64,
        },
        rows: 100 + random % 3_000,
        size_bytes: 20_000 + random / 3 % 200_000,
        footer_bytes: 2_000 + (random % 500) as u32,
        schema_id: 1,
        storage_class: StorageClass::Standard,
        class_since: None,
        pack: None,
    };
    (file, version)
}

/// Left empty: no question reads it.
fn audit() -> FileAudit {
    FileAudit { sha256: String::new(), min_event_id: String::new(), max_event_id: String::new() }
}

/// A night, a version.
fn version_of(date: Date) -> u64 {
    (days_of_date(date) - days_of_date(FIRST_DAY)) as u64 + 1
}

/// Lists of dates that are one run each, in the order of time; the last is today's.
fn merged_runs() -> Vec<Vec<Date>> {
    let mut runs: Vec<(Option<Period>, Vec<Date>)> = Vec::new();
    let unmerged_from = LAST_DAY.checked_sub(UNMERGED_NIGHTS.days()).expect("dates go back");
    for date in FIRST_DAY.series(1.day()).take_while(|date| *date <= LAST_DAY) {
        let period = (date < unmerged_from).then(|| Period::of(date, LAST_DAY));
        match runs.last_mut().filter(|(last, _)| period.is_some() && *last == period) {
            Some((_, dates)) => dates.push(date),
            None => runs.push((period, vec![date])),
        }
    }
    runs.into_iter().map(|(_, dates)| dates).collect()
}

pub async fn make(ctx: &Context, files: u64, tenants: Tenants) -> Result<()> {
    let shape = Shape::new(files, tenants);
    let mut leaves = Vec::new();
    let newest = version_of(LAST_DAY) + RUNS_OF_TODAY;
    let mut runs: Vec<(Vec<Date>, u64, u64)> = merged_runs().into_iter().map(|dates| (dates, 0, 1)).collect();
    if let Some((today, ..)) = runs.pop() {
        runs.extend((0..RUNS_OF_TODAY).map(|run| (today.clone(), run, RUNS_OF_TODAY)));
    }
    for (dates, run, of) in runs {
        let added_version = version_of(*dates.last().expect("a run has dates")) + if of > 1 { run + 1 } else { 0 };
        let mut files = shape.files(dates, run, of).peekable();
        while files.peek().is_some() {
            // Two batches, one for each core.
            let write = |batch: Vec<(DataFile, u64)>| {
                let (ctx, layout) = (ctx.clone(), Layout::for_run(added_version, &ctx.random.id()));
                tokio::spawn(async move {
                    let list = batch.into_iter().map(relisted).collect();
                    write_leaves(&ctx.store, &layout, Vec::new(), vec![list]).await
                })
            };
            let first = write(files.by_ref().take(BATCH).collect());
            let second: Vec<_> = files.by_ref().take(BATCH).collect();
            let second = (!second.is_empty()).then(|| write(second));
            let mut written = first.await??;
            if let Some(second) = second {
                written.extend(second.await??);
            }
            leaves.extend(written.into_iter().map(|leaf| LeafRef { added_version, ..leaf }));
        }
    }
    let root = Root { document: document(newest, &leaves), leaves: leaves.into() };
    ctx.store
        .put(Layout::TABLE, format!(r#"{{"format_version": 1, "table_id": "{}"}}"#, root.document.table_id))
        .await?;
    ctx.store.put_if_absent(&Layout::root(newest), root.encode()?).await?;
    ctx.store.put(Layout::HINT, format!(r#"{{"version": {newest}}}"#)).await?;
    println!("{} files in {} leaves", root.leaves.files(), root.leaves.len());
    Ok(())
}

fn relisted((file, version): (DataFile, u64)) -> Relisted {
    Relisted { live: LiveFile { leaf: String::new(), position: 0, file }, version, audit: audit() }
}

fn document(version: u64, leaves: &[LeafRef]) -> RootDocument {
    let mut schema = Schema::default();
    for (name, column_type) in [("amount", ColumnType::Double), ("payload", ColumnType::Varchar)] {
        schema.add(name, column_type).expect("a new column");
    }
    let mut totals = Totals::default();
    leaves.iter().for_each(|leaf| totals.add(leaf.files, leaf.rows, leaf.size_bytes));
    RootDocument {
        version,
        table_id: "catalog-bench".to_owned(),
        commit_id: "catalog-bench".to_owned(),
        parent_commit_id: Some(String::new()),
        parent_sha256: Some(String::new()),
        time: TODAY.parse::<Timestamp>().expect("a time"),
        operation: Operation::new("merge", version - 1),
        schema,
        totals: [(StorageClass::Standard, totals)].into(),
        required_features: vec!["merged-leaves".to_owned()],
        ..RootDocument::empty()
    }
}

fn harmonic(n: u64) -> f64 {
    static SUM: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    *SUM.get_or_init(|| (1..=n).map(|k| 1.0 / k as f64).sum())
}

/// SplitMix64: evenly spread, and always the same.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
