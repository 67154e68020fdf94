//! Writes the week of exports that lies in `sample-data/`, the same bytes on every run:
//!
//! ```sh
//! cargo run --example sample_data -- sample-data
//! ```
//!
//! One file per day, in the formats that exports come in, with what real exports have: a tenant much bigger than the
//! others, events delivered twice, events that arrive days late, a column that appears midweek, records that are broken.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde_json::value::RawValue;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DAYS: [&str; 7] =
    ["2026-08-24", "2026-08-25", "2026-08-26", "2026-08-27", "2026-08-28", "2026-08-29", "2026-08-30"];
const EVENTS_PER_DAY: [usize; 7] = [190, 240, 210, 260, 280, 190, 130];
/// So many of a day's last events are delivered again in the next day's file.
const RETRIED_PER_DAY: [usize; 6] = [8, 5, 9, 6, 7, 4];
/// The column `experiment` exists from this day on.
const EXPERIMENT_FROM: &str = DAYS[3];
/// Of a hundred sessions, so many start in each hour. None starts in the last, so that all end within their date.
const SESSIONS_BY_HOUR: [u64; 24] = [1, 1, 0, 0, 0, 1, 2, 4, 6, 7, 8, 7, 6, 6, 7, 7, 7, 6, 6, 6, 5, 4, 3, 0];

struct Tenant {
    id: &'static str,
    share_percent: u64,
    users: u64,
    regions: &'static [&'static str],
}

const TENANTS: [Tenant; 3] = [
    Tenant { id: "acme", share_percent: 76, users: 120, regions: &["eu-west", "us-east", "ap-south"] },
    Tenant { id: "globex", share_percent: 18, users: 35, regions: &["us-east", "eu-west"] },
    Tenant { id: "initech", share_percent: 6, users: 5, regions: &["us-east"] },
];

/// One record. The order of the fields is the order of the columns.
#[derive(Debug, Clone, Serialize)]
struct Event {
    event_id: String,
    event_type: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant_id: &'static str,
    ts: String,
    user_id: String,
    region: &'static str,
    latency_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<f64>,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<&'static str>,
    /// The record breaks off in the middle.
    #[serde(skip)]
    cut_off: bool,
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("usage: cargo run --example sample_data -- FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let files = week(&mut SplitMix64(0x2026_0824))?;
    let [mon, tue, wed, thu, fri, sat, sun] = &files;
    for (name, events, bytes) in [
        ("2026-08-24.ndjson", mon, ndjson(mon)?),
        ("2026-08-25.ndjson.gz", tue, gzip(&ndjson(tue)?)?),
        ("2026-08-26.csv", wed, csv(wed, false)?),
        ("2026-08-27.ndjson.zst", thu, zstd::encode_all(ndjson(thu)?.as_slice(), 19)?),
        ("2026-08-28.csv.gz", fri, gzip(&csv(fri, true)?)?),
        ("2026-08-29.parquet", sat, parquet(sat)?),
        ("2026-08-30.ndjson", sun, ndjson(sun)?),
    ] {
        println!("{name}: {} records, {} bytes", events.len(), bytes.len());
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// The records of each day's file.
fn week(random: &mut SplitMix64) -> Result<[Vec<Event>; 7]> {
    let mut files: [Vec<Event>; 7] = Default::default();
    for ((file, date), count) in files.iter_mut().zip(DAYS).zip(EVENTS_PER_DAY) {
        *file = day(random, date, count)?;
    }

    for (today, count) in RETRIED_PER_DAY.into_iter().enumerate().rev() {
        let retried = files[today][files[today].len() - count..].to_vec();
        files[today + 1].splice(0..0, retried);
    }

    // On Monday from noon to eight globex is cut off from the collector; what it kept arrives on Thursday at nine.
    let late: Vec<Event> = files[0]
        .extract_if(.., |event| event.tenant_id == "globex" && ("T12".."T20").contains(&&event.ts[10..13]))
        .collect();
    let nine = files[3].partition_point(|event| event.ts.as_str() < "2026-08-27T09");
    files[3].splice(nine..nine, late);

    insert_broken(random, &mut files[0], 57, |event| event.cut_off = true);
    insert_broken(random, &mut files[2], 101, |event| event.cut_off = true);
    insert_broken(random, &mut files[3], 80, |event| event.tenant_id = "");
    insert_broken(random, &mut files[3], 200, |event| event.ts.replace_range(8..10, "32"));
    Ok(files)
}

/// Puts a new event like its neighbour at `place`, broken.
fn insert_broken(random: &mut SplitMix64, file: &mut Vec<Event>, place: usize, break_it: impl Fn(&mut Event)) {
    let mut event = file[place].clone();
    event.event_id.replace_range(24.., &format!("{:012x}", random.next() >> 16));
    break_it(&mut event);
    file.insert(place, event);
}

/// `count` events of one date, in the order of their times.
fn day(random: &mut SplitMix64, date: &str, count: usize) -> Result<Vec<Event>> {
    let midnight: Timestamp = format!("{date}T00:00:00Z").parse()?;
    let mut events = Vec::new();
    while events.len() < count {
        let start = random.weighted(&SESSIONS_BY_HOUR) as i64 * 3_600_000 + random.below(3_600_000) as i64;
        session(random, midnight.as_millisecond() + start, date >= EXPERIMENT_FROM, &mut events)?;
    }
    events.truncate(count);
    events.sort_by(|a, b| a.ts.cmp(&b.ts));
    Ok(events)
}

/// A user comes, looks around, perhaps buys, perhaps says goodbye.
fn session(random: &mut SplitMix64, start_ms: i64, experiment: bool, events: &mut Vec<Event>) -> Result<()> {
    let tenant = &TENANTS[random.weighted(&TENANTS.each_ref().map(|tenant| tenant.share_percent))];
    let user = random.below(tenant.users);
    let region = tenant.regions[user as usize % tenant.regions.len()];
    let experiment = [None, Some("checkout-a"), Some("checkout-b")][user as usize / 3 % 3].filter(|_| experiment);
    let mut now_ms = start_ms;
    let mut happens = |random: &mut SplitMix64, event_type, amount, payload: String| -> Result<()> {
        let slow_ms = if random.below(20) == 0 { random.below(2_000) } else { 0 };
        events.push(Event {
            event_id: uuid_v7(random, now_ms),
            event_type,
            tenant_id: tenant.id,
            ts: format!("{:.3}", Timestamp::from_millisecond(now_ms)?),
            user_id: format!("u{user:04}"),
            region,
            latency_ms: (8 + random.below(60) + slow_ms) as i64,
            amount,
            payload: RawValue::from_string(payload)?,
            experiment,
            cut_off: false,
        });
        now_ms += 1_000 + random.below(99_000) as i64;
        Ok(())
    };

    let (method, ok) = (["password", "sso", "passkey"][random.weighted(&[6, 3, 1])], random.below(12) > 0);
    happens(random, "login", None, format!(r#"{{"method":"{method}","ok":{ok}}}"#))?;
    for _ in 0..1 + random.below(6) {
        let (page, ok) = (1 + random.below(40), random.below(30) > 0);
        happens(random, "page_view", None, format!(r#"{{"path":"/p/{page}","ok":{ok}}}"#))?;
    }
    if random.below(100) < 45 {
        let order = random.below(100_000);
        let amount = Some((250 + random.below(25_000)) as f64 / 100.0);
        let items = 1 + random.below(4);
        happens(random, "purchase", amount, format!(r#"{{"order":"o-{order:05}","items":{items}}}"#))?;
        if random.below(100) < 20 {
            let reason = ["damaged", "late", "changed my mind"][random.below(3) as usize];
            happens(random, "refund", amount, format!(r#"{{"order":"o-{order:05}","reason":"{reason}"}}"#))?;
        }
    }
    if random.below(100) < 70 {
        happens(random, "logout", None, r#"{"ok":true}"#.to_owned())?;
    }
    Ok(())
}

fn uuid_v7(random: &mut SplitMix64, ms: i64) -> String {
    let (a, b) = (random.next() & 0xfff, random.next());
    let (high, low) = (ms >> 16, ms & 0xffff);
    format!("{high:08x}-{low:04x}-7{a:03x}-{:04x}-{:012x}", 0x8000 | (b >> 50), b & 0xffff_ffff_ffff)
}

fn ndjson(events: &[Event]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for event in events {
        let mut line = serde_json::to_string(event)?;
        if event.cut_off {
            line.truncate(line.len() * 2 / 3);
        }
        writeln!(out, "{line}")?;
    }
    Ok(out)
}

fn csv(events: &[Event], experiment: bool) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let mut header =
        vec!["event_id", "event_type", "tenant_id", "ts", "user_id", "region", "latency_ms", "amount", "payload"];
    if experiment {
        header.push("experiment");
    }
    writer.write_record(&header)?;
    for event in events {
        let latency_ms = event.latency_ms.to_string();
        let amount = event.amount.map(|amount| format!("{amount:.2}")).unwrap_or_default();
        let mut record = vec![
            event.event_id.as_str(),
            event.event_type,
            event.tenant_id,
            &event.ts,
            &event.user_id,
            event.region,
            &latency_ms,
            &amount,
            event.payload.get(),
        ];
        if experiment {
            record.push(event.experiment.unwrap_or_default());
        }
        if event.cut_off {
            record.truncate(6);
        }
        writer.write_record(&record)?;
    }
    Ok(writer.into_inner()?)
}

fn parquet(events: &[Event]) -> Result<Vec<u8>> {
    let text = |column: fn(&Event) -> &str| -> ArrayRef {
        Arc::new(events.iter().map(|event| Some(column(event))).collect::<StringArray>())
    };
    let times = events
        .iter()
        .map(|event| Ok(Some(event.ts.parse::<Timestamp>()?.as_millisecond())))
        .collect::<Result<TimestampMillisecondArray>>()?
        .with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([
        ("event_id", text(|event| &event.event_id)),
        ("event_type", text(|event| event.event_type)),
        ("tenant_id", text(|event| event.tenant_id)),
        ("ts", Arc::new(times) as ArrayRef),
        ("user_id", text(|event| &event.user_id)),
        ("region", text(|event| event.region)),
        ("latency_ms", Arc::new(events.iter().map(|event| Some(event.latency_ms)).collect::<Int64Array>())),
        ("amount", Arc::new(events.iter().map(|event| event.amount).collect::<Float64Array>())),
        ("payload", text(|event| event.payload.get())),
        ("experiment", Arc::new(events.iter().map(|event| event.experiment).collect::<StringArray>())),
    ])?;
    let properties = WriterProperties::builder()
        .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
        // The default names the version of the library, which would change the bytes with every update.
        .set_created_by("sample_data".to_owned())
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// A small generator of random numbers that is the same everywhere, https://prng.di.unimi.it/splitmix64.c
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index, as often as its weight says.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        weights
            .iter()
            .position(|&weight| {
                let found = rest < weight;
                rest = rest.saturating_sub(weight);
                found
            })
            .expect("the rest is below the sum")
    }
}
