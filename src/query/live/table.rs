//! The table `events` of an archive with a hot tier.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use jiff::civil::Date;

use super::asked::{Asked, reads_only};
use super::decode::Decoder;
use super::exec::HotExec;
use super::merge;
use super::route::{Days, is_cheaper};
use super::source::{HotSource, Reading, Wanted};
use super::tier::HotTier;
use super::tiers::Tiers;
use super::window::Window;
use crate::error::Error;
use crate::model::{Schema, Seals, days_of_date};
use crate::scan::{EventsTable, PlannedFiles};

const IDENTITY: [&str; 4] = ["date", "tenant_id", "event_type", "event_id"];

/// Splits each scan by tier.
#[derive(Debug)]
pub struct LiveTable {
    pub archive: Arc<EventsTable>,
    pub tier: Arc<HotTier>,
    /// The columns of events but the keys.
    pub columns: Schema,
    pub tiers: Tiers,
    pub window: Window,
    /// The latest time that is accepted, microseconds since the epoch.
    pub max_time: i64,
    pub may_scan: bool,
}

/// How the hot tier answers for some days.
struct Found {
    source: Arc<dyn HotSource>,
    reading: Reading,
    days: BTreeSet<Date>,
}

impl LiveTable {
    fn seals(&self) -> &Seals {
        &self.archive.snapshot().root().document.seals
    }

    fn wanted<'a>(&'a self, asked: &'a Asked, days: &'a BTreeSet<Date>) -> Wanted<'a> {
        Wanted { asked, archive: self.archive.snapshot(), days, today: self.window.today, may_scan: self.may_scan }
    }

    /// How the hot tier is read for these days; `None` where it is down and is to be skipped, or has nothing.
    async fn search(&self, asked: &Asked, days: &BTreeSet<Date>) -> Result<Option<Found>> {
        if days.is_empty() {
            return Ok(None);
        }
        let found = async {
            let source = self.tier.source().await?;
            let reading = source.search(&self.wanted(asked, days)).await?;
            Ok(Found { source, reading, days: days.clone() })
        };
        let found = self.tier.forgive(found.await, days, !self.tiers.archive()).map_err(external)?;
        Ok(found.filter(|found| found.reading.parts.count() > 0))
    }

    /// How the hot tier answers alone for all days of the question, where it can and that is cheaper than `planned`.
    async fn route(&self, asked: &Asked, days: &Days, planned: &PlannedFiles) -> Result<Option<Found>> {
        let Some(tenants) = &asked.tenants else { return Ok(None) };
        let is_possible = !days.sealed.is_empty()
            && days.are_whole_in_hot(&self.window, self.seals())
            && asked.lies_within(self.window.first_whole, self.window.last)?;
        let at_least = (tenants.len() * days.sealed.len()) as u64;
        if planned.files == 0 || !is_possible || !is_cheaper(at_least, planned) {
            return Ok(None);
        }
        // Open days need the hot tier anyway; for sealed ones the archive is as good.
        let source = match days.open.is_empty() {
            true => self.tier.source_soon().await,
            false => self.tier.source().await.ok(),
        };
        let Some(source) = source else { return Ok(None) };
        let requests = source
            .find(&self.wanted(asked, &days.sealed))
            .map(|reading| reading.requests(planned.rows, source.page_rows()))
            .filter(|&requests| is_cheaper(requests, planned));
        let reading = requests.and_then(|_| source.find(&self.wanted(asked, &days.all)));
        Ok(reading.map(|reading| Found { source, reading, days: days.all.clone() }))
    }

    /// The identities of the archive's events on `days`; `None` where it has none.
    async fn archived(
        &self,
        state: &dyn Session,
        filters: &[Expr],
        days: &BTreeSet<Date>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some((&first, &last)) = days.first().zip(days.last()) else { return Ok(None) };
        let date = |date| lit(ScalarValue::Date32(Some(days_of_date(date))));
        let mut of_days = vec![col("date").gt_eq(date(first)), col("date").lt_eq(date(last))];
        of_days.push(col("date").in_list(days.iter().copied().map(date).collect(), false));
        // What a filter on other columns says of the hot tier's event it does not say of the archive's.
        let (of_identity, ids): (Vec<&Expr>, Vec<&Expr>) = filters
            .iter()
            .filter(|filter| reads_only(filter, &IDENTITY))
            .partition(|filter| !filter.column_refs().iter().any(|column| column.name == "event_id"));
        let all = of_identity.into_iter().chain(ids.iter().copied()).cloned().chain(of_days).collect::<Vec<_>>();
        let Some(plan) = self.archive.identities(state, &all).await? else { return Ok(None) };
        let Some(ids) = conjunction(ids.into_iter().cloned()) else { return Ok(Some(plan)) };
        let ids = state.create_physical_expr(ids, &DFSchema::try_from(plan.schema())?)?;
        Ok(Some(Arc::new(FilterExec::try_new(ids, plan)?)))
    }

    fn exec(&self, found: Found) -> HotExec {
        let decoder = Decoder {
            mapping: found.source.mapping(self.archive.snapshot()),
            null_tokens: found.source.null_tokens().to_vec(),
            may_repeat: found.source.may_repeat(),
            columns: self.columns.clone(),
            schema: self.schema(),
            days: found.days,
            max_time: self.max_time,
        };
        HotExec::new(found.source.name(), found.reading, decoder, self.tier.on_error(), self.tier.log())
    }
}

#[async_trait]
impl TableProvider for LiveTable {
    fn schema(&self) -> SchemaRef {
        self.archive.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.archive.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = Asked::new(state, filters, &self.schema())?;
        let all = asked.days(self.window.days())?;
        let predicate = asked.predicate.as_ref();
        if !self.tiers.archive() {
            let Some(found) = self.search(&asked, &all).await? else {
                return merge::nothing(&self.schema(), projection);
            };
            return merge::hot_part(Arc::new(self.exec(found).alone()), predicate, None, projection);
        }
        let days = Days::new(all, self.seals());
        let archive = self.archive.scan(state, projection, filters, limit).await?;
        let archived = self.archived(state, filters, &days.open).await?;
        let planned = PlannedFiles::of(&archive);
        if archived.is_none()
            && let Some(found) = self.route(&asked, &days, &planned).await?
        {
            let hot = self.exec(found).instead_of(planned.files);
            return merge::hot_part(Arc::new(hot), predicate, None, projection);
        }
        match self.search(&asked, &days.open).await? {
            Some(found) => {
                merge::union(archive, merge::hot_part(Arc::new(self.exec(found)), predicate, archived, projection)?)
            }
            None => Ok(archive),
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
