//! `tier hold`: what the policy must not touch.

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde::Serialize;

use super::App;
use super::words::counted;
use crate::catalog::Snapshot;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::model::Hold;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  tier hold add --tenant acme --from 2024-01-01 --to 2024-06-30 --reason \"case 2026-17\"
  tier hold list
  tier hold remove h-1f3a

A hold beats every lifecycle rule: what it may cover is neither moved nor expired. What is not named is covered."
)]
pub struct HoldArgs {
    #[command(subcommand)]
    verb: HoldVerb,
}

#[derive(Debug, Subcommand)]
enum HoldVerb {
    /// Put a hold in force
    Add(AddArgs),
    /// Lift a hold
    Remove {
        /// Its id, as `tier hold list` shows it
        id: String,
    },
    /// List the holds in force
    List,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Only this tenant; may be repeated
    #[arg(long)]
    tenant: Vec<String>,
    /// Only this event type; may be repeated
    #[arg(long = "type")]
    event_type: Vec<String>,
    /// Only events from this date on
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Only events up to this date, inclusive
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// Why: a case, a request, an order
    #[arg(long)]
    reason: String,
    /// Its id [default: a fresh one]
    #[arg(long)]
    id: Option<String>,
}

pub async fn run(app: &App, args: HoldArgs) -> Result<u8> {
    match args.verb {
        HoldVerb::Add(args) => add(app, args).await,
        HoldVerb::Remove { id } => remove(app, &id).await,
        HoldVerb::List => list(app).await,
    }?;
    Ok(0)
}

async fn add(app: &App, args: AddArgs) -> Result<()> {
    const ID_DIGITS: usize = 6;
    if args.reason.trim().is_empty() {
        return Err(Error::usage("a hold needs a reason").hint("name the case or the order, for whoever lifts it"));
    }
    let ctx = &app.context;
    let hold = Hold {
        id: args.id.unwrap_or_else(|| format!("h-{}", &ctx.random.id()[..ID_DIGITS])),
        tenants: args.tenant,
        event_types: args.event_type,
        from: args.from,
        to: args.to,
        reason: args.reason,
        since: ctx.now(),
    };
    let snapshot = lifecycle::add_hold(ctx, hold.clone()).await?;
    let mut held = 0;
    snapshot
        .each_file(
            |leaf| hold.may_cover_any(&leaf.tenants.as_text(), &leaf.event_types.as_text(), &leaf.dates),
            |file| {
                held += u64::from(hold.may_cover_view(file));
                Ok(())
            },
        )
        .await?;
    if app.ui.json {
        return app.ui.document(&hold);
    }
    app.ui.say(&format!("hold {} is in force from version {} on: {}", hold.id, snapshot.version(), what(&hold)));
    app.ui.say(&format!("it covers {}", counted(held, "file")));
    Ok(())
}

async fn remove(app: &App, id: &str) -> Result<()> {
    let snapshot = lifecycle::remove_hold(&app.context, id).await?;
    app.ui.say(&format!("hold {id} is lifted since version {}", snapshot.version()));
    Ok(())
}

async fn list(app: &App) -> Result<()> {
    #[derive(Serialize)]
    struct List<'a> {
        holds: &'a [Hold],
    }
    let snapshot = Snapshot::open(&app.context.store).await?;
    let holds = &snapshot.root().document.holds;
    if app.ui.json {
        return app.ui.document(&List { holds });
    }
    let line = |hold: &Hold| format!("{}  since {:.0}  {}: {}\n", hold.id, hold.since, what(hold), hold.reason);
    app.ui.data(&holds.iter().map(line).collect::<String>())?;
    if holds.is_empty() {
        app.ui.say("no legal holds");
    }
    Ok(())
}

/// `tenant acme, from 2024-01-01 to 2024-06-30`
fn what(hold: &Hold) -> String {
    let names = |word: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!(
            "{word} {}",
            names.iter().map(|n| n.escape_debug().to_string()).collect::<Vec<_>>().join(", ")
        )),
    };
    let parts = [
        names("tenant", &hold.tenants),
        names("type", &hold.event_types),
        hold.from.map(|from| format!("from {from}")),
        hold.to.map(|to| format!("to {to}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(" ") }
}
