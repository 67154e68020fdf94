//! The table `events`: a snapshot as a DataFusion `TableProvider`.

use std::collections::HashSet;
use std::sync::Arc;

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

use super::files;
use super::keys::KeysExec;
use super::prune::{KEY_COLUMNS, Pruner, matching};
use super::reader::Readers;
use super::report::{ScanLog, ScanReport};
use crate::catalog::Snapshot;
use crate::error::Error;
use crate::model::DataFile;

/// Leaves held in memory at once while their files are pruned.
const LEAVES_AT_ONCE: usize = 64;

/// The events of one version of the archive.
#[derive(Debug)]
pub struct EventsTable {
    snapshot: Snapshot,
    table_schema: TableSchema,
    sql_schema: SchemaRef,
    log: ScanLog,
}

impl EventsTable {
    /// Its name in SQL.
    pub const NAME: &'static str = "events";

    pub fn new(snapshot: Snapshot) -> Self {
        let table_schema = files::table_schema(snapshot.schema());
        let sql_schema = files::sql_schema(&table_schema);
        EventsTable { snapshot, table_schema, sql_schema, log: ScanLog::default() }
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What the scans planned since the last call left over.
    pub fn take_report(&self) -> ScanReport {
        self.log.take()
    }

    /// The files a scan with `filters` must read.
    async fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<DataFile>> {
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
            let files = self.snapshot.files(|leaf| some.contains(leaf.path.as_str())).await.map_err(external)?;
            let mut files = pruner.may_match(files)?;
            refuse_bundles(&files)?;
            if let Some(exact) = &exact {
                files = matching(files, exact, &self.sql_schema)?;
            }
            needed.extend(files);
        }
        report.files_after_leaf = needed.len() as u64;
        self.log.add(report);
        Ok(needed)
    }

    /// Positions in SQL's order of columns to those of the Parquet source, which has the keys last.
    fn source_columns(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        let (keys, columns) = (KEY_COLUMNS.len(), self.table_schema.file_schema().fields().len());
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
        let needed = self.prune(state, filters).await?;
        if needed.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.sql_schema, projection)?)));
        }
        if let Some(columns) = projection.filter(|columns| columns.iter().all(|&column| column < KEY_COLUMNS.len())) {
            let schema = project_schema(&self.sql_schema, projection)?;
            return Ok(Arc::new(KeysExec::new(needed, columns.clone(), schema)));
        }
        let store = self.snapshot.store();
        let url = ObjectStoreUrl::parse("tier://archive")?;
        state.runtime_env().register_object_store(url.as_ref(), store.object_store());
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(self.table_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(Readers::new(store.object_store())));
        let groups = state.config().target_partitions();
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(files::file_groups(store, &needed, &self.table_schema, groups))
            .with_statistics(files::total_statistics(&needed, self.table_schema.file_schema().fields()))
            .with_projection_indices(Some(self.source_columns(projection)))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
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

fn refuse_bundles(files: &[DataFile]) -> Result<()> {
    match files.iter().find(|file| file.partition().is_none()) {
        None => Ok(()),
        Some(bundle) => {
            let message = format!("{} holds several cells, which this tier cannot read", bundle.path);
            Err(external(Error::usage(message).code("newer-format").hint("use a newer tier")))
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
