//! The work that no archive can do without, by the libraries alone, on two threads, with nothing validated, sorted or
//! written anywhere: of a day in NDJSON to decode it with arrow-json and encode it as zstd-3 Parquet; of a bundle to decode
//! it and encode it as it was. `infra/bench/archive.sh` and `rest.sh` show it below what a whole run takes.
//!
//! ```sh
//! archive_limit DAY.ndjson        # {"decode_s": …, "encode_s": …}
//! archive_limit BUNDLE.parquet
//! ```

use std::error::Error;
use std::fs::File;
use std::io::sink;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tier::clock::Stopwatch;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const THREADS: usize = 2;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: archive_limit DAY.ndjson | BUNDLE.parquet")?;
    let (decode_ms, encode_ms) = if path.ends_with(".parquet") { bundle(&path)? } else { day(&path)? };
    println!("{{\"decode_s\": {}, \"encode_s\": {}}}", decode_ms as f64 / 1e3, encode_ms as f64 / 1e3);
    Ok(())
}

fn day(path: &str) -> Result<(u64, u64)> {
    let day = std::fs::read(path)?;
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let names = ["event_id", "event_type", "tenant_id", "ts", "user_id", "region", "payload"];
    let mut fields: Vec<Field> = names.map(text).into();
    fields.push(Field::new("latency_ms", DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder().set_compression(zstd(3)?).build();
    timed(halves(&day), |lines| decode(lines, &schema), &properties)
}

fn bundle(path: &str) -> Result<(u64, u64)> {
    let open = || Ok::<_, Box<dyn Error + Send + Sync>>(ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?);
    let bundle = open()?;
    let decode = |groups| {
        Ok(open()?.with_batch_size(8192).with_row_groups(groups).build()?.collect::<std::result::Result<_, _>>()?)
    };
    timed(halves_of_groups(bundle.metadata()), decode, &as_it_was(bundle.metadata())?)
}

/// What it takes to decode the parts, each on its thread, and to encode what they hold.
fn timed<T: Send>(
    parts: Vec<T>,
    decode: impl Fn(T) -> Result<Vec<RecordBatch>> + Sync,
    properties: &WriterProperties,
) -> Result<(u64, u64)> {
    let started = Stopwatch::start();
    let batches = on_threads(parts, decode)?;
    let decode_ms = started.elapsed_ms();
    let started = Stopwatch::start();
    on_threads(batches, |batches| encode(&batches, properties))?;
    Ok((decode_ms, started.elapsed_ms()))
}

fn zstd(level: i32) -> Result<Compression> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level)?))
}

/// The levels, pages, dictionaries and encodings of a bundle: see src/data/bundle/write.rs.
fn as_it_was(bundle: &ParquetMetaData) -> Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_compression(zstd(9)?)
        .set_column_compression("event_id".into(), zstd(1)?)
        .set_data_page_row_count_limit(5_000)
        .set_dictionary_page_size_limit(128 << 10);
    for column in bundle.row_group(0).columns() {
        let name = ColumnPath::from(column.column_path().string());
        if let Some(encoding) = column.encodings().find(is_delta) {
            builder = builder.set_column_dictionary_enabled(name.clone(), false).set_column_encoding(name, encoding);
        }
    }
    Ok(builder.build())
}

fn is_delta(encoding: &Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_BYTE_ARRAY | Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BINARY_PACKED)
}

/// As many parts as threads, of about as many rows each.
fn halves_of_groups(bundle: &ParquetMetaData) -> Vec<Vec<usize>> {
    let rows = bundle.file_metadata().num_rows();
    let mut parts = vec![Vec::new(); THREADS];
    let mut before = 0;
    for (group, metadata) in bundle.row_groups().iter().enumerate() {
        let middle = before + metadata.num_rows() / 2;
        parts[(middle * THREADS as i64 / rows) as usize].push(group);
        before += metadata.num_rows();
    }
    parts
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

fn encode(batches: &[RecordBatch], properties: &WriterProperties) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let mut writer = ArrowWriter::try_new(sink(), first.schema(), Some(properties.clone()))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    Ok(())
}
