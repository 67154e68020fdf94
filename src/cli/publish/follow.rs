//! Publishing after a command that committed, where `[publish] delta` says so: the one place that does.

use super::delta;
use crate::catalog::Snapshot;
use crate::cli::args::Verb;
use crate::cli::{App, Settings, Ui};
use crate::error::Result;
use crate::publish;

/// Waits for the end of a command that may commit.
pub struct Follower {
    app: App,
    /// The newest version when the command began.
    version: u64,
}

impl Follower {
    /// `None` where nothing is to be published.
    pub async fn begin(verb: &Verb, settings: &Settings, ui: &Ui) -> Result<Option<Self>> {
        if !(changes_data(verb) && settings.file.publish.delta == Some(true)) {
            return Ok(None);
        }
        let app = App::open(settings.clone(), ui.clone()).await?;
        let version = newest(&app).await?;
        Ok(Some(Follower { app, version }))
    }

    /// Publishes what the command committed, also when it failed after a commit. The command's own error comes first.
    pub async fn end(self, outcome: Result<u8>) -> Result<u8> {
        let ui = &self.app.ui;
        match (self.publish().await, outcome) {
            (Ok(()), outcome) => outcome,
            (Err(error), Ok(_)) => Err(error),
            (Err(behind), Err(error)) => {
                ui.warn(&format!("{behind}: {}", behind.causes().join(": ")));
                Err(error)
            }
        }
    }

    async fn publish(&self) -> Result<()> {
        let published = async {
            if newest(&self.app).await? == self.version {
                return Ok(None);
            }
            let checkpoints = self.app.settings.file.publish.checkpoints();
            publish::delta::publish(&self.app.context, &checkpoints).await.map(Some)
        };
        let report = published.await.map_err(|error| delta::behind(&self.app, error))?;
        // A command that prints a document has said what is data.
        if let Some(report) = report.filter(|_| !self.app.ui.json) {
            delta::say(&self.app, &report);
        }
        Ok(())
    }
}

async fn newest(app: &App) -> Result<u64> {
    Ok(Snapshot::latest(&app.context.store).await?.map_or(0, |snapshot| snapshot.version()))
}

/// Whether the command may change which data files there are.
fn changes_data(verb: &Verb) -> bool {
    matches!(verb, Verb::Archive(_) | Verb::DeadLetter(_) | Verb::Revert(_) | Verb::Lifecycle(_) | Verb::Compact(_))
}
