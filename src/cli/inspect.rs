//! `tier inspect`: one root, leaf or data file, laid open.

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;

use super::App;
use super::words::counted;
use crate::catalog::Snapshot;
use crate::error::Result;
use crate::inspect::{self, ColumnView, Entry, FileView, LeafContent, RootView};
use crate::model::RestoreState;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier inspect root
  tier inspect leaf _tier/leaf/00000000000000000000-0123456789abcdef-0.parquet
  tier inspect file events/date=2026-08-24/event_type=login/tenant_id=acme/NAME.parquet --json

Paths are relative to the archive. --json shows everything there is.")]
pub struct InspectArgs {
    #[command(subcommand)]
    what: What,

    /// Look at this version instead of the newest
    #[arg(long, global = true, value_name = "VERSION")]
    as_of: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A version's root: its document and its leaves
    Root {
        /// [default: the newest]
        version: Option<u64>,
    },
    /// A leaf: its data files
    Leaf { path: String },
    /// A data file: its entry in the catalog, its object, its footer
    File { path: String },
}

pub async fn run(app: &App, args: InspectArgs) -> Result<u8> {
    let store = &app.context.store;
    let version = match &args.what {
        What::Root { version: Some(version) } => Some(*version),
        _ => args.as_of,
    };
    let snapshot = match version {
        Some(version) => Snapshot::at_version(store, version).await?,
        None => Snapshot::open(store).await?,
    };
    let text = match &args.what {
        What::Root { .. } => {
            let view = inspect::root(&snapshot);
            if app.ui.json {
                return app.ui.document(&view).map(|()| 0);
            }
            show_root(&view)?
        }
        What::Leaf { path } => {
            let view = inspect::leaf(&snapshot, path).await?;
            if app.ui.json {
                return app.ui.document(&view).map(|()| 0);
            }
            show_leaf(&view)
        }
        What::File { path } => {
            let view = inspect::file(&app.context, &snapshot, path).await?;
            if app.ui.json {
                return app.ui.document(&view).map(|()| 0);
            }
            show_file(&view)
        }
    };
    app.ui.data(&text)?;
    Ok(0)
}

fn show_root(view: &RootView) -> Result<String> {
    use crate::error::Context;
    let document = serde_json::to_string_pretty(&view.document).context("show the document")?;
    let mut text = format!("{}\nsha256 {}\n{document}\n", view.path, view.sha256);
    for leaf in &view.leaves {
        text.push_str(&format!(
            "{}  of version {}, {} to {}, {}, {} rows, {}, {} deleted\n",
            leaf.path,
            leaf.added_version,
            leaf.dates[0],
            leaf.dates[1],
            counted(leaf.files, "file"),
            HumanCount(leaf.rows),
            HumanBytes(leaf.bytes),
            leaf.deleted.len()
        ));
    }
    Ok(text)
}

fn show_leaf(view: &LeafContent) -> String {
    let leaf = &view.leaf;
    let mut text = format!(
        "{}\nsha256 {}\nof version {}, {}, {} deleted\n",
        leaf.path,
        leaf.sha256,
        leaf.added_version,
        counted(leaf.files, "live file"),
        leaf.deleted.len()
    );
    for entry in &view.entries {
        text.push_str(&format!(
            "{:>5}  {}  {} rows, {}, {}\n",
            entry.position,
            entry.path,
            HumanCount(entry.rows),
            HumanBytes(entry.bytes),
            entry.storage_class
        ));
    }
    text
}

fn show_file(view: &FileView) -> String {
    let mut text = show_entry(&view.entry);
    match &view.object {
        None => text.push_str("object    there is none: tier verify\n"),
        Some(object) => {
            let readable = match object.restore {
                RestoreState::Restored { until } => format!(", restored until {until:.0}"),
                RestoreState::Running => ", being restored".to_owned(),
                RestoreState::None if object.is_readable => String::new(),
                RestoreState::None => ", not readable before a restore".to_owned(),
            };
            text.push_str(&format!(
                "object    {} in {}{readable}, of {:.0}\n",
                HumanBytes(object.bytes),
                object.storage_class,
                object.modified
            ));
        }
    }
    if view.cells > 0 {
        text.push_str(&format!("cells     {}\n", HumanCount(view.cells)));
    }
    if let Some(why) = &view.footer_missing {
        text.push_str(&format!("footer    cannot be read: {why}\n"));
    }
    for (name, value) in &view.key_values {
        text.push_str(&format!("{name}  {}\n", value.escape_debug()));
    }
    for (number, group) in view.row_groups.iter().enumerate() {
        let (rows, bytes) = (HumanCount(group.rows), HumanBytes(group.compressed_bytes));
        text.push_str(&format!("row group {number}: {rows} rows, {bytes}\n"));
        group.columns.iter().for_each(|column| text.push_str(&show_column(column)));
    }
    text
}

fn show_entry(entry: &Entry) -> String {
    let range = |range: &[String; 2]| match range[0] == range[1] {
        true => range[0].escape_debug().to_string(),
        false => format!("{} to {}", range[0].escape_debug(), range[1].escape_debug()),
    };
    let time = |time: Option<Timestamp>| time.map_or("?".to_owned(), |time| time.to_string());
    let mut text = format!(
        "{}\nleaf      {} at {}\ntenant    {}\ntype      {}\ndates     {} to {}\nts        {} to {}\n\
         rows      {}\nbytes     {} with a footer of {}\nclass     {}\nschema    of version {}\n",
        entry.path,
        entry.leaf,
        entry.position,
        range(&entry.tenants),
        range(&entry.event_types),
        entry.dates[0],
        entry.dates[1],
        time(entry.ts[0]),
        time(entry.ts[1]),
        HumanCount(entry.rows),
        HumanCount(entry.bytes),
        HumanCount(u64::from(entry.footer_bytes)),
        entry.class_since.map_or(entry.storage_class.to_string(), |t| format!("{} since {t:.0}", entry.storage_class)),
        entry.schema_id,
    );
    if let Some(pack) = &entry.pack {
        text.push_str(&format!("pack      {} at {}\n", pack.path, pack.offset));
    }
    if let Some(ids) = &entry.event_ids {
        text.push_str(&format!("ids       {}\n", range(ids)));
    }
    let sha256 = match entry.sha256.as_deref() {
        None => "the audit cannot be read",
        Some("") => "not known since the catalog was rebuilt",
        Some(sha256) => sha256,
    };
    text.push_str(&format!("sha256    {sha256}\n"));
    text
}

fn show_column(column: &ColumnView) -> String {
    let bounds = match (&column.min, &column.max) {
        (Some(min), Some(max)) => format!("  {} to {}", min.escape_debug(), max.escape_debug()),
        _ => String::new(),
    };
    let nulls = column.nulls.filter(|nulls| *nulls > 0).map_or(String::new(), |n| format!("  {} null", HumanCount(n)));
    format!(
        "  {:<24} {:<10} {:>10} of {:>10}  {} {}{nulls}{bounds}\n",
        column.name.escape_debug().to_string(),
        column.physical_type,
        HumanBytes(column.compressed_bytes).to_string(),
        HumanBytes(column.bytes).to_string(),
        column.compression,
        column.encodings.join("+"),
    )
}
