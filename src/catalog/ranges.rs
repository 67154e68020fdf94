//! The columns that roots and leaves share: the ranges of keys and times that something covers.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::{max, min};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use jiff::civil::Date;

use super::table::{self, Encoded};
use crate::error::{Error, Result};
use crate::model::{DataFile, KeyRange, date_of_days, days_of_date};

/// What a leaf, a data file or a run of rows in one covers, as far as the catalog knows.
#[derive(Debug, Clone)]
pub struct Covered<'a> {
    pub tenants: KeyRange<&'a str>,
    pub event_types: KeyRange<&'a str>,
    pub dates: KeyRange<Date>,
    /// Microseconds since the epoch, UTC.
    pub ts: KeyRange<i64>,
    pub rows: u64,
}

impl<'a> Covered<'a> {
    /// What all of these cover together; `None` where there are none.
    pub fn all(of: impl IntoIterator<Item = Covered<'a>>) -> Option<Self> {
        of.into_iter().reduce(|mut all, one| {
            all.tenants.extend(&one.tenants);
            all.event_types.extend(&one.event_types);
            all.dates.extend(&one.dates);
            all.ts.extend(&one.ts);
            all.rows += one.rows;
            all
        })
    }

    /// Whether the two may have a cell in common.
    pub fn may_share_a_cell(&self, other: &Covered<'a>) -> bool {
        self.tenants.overlaps(&other.tenants)
            && self.event_types.overlaps(&other.event_types)
            && self.dates.overlaps(&other.dates)
    }
}

impl<'a> From<&'a DataFile> for Covered<'a> {
    fn from(file: &'a DataFile) -> Self {
        Covered {
            tenants: file.tenants.as_text(),
            event_types: file.event_types.as_text(),
            dates: file.dates.clone(),
            ts: file.ts.clone(),
            rows: file.rows,
        }
    }
}

impl<'a> From<&'a Arc<DataFile>> for Covered<'a> {
    fn from(file: &'a Arc<DataFile>) -> Self {
        Covered::from(file.as_ref())
    }
}

/// Columns of least and greatest values.
const TENANTS: [&str; 2] = ["tenant_min", "tenant_max"];
const EVENT_TYPES: [&str; 2] = ["event_type_min", "event_type_max"];
const DATES: [&str; 2] = ["date_min", "date_max"];
const TS: [&str; 2] = ["ts_min", "ts_max"];

/// The same by the name of the column in SQL.
const COLUMNS: [(&str, [&str; 2]); 4] =
    [("date", DATES), ("tenant_id", TENANTS), ("event_type", EVENT_TYPES), ("ts", TS)];

/// `tenant_min` to `ts_max`, a row for each item.
pub fn encode(items: &[Covered<'_>]) -> Vec<(&'static str, ArrayRef)> {
    fn texts<'a>(items: &[Covered<'a>], get: fn(&Covered<'a>) -> &'a str) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(items.iter().map(get)))
    }
    let dates = |get: fn(&Covered) -> Date| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(items.iter().map(|item| days_of_date(get(item)))))
    };
    let times = |get: fn(&Covered) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(items.iter().map(get)).with_timezone("UTC"))
    };
    vec![
        ("tenant_min", texts(items, |item| item.tenants.min)),
        ("tenant_max", texts(items, |item| item.tenants.max)),
        ("event_type_min", texts(items, |item| item.event_types.min)),
        ("event_type_max", texts(items, |item| item.event_types.max)),
        ("date_min", dates(|item| item.dates.min)),
        ("date_max", dates(|item| item.dates.max)),
        ("ts_min", times(|item| item.ts.min)),
        ("ts_max", times(|item| item.ts.max)),
    ]
}

/// Of such columns, without those that repeat another: the greatest values where each range is of one value.
pub fn without_repeated(mut columns: Vec<(&'static str, ArrayRef)>) -> Vec<(&'static str, ArrayRef)> {
    for (_, [min, max]) in COLUMNS {
        let find = |name| columns.iter().position(|(column, _)| *column == name);
        if let Some((min, max)) = find(min).zip(find(max))
            && columns[min].1.as_ref() == columns[max].1.as_ref()
        {
            columns.remove(max);
        }
    }
    columns
}

/// Whether each row of a file that has these columns is of one value of each key.
pub fn are_of_one_cell(has_column: impl Fn(&str) -> bool) -> bool {
    [TENANTS, EVENT_TYPES, DATES].iter().all(|[_, max]| !has_column(max))
}

/// The name of the column of greatest values: that of the least ones where it repeats them.
fn greatest(batch: &RecordBatch, [min, max]: [&'static str; 2]) -> &'static str {
    if batch.column_by_name(max).is_some() { max } else { min }
}

/// Columns of [`encode`] as they lie in a catalog file.
#[derive(Debug, Clone)]
pub struct RangeColumns {
    /// By the name of the column in SQL, whose type they have, times in UTC.
    pub ranges: Vec<(&'static str, KeyRange<ArrayRef>)>,
    /// Rows of the file, each of which is a leaf or a data file.
    pub items: usize,
}

impl RangeColumns {
    /// Of the columns that `wanted` picks by their names in SQL; no others are decoded.
    pub fn read(file: &Encoded, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let is_end = |name: &str| COLUMNS.iter().any(|(column, ends)| ends.contains(&name) && wanted(column));
        Self::of(&file.columns(is_end)?, &wanted)
    }

    /// As [`RangeColumns::read`], where they are decoded already.
    pub fn of(batch: &RecordBatch, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let range = |(column, ends): (&'static str, [&'static str; 2])| -> Result<_> {
            let end = |name| table::column(batch, name).cloned();
            Ok((column, KeyRange { min: end(ends[0])?, max: end(greatest(batch, ends))? }))
        };
        let ranges = COLUMNS.into_iter().filter(|(column, _)| wanted(column)).map(range).collect::<Result<_>>()?;
        Ok(RangeColumns { ranges, items: batch.num_rows() })
    }

    /// The ranges of a column, by its name in SQL.
    pub fn of_column(&self, column: &str) -> Option<&KeyRange<ArrayRef>> {
        self.ranges.iter().find(|(name, _)| *name == column).map(|(_, range)| range)
    }

    /// The values of a column of which every range is one value.
    pub fn single(&self, column: &str) -> Option<&ArrayRef> {
        self.of_column(column).filter(|range| Arc::ptr_eq(&range.min, &range.max)).map(|range| &range.min)
    }
}

/// The ranges of one row.
pub struct Ranges {
    pub tenants: KeyRange<Arc<str>>,
    pub event_types: KeyRange<Arc<str>>,
    pub dates: KeyRange<Date>,
    pub ts: KeyRange<i64>,
}

/// The ranges of keys and dates of one row, in place.
pub type KeysInPlace<'a> = (KeyRange<&'a str>, KeyRange<&'a str>, KeyRange<Date>);

/// Makes texts of ranges. In most columns a range is that of the row before: they share one.
#[derive(Default)]
pub struct SharedTexts(RefCell<Option<KeyRange<Arc<str>>>>);

impl SharedTexts {
    pub fn of(&self, range: &KeyRange<&str>) -> KeyRange<Arc<str>> {
        let mut last = self.0.borrow_mut();
        match &*last {
            Some(same) if same.as_text() == *range => same.clone(),
            _ => last.insert(range.to_text()).clone(),
        }
    }
}

/// Fails where a date is out of range.
pub fn check_dates(batch: &RecordBatch) -> Result<()> {
    for name in [DATES[0], greatest(batch, DATES)] {
        let days = table::array::<Date32Type>(batch, name)?;
        // What lies between two dates is a date.
        [min(days), max(days)].into_iter().flatten().try_for_each(|day| date(day).map(drop))?;
    }
    Ok(())
}

fn date(days: i32) -> Result<Date> {
    date_of_days(days).ok_or_else(|| Error::failed("a date in a catalog file is out of range"))
}

/// Tenants, event types and dates of a row, without making anything of them.
pub fn keys<'a>(batch: &'a RecordBatch) -> Result<impl Fn(usize) -> Result<KeysInPlace<'a>> + use<'a>> {
    let texts = |ends: [&'static str; 2]| -> Result<_> {
        Ok((table::texts(batch, ends[0])?, table::texts(batch, greatest(batch, ends))?))
    };
    let ((tenant_min, tenant_max), (type_min, type_max)) = (texts(TENANTS)?, texts(EVENT_TYPES)?);
    let date_min = table::numbers::<Date32Type>(batch, DATES[0])?;
    let date_max = table::numbers::<Date32Type>(batch, greatest(batch, DATES))?;
    Ok(move |row| {
        let tenants = KeyRange { min: tenant_min(row), max: tenant_max(row) };
        let event_types = KeyRange { min: type_min(row), max: type_max(row) };
        let first = date(date_min(row))?;
        // Most files are of one day.
        let last = if date_max(row) == date_min(row) { first } else { date(date_max(row))? };
        Ok((tenants, event_types, KeyRange { min: first, max: last }))
    })
}

/// The times of a row.
pub fn times<'a>(batch: &'a RecordBatch) -> Result<impl Fn(usize) -> KeyRange<i64> + use<'a>> {
    let min = table::numbers::<TimestampMicrosecondType>(batch, TS[0])?;
    let max = table::numbers::<TimestampMicrosecondType>(batch, greatest(batch, TS))?;
    Ok(move |row| KeyRange { min: min(row), max: max(row) })
}

/// The inverse of [`encode`].
pub fn decode(batch: &RecordBatch) -> Result<impl Fn(usize) -> Result<Ranges> + use<'_>> {
    let keys = keys(batch)?;
    let times = times(batch)?;
    Ok(move |row| {
        let (tenants, event_types, dates) = keys(row)?;
        Ok(Ranges { tenants: tenants.to_text(), event_types: event_types.to_text(), dates, ts: times(row) })
    })
}
