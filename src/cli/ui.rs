//! How the program speaks: words on stderr, data on stdout, errors with cause and way out.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use indicatif::MultiProgress;
use serde::Serialize;

use super::args::{Color, Global, LogFormat};
use super::progress::{Bars, Lines};
use crate::error::{Context, Error, Kind, Result};
use crate::progress::{Progress, Silent};

/// The version of every JSON document: minor for added fields, major for a break.
pub const FORMAT_VERSION: &str = "1.0";

/// How the user wants to be spoken to. Cheap to clone.
#[derive(Clone)]
pub struct Ui {
    pub json: bool,
    pub quiet: bool,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    no_progress: bool,
    bars: MultiProgress,
}

impl Ui {
    pub fn new(global: &Global) -> Self {
        match global.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let ui = Ui {
            json: global.json,
            quiet: global.quiet,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            no_progress: global.no_progress,
            bars: MultiProgress::new(),
        };
        ui.start_log(global.verbose, global.log_format);
        ui
    }

    /// Log lines go through the bars, so that neither tears the other. `TIER_LOG` is a filter as RUST_LOG is.
    fn start_log(&self, verbose: u8, format: LogFormat) {
        let level = match (self.quiet, verbose) {
            (true, _) => "error,scylla=off",
            // What a library warns about, its error will say again in the user's words.
            // What the driver of Cassandra cannot do fails a request of ours, which says so with the way out.
            (_, 0) => "error,tier=warn,scylla=off",
            (_, 1) => "warn,tier=debug",
            _ => "debug",
        };
        let filter = tracing_subscriber::EnvFilter::try_from_env("TIER_LOG").unwrap_or_else(|_| level.into());
        let bars = self.bars.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || AroundBars(bars.clone()))
            .with_ansi(false);
        // A second start, in a test, keeps the first.
        let _ = match format {
            LogFormat::Text => log.with_target(false).try_init(),
            LogFormat::Json => log.json().try_init(),
        };
    }

    pub fn progress(&self) -> Arc<dyn Progress> {
        match (self.quiet || self.no_progress, self.stderr_is_terminal) {
            (true, _) => Arc::new(Silent),
            (false, true) => Arc::new(Bars::new(self.bars.clone())),
            (false, false) => Arc::new(Lines),
        }
    }

    /// A line of words on stderr.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.bars.suspend(|| {
                let _ = writeln!(anstream::stderr(), "{line}");
            });
        }
    }

    /// A line that is said even to whom wants to hear only errors: without it an answer would mislead.
    pub fn insist(&self, line: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{line}");
        });
    }

    pub fn warn(&self, line: &str) {
        let style = style(AnsiColor::Yellow);
        self.say(&format!("{style}warning:{style:#} {line}"));
    }

    /// The one JSON document of a verb, on stdout.
    pub fn document(&self, value: &impl Serialize) -> Result<()> {
        write_document(&mut io::stdout().lock(), value)
    }

    /// Text that is data, on stdout.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write")
    }

    /// Whether there is a person to ask.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && self.stderr_is_terminal
    }

    /// Asks before something that cannot be undone. Without a terminal the answer must have been given: `--yes`.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<bool> {
        if yes {
            return Ok(true);
        }
        if !self.can_ask() {
            return Err(Error::usage(format!("{question} There is no terminal to ask on")).hint("add --yes to do it"));
        }
        self.bars.suspend(|| {
            eprint!("{question} [y/N] ");
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).context("read the answer")?;
            Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
        })
    }

    pub fn error(&self, error: &Error) {
        if self.json {
            json_error(error);
            return;
        }
        let _ = self.bars.clear();
        let mut err = anstream::stderr().lock();
        let (red, cyan, green) = (style(AnsiColor::Red), style(AnsiColor::Cyan), style(AnsiColor::Green));
        let word = if matches!(error.kind(), Kind::Interrupted | Kind::Terminated) { "stopped" } else { "error" };
        let _ = writeln!(err, "{red}{word}:{red:#} {}", error.headline());
        for cause in error.causes() {
            let _ = writeln!(err, "  cause: {}", cause.replace('\n', "\n         "));
        }
        if let Some(hint) = error.hint_text() {
            let _ = writeln!(err, "\n{cyan}hint:{cyan:#} {hint}");
        }
        for command in error.commands() {
            let _ = writeln!(err, "    {green}{command}{green:#}");
        }
    }
}

/// A JSON document, as [`Ui::document`] prints it.
pub fn write_document(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        format_version: &'static str,
        #[serde(flatten)]
        value: &'a T,
    }
    serde_json::to_writer_pretty(&mut *out, &Document { format_version: FORMAT_VERSION, value })
        .map_err(io::Error::from)
        .context("write")?;
    writeln!(out).context("write")
}

/// Help, or what is wrong with the arguments, as clap words it; returns the exit code.
pub fn usage(error: &clap::Error) -> u8 {
    // The parser did not get as far as knowing the flags.
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json && error.use_stderr() {
        let text = error.render().to_string();
        json_error(&Error::usage(text.trim_start_matches("error: ").trim_end()));
    } else {
        let _ = error.print();
    }
    error.exit_code() as u8
}

/// A failure as one JSON object on stderr.
fn json_error(error: &Error) {
    let document = serde_json::json!({
        "type": "error",
        "format_version": FORMAT_VERSION,
        "code": error.stable_code(),
        "exit_code": error.kind().exit_code(),
        "message": error.headline(),
        "causes": error.causes(),
        "hint": error.hint_text(),
        "commands": error.commands(),
    });
    let _ = writeln!(io::stderr(), "{document}");
}

fn style(color: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(color.into()))
}

/// Whether the error is the reader of our stdout having gone.
pub fn is_closed_pipe(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// A panic is our bug: say so, and what state things are in.
pub fn install_panic_message() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("error: tier has a bug; an archive is changed only by a whole commit, so running it again is safe");
        eprintln!("  please report it with this text, the version ({}) and the command", env!("CARGO_PKG_VERSION"));
        default(info);
    }));
}

struct AroundBars(MultiProgress);

impl Write for AroundBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
