//! What the footer of a data file tells of the file: enough to list it in a catalog without reading its rows.

use arrow::datatypes::DataType;
use jiff::civil::Date;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde::Deserialize;

use super::bundle::BUNDLE_KEY;
use super::encode::CELL_KEY;
use crate::error::{Context, Error, Result};
use crate::model::{Column, ColumnType, Key, KeyRange, Partition, is_key_column};

/// The facts.
#[derive(Debug, Clone, PartialEq)]
pub struct FooterFacts {
    pub rows: u64,
    /// Microseconds since the epoch, UTC.
    pub ts: KeyRange<i64>,
    pub ids: IdRange,
    /// Without the key columns of a bundle.
    pub columns: Vec<Column>,
    /// The cell that it says it belongs to.
    pub cell: Option<Partition>,
    /// Its own name.
    pub name: Option<String>,
    /// Names of the files whose events it holds; of a bundle its pack says it.
    pub replaces: Vec<String>,
    /// See [`super::encode::Origin`].
    pub beside: Vec<Vec<String>>,
}

/// The range of a file's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRange {
    pub min: Vec<u8>,
    pub max: Vec<u8>,
    /// Whether both ends are ids, and not only bounds of them: long ids are cut short in statistics.
    pub is_exact: bool,
}

impl IdRange {
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }

    /// The first and the last id, where they are known.
    pub fn ids(&self) -> Option<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        self.is_exact.then(|| Some((text(&self.min)?, text(&self.max)?)))?
    }
}

/// What a file's JSON says, of the cell's file or of the bundle.
#[derive(Debug, Default, Deserialize)]
struct Said {
    date: Option<Date>,
    event_type: Option<String>,
    tenant_id: Option<String>,
    file: Option<String>,
    #[serde(default)]
    replaces: Vec<String>,
    #[serde(default)]
    beside: Vec<Vec<String>>,
}

impl FooterFacts {
    pub fn of(metadata: &ParquetMetaData) -> Result<Self> {
        let said = said(metadata)?;
        let key = |text: &Option<String>| Key::parse(text.as_deref()?).ok();
        let cell = |said: &Said| {
            Some(Partition { tenant_id: key(&said.tenant_id)?, event_type: key(&said.event_type)?, date: said.date? })
        };
        Ok(FooterFacts {
            rows: metadata.file_metadata().num_rows() as u64,
            ts: times(metadata)?,
            ids: ids(metadata)?,
            columns: columns(metadata)?,
            cell: cell(&said),
            name: said.file,
            replaces: said.replaces,
            beside: said.beside,
        })
    }
}

/// What a cell's file says of those it was compared with; empty where it does not say. See [`super::encode::Origin`].
pub fn beside(metadata: &ParquetMetaData) -> Vec<Vec<String>> {
    said(metadata).map(|said| said.beside).unwrap_or_default()
}

fn said(metadata: &ParquetMetaData) -> Result<Said> {
    let mut pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let json = pairs.find(|pair| pair.key == CELL_KEY || pair.key == BUNDLE_KEY).and_then(|pair| pair.value.as_deref());
    json.map_or(Ok(Said::default()), |json| serde_json::from_str(json).context("read what the file says of itself"))
}

/// The statistics of a column in each row group.
fn statistics<'a>(metadata: &'a ParquetMetaData, name: &str) -> Result<Vec<&'a Statistics>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|column| column.name() == name);
    let column = column.ok_or_else(|| Error::failed(format!("it has no column `{name}`")))?;
    let all: Option<Vec<&Statistics>> =
        metadata.row_groups().iter().map(|group| group.column(column).statistics()).collect();
    all.filter(|all| !all.is_empty())
        .ok_or_else(|| Error::failed(format!("its footer does not say between what `{name}` lies")))
}

fn times(metadata: &ParquetMetaData) -> Result<KeyRange<i64>> {
    let mut range: Option<KeyRange<i64>> = None;
    for group in statistics(metadata, "ts")? {
        let Statistics::Int64(group) = group else { return Err(Error::failed("its column `ts` holds no times")) };
        let (Some(&min), Some(&max)) = (group.min_opt(), group.max_opt()) else {
            return Err(Error::failed("its footer does not say between which times it lies"));
        };
        match &mut range {
            Some(range) => range.extend(&KeyRange { min, max }),
            none => *none = Some(KeyRange { min, max }),
        }
    }
    range.ok_or_else(|| Error::failed("it has no rows"))
}

fn ids(metadata: &ParquetMetaData) -> Result<IdRange> {
    let mut range: Option<IdRange> = None;
    for group in statistics(metadata, "event_id")? {
        let (Some(min), Some(max)) = (group.min_bytes_opt(), group.max_bytes_opt()) else {
            return Err(Error::failed("its footer does not say between which ids it lies"));
        };
        let is_exact = group.min_is_exact() && group.max_is_exact();
        range = Some(match range {
            None => IdRange { min: min.to_vec(), max: max.to_vec(), is_exact },
            Some(known) => IdRange {
                min: known.min.min(min.to_vec()),
                max: known.max.max(max.to_vec()),
                is_exact: known.is_exact && is_exact,
            },
        });
    }
    range.ok_or_else(|| Error::failed("it has no rows"))
}

fn columns(metadata: &ParquetMetaData) -> Result<Vec<Column>> {
    let descriptor = metadata.file_metadata().schema_descr();
    let arrow = parquet_to_arrow_schema(descriptor, None).context("read its columns")?;
    let fields = descriptor.root_schema().get_fields();
    let mut columns = Vec::new();
    for (field, stored) in arrow.fields().iter().zip(fields) {
        let info = stored.get_basic_info();
        if !info.has_id() {
            return Err(Error::failed(format!("its column `{}` has no field id", field.name())));
        }
        if is_key_column(info.id()) {
            continue;
        }
        let column_type = type_of(field.data_type())
            .ok_or_else(|| Error::failed(format!("its column `{}` is of no type of ours", field.name())))?;
        columns.push(Column { id: info.id(), name: field.name().clone(), column_type });
    }
    Ok(columns)
}

fn type_of(stored: &DataType) -> Option<ColumnType> {
    ColumnType::ALL.into_iter().find(|column_type| column_type.arrow() == *stored)
}
