//! The hot tier on a real Cassandra.

mod archive;
mod boundary;
mod cassandra;
mod inserts;
mod layouts;
mod night;
mod nodes;
mod query;
mod ring;
mod trim;
mod types;

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use tier::error::Result;
use tier::hot::{Cassandra, CassandraSettings, Consistency, HotColumns, Read, Restriction, Unit};
use tier::model::Mapping;

use crate::support::cassandra::{Keyspace, contact_point};

/// Rows that live shorter than this are expiring.
const WARN_DAYS: u32 = 7;

/// The settings of a table with the usual names.
fn settings(keyspace: &Keyspace, table: &str) -> CassandraSettings {
    CassandraSettings {
        contact_points: vec![contact_point()],
        datacenter: None,
        keyspace: keyspace.name.clone(),
        table: table.to_owned(),
        login: None,
        tls: None,
        columns: HotColumns { mapping: Mapping::default(), day: Some("day".to_owned()), ignore: Vec::new() },
        consistency: Consistency::LocalQuorum,
        page_rows: 1_000,
        requests_in_flight: 8,
        rows_per_second: None,
        timeout: Duration::from_secs(30),
        speculate_after: None,
    }
}

async fn open(settings: &CassandraSettings) -> Cassandra {
    Cassandra::open(settings, WARN_DAYS).await.unwrap()
}

/// What a reading handed out, put together.
#[derive(Debug, Default)]
struct Answer {
    batches: Vec<RecordBatch>,
    pages: usize,
    again: u64,
    expiring: u64,
    /// Unit, rows, counted.
    done: Vec<(usize, u64, Option<u64>)>,
}

impl Answer {
    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// As a table, its rows sorted.
    fn table(&self) -> String {
        let Some(first) = self.batches.first() else { return String::new() };
        let all = concat_batches(first.schema_ref(), &self.batches).unwrap();
        let text = pretty_format_batches(&[all]).unwrap().to_string();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('+')).collect();
        lines[1..].sort_unstable();
        lines.join("\n")
    }
}

async fn read(hot: &Cassandra, units: Vec<Unit>, restriction: Restriction, count: bool) -> Result<Answer> {
    let take = async |mut answer: Answer, read: Read| {
        match read {
            Read::Rows(page) => {
                answer.pages += 1;
                answer.again += u64::from(page.is_again) * page.batch.num_rows() as u64;
                answer.expiring += page.expiring;
                answer.batches.push(page.batch);
            }
            Read::Done { unit, rows, counted } => answer.done.push((unit, rows, counted)),
        }
        Ok(answer)
    };
    let mut answer = hot.read(units, restriction, count).try_fold(Answer::default(), take).await?;
    answer.done.sort_unstable();
    Ok(answer)
}

async fn read_all(hot: &Cassandra, units: Vec<Unit>) -> Answer {
    read(hot, units, Restriction::default(), true).await.unwrap()
}

/// All partitions there are.
async fn partitions(hot: &Cassandra) -> Vec<Unit> {
    hot.days().await.unwrap().into_values().flatten().map(Unit::Partition).collect()
}
