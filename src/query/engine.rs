//! Runs statements over one version of the archive.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::answer::{Answer, LeftOut};
use super::archived::{self, Asked, Looked, Offer, Unreadable};
use super::doubts;
use super::estimate::{Estimate, Tariff};
use super::identifiers::Names;
use super::ladder::{HotPart, Ladder};
use super::live::{self, HotLog, HotTier, PlannedHot};
use super::plan::{Plan, Work};
use super::{AsOf, OnArchived, QuerySettings, errors, read_only, session, sql_type, times};
use crate::catalog::Snapshot;
use crate::clock::Stopwatch;
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Result};
use crate::model::{ArchivedFile, Seals};
use crate::scan::{EventsTable, PlannedFiles};
use crate::store::Requests;

/// A version of the archive, ready for questions.
pub struct Engine {
    ctx: Ctx,
    session: SessionContext,
    /// The archive's part of the table.
    table: Arc<EventsTable>,
    hot: Option<Arc<HotTier>>,
    settings: QuerySettings,
    /// Requests and time before the catalog was opened: the first answer's report includes that.
    opening: Option<(Requests, Stopwatch)>,
}

/// One statement, parsed. It remembers the text it came from, for errors.
#[derive(Debug, Clone)]
pub struct Statement {
    parsed: Parsed,
    sql: Arc<str>,
}

impl Engine {
    pub async fn open(ctx: &Ctx, settings: &QuerySettings) -> Result<Self> {
        Self::open_over(ctx, settings, live::tier(settings)?, session::runtime(settings)?).await
    }

    /// The newest version now, with this engine's connection to the hot tier and the footers it has read.
    pub async fn again(&self) -> Result<Self> {
        let hot = match self.hot.clone().filter(|tier| !tier.has_failed()) {
            Some(tier) => Some(tier),
            None => live::tier(&self.settings)?,
        };
        Self::open_over(&self.ctx, &self.settings, hot, self.session.runtime_env()).await
    }

    async fn open_over(
        ctx: &Ctx,
        settings: &QuerySettings,
        hot: Option<Arc<HotTier>>,
        runtime: Arc<RuntimeEnv>,
    ) -> Result<Self> {
        let opening = Some((ctx.store.requests(), Stopwatch::start()));
        let snapshot = match settings.as_of {
            None if hot.is_some() => {
                Snapshot::latest(&ctx.store).await.map(|latest| latest.unwrap_or_else(|| Snapshot::empty(&ctx.store)))
            }
            None => Snapshot::open(&ctx.store).await,
            Some(AsOf::Version(version)) => Snapshot::at_version(&ctx.store, version).await,
            Some(AsOf::Time(time)) => Snapshot::at_time(&ctx.store, time).await,
        }?;
        let Some(tier) = hot else {
            return Ok(Engine { opening, ..Self::over_archive(ctx, settings, snapshot, runtime)? });
        };
        let table = live::table(ctx, settings, snapshot, tier.clone()).await?;
        let archive = table.archive.clone();
        let session = session::open(ctx, Arc::new(table), settings, runtime)?;
        Ok(Engine { ctx: ctx.clone(), session, table: archive, hot: Some(tier), settings: settings.clone(), opening })
    }

    /// Over what a caller has opened, a version or some leaves of it, and without a hot tier.
    pub fn over(ctx: &Ctx, settings: &QuerySettings, snapshot: Snapshot) -> Result<Self> {
        Self::over_archive(ctx, settings, snapshot, session::runtime(settings)?)
    }

    fn over_archive(ctx: &Ctx, settings: &QuerySettings, snapshot: Snapshot, runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let table = Arc::new(EventsTable::new(snapshot).with_classes(settings.tiers.classes()));
        let session = session::open(ctx, table.clone(), settings, runtime)?;
        Ok(Engine { ctx: ctx.clone(), session, table, hot: None, settings: settings.clone(), opening: None })
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.table.snapshot()
    }

    /// Whether answers are of this moment too, and not of the archive's version alone.
    pub fn is_live(&self) -> bool {
        self.hot.is_some()
    }

    fn seals(&self) -> &Seals {
        &self.snapshot().root().document.seals
    }

    pub fn tariff(&self) -> &Tariff {
        &self.settings.tariff
    }

    /// The columns of `events`, as SQL sees them.
    pub fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    /// The statements of a text, in order; nothing has been looked up yet.
    pub fn parse(&self, sql: &str) -> Result<VecDeque<Statement>> {
        let parsed = self.parse_all(sql).map_err(|error| errors::of_planning(&error, sql))?;
        let text: Arc<str> = sql.into();
        Ok(parsed.into_iter().map(|parsed| Statement { parsed, sql: text.clone() }).collect())
    }

    fn parse_all(&self, sql: &str) -> DataFusionResult<VecDeque<Parsed>> {
        let dialect = GenericDialect {};
        let mut tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(ParserError::from)?;
        Names::new(self.table.schema().fields().iter().map(|field| field.name().as_str())).resolve(&mut tokens);
        DFParserBuilder::new(tokens).with_dialect(&dialect).build()?.parse_statements()
    }

    /// Plans a statement and starts it. What cannot be answered whole, or not within the budget, fails here, before data
    /// is read.
    pub async fn run(&mut self, statement: Statement) -> Result<Answer> {
        let plan = self.plan(statement).await?;
        self.start(plan)
    }

    /// The archived files that the statements of a text need, whether or not they can be read now.
    pub async fn needs(&self, sql: &str) -> Result<Vec<ArchivedFile>> {
        let mut files = BTreeSet::new();
        for statement in self.parse(sql)? {
            let (state, logical) = self.logical(&statement).await?;
            let physical = self.physical(state, &logical).await.map_err(|error| statement.error(&error))?;
            files.extend(PlannedFiles::of(&physical).archived_files());
        }
        Ok(files.into_iter().collect())
    }

    /// Finds out what a statement takes. With [`OnArchived::Skip`] that is without the files that cannot be read now.
    pub async fn plan(&mut self, statement: Statement) -> Result<Plan> {
        let (before, watch) = self.opening.take().unwrap_or_else(|| (self.ctx.store.requests(), Stopwatch::start()));
        let planning = |error: DataFusionError| statement.error(&error);
        let (state, logical) = self.logical(&statement).await?;
        self.table.take_report();
        let mut plan = Plan {
            sql: statement.sql.clone(),
            is_explained: matches!(logical, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)),
            work: Work::Described(Arc::new(Schema::empty())),
            ladder: self.ladder(None),
            unreadable: Vec::new(),
            skipped: None,
            possibly_incomplete: doubts::possibly_incomplete(&state, &logical, self.seals(), &self.table.schema())
                .map_err(planning)?,
            hot: self.hot.as_ref().map_or_else(|| Arc::new(HotLog::default()), |tier| tier.begin()),
            before,
            planning: Requests::default(),
            watch,
        };
        match &logical {
            LogicalPlan::DescribeTable(describe) => plan.work = Work::Described(describe.schema.clone()),
            LogicalPlan::Explain(explain) => {
                // The plan of an EXPLAIN is text: what it explains is planned for its files, then once more for the text.
                let inner = self.physical(state.clone(), &explain.plan).await.map_err(planning)?;
                plan.ladder = self.ladder(Some(&inner));
                plan.work = Work::Plan(self.physical(state, &logical).await.map_err(planning)?);
            }
            _ => {
                let physical = self.physical(state.clone(), &logical).await.map_err(planning)?;
                plan.ladder = self.ladder(Some(&physical));
                plan.work = Work::Plan(physical);
                self.look_at_archived(&mut plan, state, &logical).await.map_err(|error| match error {
                    Trouble::Planning(error) => planning(error),
                    Trouble::Looking(error) => error,
                })?;
            }
        }
        plan.planning = self.ctx.store.requests().since(&plan.before);
        Ok(plan)
    }

    /// Asks the store which of the plan's archived files can be read, and plans without the others if that is wanted.
    async fn look_at_archived(
        &self,
        plan: &mut Plan,
        state: SessionState,
        logical: &LogicalPlan,
    ) -> Result<(), Trouble> {
        let speed = self.settings.class_speed;
        let mut looked = Looked::default();
        plan.unreadable = looked.unreadable(&self.ctx, &plan.ladder.planned, speed).await?;
        if self.settings.on_archived != OnArchived::Skip || plan.unreadable.is_empty() {
            return Ok(());
        }
        let months = plan.ladder.planned.months.len() as u64;
        let mut skipped = Vec::new();
        while !plan.unreadable.is_empty() {
            skipped.append(&mut plan.unreadable);
            self.table.leave_out(skipped.iter().map(|file: &Unreadable| file.share.path.clone()).collect());
            let again = self.physical(state.clone(), logical).await;
            self.table.leave_out(HashSet::new());
            let physical = again.map_err(Trouble::Planning)?;
            self.table.take_report();
            plan.ladder.planned = PlannedFiles::of(&physical);
            plan.unreadable = looked.unreadable(&self.ctx, &plan.ladder.planned, speed).await?;
            plan.work = Work::Plan(physical);
        }
        let command = archived::start_command(&self.ctx, &self.settings.tariff, &skipped, self.asked(plan));
        plan.skipped = Some(LeftOut { missing: archived::missing(&skipped), months, command });
        Ok(())
    }

    /// Starts what was planned, unless files cannot be read or it would take more than it may.
    pub fn start(&self, plan: Plan) -> Result<Answer> {
        if !plan.unreadable.is_empty() {
            return Err(self.refusal(&plan));
        }
        let estimate = self.estimate(&plan);
        estimate.check(&self.settings.budget)?;
        let planning = |error: DataFusionError| errors::of_planning(&error, &plan.sql);
        let stream = match plan.work {
            Work::Described(schema) => described(&schema)?,
            Work::Plan(physical) => execute_stream(physical, self.session.task_ctx()).map_err(planning)?,
        };
        Ok(Answer {
            schema: stream.schema(),
            stream,
            explained: plan.is_explained,
            version: self.snapshot().version(),
            ladder: plan.ladder,
            rows: 0,
            store: self.ctx.store.clone(),
            tariff: self.settings.tariff.clone(),
            estimate,
            skipped: plan.skipped,
            possibly_incomplete: plan.possibly_incomplete,
            hot: plan.hot,
            before: plan.before,
            planning: plan.planning,
            watch: plan.watch,
        })
    }

    /// Why a plan with files that cannot be read is not started, and the way out.
    pub fn refusal(&self, plan: &Plan) -> Error {
        archived::refused(&self.ctx, &self.settings.tariff, &plan.ladder.planned, &plan.unreadable, self.asked(plan))
    }

    pub fn estimate(&self, plan: &Plan) -> Estimate {
        Estimate::new(&self.settings.tariff, &plan.ladder.planned, &plan.planning)
    }

    /// What a restore of the plan's unreadable files costs, by tier.
    pub fn offers(&self, plan: &Plan) -> Vec<Offer> {
        archived::offers(&self.settings.tariff, &plan.unreadable)
    }

    fn asked<'a>(&self, plan: &'a Plan) -> Asked<'a> {
        Asked { sql: &plan.sql, as_of: self.settings.as_of.map(|_| self.snapshot().version()) }
    }

    async fn logical(&self, statement: &Statement) -> Result<(SessionState, LogicalPlan)> {
        read_only::check_statement(&statement.parsed)?;
        let planning = |error: DataFusionError| statement.error(&error);
        let state = session::state(&self.ctx, &self.session);
        let logical = state.statement_to_plan(statement.parsed.clone()).await.map_err(planning)?;
        read_only::check_plan(&logical)?;
        let logical = times::read_as_times(logical).and_then(json_as_text).map_err(planning)?;
        Ok((state, logical))
    }

    async fn physical(&self, state: SessionState, logical: &LogicalPlan) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        DataFrame::new(state, logical.clone()).create_physical_plan().await
    }

    fn ladder(&self, plan: Option<&Arc<dyn ExecutionPlan>>) -> Ladder {
        Ladder {
            pruned: self.table.take_report(),
            planned: plan.map(PlannedFiles::of).unwrap_or_default(),
            hot: HotPart { planned: plan.map(PlannedHot::of).unwrap_or_default(), ..HotPart::default() },
            tiers: self.settings.tiers,
        }
    }
}

/// What can go wrong while plans are made and objects looked at in turn.
enum Trouble {
    Planning(DataFusionError),
    Looking(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Looking(error)
    }
}

impl Statement {
    pub fn sql(&self) -> &str {
        &self.sql
    }

    fn error(&self, error: &DataFusionError) -> Error {
        errors::of_planning(error, &self.sql)
    }
}

/// JSON functions answer with a union of types, which no output format knows: it becomes JSON text.
fn json_as_text(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let is_union = |data_type: &DataType| matches!(data_type, DataType::Union(..));
    if !plan.schema().fields().iter().any(|field| is_union(field.data_type())) {
        return Ok(plan);
    }
    let to_text = datafusion_functions_json::udfs::json_union_to_text_udf();
    let columns: Vec<Expr> = (0..plan.schema().fields().len())
        .map(|index| {
            let (qualifier, field) = plan.schema().qualified_field(index);
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            match is_union(field.data_type()) {
                true => to_text.call(vec![column]).alias_qualified(qualifier.cloned(), field.name()),
                false => column,
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The rows of a DESCRIBE, with the names that types have in SQL.
fn described(described: &Schema) -> Result<SendableRecordBatchStream> {
    let fields = described.fields();
    let schema = Arc::new(Schema::new(vec![
        Field::new("column_name", DataType::Utf8, false),
        Field::new("data_type", DataType::Utf8, false),
        Field::new("is_nullable", DataType::Boolean, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(fields.iter().map(|field| field.name()))),
        Arc::new(StringArray::from_iter_values(fields.iter().map(|field| sql_type(field.data_type())))),
        Arc::new(BooleanArray::from_iter(fields.iter().map(|field| Some(field.is_nullable())))),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).context("describe the table")?;
    let stream = futures::stream::once(async { Ok(batch) });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}

/// Whether a text ends a statement: its last token is a semicolon, and no quote or comment is open.
pub fn is_finished(sql: &str) -> bool {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let last = tokens.ok().and_then(|tokens| tokens.into_iter().rfind(|token| !matches!(token, Token::Whitespace(_))));
    last == Some(Token::SemiColon)
}
