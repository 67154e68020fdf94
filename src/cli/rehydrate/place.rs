//! Where the events go, and where it is remembered how far it is.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use jiff::Timestamp;

use super::HotArgs;
use crate::cli::App;
use crate::cli::archive::hot::no_hot_tier;
use crate::cli::parse::parse_duration;
use crate::cli::words::counted;
use crate::error::{Context, Error, Result};
use crate::hot::{self, Cassandra, CassandraSettings};
use crate::model::{Mapping, Schema, sha256};
use crate::rehydrate::{FileFormat, Folder, HotTable, Record, Sink, Wanted};

/// The longest that a cell of Cassandra lives: 20 years, `MAX_TTL` in its `Attributes.java`.
const MAX_TTL_SECONDS: u64 = 20 * 365 * 86_400;

/// As it was asked for.
pub enum Place {
    Folder(PathBuf, FileFormat),
    Hot { settings: Box<CassandraSettings>, ttl_seconds: Option<u32>, state: Option<PathBuf>, is_live: bool },
}

/// Ready to be filled.
pub enum Opened {
    Folder(Folder, PathBuf),
    Hot { hot: Cassandra, mapping: Box<Mapping>, ttl_seconds: Option<u32>, state: PathBuf, is_live: bool },
}

impl Place {
    pub fn parse(app: &App, to: &[String], args: &HotArgs) -> Result<Self> {
        match to {
            [kind] if kind == "hot" => Self::hot(app, args),
            [kind, _] if kind == "hot" => {
                Err(Error::usage("--to hot takes no folder").hint("name a table with --table"))
            }
            [kind, ..] => {
                let format = kind.parse::<FileFormat>()?;
                let folder = to.get(1).ok_or_else(|| Error::usage(format!("--to {kind} needs a folder")))?;
                if args.table.is_some() || args.ttl.is_some() || args.state.is_some() {
                    return Err(Error::usage("--table, --ttl and --state are for --to hot"));
                }
                Ok(Place::Folder(PathBuf::from(folder), format))
            }
            [] => Err(Error::usage("--to says nothing")),
        }
    }

    fn hot(app: &App, args: &HotArgs) -> Result<Self> {
        let hot = app.settings.hot()?.ok_or_else(no_hot_tier)?;
        let hot::Place::Cassandra(mut settings) = hot.place else {
            return Err(Error::usage("the hot tier is a folder of exports, and no table")
                .hint("write them there with --to ndjson FOLDER"));
        };
        let named = (settings.keyspace.clone(), settings.table.clone());
        if let Some(table) = &args.table {
            let (keyspace, table) = table
                .split_once('.')
                .filter(|(keyspace, table)| !keyspace.is_empty() && !table.is_empty())
                .ok_or_else(|| Error::usage(format!("`{table}` is no table")).hint("write --table KEYSPACE.TABLE"))?;
            (settings.keyspace, settings.table) = (keyspace.to_owned(), table.to_owned());
        }
        let is_live = named == (settings.keyspace.clone(), settings.table.clone());
        let ttl_seconds = args.ttl.as_deref().map(parse_ttl).transpose()?;
        Ok(Place::Hot { settings, ttl_seconds, state: args.state.clone(), is_live })
    }

    /// For the record: another place is another rehydration.
    pub fn name(&self) -> String {
        match self {
            Place::Folder(_, format) => format.as_str().to_owned(),
            Place::Hot { settings, .. } => format!("cassandra {}.{}", settings.keyspace, settings.table),
        }
    }

    pub async fn open(self, app: &App, wanted: &Wanted) -> Result<Opened> {
        match self {
            Place::Folder(path, format) => Ok(Opened::Folder(Folder::open(&path, format)?, path)),
            Place::Hot { settings, ttl_seconds, state, is_live } => {
                // Nothing is read of it that could expire.
                let hot = Cassandra::open(&settings, 0).await?;
                let state = match state {
                    Some(state) => state,
                    None => default_state(app, &settings, wanted)?,
                };
                let mapping = Box::new(settings.columns.mapping.clone());
                Ok(Opened::Hot { hot, mapping, ttl_seconds, state, is_live })
            }
        }
    }
}

impl Opened {
    /// What an earlier run remembered.
    pub fn record(&self) -> Result<Option<Record>> {
        Record::load(&self.record_path())
    }

    fn record_path(&self) -> PathBuf {
        match self {
            Opened::Folder(folder, _) => folder.record(),
            Opened::Hot { state, .. } => state.clone(),
        }
    }

    /// Whether it is as the record says.
    pub fn check(&self, record: &Record) -> Result<()> {
        match self {
            Opened::Folder(folder, _) => folder.check_files(record),
            Opened::Hot { .. } => Ok(()),
        }
    }

    pub fn clear(&self, record: Record) -> Result<()> {
        match self {
            Opened::Folder(folder, _) => folder.clear(record),
            Opened::Hot { .. } => record.remove(),
        }
    }

    /// Events of sealed days in the table that is archived every night surprise whoever counts there.
    pub fn consent(&self, app: &App, dates: u64) -> Result<()> {
        let Opened::Hot { hot, is_live: true, .. } = self else { return Ok(()) };
        let question =
            format!("Insert the events of {} into {}, the hot tier itself?", counted(dates, "day"), hot.name());
        match app.ui.confirm(&question, app.settings.yes)? {
            true => Ok(()),
            false => Err(Error::failed("nothing was inserted")),
        }
    }

    pub fn begin(&self, wanted: Wanted, version: u64, now: Timestamp) -> Result<Record> {
        if let Opened::Folder(folder, _) = self {
            folder.check_empty()?;
        }
        Record::begin(&self.record_path(), wanted, version, now)
    }

    pub fn words(&self) -> String {
        match self {
            Opened::Folder(_, path) => path.display().to_string(),
            Opened::Hot { hot, .. } => hot.name(),
        }
    }

    /// A table's record has done its work: the same may be inserted again when it has expired.
    pub fn done(&self, record: Record) -> Result<()> {
        match self {
            Opened::Folder(..) => Ok(()),
            Opened::Hot { .. } => record.remove(),
        }
    }

    pub fn sink(&self, schema: &Schema, omit: &[String]) -> Result<Sink> {
        match self {
            Opened::Folder(folder, _) => Ok(Sink::folder(folder.clone())),
            Opened::Hot { hot, mapping, ttl_seconds, .. } => {
                Ok(Sink::Table(HotTable::new(hot.clone(), mapping, schema, omit, *ttl_seconds)?))
            }
        }
    }
}

fn parse_ttl(text: &str) -> Result<u32> {
    let seconds = parse_duration(text)?.as_secs();
    match u32::try_from(seconds) {
        Ok(seconds) if (1..=MAX_TTL_SECONDS).contains(&u64::from(seconds)) => Ok(seconds),
        _ => {
            Err(Error::usage(format!("`{text}` is no time to live"))
                .hint("a row lives for a second to 20 years: --ttl 7d"))
        }
    }
}

fn default_state(app: &App, settings: &CassandraSettings, wanted: &Wanted) -> Result<PathBuf> {
    let nowhere = || Error::usage("there is no state folder to remember in").hint("name a file with --state");
    let folder = etcetera::base_strategy::Xdg::new().ok().and_then(|user| user.state_dir()).ok_or_else(nowhere)?;
    let folder: &Path = &folder.join("tier");
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let place = (app.context.store.location().to_string(), &settings.contact_points, wanted);
    let digest = sha256(&serde_json::to_vec(&place).expect("plain data"));
    Ok(folder.join(format!("rehydrate-{}.json", &digest[..16])))
}
