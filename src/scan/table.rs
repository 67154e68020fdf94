//! The table `events`: a snapshot as a DataFusion `TableProvider`.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ColumnStatistics, DFSchema, Result, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::exact::Exact;
use super::files;
use super::keys::KeysExec;
use super::packs::Packs;
use super::parts::Parts;
use super::planned::PlannedFiles;
use super::prune::{KEY_COLUMNS, Pruner};
use super::reader::Readers;
use super::report::{ScanLog, ScanReport};
use super::select::Selector;
use super::selected::{FEW_FILES, Part, Selected};
use super::source::{Files, FilesSource};
use super::statistics::Summary;
use crate::catalog::{Snapshot, Totals};
use crate::model::{Schema, StorageClass};

/// The events of one version of the archive.
#[derive(Debug)]
pub struct EventsTable {
    snapshot: Snapshot,
    /// Of cells' files, which have the keys in their path.
    cell_schema: TableSchema,
    /// Of bundles, which have the keys inside.
    bundle_schema: TableSchema,
    sql_schema: SchemaRef,
    packs: Arc<Packs>,
    /// The storage classes whose files there are for this table.
    classes: Arc<[StorageClass]>,
    /// Paths of files whose rows are not to be read.
    left_out: RwLock<Arc<HashSet<String>>>,
    log: ScanLog,
}

/// How the rows of files are read.
#[derive(Clone, Copy)]
struct Reading {
    /// Columns are decoded for the rows alone that pass the filters.
    late: bool,
    /// Filters may rule out pages.
    by_page: bool,
}

impl EventsTable {
    /// Its name in SQL.
    pub const NAME: &'static str = "events";

    /// Positions of what makes an event the same event: `date`, `tenant_id`, `event_type`, `event_id`.
    pub const IDENTITY: [usize; 4] = [0, 1, 2, 3];

    pub fn new(snapshot: Snapshot) -> Self {
        let schema = snapshot.schema().clone();
        Self::with_schema(snapshot, &schema)
    }

    /// With columns that the archive does not have yet: they are null in it.
    pub fn with_schema(snapshot: Snapshot, schema: &Schema) -> Self {
        let cell_schema = files::table_schema(schema);
        let sql_schema = files::sql_schema(&cell_schema);
        let bundle_schema = TableSchema::builder(sql_schema.clone()).build();
        EventsTable {
            snapshot,
            cell_schema,
            bundle_schema,
            sql_schema,
            packs: Arc::default(),
            classes: StorageClass::ALL.into(),
            left_out: RwLock::default(),
            log: ScanLog::default(),
        }
    }

    /// Only files of these storage classes, even for what the catalog can say of the others.
    pub fn with_classes(self, classes: Vec<StorageClass>) -> Self {
        EventsTable { classes: classes.into(), ..self }
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What the scans planned since the last call left over.
    pub fn take_report(&self) -> ScanReport {
        self.log.take()
    }

    /// From now on rows of these files are not read; what the catalog says of them still counts.
    pub fn leave_out(&self, paths: HashSet<String>) {
        *self.left_out.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(paths);
    }

    /// By what the files of a scan with `filters` are picked.
    fn selector(&self, state: &dyn Session, filters: &[Expr]) -> Result<Selector> {
        let schema = DFSchema::try_from(self.sql_schema.clone())?;
        let physical = |filters: Vec<Expr>| -> Result<Option<Arc<dyn PhysicalExpr>>> {
            conjunction(filters).map(|filter| state.create_physical_expr(filter, &schema)).transpose()
        };
        let filtered = filters.iter().flat_map(Expr::column_refs).map(|column| column.name.clone()).collect();
        let exact = physical(filters.iter().filter(|filter| reads_only_keys(filter)).cloned().collect())?;
        Ok(Selector {
            snapshot: self.snapshot.clone(),
            pruner: Arc::new(Pruner::new(physical(filters.to_vec())?, self.sql_schema.clone())),
            filtered: Arc::new(filtered),
            exact: exact.map(|exact| Exact::new(exact, &self.sql_schema)).transpose()?,
            keys_decide: filters.iter().all(|filter| reads_only_keys(filter) || !reads_ranges(filter)),
            schema: self.sql_schema.clone(),
            classes: self.classes.clone(),
            left_out: Arc::default(),
            packs: self.packs.clone(),
        })
    }

    /// What is needed of the leaves that may match: see [`Selected::of`].
    async fn select(&self, selector: &Selector, columns: Option<&[&str]>, limit: Option<usize>) -> Result<Selected> {
        let (selected, report) = Selected::of(selector, columns, limit).await?;
        self.log.add(report);
        Ok(selected)
    }

    /// The identities of events that may match `filters`, which read nothing else; `None` where there are none.
    pub async fn identities(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let selector = self.selector(state, filters)?;
        self.read(state, selector, Some(&Self::IDENTITY.to_vec()), None).await
    }

    /// The plan that reads the files that are needed; `None` where there are none.
    async fn read(
        &self,
        state: &dyn Session,
        selector: Selector,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let read = project_schema(&self.sql_schema, projection)?;
        let columns: Vec<&str> = read.fields().iter().map(|field| field.name().as_str()).collect();
        // Where filters read every column there is nothing to save, and to evaluate them batch by batch is faster.
        let late = columns.iter().any(|&column| !KEY_COLUMNS.contains(&column) && !selector.filtered.contains(column));
        let by_page = selector.filtered.iter().any(|column| !KEY_COLUMNS.contains(&column.as_str()));
        let how = Reading { late, by_page };
        let left_out = self.left_out.read().unwrap_or_else(PoisonError::into_inner).clone();
        let selector = Selector { left_out, ..selector };
        let scanned = match self.select(&selector, Some(&columns), limit).await? {
            Selected::Few(needed) => {
                let needed = selector.look_inside(needed).await?;
                let (bundles, cells): (Vec<_>, Vec<_>) = needed.into_iter().partition(|needed| needed.slices.is_some());
                [cells, bundles].map(|needed| {
                    let mut planned = PlannedFiles::default();
                    needed.iter().for_each(|needed| planned.add(needed, &columns));
                    let statistics = Summary::of_all(&needed).statistics(self.sql_schema.fields());
                    (Files::Few(needed.into()), planned, Some(statistics))
                })
            }
            Selected::Many(many) => many.parts.map(|Part { leaves, planned, statistics, .. }| {
                (Files::Many(Box::new(selector.clone()), leaves.into()), planned, statistics)
            }),
        };
        let partitions = state.config().target_partitions();
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let schemas = [&self.cell_schema, &self.bundle_schema];
        for ((files, planned, statistics), schema) in scanned.into_iter().zip(schemas) {
            let Some(statistics) = statistics.filter(|_| planned.files > 0) else { continue };
            let scan = self.scan_of(state, schema, statistics, projection, how)?.with_limit(limit).build();
            let parts = Parts::new(self.snapshot.store(), schema, &columns);
            plans.push(DataSourceExec::from_data_source(FilesSource::new(scan, files, parts, partitions, planned)));
        }
        match plans.len() {
            0 | 1 => Ok(plans.pop()),
            _ => UnionExec::try_new(plans).map(Some),
        }
    }

    /// A scan without any files yet, of those with `schema`; `statistics` are of the columns as SQL sees them.
    fn scan_of(
        &self,
        state: &dyn Session,
        schema: &TableSchema,
        mut statistics: Statistics,
        projection: Option<&Vec<usize>>,
        how: Reading,
    ) -> Result<FileScanConfigBuilder> {
        let store = self.snapshot.store();
        let url = ObjectStoreUrl::parse("tier://archive")?;
        state.runtime_env().register_object_store(url.as_ref(), store.object_store());
        let mut options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        // Not in the session: what that has on is on for every scan.
        options.global.pushdown_filters = how.late;
        // Keys that are not inside the files come last.
        let (keys, fields) = (schema.table_partition_cols().len(), self.sql_schema.fields().len());
        statistics.column_statistics.rotate_left(keys);
        let source_column = |index: usize| (index + fields - keys) % fields;
        let projection = match projection {
            Some(projection) => projection.iter().copied().map(source_column).collect(),
            None => (0..fields).map(source_column).collect(),
        };
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = Readers::new(store.object_store(), footers, how.by_page);
        let source = ParquetSource::new(schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let scan = FileScanConfigBuilder::new(url, Arc::new(source));
        scan.with_statistics(statistics).with_projection_indices(Some(projection))
    }

    /// The plan that answers with keys alone; `None` where there are none.
    async fn keys(
        &self,
        selector: Selector,
        columns: &[usize],
        schema: SchemaRef,
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let exec = match self.counted(&selector, columns, schema.clone()) {
            Some(exec) => exec,
            None => match self.select(&selector, None, limit).await? {
                Selected::Few(needed) if needed.is_empty() => return Ok(None),
                Selected::Few(needed) => KeysExec::of(&needed, columns, schema),
                Selected::Many(many) => {
                    let [Part { leaves, files, statistics, .. }, _] = many.parts;
                    let statistics = statistics.unwrap_or_default().project(Some(&columns.to_vec()));
                    KeysExec::of_leaves(selector, leaves.into(), files as u64, columns, statistics, schema)
                }
            },
        };
        Ok(Some(Arc::new(exec)))
    }

    /// Where nothing is filtered the root knows how many rows there are, and that each leaf is needed.
    fn counted(&self, selector: &Selector, columns: &[usize], schema: SchemaRef) -> Option<KeysExec> {
        let root = self.snapshot.root();
        let is_filtered = selector.pruner.prunes() || selector.exact.is_some();
        let are_few = root.leaves.is_empty() || (!columns.is_empty() && root.leaves.files() <= FEW_FILES as u64);
        if is_filtered || are_few {
            return None;
        }
        let mut sum = Totals::default();
        let counted = root.document.totals.iter().filter(|(class, _)| self.classes.contains(class));
        counted.for_each(|(_, totals)| sum.add(totals.files, totals.rows, totals.bytes));
        self.log.add(ScanReport {
            files_total: root.leaves.files(),
            files_after_root: root.leaves.files(),
            files_after_leaf: sum.files,
        });
        let statistics = Statistics {
            num_rows: Precision::Exact(sum.rows as usize),
            total_byte_size: Precision::Inexact(sum.bytes as usize),
            column_statistics: vec![ColumnStatistics::new_unknown(); columns.len()],
        };
        Some(KeysExec::of_leaves(selector.clone(), root.leaves.clone(), sum.files, columns, statistics, schema))
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        self.sql_schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Keys decide which files are read, and with that they are done. Other filters prune here, and DataFusion's
    /// physical optimizer then moves them into the Parquet reader.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match filter {
            filter if !is_plain(filter) => TableProviderFilterPushDown::Unsupported,
            filter if reads_only_keys(filter) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let selector = self.selector(state, filters)?;
        let schema = project_schema(&self.sql_schema, projection)?;
        let keys = projection.filter(|columns| columns.iter().all(|&column| column < KEY_COLUMNS.len()));
        let plan: Option<Arc<dyn ExecutionPlan>> = match keys {
            Some(columns) => self.keys(selector, columns, schema.clone(), limit).await?,
            None => self.read(state, selector, projection, limit).await?,
        };
        Ok(plan.unwrap_or_else(|| Arc::new(EmptyExec::new(schema))))
    }
}

/// Whether a filter can be evaluated by itself, with the same result every time.
fn is_plain(filter: &Expr) -> bool {
    let odd = filter.exists(|expr| {
        Ok(expr.is_volatile_node()
            || matches!(
                expr,
                Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            ))
    });
    matches!(odd, Ok(false))
}

/// Whether a cell's keys decide the filter for all of its rows.
fn reads_only_keys(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    is_plain(filter) && !columns.is_empty() && columns.iter().all(|column| KEY_COLUMNS.contains(&column.name.as_str()))
}

/// Whether the catalog has ranges of one of its columns.
fn reads_ranges(filter: &Expr) -> bool {
    filter.column_refs().iter().any(|column| KEY_COLUMNS.contains(&column.name.as_str()) || column.name == "ts")
}
