//! The archive's columns from those of its files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{ProblemKind, RebuildReport};
use crate::model::{Column, Schema, short_digest};

/// The different lists of columns that files have; few, however many files there are.
#[derive(Debug, Default)]
pub struct Columns(BTreeMap<[u8; 16], Seen>);

#[derive(Debug)]
struct Seen {
    columns: Arc<Vec<Column>>,
    /// Of the new catalog.
    files: u64,
    example: String,
}

impl Columns {
    /// Makes equal lists one.
    pub fn share(&mut self, columns: &mut Arc<Vec<Column>>) {
        let fresh = || Seen { columns: columns.clone(), files: 0, example: String::new() };
        *columns = self.0.entry(key(columns)).or_insert_with(fresh).columns.clone();
    }

    /// A file of the new catalog has these.
    pub fn count(&mut self, columns: &Arc<Vec<Column>>, path: &str) {
        if let Some(seen) = self.0.get_mut(&key(columns)) {
            seen.files += 1;
            if seen.example.is_empty() {
                seen.example = path.to_owned();
            }
        }
    }

    /// All columns together. Where two cannot be in one archive, the files that are fewer are the problem.
    pub fn schema(&self, report: &mut RebuildReport) -> Schema {
        let mut lists: Vec<&Seen> = self.0.values().filter(|seen| seen.files > 0).collect();
        lists.sort_by_key(|seen| std::cmp::Reverse(seen.files));
        let mut schema = Schema::default();
        for seen in lists {
            let mut with = schema.clone();
            match seen.columns.iter().try_for_each(|column| with.insert(column)) {
                Ok(()) => schema = with,
                Err(error) => {
                    let others = match seen.files {
                        1 => String::new(),
                        files => format!(" (and {} more files)", files - 1),
                    };
                    report.problem(ProblemKind::Misfit, &seen.example, format!("{error}{others}"));
                }
            }
        }
        schema
    }
}

fn key(columns: &Arc<Vec<Column>>) -> [u8; 16] {
    short_digest(&serde_json::to_string(columns.as_ref()).expect("plain data"))
}
