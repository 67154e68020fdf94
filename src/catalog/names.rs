//! The paths of a leaf's files without what its keys say: `<run>-<number>` is left.
//!
//! The runs of a leaf are few and their numbers small, while paths would be half of its bytes and most of the work of
//! reading some of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;

use super::table;
use crate::error::Result;
use crate::model::{DataFile, FileName};

/// The columns `run` and `number`, or `path` unless each file lies where these and its keys say.
pub fn encode<'a>(files: impl Iterator<Item = &'a DataFile> + Clone) -> Vec<(&'static str, ArrayRef)> {
    match files.clone().map(DataFile::run_and_number).collect::<Option<Vec<_>>>() {
        Some(names) => vec![
            ("run", Arc::new(StringViewArray::from_iter_values(names.iter().map(|(run, _)| run)))),
            ("number", Arc::new(Int64Array::from_iter_values(names.iter().map(|(_, number)| *number as i64)))),
        ],
        None => vec![("path", Arc::new(StringViewArray::from_iter_values(files.map(|file| &file.path))))],
    }
}

/// The name in each row.
pub fn decode<'a>(batch: &'a RecordBatch) -> Result<impl Fn(usize) -> FileName<'a> + use<'a>> {
    let names = match batch.column_by_name("run") {
        Some(_) => Names::OfRuns(table::texts(batch, "run")?, table::numbers::<Int64Type>(batch, "number")?),
        None => Names::Paths(table::texts(batch, "path")?),
    };
    Ok(move |row| match &names {
        Names::OfRuns(run, number) => FileName::OfRun { run: run(row), number: number(row) as u64 },
        Names::Paths(path) => FileName::Path(path(row)),
    })
}

/// The columns that a leaf has.
enum Names<R, N, P> {
    OfRuns(R, N),
    Paths(P),
}
