//! Runs statements over one version of the archive.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{DescribeTable, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::answer::Answer;
use super::identifiers::Names;
use super::ladder::{Ladder, count, size};
use super::{AsOf, QuerySettings, errors, read_only, session, sql_type, times};
use crate::catalog::Snapshot;
use crate::clock::Stopwatch;
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::scan::{EventsTable, PlannedFiles};
use crate::store::Requests;

/// A version of the archive, ready for questions.
pub struct Engine {
    ctx: Ctx,
    session: SessionContext,
    table: Arc<EventsTable>,
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
        let opening = Some((ctx.store.requests(), Stopwatch::start()));
        let snapshot = match settings.as_of {
            None => Snapshot::open(&ctx.store).await,
            Some(AsOf::Version(version)) => Snapshot::at_version(&ctx.store, version).await,
            Some(AsOf::Time(time)) => Snapshot::at_time(&ctx.store, time).await,
        }?;
        let table = Arc::new(EventsTable::new(snapshot));
        let session = session::open(ctx, table.clone(), settings)?;
        Ok(Engine { ctx: ctx.clone(), session, table, opening })
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.table.snapshot()
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

    /// Plans a statement and starts it. What cannot be answered whole fails here, before data is read.
    pub async fn run(&mut self, statement: Statement) -> Result<Answer> {
        let (before, watch) = self.opening.take().unwrap_or_else(|| (self.ctx.store.requests(), Stopwatch::start()));
        let Statement { parsed, sql } = statement;
        read_only::check_statement(&parsed)?;
        let planning = |error: DataFusionError| errors::of_planning(&error, &sql);
        let state = session::state(&self.ctx, &self.session);
        let logical = state.statement_to_plan(parsed).await.map_err(planning)?;
        read_only::check_plan(&logical)?;
        let logical = times::read_as_times(logical).and_then(json_as_text).map_err(planning)?;
        self.table.take_report();
        let (stream, ladder) = match &logical {
            LogicalPlan::DescribeTable(describe) => (described(describe)?, self.ladder(PlannedFiles::default())),
            LogicalPlan::Explain(explain) => {
                // The plan of an EXPLAIN is text: what it explains is planned for its files, then once more for the text.
                let inner = self.plan(state.clone(), explain.plan.as_ref().clone()).await.map_err(planning)?;
                let ladder = self.ladder(PlannedFiles::of(&inner));
                let plan = self.plan(state, logical.clone()).await.map_err(planning)?;
                (execute_stream(plan, self.session.task_ctx()).map_err(planning)?, ladder)
            }
            _ => {
                let plan = self.plan(state, logical.clone()).await.map_err(planning)?;
                let ladder = self.ladder(PlannedFiles::of(&plan));
                refuse_archived(&ladder.planned)?;
                (execute_stream(plan, self.session.task_ctx()).map_err(planning)?, ladder)
            }
        };
        Ok(Answer {
            schema: stream.schema(),
            stream,
            explained: matches!(logical, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)),
            version: self.snapshot().version(),
            ladder,
            rows: 0,
            store: self.ctx.store.clone(),
            before,
            watch,
        })
    }

    async fn plan(&self, state: SessionState, logical: LogicalPlan) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        DataFrame::new(state, logical).create_physical_plan().await
    }

    fn ladder(&self, planned: PlannedFiles) -> Ladder {
        Ladder { pruned: self.table.take_report(), planned }
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
fn described(describe: &DescribeTable) -> Result<SendableRecordBatchStream> {
    let fields = describe.schema.fields();
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

fn refuse_archived(planned: &PlannedFiles) -> Result<()> {
    if planned.archived.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of the {} files this query needs are archived ({})",
        count(planned.archived.len() as u64),
        count(planned.files),
        size(planned.archived_bytes())
    );
    Err(Error::new(Kind::RestoreNeeded, message).hint("restore them, or narrow the query to what is readable"))
}
