//! `tier publish`: the archive for other engines.

mod delta;
mod follow;

use std::num::NonZeroU64;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

use super::App;
use crate::catalog::Snapshot;
use crate::error::{Error, Result};
use crate::publish::ddl::{self, Engine, Tenants};
use crate::publish::delta::Checkpoints;

pub use follow::Follower;

/// The `[publish]` section of `tier.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSection {
    /// Publish the Delta table after every command that committed.
    pub delta: Option<bool>,
    #[serde(default)]
    checkpoints: CheckpointsSection,
}

/// Of the Delta table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointsSection {
    every: Option<NonZeroU64>,
    sidecars_above: Option<u64>,
    files_per_sidecar: Option<NonZeroU64>,
}

impl PublishSection {
    /// What it says of the Delta table's checkpoints, over the defaults.
    pub fn checkpoints(&self) -> Checkpoints {
        let (said, standard) = (&self.checkpoints, Checkpoints::default());
        Checkpoints {
            every: said.every.map_or(standard.every, NonZeroU64::get),
            sidecars_above: said.sidecars_above.unwrap_or(standard.sidecars_above),
            files_per_sidecar: said.files_per_sidecar.map_or(standard.files_per_sidecar, NonZeroU64::get),
        }
    }
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the statements with which another engine reads the tree below events/
    Ddl(DdlArgs),
    /// Keep a Delta table in the archive's folder, over its readable files
    Delta(delta::DeltaArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier publish ddl --for duckdb > events.sql
  tier publish ddl --for athena --tenants enum

Such an engine sees the files below events/: neither bundles nor what is only in the hot tier, and perhaps files of a
killed run. tier verify --tree says whether it is exact now.")]
struct DdlArgs {
    /// Who will run them
    #[arg(long = "for", value_name = "ENGINE")]
    engine: For,

    /// Name of the table
    #[arg(long, value_name = "NAME", default_value = "events")]
    table: String,

    /// How Athena knows the tenants
    #[arg(long, value_name = "HOW", default_value = "injected")]
    tenants: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum For {
    Athena,
    Trino,
    Hive,
    Spark,
    Duckdb,
    Clickhouse,
    Polars,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// Every query names its tenant
    Injected,
    /// The tenants there are now are listed in the statement
    Enum,
}

pub async fn run(app: &App, args: PublishArgs) -> Result<u8> {
    match args.what {
        What::Ddl(args) => print_ddl(app, args).await,
        What::Delta(args) => delta::run(app, &args).await,
    }
}

async fn print_ddl(app: &App, args: DdlArgs) -> Result<u8> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if args.table.is_empty() || !args.table.chars().all(is_name) || args.table.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(Error::usage(format!("`{}` is no name for a table", args.table))
            .hint("letters, digits and _, and no digit in front"));
    }
    let engine = match args.engine {
        For::Athena => Engine::Athena,
        For::Trino => Engine::Trino,
        For::Hive => Engine::Hive,
        For::Spark => Engine::Spark,
        For::Duckdb => Engine::DuckDb,
        For::Clickhouse => Engine::ClickHouse,
        For::Polars => Engine::Polars,
    };
    let tenants = match args.tenants {
        How::Injected => Tenants::Injected,
        How::Enum => Tenants::Enumerated,
    };
    let snapshot = Snapshot::open(&app.context.store).await?;
    let tree = ddl::tree(&snapshot, args.table).await?;
    let statements = ddl::statements(engine, &tree, tenants)?;
    if app.ui.json {
        #[derive(serde::Serialize)]
        struct Document {
            statements: String,
        }
        return app.ui.document(&Document { statements }).map(|()| 0);
    }
    app.ui.data(&statements)?;
    Ok(0)
}
