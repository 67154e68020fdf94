//! The work that no archive of a day can do without, by the libraries alone: NDJSON decoded by arrow-json and encoded as
//! zstd-3 Parquet, on two threads, with nothing validated, sorted or written anywhere. `infra/bench/archive.sh` shows it
//! below what a whole run takes.
//!
//! ```sh
//! archive_limit DAY.ndjson        # {"decode_s": …, "encode_s": …}
//! ```

use std::error::Error;
use std::io::sink;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tier::clock::Stopwatch;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const THREADS: usize = 2;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: archive_limit DAY.ndjson")?;
    let day = std::fs::read(path)?;
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let names = ["event_id", "event_type", "tenant_id", "ts", "user_id", "region", "payload"];
    let mut fields: Vec<Field> = names.map(text).into();
    fields.push(Field::new("latency_ms", DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields));

    let started = Stopwatch::start();
    let batches = on_threads(halves(&day), |lines| decode(lines, &schema))?;
    let decode_ms = started.elapsed_ms();
    let started = Stopwatch::start();
    on_threads(batches, |batches| encode(&batches, &schema))?;
    let encode_ms = started.elapsed_ms();
    println!("{{\"decode_s\": {}, \"encode_s\": {}}}", decode_ms as f64 / 1e3, encode_ms as f64 / 1e3);
    Ok(())
}

/// As many parts as threads, each of whole lines.
fn halves(day: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = day;
    for left in (1..=THREADS).rev() {
        let middle = rest.len() / left;
        let end = rest[middle..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |more| middle + more + 1);
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

fn on_threads<T: Send, U: Send>(parts: Vec<T>, work: impl Fn(T) -> Result<U> + Sync) -> Result<Vec<U>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<U>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

fn decode(lines: &[u8], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    Ok(ReaderBuilder::new(schema.clone()).with_batch_size(8192).build(lines)?.collect::<std::result::Result<_, _>>()?)
}

fn encode(batches: &[RecordBatch], schema: &SchemaRef) -> Result<()> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(sink(), schema.clone(), Some(properties))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    Ok(())
}
