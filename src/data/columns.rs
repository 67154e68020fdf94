//! The columns of one run: those the archive knows, and what the values of new ones have been so far.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::values::{Kinds, Scalar, kinds, type_of};
use crate::error::Result;
use crate::model::{ColumnType, Schema};

/// The most columns an archive may have: a run-away producer that puts ids into names must not make a million.
pub const MAX_COLUMNS: usize = 2_000;

/// A column is named in the report when it became text though at most one value in this many is none.
const FEW: u64 = 10;

/// Shared by all threads of a run.
pub struct Columns {
    /// By name in lower case.
    known: HashMap<String, Resolved>,
    new: Mutex<HashMap<String, NewColumn>>,
}

/// A column of the run.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its number in the run: rows name their columns by it.
    pub number: u16,
    /// Under which it is stored.
    pub name: String,
    /// Where the archive knows it.
    pub known: Option<ColumnType>,
}

#[derive(Debug, Clone, Default)]
struct NewColumn {
    number: u16,
    /// As it was first written.
    name: String,
    seen: Seen,
}

/// What the values of a new column have been.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub kinds: Kinds,
    /// Values that are not text, and untyped ones that are.
    pub typed: u64,
    pub texts: u64,
    /// The first untyped text: export number, line, value.
    pub first_text: Option<(u64, u64, String)>,
}

/// A column that became text through few values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoiledColumn {
    pub column: String,
    pub texts: u64,
    pub values: u64,
    #[serde(skip)]
    pub export: u64,
    /// Filled in by the run, which knows its exports.
    pub file: String,
    pub line: u64,
    pub value: String,
}

impl Seen {
    /// Adds a value of this kind.
    #[inline]
    pub fn add(&mut self, kind: Kinds) {
        self.kinds |= kind;
        self.typed += u64::from(kind != kinds::TEXT);
    }

    /// Adds an untyped text of the record at this export and line.
    pub fn add_untyped_text(&mut self, (export, line): (u64, u64), text: Option<&Scalar<'_>>) {
        self.kinds |= kinds::TEXT;
        self.texts += 1;
        if self.first_text.is_none() {
            self.first_text = text.map(|text| (export, line, text.text().into_owned()));
        }
    }

    pub fn merge(&mut self, other: Seen) {
        self.kinds |= other.kinds;
        self.typed += other.typed;
        self.texts += other.texts;
        self.first_text = match (self.first_text.take(), other.first_text) {
            (Some(a), Some(b)) => Some(if (b.0, b.1) < (a.0, a.1) { b } else { a }),
            (a, b) => a.or(b),
        };
    }
}

impl Columns {
    pub fn new(schema: &Schema) -> Self {
        let known = (0..).zip(schema.columns()).map(|(number, column)| {
            let resolved = Resolved { number, name: column.name.clone(), known: Some(column.column_type) };
            (column.name.to_lowercase(), resolved)
        });
        Columns { known: known.collect(), new: Mutex::default() }
    }

    /// The column of this name, in whatever case. `None`: one too many.
    pub fn resolve(&self, name: &str) -> Option<Resolved> {
        let lower = name.to_lowercase();
        if let Some(known) = self.known.get(&lower) {
            return Some(known.clone());
        }
        let mut new = self.lock();
        let count = self.known.len() + new.len();
        if !new.contains_key(&lower) && count >= MAX_COLUMNS {
            return None;
        }
        let number = count as u16;
        let column =
            new.entry(lower).or_insert_with(|| NewColumn { number, name: name.to_owned(), seen: Seen::default() });
        Some(Resolved { number: column.number, name: column.name.clone(), known: None })
    }

    /// The name of each column, by its number.
    pub fn names(&self) -> Vec<String> {
        let new = self.lock();
        let known = self.known.values().map(|column| (column.number, &column.name));
        let mut names: Vec<_> = known.chain(new.values().map(|column| (column.number, &column.name))).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Adds what one block saw of a new column.
    pub fn saw(&self, name: &str, seen: Seen) {
        if let Some(column) = self.lock().get_mut(&name.to_lowercase()) {
            column.seen.merge(seen);
        }
    }

    /// The schema with the new columns that had a value, in name order so that it does not depend on threads.
    pub fn settle(&self, schema: &Schema) -> Result<Schema> {
        let mut schema = schema.clone();
        let mut new: Vec<_> = self.lock().values().cloned().collect();
        new.sort_by(|a, b| a.name.cmp(&b.name));
        for column in new {
            if let Some(column_type) = type_of(column.seen.kinds) {
                schema.add(&column.name, column_type)?;
            }
        }
        Ok(schema)
    }

    pub fn spoiled(&self) -> Vec<SpoiledColumn> {
        let spoiled = |column: &NewColumn| {
            let seen = &column.seen;
            let few = seen.texts > 0 && seen.texts * FEW <= seen.typed && seen.kinds & kinds::TEXT != 0;
            let (export, line, value) = seen.first_text.clone().filter(|_| few)?;
            let values = seen.typed + seen.texts;
            Some(SpoiledColumn {
                column: column.name.clone(),
                texts: seen.texts,
                values,
                export,
                file: String::new(),
                line,
                value,
            })
        };
        let mut all: Vec<_> = self.lock().values().filter_map(spoiled).collect();
        all.sort_by(|a, b| a.column.cmp(&b.column));
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, NewColumn>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
