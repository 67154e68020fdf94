//! The only code that talks to people: parses, settles the settings, runs a verb, prints, and says how it went.

pub mod allocator;
mod archive;
mod args;
mod cache;
mod compact;
mod dead_letter;
mod history;
mod hold;
mod hot;
mod hot_settings;
mod inspect;
mod lifecycle;
mod parse;
mod policy;
mod progress;
mod publish;
pub mod query;
mod question;
mod rebuild;
mod rehydrate;
mod restore;
mod revert;
mod settings;
mod simulate;
mod spending;
mod status;
mod ui;
mod vacuum;
mod vault;
mod verify;
mod words;

use std::sync::Arc;

use clap::Parser;

use crate::clock::Random;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::progress::Stop;
use crate::store::Store;

use args::{Cli, Verb};
pub use settings::Settings;
pub use ui::Ui;

/// A run of the program: what the operations need, what the user wants, and how to talk to them.
pub struct App {
    pub context: Context,
    pub settings: Settings,
    pub ui: Ui,
}

impl App {
    /// Opens the archive that the settings name.
    async fn open(settings: Settings, ui: Ui) -> Result<Self> {
        let stop = stop_on_signals();
        let store = Store::open(settings.archive()?, settings.class_time()).await?;
        let cache = settings.cache()?.filter(|_| store.local_root().is_none());
        let context = Context {
            store: match cache {
                Some(cache) => store.with_cache(cache),
                None => store,
            },
            clock: settings.clock,
            random: Arc::new(Random::System),
            progress: ui.progress(),
            stop,
        };
        Ok(App { context, settings, ui })
    }

    /// For verbs that look for damage: what the cache has says nothing about the archive.
    fn without_cache(mut self) -> Self {
        self.context.store = self.context.store.without_cache();
        self
    }
}

/// Parses, runs, prints; returns the exit code.
pub fn main() -> u8 {
    allocator::limit_arenas();
    ui::install_panic_message();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ui::usage(&error),
    };
    let ui = Ui::new(&cli.global);
    match run(cli, ui.clone()) {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(error) if ui::is_closed_pipe(&error) => 0,
        Err(error) => {
            ui.error(&error);
            error.kind().exit_code()
        }
    }
}

fn run(cli: Cli, ui: Ui) -> Result<u8> {
    let settings = Settings::load(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime").with_source(error))?;
    let code = runtime.block_on(async {
        let follower = publish::Follower::begin(&cli.verb, &settings, &ui).await?;
        let code = match cli.verb {
            Verb::Archive(args) => archive::run(&App::open(settings, ui).await?, args).await,
            Verb::Query(args) => query::run(&App::open(settings, ui).await?, args).await,
            Verb::Status(args) => status::run(&App::open(settings, ui).await?, args).await,
            Verb::DeadLetter(args) => dead_letter::run(&App::open(settings, ui).await?, args).await,
            Verb::Revert(args) => revert::run(&App::open(settings, ui).await?, args).await,
            Verb::Lifecycle(args) => lifecycle::run(&App::open(settings, ui).await?, args).await,
            Verb::Hold(args) => hold::run(&App::open(settings, ui).await?, args).await,
            Verb::Rehydrate(args) => rehydrate::run(&App::open(settings, ui).await?, args).await,
            Verb::Hot(args) => hot::run(&App::open(settings, ui).await?, args).await,
            Verb::Restore(args) => restore::run(&App::open(settings, ui).await?, args).await,
            Verb::Vault(args) => vault::run(&App::open(settings, ui).await?, args).await,
            Verb::Simulate(args) => simulate::run(&ui, &settings, args),
            Verb::Compact(args) => compact::run(&App::open(settings, ui).await?, args).await,
            Verb::Vacuum(args) => vacuum::run(&App::open(settings, ui).await?, args).await,
            Verb::History(args) => history::run(&App::open(settings, ui).await?, args).await,
            Verb::Diff(args) => history::run_diff(&App::open(settings, ui).await?, args).await,
            Verb::Inspect(args) => inspect::run(&App::open(settings, ui).await?, args).await,
            Verb::Publish(args) => publish::run(&App::open(settings, ui).await?, args).await,
            Verb::Cache(args) => cache::run(&ui, &settings, args),
            Verb::Rebuild(args) => rebuild::run(&App::open(settings, ui).await?.without_cache(), args).await,
            Verb::Verify(args) => verify::run(&App::open(settings, ui).await?.without_cache(), args).await,
        };
        match follower {
            Some(follower) => follower.end(code).await,
            None => code,
        }
    });
    // A thread that still reads from a slow store must not keep the process.
    runtime.shutdown_background();
    code
}

/// The first signal asks for a stop at the next safe border; the second ends at once.
fn stop_on_signals() -> Stop {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Stop::default();
    for (kind, signal_kind) in
        [(Kind::Interrupted, SignalKind::interrupt()), (Kind::Terminated, SignalKind::terminate())]
    {
        let Ok(mut signals) = signal(signal_kind) else { continue };
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if stop.requested().is_some() {
                    std::process::exit(i32::from(kind.exit_code()));
                }
                stop.request(kind);
            }
        });
    }
    stop
}
