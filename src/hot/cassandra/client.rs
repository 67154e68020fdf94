//! Requests, each tried again a few times where that may help.

use std::collections::HashMap;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;
use tokio::sync::Mutex;

use super::errors::{Place, is_transient};
use super::query::Query;
use crate::error::{Context, Result};

/// After the driver has tried other nodes: the cluster gets time to recover.
const RETRY_AFTER: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(4)];

pub struct Client {
    pub session: Session,
    pub place: Place,
    timeout: Duration,
    /// By their text: statements are prepared once.
    statements: Mutex<HashMap<String, PreparedStatement>>,
}

/// Rows, and where the next page begins if there is one.
pub struct Answer {
    pub rows: QueryRowsResult,
    pub next: Option<PagingState>,
}

impl Client {
    pub fn new(session: Session, place: Place, timeout: Duration) -> Self {
        Client { session, place, timeout, statements: Mutex::default() }
    }

    /// A statement that may be sent twice without harm.
    pub async fn prepare(&self, cql: &str) -> Result<PreparedStatement> {
        if let Some(known) = self.statements.lock().await.get(cql) {
            return Ok(known.clone());
        }
        // The driver bounds requests only.
        let prepare = || async {
            let prepared = tokio::time::timeout(self.timeout, self.session.prepare(cql)).await;
            Ok(prepared.map_err(|_| ExecutionError::RequestTimeout(self.timeout))??)
        };
        let mut statement = self.retry(prepare).await.context("prepare a statement")?;
        statement.set_is_idempotent(true);
        self.statements.lock().await.insert(cql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// One page, of as many rows as the statement says.
    pub async fn page(&self, statement: &PreparedStatement, values: &[CqlValue], from: PagingState) -> Result<Answer> {
        let ask = || self.session.execute_single_page(statement, values, from.clone());
        let (result, next) = self.retry(ask).await?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok(Answer { rows: result.into_rows_result().context("read the answer")?, next })
    }

    /// One page after the other.
    pub async fn each_page(
        &self,
        query: &Query,
        page_rows: u32,
        mut take: impl FnMut(&QueryRowsResult) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.prepare(&query.cql).await?;
        statement.set_page_size(page_size(page_rows));
        let mut state = Some(PagingState::start());
        while let Some(from) = state {
            let answer = self.page(&statement, &query.values, from).await?;
            take(&answer.rows)?;
            state = answer.next;
        }
        Ok(())
    }

    /// The whole answer at once: for small ones.
    pub async fn ask(&self, cql: &str, values: impl SerializeRow) -> Result<QueryRowsResult> {
        let ask = || self.session.query_unpaged(cql, &values);
        self.retry(ask).await?.into_rows_result().context("read the answer")
    }

    pub async fn execute(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<QueryResult> {
        self.retry(|| self.session.execute_unpaged(statement, &values)).await
    }

    async fn retry<T, F>(&self, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, ExecutionError>>,
    {
        let mut delays = RETRY_AFTER.iter();
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match delays.next().filter(|_| is_transient(&error)) {
                Some(delay) => {
                    tracing::warn!(table = self.place.table, %error, ?delay, "ask cassandra again");
                    tokio::time::sleep(*delay).await;
                }
                None => return Err(self.place.does_not_answer(&error)),
            }
        }
    }
}

pub fn page_size(rows: u32) -> i32 {
    i32::try_from(rows).unwrap_or(i32::MAX).max(1)
}
