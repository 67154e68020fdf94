//! Units side by side, page by page, counted.
//!
//! Each unit asks for its next page as soon as the last one is decoded, in a task of its own, and holds it until the
//! consumer takes it: decoding uses all cores, and nothing runs further ahead.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use scylla::response::PagingState;
use tokio::task::JoinSet;

use super::super::{Page, Read, Restriction, Unit};
use super::Inner;
use super::client::page_size;
use super::count::count;
use super::query::{Query, Selected, select};
use super::throttle::Throttle;
use super::values::{self, Decoded};
use crate::error::{Context, Error, Kind, Result};

/// A unit whose count does not agree is read again so often.
const MAX_AGAIN: u32 = 3;

struct Reading {
    inner: Arc<Inner>,
    restriction: Restriction,
    selected: Selected,
    throttle: Throttle,
}

pub fn read(
    inner: Arc<Inner>,
    units: Vec<Unit>,
    restriction: Restriction,
    count: bool,
) -> BoxStream<'static, Result<Read>> {
    let selected = if count { Selected::RowsThatExpire } else { Selected::Rows };
    let throttle = Throttle::new(inner.settings.rows_per_second);
    let at_once = inner.settings.requests_in_flight.max(1);
    let reading = Arc::new(Reading { inner, restriction, selected, throttle });
    let reads = move |(number, unit)| {
        let first = UnitReading::new(reading.clone(), number, unit);
        stream::try_unfold(first, UnitReading::next).boxed()
    };
    stream::iter(units.into_iter().enumerate()).map(reads).flatten_unordered(at_once).boxed()
}

/// How far a unit is.
struct UnitReading {
    reading: Arc<Reading>,
    number: usize,
    unit: Unit,
    pages: Option<Pages>,
    rows: u64,
    again: u32,
}

impl UnitReading {
    fn new(reading: Arc<Reading>, number: usize, unit: Unit) -> Self {
        let pages = Some(Pages::start(&reading, &unit));
        UnitReading { reading, number, unit, pages, rows: 0, again: 0 }
    }

    async fn next(mut self) -> Result<Option<(Read, Self)>> {
        loop {
            let Some(pages) = &mut self.pages else { return Ok(None) };
            let page = pages.next().await.with_context(|| format!("read {}", self.describe()))?;
            let read = match page {
                Some(page) => self.rows(page),
                None => self.end().await?,
            };
            if let Some(read) = read {
                return Ok(Some((read, self)));
            }
        }
    }

    /// `None` for a page without rows, as the server sends where it has passed over many that are deleted.
    fn rows(&mut self, page: Decoded) -> Option<Read> {
        let Decoded { batch, expiring } = page;
        self.rows += batch.num_rows() as u64;
        (batch.num_rows() > 0).then_some(Read::Rows(Page {
            unit: self.number,
            batch,
            is_again: self.again > 0,
            expiring,
        }))
    }

    /// After the last page; `None` when the unit has to be read again.
    async fn end(&mut self) -> Result<Option<Read>> {
        let (unit, rows) = (self.number, self.rows);
        self.pages = None;
        if self.reading.selected != Selected::RowsThatExpire {
            return Ok(Some(Read::Done { unit, rows, counted: None }));
        }
        let counted = count(&self.reading.inner, &self.unit, &self.reading.restriction).await?;
        if counted == rows {
            return Ok(Some(Read::Done { unit, rows, counted: Some(counted) }));
        }
        if self.again == MAX_AGAIN {
            return Err(self.is_changing(counted));
        }
        tracing::info!(unit = self.describe(), rows, counted, "the count does not agree, read again");
        self.again += 1;
        self.rows = 0;
        self.pages = Some(Pages::start(&self.reading, &self.unit));
        Ok(None)
    }

    fn is_changing(&self, counted: u64) -> Error {
        let message =
            format!("{} is changing while it is read: {} rows, and {counted} counted", self.describe(), self.rows);
        Error::new(Kind::TryAgain, message)
            .code("hot-changing")
            .hint("try again later, or archive only days whose writers are done")
    }

    fn describe(&self) -> String {
        describe(&self.reading.inner, &self.unit)
    }
}

pub fn describe(inner: &Inner, unit: &Unit) -> String {
    match unit {
        Unit::Partition(partition) => inner.table.describe_partition(partition),
        Unit::Range { after, to } => format!("the tokens above {after} up to {to}"),
    }
}

/// The pages of one unit, the next one under way while the consumer has the last.
struct Pages {
    reading: Arc<Reading>,
    query: Option<Arc<Query>>,
    /// At most one; dropped with the pages, it ends.
    ahead: JoinSet<Result<(Decoded, Option<PagingState>)>>,
}

impl Pages {
    fn start(reading: &Arc<Reading>, unit: &Unit) -> Self {
        let query = select(&reading.inner.table, reading.selected, unit, &reading.restriction).map(Arc::new);
        let mut pages = Pages { reading: reading.clone(), query, ahead: JoinSet::new() };
        pages.fetch(PagingState::start());
        pages
    }

    fn fetch(&mut self, from: PagingState) {
        if let Some(query) = self.query.clone() {
            self.ahead.spawn(fetch(self.reading.clone(), query, from));
        }
    }

    async fn next(&mut self) -> Result<Option<Decoded>> {
        let Some(fetched) = self.ahead.join_next().await else { return Ok(None) };
        let (page, next) = fetched.context("read a page")??;
        if let Some(from) = next {
            self.fetch(from);
        }
        Ok(Some(page))
    }
}

async fn fetch(reading: Arc<Reading>, query: Arc<Query>, from: PagingState) -> Result<(Decoded, Option<PagingState>)> {
    let Inner { client, table, settings, warn_seconds } = &*reading.inner;
    let mut statement = client.prepare(&query.cql).await?;
    statement.set_page_size(page_size(settings.page_rows));
    reading.throttle.wait().await;
    let answer = client.page(&statement, &query.values, from).await?;
    reading.throttle.charge(answer.rows.rows_num() as u64);
    Ok((values::decode(&table.archived, &answer.rows, *warn_seconds)?, answer.next))
}
