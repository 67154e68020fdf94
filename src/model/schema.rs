//! The columns of the archive: names, types and field ids.
//!
//! A column never changes its type or its id. Names are unique ignoring case. `date`, `event_type` and `tenant_id` are
//! not columns here: they live in the path of a data file, and the reader supplies them from the catalog.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit as ArrowTimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names that mean something: an unmapped source column of such a name is stored as `<name>_source`.
pub const RESERVED_COLUMNS: [&str; 5] = ["date", "ts", "event_id", "event_type", "tenant_id"];

/// The key columns inside a bundle, with their field ids: above those of any column, which are counted from 1, and
/// below the ids that Iceberg reserves at the end of the range.
const KEY_COLUMNS: [(&str, DataType, i32); 3] = [
    ("date", DataType::Date32, 1_000_000_001),
    ("tenant_id", DataType::Utf8, 1_000_000_002),
    ("event_type", DataType::Utf8, 1_000_000_003),
];

/// Whether the field id is that of a key column inside a bundle.
pub fn is_key_column(id: i32) -> bool {
    KEY_COLUMNS.iter().any(|(_, _, key)| *key == id)
}

/// What a column holds. Integers are always BIGINT, nested JSON is VARCHAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ColumnType {
    Boolean,
    BigInt,
    Double,
    Varchar,
    /// Microseconds, UTC.
    Timestamp,
}

impl ColumnType {
    pub const ALL: [ColumnType; 5] = [Self::Boolean, Self::BigInt, Self::Double, Self::Varchar, Self::Timestamp];

    /// The SQL name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Varchar => "VARCHAR",
            Self::Timestamp => "TIMESTAMP",
        }
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::BigInt => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Varchar => DataType::Utf8,
            Self::Timestamp => DataType::Timestamp(ArrowTimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("`{text}` is not a column type")).hint(format!("the types are {names}"))
        })
    }
}

/// One column, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub id: i32,
    pub name: String,
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

impl Column {
    /// Whether an event may be without it.
    pub fn is_nullable(&self) -> bool {
        !matches!(self.name.as_str(), "event_id" | "ts")
    }
}

/// All columns ever seen, in order of their ids. `event_id` and `ts` come first and are never null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    columns: Vec<Column>,
}

impl Default for Schema {
    fn default() -> Self {
        let column = |id, name: &str, column_type| Column { id, name: name.to_owned(), column_type };
        Schema { columns: vec![column(1, "event_id", ColumnType::Varchar), column(2, "ts", ColumnType::Timestamp)] }
    }
}

impl Schema {
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Takes over a column with its id, as a data file has it; an error where another column has the id or the name.
    pub fn insert(&mut self, column: &Column) -> Result<()> {
        match self.columns.iter().find(|known| known.id == column.id || same_name(&known.name, &column.name)) {
            Some(known) if known == column => {}
            Some(Column { id, name, column_type }) => {
                let of = |id: i32, name: &str, column_type| format!("`{name}` (id {id}, {column_type})");
                let (new, old) = (of(column.id, &column.name, column.column_type), of(*id, name, *column_type));
                return Err(Error::failed(format!("column {new} and column {old} cannot be in one archive")));
            }
            None => {
                let at = self.columns.partition_point(|known| known.id < column.id);
                self.columns.insert(at, column.clone());
            }
        }
        Ok(())
    }

    /// The column of this name, ignoring case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| same_name(&c.name, name))
    }

    /// Adds a column and gives it the next id; the existing one when the name is taken by the same type.
    pub fn add(&mut self, name: &str, column_type: ColumnType) -> Result<&Column> {
        if let Some(index) = self.columns.iter().position(|c| same_name(&c.name, name)) {
            let existing = &self.columns[index];
            if existing.column_type == column_type {
                return Ok(existing);
            }
            return Err(Error::usage(format!(
                "column `{}` is {} in this archive and cannot become {column_type}",
                existing.name, existing.column_type
            ))
            .hint("a column never changes its type; archive the values under a new name"));
        }
        let id = self.columns.last().map_or(1, |c| c.id + 1);
        self.columns.push(Column { id, name: name.to_owned(), column_type });
        Ok(self.columns.last().expect("just pushed"))
    }

    /// The schema of a cell's data file: field ids in the metadata, no key columns.
    pub fn arrow(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .map(|column| field(&column.name, column.column_type.arrow(), column.is_nullable(), column.id));
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
    }

    /// The schema of a bundle: `date`, `tenant_id`, `event_type`, then the columns of a cell's data file.
    pub fn arrow_with_keys(&self) -> SchemaRef {
        let keys = KEY_COLUMNS.map(|(name, data_type, id)| Arc::new(field(name, data_type, false, id)));
        let columns = self.arrow();
        Arc::new(ArrowSchema::new(keys.iter().chain(columns.fields()).cloned().collect::<Vec<_>>()))
    }
}

fn field(name: &str, data_type: DataType, nullable: bool, id: i32) -> Field {
    Field::new(name, data_type, nullable).with_metadata([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())].into())
}

/// Unicode-aware, so that `É` and `é` are one name in every engine that folds them.
fn same_name(a: &str, b: &str) -> bool {
    a == b || a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_ignoring_case_and_types_never_change() {
        let mut schema = Schema::default();
        assert_eq!(schema.add("userId", ColumnType::BigInt).unwrap().id, 3);
        assert_eq!(schema.add("USERID", ColumnType::BigInt).unwrap().name, "userId");
        let error = schema.add("userid", ColumnType::Varchar).unwrap_err();
        assert_eq!(error.to_string(), "column `userId` is BIGINT in this archive and cannot become VARCHAR");
    }

    #[test]
    fn columns_of_files_come_together_by_their_ids() {
        let column = |id, name: &str, column_type| Column { id, name: name.to_owned(), column_type };
        let mut schema = Schema::default();
        for id in [5, 3, 5] {
            schema.insert(&column(id, &format!("c{id}"), ColumnType::Double)).unwrap();
        }
        assert_eq!(schema.columns().iter().map(|column| column.id).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(schema.add("new", ColumnType::Varchar).unwrap().id, 6);
        for other in [column(5, "x", ColumnType::Double), column(9, "C5", ColumnType::Double)] {
            let error = schema.insert(&other).unwrap_err().to_string();
            assert!(error.contains("`c5` (id 5, DOUBLE) cannot be in one archive"), "{error}");
        }
    }
}
