//! Fills a Cassandra table with events, for trying the hot tier and for its benchmark:
//!
//! ```sh
//! cargo run --example hot_events -- 127.0.0.1:9042 tier_demo.events --events 1000000 --days 10 --last 2026-11-25
//! ```
//!
//! The events of a day, tenant and number are the same on every run. The table is the one of `infra/cassandra.sh start`.

use std::error::Error;
use std::sync::Arc;

use futures::StreamExt;
use jiff::ToSpan;
use jiff::civil::Date;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDate, CqlTimestamp};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TENANTS: u64 = 20;
const EVENT_TYPES: [&str; 5] = ["click", "login", "logout", "purchase", "view"];
const MILLIS_PER_DAY: i64 = 86_400_000;
/// Rows of one partition sent together, and batches under way.
const ROWS_PER_BATCH: u64 = 50;
const BATCHES_IN_FLIGHT: usize = 32;

struct Arguments {
    contact_point: String,
    table: String,
    events: u64,
    days: i64,
    last: Date,
    /// Numbers of the events begin here: another number makes further events of the same days.
    first_number: u64,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut names = Vec::new();
        let (mut events, mut days, mut last, mut first_number) = (100_000, 10, None, 0);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--events" => events = value()?.parse()?,
                "--days" => days = value()?.parse()?,
                "--last" => last = Some(value()?.parse()?),
                "--first-number" => first_number = value()?.parse()?,
                _ => names.push(argument),
            }
        }
        let [contact_point, table] = <[String; 2]>::try_from(names).map_err(|_| "name HOST:PORT and KEYSPACE.TABLE")?;
        let last = last.ok_or("--last DATE is missing: the newest day")?;
        Ok(Arguments { contact_point, table, events, days, last, first_number })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    let session = Arc::new(SessionBuilder::new().known_node(&arguments.contact_point).build().await?);
    let columns = "(tenant_id, day, event_id, event_type, ts, amount, payload)";
    let insert = format!("INSERT INTO {} {columns} VALUES (?, ?, ?, ?, ?, ?, ?)", arguments.table);
    let insert = session.prepare(insert).await?;
    let per_day = arguments.events / arguments.days as u64;
    for back in (0..arguments.days).rev() {
        let date = arguments.last.checked_sub(back.days())?;
        let numbers = arguments.first_number..arguments.first_number + per_day;
        fill(&session, &insert, date, numbers).await?;
        eprintln!("{date}: {per_day} events");
    }
    Ok(())
}

async fn fill(
    session: &Arc<Session>,
    insert: &PreparedStatement,
    date: Date,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let batches = (0..TENANTS).flat_map(|tenant| {
        let of_tenant: Vec<u64> = numbers.clone().filter(|number| number % TENANTS == tenant).collect();
        let cut = |chunk: &[u64]| (tenant, chunk.to_vec());
        of_tenant.chunks(ROWS_PER_BATCH as usize).map(cut).collect::<Vec<_>>()
    });
    let mut sent = futures::stream::iter(batches)
        .map(|(tenant, numbers)| send(session.clone(), insert.clone(), date, tenant, numbers))
        .buffer_unordered(BATCHES_IN_FLIGHT);
    while let Some(done) = sent.next().await {
        done?;
    }
    Ok(())
}

async fn send(
    session: Arc<Session>,
    insert: PreparedStatement,
    date: Date,
    tenant: u64,
    numbers: Vec<u64>,
) -> Result<()> {
    let days = date.since(Date::constant(1970, 1, 1))?.get_days();
    let day = CqlDate((1_u32 << 31).wrapping_add_signed(days));
    let mut batch = Batch::new(BatchType::Unlogged);
    let mut rows = Vec::new();
    for number in numbers {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let millis = i64::from(days) * MILLIS_PER_DAY + (mixed % MILLIS_PER_DAY as u64) as i64;
        batch.append_statement(insert.clone());
        rows.push((
            format!("tenant-{tenant:02}"),
            day,
            format!("{date}-{number:010}"),
            EVENT_TYPES[(mixed % EVENT_TYPES.len() as u64) as usize],
            CqlTimestamp(millis),
            (mixed % 100_000) as f64 / 100.0,
            format!("{{\"path\":\"/item/{}\"}}", mixed % 1000),
        ));
    }
    session.batch(&batch, rows).await?;
    Ok(())
}
