//! `tier publish delta`: the Delta table made, brought up to date, or taken away.

use clap::Args;
use serde::Serialize;

use crate::catalog::Totals;
use crate::cli::App;
use crate::cli::words::{archive_option, counted};
use crate::error::{Error, Result};
use crate::publish::delta::{self, Due, Report};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier publish delta --archive ./a
  tier publish delta --dry-run
  tier publish delta --replace

DuckDB, Polars, Spark, Trino and delta-rs then read the archive's folder as a Delta table, partitioned by date,
event_type and tenant_id. It shows what `tier query --tiers cold` does, without bundles, as of the version that was
published last: `[publish] delta = true` in tier.toml publishes after every command that committed. Nobody but tier can
write to it. `tier vacuum` keeps the files that the table shows until it is published again.

Once it has had more than five million files ([publish.checkpoints] sidecars_above) its checkpoints are V2: each writes
only what changed since the last, and readers must know the table feature v2Checkpoint.")]
pub struct DeltaArgs {
    /// Print what would be published
    #[arg(long, conflicts_with_all = ["replace", "remove"])]
    dry_run: bool,

    /// Delete the log, whoever wrote to it, and publish the newest version from nothing
    #[arg(long, conflicts_with = "remove")]
    replace: bool,

    /// Delete the log: the data stays
    #[arg(long)]
    remove: bool,
}

pub async fn run(app: &App, args: &DeltaArgs) -> Result<u8> {
    let ctx = &app.context;
    if args.dry_run {
        let due = delta::due(ctx).await?;
        return if app.ui.json { app.ui.document(&due) } else { app.ui.data(&plan(&due)) }.map(|()| 0);
    }
    if args.remove {
        return removed(app, delta::remove(ctx).await?).map(|()| 0);
    }
    if args.replace {
        delta::remove(ctx).await?;
    }
    let report = delta::publish(ctx, &app.settings.file.publish.checkpoints()).await?;
    if app.ui.json {
        app.ui.document(&report)?;
    } else {
        say(app, &report);
    }
    Ok(0)
}

fn removed(app: &App, files: usize) -> Result<()> {
    #[derive(Serialize)]
    struct Removed {
        files: usize,
    }
    if app.ui.json {
        return app.ui.document(&Removed { files });
    }
    app.ui.say(&match files {
        0 => "there is no Delta table".to_owned(),
        _ => format!("the Delta table is gone: {} of its log deleted", counted(files as u64, "file")),
    });
    Ok(())
}

/// The report in words.
pub fn say(app: &App, report: &Report) {
    let Report { archive_version, table_version, commits, added, removed, table, .. } = report;
    let shows = format!("Delta table: version {table_version} shows version {archive_version} of the archive");
    match commits {
        0 => app.ui.say(&format!("{shows}, nothing new")),
        _ => app.ui.say(&format!(
            "{shows}: {} added, {} removed, in {}",
            counted(added.files, "file"),
            counted(removed.files, "file"),
            counted(*commits, "commit")
        )),
    }
    app.ui.say(&format!("it has {} with {}", counted(table.files, "file"), counted(table.rows, "event")));
    if let Some(version) = report.checkpoint {
        app.ui.say(&format!("checkpoint of version {version} written"));
    }
    if report.upgraded {
        app.ui.warn(
            "the table is large: from now on its checkpoints are V2, and a reader that does not know the table feature \
             v2Checkpoint refuses it",
        );
    }
    if let Some(line) = lacking(&report.left_out) {
        app.ui.warn(&line);
    }
}

/// What a reader of the table would miss.
pub fn lacking(left_out: &Totals) -> Option<String> {
    (left_out.files > 0).then(|| {
        format!(
            "{} in {} can be read and are not in the table: a Delta table cannot hold bundles; ask `tier query`",
            counted(left_out.rows, "event"),
            counted(left_out.files, "bundle")
        )
    })
}

fn plan(due: &Due) -> String {
    let mut text = match due.shown_version {
        None => format!("would make the table from version {}", due.archive_version),
        Some(version) if version == due.archive_version => format!("the table shows version {version}, the newest"),
        Some(version) => format!("the table shows version {version}, the newest is {}", due.archive_version),
    };
    text.push_str(&format!(
        "\nPlan: add {} with {}, remove {} with {}\n",
        counted(due.add.files, "file"),
        counted(due.add.rows, "event"),
        counted(due.remove.files, "file"),
        counted(due.remove.rows, "event")
    ));
    if let Some(line) = lacking(&due.left_out) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Of a table that could not be published after a commit: the archive is fine, and which command catches up.
pub fn behind(app: &App, error: Error) -> Error {
    let message = "the archive is committed; only its Delta table is behind";
    let mut behind = Error::new(error.kind(), message).code("delta-behind");
    if error.commands().is_empty() {
        behind = behind.command(format!("tier publish delta {}", archive_option(app)));
    }
    if error.hint_text().is_none() {
        behind = behind.hint("it is brought up to date by the next command that commits, or now:");
    }
    behind.with_source(error)
}
