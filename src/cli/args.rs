//! What was typed. Derives the parser and touches nothing; `settings` finds out what it means.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use super::{
    archive, cache, compact, dead_letter, history, hold, hot, inspect, lifecycle, publish, query, rebuild, rehydrate,
    restore, revert, simulate, status, vacuum, vault, verify,
};

const EXAMPLES: &str = "\
Examples:
  tier archive sample-data --archive ./a
  tier query --archive ./a \"SELECT event_type, count(*) FROM events GROUP BY event_type\"
  tier status --archive ./a

Every day:  archive, query, rehydrate, status
Deep tier:  lifecycle, restore, hold, vault, simulate
Care:       verify, dead-letter, revert, compact, vacuum, hot, rebuild
Look:       history, diff, inspect
Others:     publish, cache

Exit codes: 0 done and complete, 1 failed, 2 usage or configuration, 3 partial, 4 restore needed or running,
5 over budget, 6 try again later, 7 done but a person must look, 130 interrupted, 143 terminated.
Any other code is a failure.";

#[derive(Debug, Parser)]
#[command(
    name = "tier",
    version = format!("{} (catalog format {})", env!("CARGO_PKG_VERSION"), crate::catalog::FORMAT_VERSION),
    about = "Archives events for years, cheaply, and answers SQL over them",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The archive: a folder, file:///folder or s3://bucket/prefix
    #[arg(long, global = true, value_name = "URL", env = "TIER_ARCHIVE")]
    pub archive: Option<String>,

    /// Settings file [default: a tier.toml here or above, else the user's]
    #[arg(long, global = true, value_name = "FILE", env = "TIER_CONFIG")]
    pub config: Option<PathBuf>,

    /// Take this for the present time, for example 2026-08-24T03:00:00Z
    #[arg(long, global = true, value_name = "TIME", env = "TIER_NOW")]
    pub now: Option<String>,

    /// Print one JSON document on stdout; errors are JSON on stderr
    #[arg(long, global = true, env = "TIER_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Say more; twice for every request
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say only errors
    #[arg(short, long, global = true, env = "TIER_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", env = "TIER_COLOR", default_value = "auto")]
    pub color: Color,

    /// Show no progress
    #[arg(long, global = true, env = "TIER_NO_PROGRESS", value_parser = FalseyValueParser::new())]
    pub no_progress: bool,

    /// Read the catalog from the store, and keep nothing of it on this machine
    #[arg(long, global = true, env = "TIER_NO_CACHE", value_parser = FalseyValueParser::new())]
    pub no_cache: bool,

    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", env = "TIER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Answer yes to every question
    #[arg(long, global = true, env = "TIER_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What becomes of a question when archived files are in the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnArchived {
    /// Fail before the first read, and say what a restore takes
    #[default]
    Fail,
    /// Answer without them, and say what is missing
    Skip,
    /// Start the restore
    Restore,
    /// Start the restore, wait for it, and answer
    Wait,
}

/// What becomes of a question when the hot tier does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnHotError {
    /// Fail
    #[default]
    Fail,
    /// Answer without it, and say what is missing
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Archive exports: files, folders, globs, s3:// addresses or - for stdin
    Archive(archive::ArchiveArgs),
    /// Answer an SQL question over the archive's table `events`
    Query(query::QueryArgs),
    /// Show what the archive holds and how its last runs went
    Status(status::StatusArgs),
    /// Look at, replay or discard the records that could not be archived
    DeadLetter(dead_letter::DeadLetterArgs),
    /// Take back what one version added
    Revert(revert::RevertArgs),
    /// Bring archived events back: into files, or into the hot tier
    Rehydrate(rehydrate::RehydrateArgs),
    /// Make archived files readable for a while: what it costs, when it is ready
    Restore(restore::RestoreArgs),
    /// Show what an archive will cost, year by year, before there is one
    Simulate(simulate::SimulateArgs),
    /// Move old data to cheaper storage classes, and expire what the policy expires
    Lifecycle(lifecycle::LifecycleArgs),
    /// Put legal holds in force and lift them
    Hold(hold::HoldArgs),
    /// Keep second copies in a Glacier vault that you already have
    Vault(vault::VaultArgs),
    /// Merge the small files that late events and replays made
    Compact(compact::CompactArgs),
    /// Delete rows from the hot tier that the archive has
    Hot(hot::HotArgs),
    /// Delete what killed runs left behind, and what was replaced or expired
    Vacuum(vacuum::VacuumArgs),
    /// Check that the archive is whole: catalog, store, and on request every byte
    Verify(verify::VerifyArgs),
    /// Make the catalog anew from data files and packs, when roots or leaves are lost
    Rebuild(rebuild::RebuildArgs),
    /// List the versions: when, what, on which version, and how many
    History(history::HistoryArgs),
    /// Show what came and went between two versions
    Diff(history::DiffArgs),
    /// Lay one root, leaf or data file open
    Inspect(inspect::InspectArgs),
    /// Show or clear what this machine keeps of remote archives' catalogs
    Cache(cache::CacheArgs),
    /// Let other engines read the archive
    Publish(publish::PublishArgs),
}
