//! A DataFusion session that knows the table `events`, JSON functions, and a limit of memory.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::QuerySettings;
use crate::context::Context as Ctx;
use crate::error::{Context, Result};
use crate::model::micros_of_timestamp;
use crate::scan::{CountKeys, EventsTable};

/// Where `events` is registered; SHOW and error messages spell it out.
pub const CATALOG: &str = "tier";
pub const SCHEMA: &str = "archive";

/// Files read side by side from a store that answers slowly and many at once, whatever the number of cores.
const REMOTE_READS_IN_FLIGHT: usize = 16;

/// Named in the message when memory runs out.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// What a sort sets aside for merging, unless the memory is too small for it; DataFusion's default.
const SORT_RESERVE_BYTES: usize = 10 << 20;

/// Footers of large files that are kept for later questions.
const FOOTERS_KEPT_BYTES: usize = 16 << 20;

/// What the sessions over several versions of the archive share: their memory, and the footers they have read.
pub fn runtime(settings: &QuerySettings) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory_bytes(settings)), CONSUMERS_NAMED);
    let builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool));
    builder.with_metadata_cache_limit(FOOTERS_KEPT_BYTES).build_arc().context("start the query")
}

fn memory_bytes(settings: &QuerySettings) -> usize {
    usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX)
}

/// A session over one version of the archive.
pub fn open(
    ctx: &Ctx,
    table: Arc<dyn TableProvider>,
    settings: &QuerySettings,
    runtime: Arc<RuntimeEnv>,
) -> Result<SessionContext> {
    let mut rules = PhysicalOptimizer::new().rules;
    let before = rules.iter().position(|rule| rule.name() == CountKeys::AFTER).map_or(0, |rule| rule + 1);
    rules.insert(before, Arc::new(CountKeys));
    let state = SessionStateBuilder::new()
        .with_config(config(ctx, memory_bytes(settings)))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .build();
    let mut session = SessionContext::new_with_state(state);
    datafusion_functions_json::register_all(&mut session).context("register the JSON functions")?;
    session.register_table(EventsTable::NAME, table).context("register the table")?;
    Ok(session)
}

fn config(ctx: &Ctx, memory_bytes: usize) -> SessionConfig {
    let mut config =
        SessionConfig::new().with_information_schema(true).with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = config.options_mut();
    if ctx.store.location().is_remote() {
        options.execution.target_partitions = REMOTE_READS_IN_FLIGHT;
    }
    let partitions = options.execution.target_partitions.max(1);
    options.execution.sort_spill_reservation_bytes = SORT_RESERVE_BYTES.min(memory_bytes / (4 * partitions));
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.reorder_filters = true;
    options.sql_parser.collect_spans = true;
    config
}

/// The session's state for one statement, at the context's time.
pub fn state(ctx: &Ctx, session: &SessionContext) -> SessionState {
    let mut state = session.state();
    let now = arrow::temporal_conversions::timestamp_us_to_datetime(micros_of_timestamp(ctx.now()));
    state.execution_props_mut().query_execution_start_time = now.map(|now| now.and_utc());
    state
}
