//! How many rows a unit has.

use std::time::Duration;

use super::super::{Restriction, Unit};
use super::Inner;
use super::errors::is_transient;
use super::query::{Selected, select};
use super::read::describe;
use crate::error::{Context, Result};

/// The server counts page by page inside; a request of a large partition takes its time.
const TIMEOUT: Duration = Duration::from_secs(600);

/// By the server, or where that takes too long by paging through the keys.
pub async fn count(inner: &Inner, unit: &Unit, restriction: &Restriction) -> Result<u64> {
    let phrase = || format!("count {}", describe(inner, unit));
    match by_server(inner, unit, restriction).await.with_context(phrase)? {
        Some(counted) => Ok(counted),
        None => by_keys(inner, unit, restriction).await.with_context(phrase),
    }
}

/// `None` when it cannot now.
async fn by_server(inner: &Inner, unit: &Unit, restriction: &Restriction) -> Result<Option<u64>> {
    let Some(query) = select(&inner.table, Selected::Count, unit, restriction) else { return Ok(Some(0)) };
    let mut statement = inner.client.prepare(&query.cql).await?;
    // Two at once would only make it slower.
    statement.set_is_idempotent(false);
    statement.set_request_timeout(Some(TIMEOUT));
    let answer = match inner.client.session.execute_unpaged(&statement, &query.values).await {
        Ok(answer) => answer,
        Err(error) if is_transient(&error) => {
            tracing::info!(unit = describe(inner, unit), %error, "cassandra does not count, count keys");
            return Ok(None);
        }
        Err(error) => return Err(inner.client.place.does_not_answer(&error)),
    };
    let (counted,) =
        answer.into_rows_result().context("read the count")?.single_row::<(i64,)>().context("read the count")?;
    Ok(Some(counted as u64))
}

async fn by_keys(inner: &Inner, unit: &Unit, restriction: &Restriction) -> Result<u64> {
    let Some(query) = select(&inner.table, Selected::Keys, unit, restriction) else { return Ok(0) };
    let mut counted = 0;
    let take = |rows: &scylla::response::query_result::QueryRowsResult| {
        counted += rows.rows_num() as u64;
        Ok(())
    };
    inner.client.each_page(&query, inner.settings.page_rows, take).await?;
    Ok(counted)
}
