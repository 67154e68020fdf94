//! The table `events`: a snapshot as a DataFusion `TableProvider`.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DataFusionError, Result, project_schema};
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

use super::bundles::bundle_groups;
use super::files::{self, cell_groups};
use super::keys::KeysExec;
use super::needed::Needed;
use super::packs::Packs;
use super::prune::{KEY_COLUMNS, Pruner, matching};
use super::reader::{Readers, WHOLE_FILE_BYTES};
use super::report::{ScanLog, ScanReport};
use super::statistics::Summary;
use crate::catalog::Snapshot;
use crate::data::pack::CellRows;
use crate::error::Error;
use crate::model::{DataFile, Schema, StorageClass};

/// Leaves held in memory at once while their files are pruned.
const LEAVES_AT_ONCE: usize = 64;

/// The events of one version of the archive.
#[derive(Debug)]
pub struct EventsTable {
    snapshot: Snapshot,
    /// Of cells' files, which have the keys in their path.
    cell_schema: TableSchema,
    /// Of bundles, which have the keys inside.
    bundle_schema: TableSchema,
    sql_schema: SchemaRef,
    packs: Packs,
    /// The storage classes whose files there are for this table.
    classes: Vec<StorageClass>,
    /// Paths of files whose rows are not to be read.
    left_out: RwLock<Arc<HashSet<String>>>,
    log: ScanLog,
}

/// What pruning left, and by what it pruned.
struct Selected {
    needed: Vec<Needed>,
    pruner: Pruner,
    report: ScanReport,
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
            packs: Packs::default(),
            classes: StorageClass::ALL.to_vec(),
            left_out: RwLock::default(),
            log: ScanLog::default(),
        }
    }

    /// Only files of these storage classes, even for what the catalog can say of the others.
    pub fn with_classes(self, classes: Vec<StorageClass>) -> Self {
        EventsTable { classes, ..self }
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

    /// The files a scan with `filters` must look at.
    async fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Selected> {
        let schema = DFSchema::try_from(self.sql_schema.clone())?;
        let physical = |filters: Vec<Expr>| -> Result<Option<Arc<dyn PhysicalExpr>>> {
            conjunction(filters).map(|filter| state.create_physical_expr(filter, &schema)).transpose()
        };
        let pruner = Pruner::new(physical(filters.to_vec())?, self.sql_schema.clone());
        let exact = physical(filters.iter().filter(|filter| reads_only_keys(filter)).cloned().collect())?;
        let leaves = pruner.may_match(self.snapshot.root().leaves.clone())?;
        let mut report = ScanReport {
            files_total: self.snapshot.root().leaves.iter().map(|leaf| leaf.files).sum(),
            files_after_root: leaves.iter().map(|leaf| leaf.files).sum(),
            files_after_leaf: 0,
        };
        let mut needed = Vec::new();
        for some in leaves.chunks(LEAVES_AT_ONCE) {
            let some: HashSet<&str> = some.iter().map(|leaf| leaf.path.as_str()).collect();
            let mut files = self.snapshot.files(|leaf| some.contains(leaf.path.as_str())).await.map_err(external)?;
            files.retain(|file| self.classes.contains(&file.storage_class));
            let (bundles, mut cells): (Vec<_>, Vec<_>) =
                pruner.may_match(files)?.into_iter().partition(DataFile::is_bundle);
            check_cells(&cells)?;
            if let Some(exact) = &exact {
                cells = matching(cells, exact, &self.sql_schema)?;
            }
            needed.extend(cells.into_iter().map(Needed::whole));
            needed.extend(self.slice(bundles, &pruner, exact.as_ref()).await?);
        }
        report.files_after_leaf = needed.len() as u64;
        Ok(Selected { needed, pruner, report })
    }

    /// Of each bundle the cells that match, as the scan of a cell's file would decide; bundles without one drop out.
    async fn slice(
        &self,
        bundles: Vec<DataFile>,
        pruner: &Pruner,
        exact: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<Needed>> {
        let packs = self.packs.of_bundles(self.snapshot.store(), &bundles).await.map_err(external)?;
        let mut needed = Vec::new();
        for (file, packed) in bundles.into_iter().zip(packs) {
            let mut slices: Vec<&CellRows> = pruner.may_match(packed.cells.iter().collect())?;
            if let Some(exact) = exact {
                slices = matching(slices, exact, &self.sql_schema)?;
            }
            if !slices.is_empty() {
                let slices = slices.into_iter().cloned().collect();
                needed.push(Needed { slices: Some(slices), end: Some(packed.footer.clone()), ..Needed::whole(file) });
            }
        }
        Ok(needed)
    }

    /// What is left of the files once their footers, where they are hot, have been looked at.
    async fn look_inside(&self, selected: Selected) -> Result<Vec<Needed>> {
        let Selected { mut needed, pruner, .. } = selected;
        let left_out = self.left_out.read().unwrap_or_else(PoisonError::into_inner).clone();
        needed.retain(|needed| !left_out.contains(&needed.file.path));
        // The footer of a small file comes with the file.
        let is_worth_it = |file: &DataFile| pruner.prunes() || file.size_bytes > WHOLE_FILE_BYTES;
        let closed: Vec<usize> = (0..needed.len())
            .filter(|&index| needed[index].slices.is_none() && is_worth_it(&needed[index].file))
            .filter(|&index| needed[index].file.pack.is_some())
            .collect();
        let files: Vec<DataFile> = closed.iter().map(|&index| needed[index].file.clone()).collect();
        let packs = self.packs.of(self.snapshot.store(), &files).await.map_err(external)?;
        for (index, packed) in closed.into_iter().zip(packs) {
            needed[index].end = packed.map(|packed| packed.footer.clone());
        }
        let looked = needed.into_iter().map(|needed| needed.look_inside(&pruner, &self.sql_schema));
        looked.filter_map(|needed| needed.transpose()).collect::<Result<_, Error>>().map_err(external)
    }

    /// The identities of events that may match `filters`, which read nothing else; `None` where there are none.
    pub async fn identities(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let selected = self.prune(state, filters).await?;
        if selected.needed.is_empty() {
            return Ok(None);
        }
        self.log.add(selected.report);
        let needed = self.look_inside(selected).await?;
        self.read_all(state, needed, Some(&Self::IDENTITY.to_vec()), None)
    }

    /// The plan that reads these files; `None` where there are none.
    fn read_all(
        &self,
        state: &dyn Session,
        needed: Vec<Needed>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (bundles, cells): (Vec<_>, Vec<_>) = needed.into_iter().partition(|needed| needed.slices.is_some());
        let read = |needed: &[Needed]| self.read(state, needed, projection, limit);
        match (cells.is_empty(), bundles.is_empty()) {
            (true, true) => Ok(None),
            (false, true) => read(&cells).map(Some),
            (true, false) => read(&bundles).map(Some),
            (false, false) => UnionExec::try_new(vec![read(&cells)?, read(&bundles)?]).map(Some),
        }
    }

    /// The plan that reads these files, which are all bundles or all of one cell each.
    fn read(
        &self,
        state: &dyn Session,
        needed: &[Needed],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let store = self.snapshot.store();
        let url = ObjectStoreUrl::parse("tier://archive")?;
        state.runtime_env().register_object_store(url.as_ref(), store.object_store());
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let read = project_schema(&self.sql_schema, projection)?;
        let columns: Vec<&str> = read.fields().iter().map(|field| field.name().as_str()).collect();
        let partitions = state.config().target_partitions();
        let are_bundles = needed.iter().any(|needed| needed.slices.is_some());
        let (schema, groups, projection) = match are_bundles {
            true => {
                let groups = bundle_groups(store, needed, &self.sql_schema, &columns, partitions);
                let all = || (0..self.sql_schema.fields().len()).collect();
                (&self.bundle_schema, groups, projection.cloned().unwrap_or_else(all))
            }
            false => {
                let groups = cell_groups(store, needed, &self.cell_schema, &columns, partitions);
                (&self.cell_schema, groups, self.source_columns(projection))
            }
        };
        let source = ParquetSource::new(schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(Readers::new(store.object_store())));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(Summary::of_all(needed).statistics(schema.table_schema().fields()))
            .with_projection_indices(Some(projection))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Positions in SQL's order of columns to those of the Parquet source, which has the keys last.
    fn source_columns(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        let (keys, columns) = (KEY_COLUMNS.len(), self.cell_schema.file_schema().fields().len());
        let source_column = |index: usize| if index < keys { columns + index } else { index - keys };
        match projection {
            Some(projection) => projection.iter().copied().map(source_column).collect(),
            None => (0..keys + columns).map(source_column).collect(),
        }
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
        let selected = self.prune(state, filters).await?;
        self.log.add(selected.report);
        let nothing = || Ok(Arc::new(EmptyExec::new(project_schema(&self.sql_schema, projection)?)) as _);
        if selected.needed.is_empty() {
            return nothing();
        }
        if let Some(columns) = projection.filter(|columns| columns.iter().all(|&column| column < KEY_COLUMNS.len())) {
            let schema = project_schema(&self.sql_schema, projection)?;
            return Ok(Arc::new(KeysExec::new(&selected.needed, columns.clone(), schema)));
        }
        let needed = self.look_inside(selected).await?;
        self.read_all(state, needed, projection, limit)?.map_or_else(nothing, Ok)
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

/// A file that is no bundle has one value of each key.
fn check_cells(files: &[DataFile]) -> Result<()> {
    match files.iter().find(|file| file.partition().is_none()) {
        None => Ok(()),
        Some(file) => {
            let message = format!("{} holds several cells and is no bundle, which this tier cannot read", file.path);
            Err(external(Error::usage(message).code("newer-format").hint("use a newer tier")))
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
