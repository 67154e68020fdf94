//! What one would write instead of `tier archive --from-hot`: a loop over the driver's pager that writes an export. It is
//! the benchmark's peer (`infra/bench/hot.sh`), and reads the table of `infra/cassandra.sh start`:
//!
//! ```sh
//! cargo run --example driver_loop -- 127.0.0.1:9042 tier_demo.events 2026-11-24 export.ndjson
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use futures::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::{CqlDate, CqlTimestamp};
use serde::Serialize;

#[derive(Serialize)]
struct Event {
    tenant_id: String,
    event_id: String,
    event_type: Option<String>,
    ts: Option<String>,
    amount: Option<f64>,
    payload: Option<String>,
}

type Row = (String, String, Option<String>, Option<CqlTimestamp>, Option<f64>, Option<String>);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [point, table, day, target] = &arguments[..] else { return Err("name HOST:PORT TABLE DATE FILE".into()) };
    let days = day.parse::<Date>()?.since(Date::constant(1970, 1, 1))?.get_days();
    let session = SessionBuilder::new().known_node(point).build().await?;
    let columns = "tenant_id, event_id, event_type, ts, amount, payload";
    let select = session.prepare(format!("SELECT {columns} FROM {table} WHERE day = ? ALLOW FILTERING")).await?;
    let pager = session.execute_iter(select, (CqlDate((1_u32 << 31).wrapping_add_signed(days)),)).await?;
    let mut rows = pager.rows_stream::<Row>()?;
    let mut file = BufWriter::new(File::create(target)?);
    let mut written = 0_u64;
    while let Some((tenant_id, event_id, event_type, ts, amount, payload)) = rows.try_next().await? {
        let ts = ts.and_then(|ts| Timestamp::from_millisecond(ts.0).ok()).map(|ts| ts.to_string());
        serde_json::to_writer(&mut file, &Event { tenant_id, event_id, event_type, ts, amount, payload })?;
        file.write_all(b"\n")?;
        written += 1;
    }
    file.into_inner()?.sync_all()?;
    eprintln!("{written} rows");
    Ok(())
}
