//! Questions and their answers as text.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;
use tier::context::Context;
use tier::error::Error;
use tier::query::{self, QuerySettings, Report};

/// The rows of an answer as a table, and the report.
pub async fn ask(ctx: &Context, sql: &str) -> (String, Report) {
    ask_with(ctx, &QuerySettings::default(), sql).await
}

pub async fn ask_with(ctx: &Context, settings: &QuerySettings, sql: &str) -> (String, Report) {
    let mut answer = query::run(ctx, settings, sql).await.unwrap_or_else(|error| panic!("{sql}: {}", full(&error)));
    let batches = answer.collect().await.unwrap_or_else(|error| panic!("{sql}: {}", full(&error)));
    (table(answer.schema(), &batches), answer.report())
}

pub async fn fail(ctx: &Context, sql: &str) -> Error {
    fail_with(ctx, &QuerySettings::default(), sql).await
}

pub async fn fail_with(ctx: &Context, settings: &QuerySettings, sql: &str) -> Error {
    match query::run(ctx, settings, sql).await {
        Err(error) => error,
        Ok(mut answer) => answer.collect().await.expect_err(sql),
    }
}

pub fn full(error: &Error) -> String {
    format!("{error} {:?} hint: {:?}", error.causes(), error.hint_text())
}

/// Cells of a table, one line per row, without the frame.
pub fn table(schema: SchemaRef, batches: &[RecordBatch]) -> String {
    let drawn = pretty_format_batches_with_schema(schema, batches).unwrap().to_string();
    let rows = drawn.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(|line| cells(line).join(" | ").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
