//! `tier vault`: second copies in a Glacier vault, for those who have one.
//!
//! A vault bills real money, also for an archive whose own storage classes are only played. The price list has no vaults:
//! quotes are by the prices of GLACIER, of which vaults were the model.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::App;
use super::parse::parse_usd;
use super::spending::{check_real_consent, real_consent, refuse_a_later_now_of_a_bill};
use super::words::{archive_option, when};
use crate::error::{Error, Result};
use crate::model::{Retrieval, StorageClass, Usd, shell_word};
use crate::store::{VaultJob, Vaults, upload_requests};
use crate::vault::{self, Put, VaultCopy};

/// Whose prices are taken for a vault's.
const PRICED_AS: StorageClass = StorageClass::Glacier;

/// DESIGN's exit code for what cannot be read yet.
const NOT_READABLE: u8 = 4;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  tier vault put _bundles/month=2024-08/bucket=0000/1.parquet --vault audit --max-cost 0.05
  tier vault list
  tier vault get _bundles/month=2024-08/bucket=0000/1.parquet --output copy.parquet --max-cost 0.05

For those who already have a vault: AWS has opened none to new customers since 2025-12-15 and advises storage classes
instead, which is what tier lifecycle works with. A copy stays in the vault until it is deleted here, whatever becomes
of the file in the archive. Credentials and region are those of the aws command.

Exit codes: 0 done, 1 failed, 2 usage, 4 the retrieval is not ready (get), 5 over --max-cost, 6 try again."
)]
pub struct VaultArgs {
    #[command(subcommand)]
    verb: VaultVerb,
}

#[derive(Debug, Subcommand)]
enum VaultVerb {
    /// Copy a data file of the archive into a vault
    Put(PutArgs),
    /// List the copies, from the archive's own records
    List,
    /// Get a copy back: the first call asks the vault for it, a later one downloads
    Get(GetArgs),
    /// Delete a copy from its vault
    Delete {
        /// The data file, relative to the archive
        path: String,
    },
}

#[derive(Debug, Args)]
struct PutArgs {
    /// The data file, relative to the archive
    path: String,

    /// The vault, which must exist
    #[arg(long, value_name = "NAME")]
    vault: String,

    /// Spend at most this, the 90 days included that are billed at least
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,
}

#[derive(Debug, Args)]
struct GetArgs {
    /// The data file, relative to the archive
    path: String,

    /// Where to write it; must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// How fast: expedited, standard or bulk
    #[arg(long, value_name = "TIER", default_value_t = Retrieval::Standard)]
    retrieval: Retrieval,

    /// Spend at most this
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,
}

pub async fn run(app: &App, args: VaultArgs) -> Result<u8> {
    match args.verb {
        VaultVerb::Put(args) => put(app, args).await.map(|()| 0),
        VaultVerb::List => list(app).await.map(|()| 0),
        VaultVerb::Get(args) => get(app, args).await,
        VaultVerb::Delete { path } => delete(app, &path).await.map(|()| 0),
    }
}

async fn put(app: &App, args: PutArgs) -> Result<()> {
    let ctx = &app.context;
    if let Some(known) = vault::find_copy(&ctx.store, &args.path).await? {
        return say_known(app, &known, &args.vault);
    }
    let max_cost = args.max_cost.as_deref().map(parse_usd).transpose()?;
    check_real_consent(app, max_cost)?;
    let file = vault::data_file(&ctx.store, &args.path).await?;
    let prices = app.settings.prices()?;
    let cost =
        prices.put(PRICED_AS, upload_requests(file.size_bytes)?) + prices.early_delete(PRICED_AS, file.size_bytes, 0);
    let days = prices.class(PRICED_AS).minimum_days;
    let what = format!(
        "copying {} ({}) into the vault {} and keeping it for the {days} days that are billed at least",
        file.path,
        HumanBytes(file.size_bytes),
        args.vault
    );
    real_consent(app, &what, cost, max_cost)?;
    let vaults = Vaults::open(None).await?;
    match vault::put(ctx, &vaults, &file, &args.vault).await? {
        Put::Known(known) => say_known(app, &known, &args.vault),
        Put::Done(copy) if app.ui.json => document(app, &copy, false),
        Put::Done(copy) => {
            let size = HumanBytes(copy.size_bytes);
            app.ui.say(&format!("{} is in the vault {} now ({size}, {})", copy.path, copy.vault, copy.region));
            Ok(())
        }
    }
}

/// Nothing to do, unless the copy was wanted elsewhere.
fn say_known(app: &App, copy: &VaultCopy, vault: &str) -> Result<()> {
    if copy.vault != vault {
        return Err(Error::usage(format!("{} has its copy in the vault {}", copy.path, copy.vault))
            .hint("a file has one copy: tier vault delete it there first"));
    }
    if app.ui.json {
        return document(app, copy, true);
    }
    app.ui.say(&format!("{} is there already: in the vault {} since {:.0}", copy.path, copy.vault, copy.time));
    Ok(())
}

fn document(app: &App, copy: &VaultCopy, is_known: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        copy: &'a VaultCopy,
        /// Whether it was there before.
        is_known: bool,
    }
    app.ui.document(&Document { copy, is_known })
}

async fn list(app: &App) -> Result<()> {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        copy: &'a VaultCopy,
        /// Whether the newest version names the file.
        in_archive: bool,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        copies: Vec<Shown<'a>>,
    }
    let store = &app.context.store;
    let copies = vault::copies(store).await?;
    let paths = vault::in_archive(store, &copies).await?;
    let shown = copies.iter().map(|copy| Shown { copy, in_archive: paths.contains(&copy.path) });
    if app.ui.json {
        return app.ui.document(&Document { copies: shown.collect() });
    }
    let line = |Shown { copy, in_archive }: Shown| {
        let VaultCopy { path, vault, region, size_bytes, time, .. } = copy;
        let job = copy.job.as_ref().map(|job| format!("  {} retrieval asked for {:.0}", job.retrieval, job.asked));
        let gone = if in_archive { "" } else { "  no longer in the archive" };
        let job = job.unwrap_or_default();
        format!("{path}  {}  vault {vault} ({region})  since {time:.0}{job}{gone}\n", HumanBytes(*size_bytes))
    };
    app.ui.data(&shown.map(line).collect::<String>())?;
    if copies.is_empty() {
        app.ui.say("no copies in vaults");
    }
    Ok(())
}

async fn get(app: &App, args: GetArgs) -> Result<u8> {
    let ctx = &app.context;
    if args.output.exists() {
        return Err(Error::usage(format!("{} exists", args.output.display())).hint("name a file that does not"));
    }
    let copy = vault::read_copy(&ctx.store, &args.path).await?;
    let vaults = Vaults::open(Some(&copy.region)).await?;
    match vault::job(&vaults, &copy).await? {
        Some(VaultJob::Ready { .. }) => return download(app, &vaults, &copy, &args).await,
        Some(VaultJob::Running) => return say_running(app, &copy, &args, false),
        Some(VaultJob::Failed(why)) => app.ui.warn(&format!("the last retrieval failed: {why}")),
        Some(VaultJob::Gone) => app.ui.say("the last retrieval is no longer held ready; it is asked for again"),
        None => {}
    }
    let max_cost = args.max_cost.as_deref().map(parse_usd).transpose()?;
    check_real_consent(app, max_cost)?;
    let cost = retrieval_cost(app, &copy, args.retrieval)?;
    let what = format!(
        "getting {} ({}) from the vault {} by {} retrieval",
        copy.path,
        HumanBytes(copy.size_bytes),
        copy.vault,
        args.retrieval
    );
    real_consent(app, &what, cost, max_cost)?;
    let copy = vault::retrieve(ctx, &vaults, &copy, args.retrieval).await?;
    say_running(app, &copy, &args, true)
}

fn retrieval_cost(app: &App, copy: &VaultCopy, retrieval: Retrieval) -> Result<Usd> {
    let quote = app.settings.prices()?.restore(PRICED_AS, retrieval, 1, copy.size_bytes, 0, app.settings.pays_egress());
    let quote = quote.ok_or_else(|| Error::usage(format!("the price list has no {retrieval} retrieval")))?;
    Ok(quote.total())
}

async fn download(app: &App, vaults: &Vaults, copy: &VaultCopy, args: &GetArgs) -> Result<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        copy: &'a VaultCopy,
        state: &'static str,
        output: &'a PathBuf,
    }
    vault::download(&app.context, vaults, copy, &args.output).await?;
    if app.ui.json {
        return app.ui.document(&Document { copy, state: "done", output: &args.output }).map(|()| 0);
    }
    let size = HumanBytes(copy.size_bytes);
    app.ui.say(&format!("{} from the vault {} is in {} ({size})", copy.path, copy.vault, args.output.display()));
    Ok(0)
}

/// Says when to come back, and how.
fn say_running(app: &App, copy: &VaultCopy, args: &GetArgs, is_new: bool) -> Result<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        copy: &'a VaultCopy,
        state: &'static str,
        ready_by: Timestamp,
        command: String,
    }
    let job = copy.job.as_ref().ok_or_else(|| Error::failed("no retrieval was asked for"))?;
    let takes = app.settings.prices()?.ready_within(PRICED_AS, job.retrieval);
    let ready_by = job.asked + takes.map_or(SignedDuration::ZERO, |(_, latest)| latest);
    let output = args.output.display().to_string();
    let command =
        format!("tier vault get {} --output {} {}", shell_word(&copy.path), shell_word(&output), archive_option(app));
    if app.ui.json {
        let document = Document { copy, state: "running", ready_by, command };
        return app.ui.document(&document).map(|()| NOT_READABLE);
    }
    let word = if is_new { "asked for" } else { "still running" };
    let by = when(ready_by, app.context.now());
    app.ui.say(&format!("the {} retrieval of {} is {word}; come back by {by}:", job.retrieval, copy.path));
    app.ui.say(&format!("    {command}"));
    Ok(NOT_READABLE)
}

async fn delete(app: &App, path: &str) -> Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        deleted: &'a VaultCopy,
    }
    let ctx = &app.context;
    refuse_a_later_now_of_a_bill(app)?;
    let copy = vault::read_copy(&ctx.store, path).await?;
    let days = u32::try_from(ctx.now().duration_since(copy.time).as_hours() / 24).unwrap_or(0);
    let early = app.settings.prices()?.early_delete(PRICED_AS, copy.size_bytes, days);
    let billed = if early > Usd::default() {
        format!(" {early} of its minimum stay are billed all the same.")
    } else {
        String::new()
    };
    let is_only = vault::in_archive(&ctx.store, std::slice::from_ref(&copy)).await?.is_empty();
    let only = if is_only { " The archive has the file no longer." } else { "" };
    let question = format!("Delete the copy of {path} in the vault {}?{only}{billed}", copy.vault);
    if !app.ui.confirm(&question, app.settings.yes)? {
        return Err(Error::failed("nothing was deleted"));
    }
    vault::delete(ctx, &Vaults::open(Some(&copy.region)).await?, &copy).await?;
    if app.ui.json {
        return app.ui.document(&Document { deleted: &copy });
    }
    app.ui.say(&format!("deleted the copy of {path} in the vault {}", copy.vault));
    Ok(())
}
