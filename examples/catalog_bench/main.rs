//! What planning costs however old an archive grows: the catalog of an archive of 1 to 50 million data files, of which
//! nothing but the catalog exists, and six questions about it. `infra/bench/catalog.sh` runs it beside its peers.
//!
//! ```sh
//! catalog_bench make DIR 50000000 uniform          # or zipf: one tenant of 2,000 has a tenth of all files
//! catalog_bench ask  DIR tenant-3y 40              # milliseconds that each request takes
//! catalog_bench ask  DIR tenant-3y 40 CACHE        # keeping roots and leaves in that folder
//! ```
//!
//! The catalog is as the nightly job leaves it: sealed years, closed quarters and months merged, some nights of the open
//! month not yet, and four runs of today. Every `ask` is a process of its own, so that its memory is its own.

mod catalog;
mod latency;
mod questions;

use std::error::Error;

use tier::clock::{Clock, Random};
use tier::context::Context;
use tier::progress::{Silent, Stop};
use tier::store::{Cache, ClassTime, DEFAULT_CACHE_BYTES, Location, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // As `tier` does.
    tier::cli::allocator::limit_arenas();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["make", dir, files, tenants] => catalog::make(&context(dir).await?, files.parse()?, tenants.parse()?).await,
        ["ask", dir, question, latency] => questions::ask(&context(dir).await?, question, latency.parse()?).await,
        ["ask", dir, question, latency, cache] => {
            let ctx = context(dir).await?;
            let store = ctx.store.with_cache(Cache::new(cache.into(), DEFAULT_CACHE_BYTES));
            questions::ask(&Context { store, ..ctx }, question, latency.parse()?).await
        }
        _ => Err("usage: catalog_bench make DIR FILES uniform|zipf | ask DIR QUESTION MILLISECONDS [CACHE]".into()),
    }
}

async fn context(dir: &str) -> Result<Context> {
    let location = Location::Local(std::path::absolute(dir)?);
    Ok(Context {
        store: Store::open(&location, ClassTime::default()).await?,
        clock: Clock::Fixed(catalog::TODAY.parse()?),
        random: Random::System.into(),
        progress: std::sync::Arc::new(Silent),
        stop: Stop::default(),
    })
}
