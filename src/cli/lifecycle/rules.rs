//! `tier lifecycle rules`: the bucket's side of the policy.

use clap::Args;
use serde::Serialize;

use crate::cli::App;
use crate::error::{Error, Result};
use crate::lifecycle::{AwsRule, rules_for};
use crate::store::Location;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier lifecycle rules > rules.json
  tier lifecycle rules --put

The document is what `aws s3api put-bucket-lifecycle-configuration` takes. That call replaces all rules of a bucket;
--put changes only those whose id begins with `tier-`. A bucket's rules count from an object's creation, not from the
date of its events: with `transitions = \"put\"`, the default, tier moves objects itself and needs none of them.")]
pub struct RulesArgs {
    /// Merge them into the bucket's rules; rules of others stay as they are
    #[arg(long)]
    put: bool,
}

pub async fn run(app: &App, args: RulesArgs) -> Result<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document<'a> {
        rules: Vec<AwsRule<'a>>,
    }
    let policy = app.settings.file.lifecycle.policy()?;
    let document = rules_for(&policy, app.context.store.location());
    for left_out in &document.left_out {
        app.ui.warn(&format!("not a bucket rule: {left_out}"));
    }
    if args.put {
        if !matches!(app.context.store.location(), Location::S3 { .. }) {
            return Err(Error::usage("only a bucket has lifecycle rules")
                .hint("a local archive needs none: tier lifecycle apply moves its files"));
        }
        let question = format!("Put {} rules into the bucket?", document.rules.len());
        if !app.ui.confirm(&question, app.settings.yes)? {
            return Err(Error::failed("nothing was done"));
        }
        app.context.store.classes().put_rules(&document.rules).await?;
        app.ui.say(&format!("{} rules are in the bucket; those of others are as they were", document.rules.len()));
        return Ok(0);
    }
    // The document is for another program: it has no fields of ours.
    let rules = Document { rules: document.rules.iter().map(AwsRule::from).collect() };
    let text =
        serde_json::to_string_pretty(&rules).map_err(|error| Error::failed("write the rules").with_source(error))?;
    app.ui.data(&format!("{text}\n"))?;
    Ok(0)
}
