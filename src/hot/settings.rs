//! What the user says of the hot tier, validated once.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Cassandra;
use crate::error::{Error, Result};
use crate::model::{KeySource, Mapping};

/// Where recent events are, and how to treat it.
#[derive(Debug, Clone)]
pub struct HotSettings {
    pub place: Place,
    /// How long the hot tier keeps an event after its time.
    pub ttl_days: u32,
    /// A day is taken for whole this long after its midnight, UTC.
    pub closes_after: Duration,
    /// Fewer days than this before unarchived events expire: a person must look.
    pub warn_days: u32,
}

impl HotSettings {
    /// From when on the day is taken for whole.
    pub fn closes_at(&self, date: Date) -> Timestamp {
        let closes = jiff::SignedDuration::try_from(self.closes_after).unwrap_or(jiff::SignedDuration::MAX);
        after_start(date, 1).checked_add(closes).unwrap_or(Timestamp::MAX)
    }

    /// The newest date that is closed.
    pub fn last_closed(&self, now: Timestamp) -> Date {
        let mut date = now.to_zoned(TimeZone::UTC).date();
        while self.closes_at(date) > now {
            date = date.yesterday().expect("the clock is past the first century");
        }
        date
    }

    /// With a time to live that is not the table's, events would expire before anybody is warned, or be kept by the hot
    /// tier and asked of nobody.
    pub fn check_ttl(&self, cassandra: &Cassandra) -> Result<()> {
        const SECONDS_PER_DAY: u32 = 86_400;
        // A table without one of its own leaves it to those who write.
        let Some(seconds) = cassandra.table_ttl_seconds() else { return Ok(()) };
        let (table, said) = (seconds / SECONDS_PER_DAY, self.ttl_days);
        if table == said {
            return Ok(());
        }
        Err(Error::usage(format!("{} keeps rows for {table} days, and `[hot] ttl` says {said}", cassandra.name()))
            .code("hot-ttl")
            .hint(format!("write `ttl = \"{table}d\"` below [hot]")))
    }

    /// When the first events of a date expire in the hot tier.
    pub fn expires_from(&self, date: Date) -> Timestamp {
        after_start(date, self.ttl_days)
    }

    /// When its last events have expired.
    pub fn expired_at(&self, date: Date) -> Timestamp {
        after_start(date, self.ttl_days.saturating_add(1))
    }
}

/// The beginning of the day `days` days after `date`, UTC.
fn after_start(date: Date, days: u32) -> Timestamp {
    let later = date.checked_add(jiff::Span::new().days(i64::from(days))).unwrap_or(Date::MAX);
    later.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[derive(Debug, Clone)]
pub enum Place {
    Cassandra(Box<CassandraSettings>),
    Exports(Box<ExportsSettings>),
}

/// Recent exports as the hot tier.
#[derive(Debug, Clone)]
pub struct ExportsSettings {
    /// A folder, file or `s3://` address as `tier archive` takes them.
    pub address: String,
    /// Of an archive that remembers none.
    pub mapping: Mapping,
    /// Texts that mean null in CSV, beside the empty one.
    pub null_tokens: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct CassandraSettings {
    /// `host` or `host:port`; more than one, so that the first may be down.
    pub contact_points: Vec<String>,
    /// Asked first, where it is named.
    pub datacenter: Option<String>,
    pub keyspace: String,
    pub table: String,
    pub login: Option<Login>,
    pub tls: Option<Tls>,
    pub columns: HotColumns,
    pub consistency: Consistency,
    /// Rows of a page: what one request asks for.
    pub page_rows: u32,
    /// Requests under way at once, over all nodes.
    pub requests_in_flight: usize,
    /// The nightly read waits where it would be faster.
    pub rows_per_second: Option<u64>,
    /// How long a request may take before it has failed.
    pub timeout: Duration,
    /// A request that takes longer is sent to another node as well.
    pub speculate_after: Option<Duration>,
}

#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    /// Never the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate and key, where the cluster asks for them.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// What the table's columns mean.
#[derive(Debug, Clone)]
pub struct HotColumns {
    /// Of the event's id, type, tenant and time.
    pub mapping: Mapping,
    /// The column of the date of the event's time: a CQL `date`, text `YYYY-MM-DD`, or a timestamp at midnight. Unnamed, it
    /// is `day` where the table has such a column.
    pub day: Option<String>,
    /// Columns that are not archived, beside `day` and others of the partition key that only spread the load.
    pub ignore: Vec<String>,
}

impl HotColumns {
    /// The column of the tenant, unless it is a constant.
    pub fn tenant(&self) -> Option<&str> {
        match &self.mapping.tenant {
            KeySource::Column(name) => Some(name),
            KeySource::Constant(_) => None,
        }
    }
}

/// How many replicas must answer a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    One,
    LocalOne,
    Two,
    Quorum,
    #[default]
    LocalQuorum,
    All,
}

impl Consistency {
    pub const ALL: [(Consistency, &'static str); 6] = [
        (Consistency::One, "ONE"),
        (Consistency::LocalOne, "LOCAL_ONE"),
        (Consistency::Two, "TWO"),
        (Consistency::Quorum, "QUORUM"),
        (Consistency::LocalQuorum, "LOCAL_QUORUM"),
        (Consistency::All, "ALL"),
    ];
}
