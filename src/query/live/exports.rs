//! Recent exports as the hot tier of a query: all that the ledger does not know yet are read, front to end.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::source::{HotPage, HotSource, Parts, Reading, Wanted};
use crate::catalog::Snapshot;
use crate::data::cells::Cells;
use crate::data::columns::Columns;
use crate::data::rows::{RowBuilder, Rules};
use crate::error::{Context, Error, Result};
use crate::exports::source::Digest;
use crate::exports::{self, Export, Piece};
use crate::hot::ExportsSettings;
use crate::model::{ColumnType, Mapping, Schema};

/// Pieces read ahead of what decodes them.
const AHEAD: usize = 2;

#[derive(Debug)]
pub struct ExportsSource {
    pub settings: ExportsSettings,
}

#[async_trait]
impl HotSource for ExportsSource {
    fn name(&self) -> String {
        format!("exports {}", self.settings.address)
    }

    /// Those in the beginning of every export, and what their values there are.
    async fn columns(&self) -> Result<Vec<(String, ColumnType)>> {
        sample(&self.settings, all(&self.settings).await?).await
    }

    /// What the archive remembers goes first: a run of the archiver decides so too.
    fn mapping(&self, archive: &Snapshot) -> Mapping {
        archive.root().document.mapping.clone().unwrap_or_else(|| self.settings.mapping.clone())
    }

    fn null_tokens(&self) -> &[String] {
        &self.settings.null_tokens
    }

    /// What was delivered again.
    fn may_repeat(&self) -> bool {
        true
    }

    fn page_rows(&self) -> u64 {
        u64::MAX
    }

    fn find(&self, _: &Wanted<'_>) -> Option<Reading> {
        None
    }

    /// Exports are not sorted by day, so any question reads them all; nobody else is kept waiting.
    async fn search(&self, wanted: &Wanted<'_>) -> Result<Reading> {
        let exports = unknown(all(&self.settings).await?, wanted.archive).await?;
        let parts = Parts::Exports { count: exports.len() as u64 };
        Ok(Reading::new(parts, false, move || pages(exports.clone())))
    }
}

/// The exports that are there now; none where the folder is empty.
async fn all(settings: &ExportsSettings) -> Result<Vec<Export>> {
    match exports::find(std::slice::from_ref(&settings.address), None).await {
        Err(error) if error.stable_code() == "no-exports" => Ok(Vec::new()),
        found => found,
    }
}

/// Those that are not archived. An export that was archived and changed since is another one.
async fn unknown(mut exports: Vec<Export>, archive: &Snapshot) -> Result<Vec<Export>> {
    let stamps: std::collections::HashSet<&str> = exports.iter().map(|e| e.stamp.path.as_str()).collect();
    let known = archive.find_exports(|entry| stamps.contains(entry.stamp.path.as_str())).await?;
    exports.retain(|export| export.stamp.version.is_empty() || !known.iter().any(|entry| entry.stamp == export.stamp));
    Ok(exports)
}

fn pages(exports: Vec<Export>) -> BoxStream<'static, Result<HotPage>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    // Reading and unpacking wait for disks: not for the runtime's own threads. Dropping the stream ends it.
    tokio::task::spawn_blocking(move || {
        for export in exports {
            let send = |piece| {
                let page = HotPage { date: None, rows: piece };
                sender.blocking_send(Ok(page)).map_err(|_| Error::failed("the query has ended"))
            };
            let read = exports::read(&export, &runtime, &Digest::default(), |_| {}, send)
                .with_context(|| format!("read {}", export.stamp.path));
            if let Err(error) = read {
                let _ = sender.blocking_send(Err(error));
                break;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|page| (page, receiver)) }).boxed()
}

/// The columns in the first piece of each export, and what their values there are.
async fn sample(settings: &ExportsSettings, exports: Vec<Export>) -> Result<Vec<(String, ColumnType)>> {
    let (settings, runtime) = (settings.clone(), Handle::current());
    let work = move || -> Result<Vec<(String, ColumnType)>> {
        let rules = Rules {
            mapping: settings.mapping,
            columns: Columns::new(&Schema::default()),
            cells: Cells::default(),
            max_time: i64::MAX,
            null_tokens: settings.null_tokens,
            renamed: Mutex::default(),
        };
        for export in &exports {
            let mut first = None;
            let enough = || Error::failed("one piece is enough");
            let read = exports::read(
                export,
                &runtime,
                &Digest::default(),
                |_| {},
                |piece: Piece| {
                    first = Some(piece);
                    Err(enough())
                },
            );
            let Some(piece) = first else {
                read.with_context(|| format!("read {}", export.stamp.path))?;
                continue;
            };
            let mut builder = RowBuilder::new(&rules);
            piece.decode(&rules.null_tokens, &mut builder, |_| {})?;
            builder.build();
        }
        let schema = rules.columns.settle(&Schema::default())?;
        Ok(schema.columns().iter().map(|column| (column.name.clone(), column.column_type)).collect())
    };
    tokio::task::spawn_blocking(work).await.context("look at the exports")?
}
