//! `tier cache`: what this machine keeps of remote archives' catalogs.

use std::path::Path;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{Settings, Ui};
use crate::error::{Error, Result};
use crate::store::ObjectSum;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier cache
  tier cache --clear

Roots, leaves and packs of archives in a bucket never change, so what was read once is kept on this machine: the next
question finds out with one listing whether there is a newer version, and reads only what is new. Every entry has a
checksum. tier.toml's `[cache]` says where and how much; --no-cache goes without for once. Local archives need none.")]
pub struct CacheArgs {
    /// Delete every entry
    #[arg(long)]
    clear: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    folder: &'a Path,
    max_bytes: u64,
    #[serde(flatten)]
    sum: ObjectSum,
    cleared: bool,
}

pub fn run(ui: &Ui, settings: &Settings, args: CacheArgs) -> Result<u8> {
    let Some(cache) = settings.cache()? else {
        return Err(Error::usage("there is no cache")
            .hint("it is off with --no-cache, TIER_NO_CACHE or `[cache] size = \"0\"`; without a home folder, name `[cache] folder`"));
    };
    let sum = if args.clear { cache.clear()? } else { cache.sum()? };
    let (folder, max_bytes) = (cache.folder(), cache.max_bytes());
    if ui.json {
        return ui.document(&Report { folder, max_bytes, sum, cleared: args.clear }).map(|()| 0);
    }
    let (count, bytes) = (HumanCount(sum.objects), HumanBytes(sum.bytes));
    match args.clear {
        true => ui.say(&format!("Deleted {count} entries ({bytes}) of {}", folder.display())),
        false => ui.data(&format!("{}: {count} entries, {bytes} of {}\n", folder.display(), HumanBytes(max_bytes)))?,
    }
    Ok(0)
}
