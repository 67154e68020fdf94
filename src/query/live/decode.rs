//! Rows of a hot tier become events as the archive would keep them: the same mapping, validation and types.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, StringViewArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::SchemaRef;
use jiff::civil::Date;

use super::source::HotPage;
use crate::data::cells::Cells;
use crate::data::columns::Columns;
use crate::data::row::{self, Row};
use crate::data::rows::{Refused, RowBuilder, Rows, Rules};
use crate::data::sources::stored_name;
use crate::data::typed::Typed;
use crate::error::{Context, Error, Result};
use crate::exports::Piece;
use crate::model::{IdSource, KeySource, Mapping, Schema, days_of_date};

/// For one scan.
#[derive(Debug)]
pub struct Decoder {
    pub mapping: Mapping,
    /// Texts that mean null in untyped records, beside the empty one.
    pub null_tokens: Vec<String>,
    /// Whether an event may come more than once.
    pub may_repeat: bool,
    /// The columns of events but the keys.
    pub columns: Schema,
    /// With the keys in front, as SQL sees them.
    pub schema: SchemaRef,
    /// Events of other days are not wanted.
    pub days: BTreeSet<Date>,
    /// The latest time that is accepted, microseconds since the epoch.
    pub max_time: i64,
}

/// Events, with the SQL schema.
pub struct Decoded {
    pub events: RecordBatch,
    /// Records that there were.
    pub read: u64,
    /// Rows that are no events: a run that archives them makes dead letters of them.
    pub refused: u64,
}

impl Decoder {
    pub fn decode(&self, page: &HotPage) -> Result<Decoded> {
        let known = match &page.rows {
            Piece::Rows(rows, first) => Some(Piece::Rows(self.known(rows)?, *first)),
            _ => None,
        };
        let rules = Rules {
            mapping: self.mapping.clone(),
            columns: Columns::new(&self.columns),
            cells: Cells::default(),
            max_time: self.max_time,
            null_tokens: self.null_tokens.clone(),
            renamed: Mutex::default(),
        };
        let mut builder = RowBuilder::new(&rules);
        let (mut refused, mut mistake) = (0, None);
        let piece = known.as_ref().unwrap_or(&page.rows);
        let read = piece.decode(&rules.null_tokens, &mut builder, |unfit| match unfit.why {
            Refused::Record(_) => refused += 1,
            Refused::Run(error) => mistake = Some(error),
        })?;
        match (mistake, builder.build()) {
            (Some(error), _) => Err(error),
            (None, Some(decoded)) => self.events(page.date, &decoded, &rules, read, refused),
            (None, None) => Ok(Decoded { events: RecordBatch::new_empty(self.schema.clone()), read, refused }),
        }
    }

    /// Without columns that the archive does not know and that say nothing about identity and time.
    fn known(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let is_known = |name: &str| {
            let is_stored = stored_name(name, &self.mapping).is_some_and(|name| self.columns.column(&name).is_some());
            is_stored || is_mapped(name, &self.mapping)
        };
        let fields = rows.schema_ref().fields().iter().enumerate();
        let kept: Vec<usize> = fields.filter(|(_, field)| is_known(field.name())).map(|(index, _)| index).collect();
        rows.project(&kept).context("read a page of the hot tier")
    }

    fn events(&self, of: Option<Date>, rows: &Rows, rules: &Rules, read: u64, refused: u64) -> Result<Decoded> {
        let cells = rules.cells.all();
        let all: Vec<Row<'_>> = row::rows(&rows.bytes).collect();
        let batch = Typed::for_run(&self.columns, &rules.columns).gather(all.iter().copied())?;
        let cell = |number: &u32| &cells[*number as usize];
        let cells = || rows.cells.iter().map(cell);
        // An event in another day's partition is one that the archiver refuses.
        let misplaced = cells().filter(|cell| of.is_some_and(|date| date != cell.date)).count() as u64;
        let wanted = cells().map(|cell| self.days.contains(&cell.date) && of.is_none_or(|date| date == cell.date));
        let wanted: BooleanArray = wanted.map(Some).collect();
        let array = |(position, field): (usize, &arrow::datatypes::FieldRef)| -> Result<ArrayRef> {
            Ok(match (position, batch.column_by_name(field.name())) {
                (0, _) => Arc::new(Date32Array::from_iter_values(cells().map(|cell| days_of_date(cell.date)))),
                (1, _) => Arc::new(StringViewArray::from_iter_values(cells().map(|cell| cell.tenant_id.as_str()))),
                (2, _) => Arc::new(StringViewArray::from_iter_values(cells().map(|cell| cell.event_type.as_str()))),
                (_, Some(array)) => cast(array, field.data_type()).context("read a page of the hot tier")?,
                (_, None) => new_null_array(field.data_type(), rows.cells.len()),
            })
        };
        let arrays = self.schema.fields().iter().enumerate().map(array).collect::<Result<_>>()?;
        let events = RecordBatch::try_new(self.schema.clone(), arrays).context("read a page of the hot tier")?;
        let events = filter_record_batch(&events, &wanted).context("read a page of the hot tier")?;
        Ok(Decoded { events, read, refused: refused + misplaced })
    }
}

/// The columns of the archive and those of a hot tier that it will get with its first events.
pub fn with_columns_of(
    archive: &Schema,
    hot: &[(String, crate::model::ColumnType)],
    mapping: &Mapping,
) -> Result<Schema, Error> {
    let mut schema = archive.clone();
    for (name, column_type) in hot {
        if let Some(stored) = stored_name(name, mapping).filter(|name| schema.column(name).is_none()) {
            schema.add(&stored, *column_type)?;
        }
    }
    Ok(schema)
}

fn is_mapped(name: &str, mapping: &Mapping) -> bool {
    let same = |column: &String| column.eq_ignore_ascii_case(name);
    let key = |source: &KeySource| matches!(source, KeySource::Column(column) if same(column));
    let is_id = match &mapping.id {
        IdSource::Columns(columns) => columns.iter().any(same),
        IdSource::Hash => true,
    };
    is_id || key(&mapping.event_type) || key(&mapping.tenant) || same(&mapping.time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::parquet_rows::BATCH_ROWS;
    use arrow::array::{Int64Array, StringArray};
    use arrow::util::pretty::pretty_format_batches;
    use jiff::civil::date;

    fn decoder() -> Decoder {
        let mut columns = Schema::default();
        columns.add("amount", crate::model::ColumnType::Double).unwrap();
        let table = crate::scan::EventsTable::with_schema(
            crate::catalog::Snapshot::empty(&crate::store::Store::memory()),
            &columns,
        );
        let schema = datafusion::catalog::TableProvider::schema(&table);
        let days = BTreeSet::from([date(2026, 11, 24), date(2026, 11, 25)]);
        let max_time = 1_795_608_000_000_000; // 2026-11-25T12:00:00Z
        Decoder {
            mapping: Mapping::default(),
            null_tokens: Vec::new(),
            may_repeat: false,
            columns,
            schema,
            days,
            max_time,
        }
    }

    fn page(of: Option<Date>, times: &[&str]) -> HotPage {
        let texts = |texts: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let rows = times.len();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("event_id", texts((0..rows).map(|n| format!("e{n}")).collect())),
            ("tenant_id", texts(vec!["acme".to_owned(); rows])),
            ("event_type", texts((0..rows).map(|n| if n == 1 { String::new() } else { "login".to_owned() }).collect())),
            ("ts", texts(times.iter().map(|time| (*time).to_owned()).collect())),
            ("amount", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
            ("unheard_of", texts(vec!["x".to_owned(); rows])),
        ];
        HotPage { date: of, rows: Piece::Rows(RecordBatch::try_from_iter(columns).unwrap(), 1) }
    }

    #[test]
    fn rows_become_events_with_the_archives_types_and_what_is_none_is_counted() {
        let times = ["2026-11-25T01:00:00Z", "2026-11-25T01:00:00Z", "2026-11-25T13:00:00Z", "2026-11-24T23:00:00Z"];
        assert!(times.len() < BATCH_ROWS);
        let decoded = decoder().decode(&page(Some(date(2026, 11, 25)), &times)).unwrap();
        // The second has no type, the third is too late, the fourth is of another day than its partition.
        assert_eq!(decoded.refused, 3);
        let drawn = pretty_format_batches(&[decoded.events]).unwrap().to_string();
        assert!(
            drawn.contains("| 2026-11-25 | acme      | login      | e0       | 2026-11-25T01:00:00Z | 0.0    |"),
            "{drawn}"
        );
        assert_eq!(drawn.lines().count(), 5, "{drawn}");
    }

    #[test]
    fn of_a_page_of_many_days_those_that_are_not_wanted_are_left_out_and_not_counted() {
        let times = ["2026-11-25T01:00:00Z", "2026-11-25T01:00:00Z", "2026-11-23T13:00:00Z", "2026-11-24T23:00:00Z"];
        let decoded = decoder().decode(&page(None, &times)).unwrap();
        assert_eq!((decoded.events.num_rows(), decoded.refused), (2, 1));
    }

    #[test]
    fn the_first_columns_of_an_archive_are_those_of_the_hot_tier() {
        use crate::model::ColumnType::{Double, Timestamp, Varchar};
        let hot = [
            ("event_id", Varchar),
            ("tenant_id", Varchar),
            ("event_type", Varchar),
            ("ts", Timestamp),
            ("Amount", Double),
        ];
        let hot = hot.map(|(name, column_type)| (name.to_owned(), column_type));
        let schema = with_columns_of(&Schema::default(), &hot, &Mapping::default()).unwrap();
        let names: Vec<&str> = schema.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["event_id", "ts", "Amount"]);
    }
}
