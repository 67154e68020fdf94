//! The shell: lines until a semicolon, commands with a dot, and a Ctrl-C that ends a query and not the shell.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::ValueEnum;
use etcetera::BaseStrategy;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use super::complete::complete;
use super::format::Format;
use super::output::Target;
use super::table::rows_counted;
use super::{QueryArgs, Style, answer, style, until_stopped};
use crate::cli::App;
use crate::clock::Stopwatch;
use crate::error::{Context, Error, Kind, Result};
use crate::query::{Engine, QuerySettings, is_finished, sql_type};
use crate::scan::EventsTable;

const HISTORY_LINES: usize = 10_000;
/// Only the user may read what they asked.
const HISTORY_MODE: u32 = 0o600;

const COMMANDS: [&str; 8] = [".exit", ".help", ".mode", ".quit", ".schema", ".stats", ".tables", ".timer"];
const HELP: &str = "\
SQL ends with a semicolon; the one table is `events`. Ctrl-C clears the line or ends a query, Ctrl-D leaves.
  .schema         columns and their types       \\d
  .tables         the tables                    \\dt
  .mode FORMAT    table, csv, line, …           \\x switches between table and line
  .timer on|off   how long a query took         \\timing
  .stats on|off   what it pruned and read
  .quit           leave                         \\q
  .help           this                          \\?";

/// What the user switched on and off.
struct Shell<'a> {
    app: &'a App,
    args: &'a QueryArgs,
    engine: Engine,
    style: Style,
    timer: bool,
    stats: bool,
}

enum Next {
    Line,
    Leave,
}

pub async fn run(app: &App, args: &QueryArgs, settings: QuerySettings) -> Result<()> {
    if args.output.is_some() || args.report.is_some() || args.estimate {
        return Err(Error::usage("--output, --report and --estimate need SQL to run")
            .hint("write it as an argument, or use -f FILE"));
    }
    let engine = until_stopped(&app.context.stop, Engine::open(&app.context, &settings)).await?;
    say_banner(app, &engine);
    let history = history_file();
    let mut editor = editor(&engine, history.as_ref())?;
    let mut shell = Shell { app, args, engine, style: style(app, args), timer: true, stats: args.stats };
    loop {
        let read = editor.readline("tier> ");
        // A signal that came while nothing was running has done its work.
        if app.context.stop.take() == Some(Kind::Terminated) {
            return Err(Error::new(Kind::Terminated, "the shell was terminated"));
        }
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("read a line"),
        };
        remember(&mut editor, &line, history.as_ref());
        match shell.step(&line).await {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => return Ok(()),
            Err(error) if error.kind() == Kind::Terminated => return Err(error),
            Err(error) => app.ui.error(&error),
        }
        app.context.stop.take();
    }
}

impl Shell<'_> {
    async fn step(&mut self, line: &str) -> Result<Next> {
        let text = line.trim();
        if text.starts_with(['.', '\\']) {
            return self.command(text).await;
        }
        // Each input sees the newest version.
        self.engine = until_stopped(&self.app.context.stop, self.engine.again()).await?;
        for statement in self.engine.parse(text)? {
            let watch = Stopwatch::start();
            let target = Target::open(None, &self.style, self.app.ui.stdout_is_terminal)?;
            let answer = answer(self.app, self.args, &mut self.engine, statement, target, &self.style).await?;
            super::warn_of_refused(self.app, &answer);
            if self.stats {
                super::say_stats(self.app, &answer);
            }
            super::say_doubts(self.app, &answer);
            if let Some(incomplete) = answer.incomplete() {
                self.app.ui.insist(&incomplete.to_string());
            }
            if self.timer {
                self.app.ui.say(&format!("{} ms", watch.elapsed_ms()));
            }
        }
        Ok(Next::Line)
    }

    async fn command(&mut self, text: &str) -> Result<Next> {
        let mut words = text.split_whitespace();
        let (command, value) = (words.next().unwrap_or_default(), words.next());
        match command {
            ".quit" | ".exit" | "\\q" => return Ok(Next::Leave),
            ".help" | "\\?" => self.app.ui.say(HELP),
            ".schema" | "\\d" => self.say_schema().await?,
            ".tables" | "\\dt" => self.app.ui.say(EventsTable::NAME),
            ".timer" | "\\timing" => self.timer = switched(self.timer, value)?,
            ".stats" => self.stats = switched(self.stats, value)?,
            "\\x" => self.style.format = if self.style.format == Format::Line { Format::Table } else { Format::Line },
            ".mode" => self.style.format = parse_mode(value)?,
            _ => return Err(Error::usage(format!("there is no command `{command}`")).hint("`.help` lists them")),
        }
        Ok(Next::Line)
    }

    async fn say_schema(&self) -> Result<()> {
        let schema = self.engine.again().await?.schema();
        let width = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
        for field in schema.fields() {
            self.app.ui.say(&format!("{:width$}  {}", field.name(), sql_type(field.data_type())));
        }
        Ok(())
    }
}

fn switched(now: bool, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(!now),
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(Error::usage(format!("`{other}` is neither on nor off"))),
    }
}

fn parse_mode(value: Option<&str>) -> Result<Format> {
    value.and_then(|value| Format::from_str(value, true).ok()).ok_or_else(|| {
        let names = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        Error::usage("`.mode` needs a format").hint(format!("the formats are {}", names.join(", ")))
    })
}

fn say_banner(app: &App, engine: &Engine) {
    let snapshot = engine.snapshot();
    let root = snapshot.root();
    let dates = root.leaves.iter().map(|leaf| leaf.dates.clone()).reduce(|mut all, one| {
        all.extend(&one);
        all
    });
    let dates = dates.map_or("no dates".to_owned(), |dates| format!("{} to {}", dates.min, dates.max));
    app.ui.say(&format!(
        "tier {} · {} version {}",
        env!("CARGO_PKG_VERSION"),
        snapshot.store().location(),
        snapshot.version()
    ));
    app.ui.say(&format!("{dates} · {}", rows_counted(root.leaves.rows())));
    app.ui.say("`.help` shows the commands; SQL ends with a semicolon");
}

fn editor(engine: &Engine, history: Option<&PathBuf>) -> Result<Editor<Assistant, FileHistory>> {
    let config = Config::builder().history_ignore_space(true).max_history_size(HISTORY_LINES);
    let config = config.and_then(|config| config.history_ignore_dups(true)).context("start the shell")?.build();
    let mut editor = Editor::with_config(config).context("start the shell")?;
    let columns = engine.schema().fields().iter().map(|field| field.name().clone()).collect();
    editor.set_helper(Some(Assistant { columns }));
    if let Some(path) = history.filter(|path| path.exists())
        && let Err(error) = editor.load_history(path)
    {
        tracing::debug!("the history is not read: {error}");
    }
    Ok(editor)
}

fn history_file() -> Option<PathBuf> {
    let folder = etcetera::base_strategy::Xdg::new().ok()?.state_dir()?.join("tier");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Keeps a line, unless it begins with a space. A history that cannot be written is no reason to stop.
fn remember(editor: &mut Editor<Assistant, FileHistory>, line: &str, history: Option<&PathBuf>) {
    if !matches!(editor.add_history_entry(line), Ok(true)) {
        return;
    }
    let Some(path) = history else { return };
    let kept = editor.append_history(path).map_err(std::io::Error::other);
    let kept = kept.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(HISTORY_MODE)));
    if let Err(error) = kept {
        tracing::debug!("the history is not kept: {error}");
    }
}

/// What the line editor asks while a person types.
struct Assistant {
    columns: Vec<String>,
}

impl Helper for Assistant {}
impl Highlighter for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(&line[..position], EventsTable::NAME, &self.columns, &COMMANDS))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_whole = text.is_empty() || text.starts_with(['.', '\\']) || is_finished(text);
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}
