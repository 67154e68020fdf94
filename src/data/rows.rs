//! Fields to rows: applies the mapping, validates, and builds the columns of one block.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use jiff::civil::Date;

use super::column_builder::ColumnBuilder;
use super::columns::Columns;
use super::ids;
use super::time::{self, BadTime};
use super::values::Scalar;
use crate::error::{Error, Result};
use crate::model::{
    ColumnType, IdSource, Key, KeySource, Mapping, Partition, RESERVED_COLUMNS, Reason, date_of_micros,
    timestamp_of_micros,
};

/// The hidden column of a decoded batch: where a row stood, for "the first one stays".
pub const ORDER: &str = "\0order";

/// Lines per export that [`order`] can tell apart: 2^40, a trillion.
const LINE_BITS: u32 = 40;

/// Position of a record in the run: exports by their number, then lines.
pub fn order(export: u64, line: u64) -> u64 {
    export << LINE_BITS | line
}

/// The inverse of [`order`].
pub fn export_and_line(order: u64) -> (u64, u64) {
    (order >> LINE_BITS, order & ((1 << LINE_BITS) - 1))
}

/// What all threads of a run share.
pub struct Rules {
    pub mapping: Mapping,
    pub columns: Columns,
    pub cells: Cells,
    /// The latest time that is accepted, microseconds since the epoch.
    pub max_time: i64,
    /// Texts that mean null in CSV, beside the empty one.
    pub null_tokens: Vec<String>,
    /// Source columns stored under another name, as (source, stored).
    pub renamed: Mutex<BTreeSet<(String, String)>>,
}

/// The cells of a run, numbered as they are met.
#[derive(Default)]
pub struct Cells(Mutex<(HashMap<Partition, u32>, Vec<Partition>)>);

impl Cells {
    fn number(&self, cell: Partition) -> u32 {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (numbers, cells) = &mut *guard;
        *numbers.entry(cell).or_insert_with_key(|cell| {
            cells.push(cell.clone());
            (cells.len() - 1) as u32
        })
    }

    /// All cells met so far; a cell's number is its index.
    pub fn all(&self) -> Vec<Partition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Why a record was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    pub detail: String,
}

impl Rejection {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Rejection { reason, detail: detail.into() }
    }
}

/// A rejected record, or a mistake in the command that makes going on pointless.
#[derive(Debug)]
pub enum Refused {
    Record(Rejection),
    Run(Error),
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Refused::Record(rejection)
    }
}

/// The accepted rows of one block. Columns: [`ORDER`], `event_id`, `ts`, then the others; new columns as text.
pub struct Rows {
    pub batch: RecordBatch,
    /// The cell of each row.
    pub cells: Vec<u32>,
}

/// Collects the rows of one block. For each record: [`RowBuilder::field`] for its fields, then [`RowBuilder::finish`].
pub struct RowBuilder<'r> {
    rules: &'r Rules,
    export: u64,
    /// The only date that events may have.
    date: Option<Date>,
    sources: Vec<Source>,
    by_name: HashMap<String, usize>,
    columns: Vec<ColumnBuilder>,
    event_ids: StringBuilder,
    times: TimestampMicrosecondBuilder,
    orders: Vec<u64>,
    cells: Vec<u32>,
    cell_numbers: CellNumbers,
    /// Tells the fields of this record from those of earlier ones.
    record: u64,
    /// Where the next field is likely to belong: records tend to look alike.
    expected: usize,
}

/// A source column and the parts it plays.
struct Source {
    name: String,
    /// In lower case: spellings that differ in case are one column.
    lower: String,
    /// Index into `columns`, unless the canonical column is all there is to store.
    column: Option<usize>,
    /// The last record that had this field.
    record: u64,
}

/// The fields of one record while it is read.
#[derive(Default)]
pub struct Fields<'a>(Vec<(usize, Scalar<'a>)>);

impl Fields<'_> {
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<'r> RowBuilder<'r> {
    pub fn new(rules: &'r Rules, export: u64) -> Self {
        RowBuilder {
            rules,
            export,
            date: None,
            sources: Vec::new(),
            by_name: HashMap::new(),
            columns: Vec::new(),
            event_ids: StringBuilder::new(),
            times: TimestampMicrosecondBuilder::new(),
            orders: Vec::new(),
            cells: Vec::new(),
            cell_numbers: CellNumbers::default(),
            record: 1,
            expected: 0,
        }
    }

    /// Refuses events of other dates: for sources that say which date their records are of.
    pub fn of_date(self, date: Date) -> Self {
        RowBuilder { date: Some(date), ..self }
    }

    /// Adds a field to the record being read.
    pub fn field<'a>(&mut self, fields: &mut Fields<'a>, name: &str, value: Scalar<'a>) -> Result<(), Rejection> {
        if value.is_null() {
            return Ok(());
        }
        let index = self.source(name)?;
        let source = &mut self.sources[index];
        if source.record == self.record {
            return Err(Rejection::new(Reason::Syntax, format!("column `{}` is there twice", source.name)));
        }
        source.record = self.record;
        if let Some(column) = source.column.map(|column| &mut self.columns[column]) {
            if column.record == self.record {
                let detail = format!("two columns of it are to be stored as `{}`", column.name);
                return Err(Rejection::new(Reason::Columns, detail));
            }
            column.record = self.record;
        }
        fields.0.push((index, value));
        Ok(())
    }

    /// Validates the record and adds it as a row; `line` is its place in the export.
    pub fn finish(&mut self, fields: &mut Fields<'_>, line: u64) -> Result<(), Refused> {
        let outcome = self.accept(fields, line);
        self.abandon(fields);
        outcome
    }

    /// Forgets the record being read.
    pub fn abandon(&mut self, fields: &mut Fields<'_>) {
        fields.clear();
        self.record += 1;
        self.expected = 0;
    }

    fn accept(&mut self, fields: &Fields<'_>, line: u64) -> Result<(), Refused> {
        let mapping = &self.rules.mapping;
        let event_id = self.event_id(fields)?;
        let event_type = self.key(fields, &mapping.event_type, "event type")?;
        let tenant = self.key(fields, &mapping.tenant, "tenant")?;
        let (micros, date) = self.time(fields)?;
        let row = self.orders.len();
        let mut values = Vec::with_capacity(fields.0.len());
        for (source, scalar) in &fields.0 {
            let Some(column) = self.sources[*source].column else { continue };
            match self.columns[column].check(scalar) {
                Some(value) => values.push((column, value, scalar)),
                None => return Err(misfit(&self.columns[column], scalar).into()),
            }
        }
        let bad_key = |what: &str, bad| Rejection::new(Reason::Key, format!("the {what} {bad}"));
        let cell = self
            .cell_numbers
            .number(&self.rules.cells, date, &event_type, &tenant)
            .map_err(|(of_type, bad)| bad_key(if of_type { "event type" } else { "tenant" }, bad))?;
        for (column, value, scalar) in values {
            let at = (self.export, line);
            self.columns[column].append(row, value, scalar, at);
        }
        self.event_ids.append_value(event_id);
        self.times.append_value(micros);
        self.orders.push(order(self.export, line));
        self.cells.push(cell);
        Ok(())
    }

    fn source(&mut self, name: &str) -> Result<usize, Rejection> {
        if self.sources.get(self.expected).is_some_and(|source| source.name == name) {
            self.expected += 1;
            return Ok(self.expected - 1);
        }
        if let Some(&index) = self.by_name.get(name) {
            self.expected = index + 1;
            return Ok(index);
        }
        let index = self.add_source(name)?;
        self.expected = index + 1;
        Ok(index)
    }

    fn add_source(&mut self, name: &str) -> Result<usize, Rejection> {
        // Another spelling of a column that is there already.
        let lower = name.to_lowercase();
        if let Some(index) = self.sources.iter().position(|source| source.lower == lower) {
            self.by_name.insert(name.to_owned(), index);
            return Ok(index);
        }
        if name.is_empty() {
            return Err(Rejection::new(Reason::Columns, "a column without a name"));
        }
        // Readers in C end a name there, and [`ORDER`] begins with one.
        if name.contains('\0') {
            return Err(Rejection::new(Reason::Columns, format!("a column whose name has a NUL in it: {name:?}")));
        }
        let column = match stored_name(name, &self.rules.mapping) {
            None => None,
            Some(stored) => {
                if stored != name {
                    let mut renamed = self.rules.renamed.lock().unwrap_or_else(PoisonError::into_inner);
                    renamed.insert((name.to_owned(), stored.clone()));
                }
                let (stored, column_type) = self.rules.columns.resolve(&stored).ok_or_else(|| {
                    let limit = super::columns::MAX_COLUMNS;
                    Rejection::new(
                        Reason::Columns,
                        format!("column `{name}` is one too many: an archive has at most {limit}"),
                    )
                })?;
                let shared = self.columns.iter().position(|column| column.name == stored);
                Some(shared.unwrap_or_else(|| {
                    self.columns.push(ColumnBuilder::new(stored, column_type));
                    self.columns.len() - 1
                }))
            }
        };
        self.sources.push(Source { name: name.to_owned(), lower, column, record: 0 });
        self.by_name.insert(name.to_owned(), self.sources.len() - 1);
        Ok(self.sources.len() - 1)
    }

    /// The record's value of a mapped column.
    fn value<'f, 'a>(&self, fields: &'f Fields<'a>, name: &str) -> Option<&'f Scalar<'a>> {
        let is_it = |source: &Source| source.name == name || source.lower == name.to_lowercase();
        fields.0.iter().find(|(source, _)| is_it(&self.sources[*source])).map(|(_, value)| value)
    }

    fn event_id<'a>(&self, fields: &Fields<'a>) -> Result<Cow<'a, str>, Rejection> {
        let text = |name: &String| match self.value(fields, name).map(Scalar::text) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Rejection::new(Reason::Id, format!("no event id: `{name}` is missing or empty"))),
        };
        match &self.rules.mapping.id {
            IdSource::Columns(names) if names.len() == 1 => text(&names[0]),
            IdSource::Columns(names) => {
                let parts = names.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                Ok(Cow::Owned(ids::composite(&parts)))
            }
            IdSource::Hash => Ok(Cow::Owned(ids::hash(
                fields.0.iter().map(|(source, value)| (self.sources[*source].lower.as_str(), value.text())).collect(),
            ))),
        }
    }

    fn key<'a>(&self, fields: &Fields<'a>, source: &'a KeySource, what: &str) -> Result<Cow<'a, str>, Rejection> {
        match source {
            KeySource::Constant(value) => Ok(Cow::Borrowed(value)),
            KeySource::Column(name) => self
                .value(fields, name)
                .map(Scalar::text)
                .ok_or_else(|| Rejection::new(Reason::Key, format!("no {what}: `{name}` is missing"))),
        }
    }

    fn time(&self, fields: &Fields<'_>) -> Result<(i64, Date), Refused> {
        let mapping = &self.rules.mapping;
        let name = &mapping.time;
        let reject = |detail: String| Refused::Record(Rejection::new(Reason::Time, detail));
        let value = self.value(fields, name).ok_or_else(|| reject(format!("no time: `{name}` is missing")))?;
        let micros = match value {
            Scalar::Time(micros) => Ok(*micros),
            Scalar::Bool(_) | Scalar::Json(_) => Err(BadTime::NotATime),
            other => time::parse(&other.text(), mapping.time_unit),
        };
        let micros = match micros {
            Ok(micros) => micros,
            Err(BadTime::NotATime) => return Err(reject(format!("`{name}` is no time: {}", value.describe()))),
            Err(BadTime::UnitNeeded(likely)) => return Err(unit_needed(name, value, likely)),
        };
        let shown = || timestamp_of_micros(micros).map_or_else(|| value.describe(), |time| time.to_string());
        if micros < 0 {
            return Err(reject(format!("`{name}` is before 1970: {}", shown())));
        }
        if micros > self.rules.max_time {
            return Err(reject(format!("`{name}` is in the future: {}{}", shown(), confused_unit(value, mapping))));
        }
        let date = date_of_micros(micros).ok_or_else(|| reject(format!("`{name}` is out of range: {}", shown())))?;
        match self.date {
            Some(expected) if expected != date => {
                Err(reject(format!("`{name}` is not of the day {expected}, under which it is kept: {}", shown())))
            }
            _ => Ok((micros, date)),
        }
    }

    /// The rows of the block, if it had any, with the types that new columns could have noted.
    pub fn build(mut self) -> Option<Rows> {
        let rows = self.orders.len();
        for column in &mut self.columns {
            if let Some(seen) = column.seen.take().filter(|seen| seen.kinds != 0) {
                self.rules.columns.saw(&column.name, seen);
            }
        }
        if rows == 0 {
            return None;
        }
        let times = self.times.finish().with_timezone("UTC");
        let mut fields = vec![
            Field::new(ORDER, DataType::UInt64, false),
            Field::new("event_id", DataType::Utf8, false),
            Field::new("ts", ColumnType::Timestamp.arrow(), false),
        ];
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from(self.orders)), Arc::new(self.event_ids.finish()), Arc::new(times)];
        for column in self.columns {
            let (name, array) = column.finish(rows);
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length");
        Some(Rows { batch, cells: self.cells })
    }
}

/// Under which name a source column is stored; `None` when its canonical column says it all.
pub fn stored_name(name: &str, mapping: &Mapping) -> Option<String> {
    let same = |a: &str| a.eq_ignore_ascii_case(name);
    let key = |source: &KeySource| matches!(source, KeySource::Column(column) if same(column));
    let is_canonical = (same("event_id") && matches!(&mapping.id, IdSource::Columns(c) if c.len() == 1 && same(&c[0])))
        || (same("event_type") && key(&mapping.event_type))
        || (same("tenant_id") && key(&mapping.tenant))
        || (same("ts") && same(&mapping.time));
    if is_canonical {
        None
    } else if RESERVED_COLUMNS.iter().any(|reserved| same(reserved)) {
        Some(format!("{name}_source"))
    } else {
        Some(name.to_owned())
    }
}

fn misfit(column: &ColumnBuilder, scalar: &Scalar<'_>) -> Rejection {
    let column_type = column.known.map_or("", ColumnType::as_str);
    Rejection::new(Reason::Type, format!("column `{}` is {column_type}, not {}", column.name, scalar.describe()))
}

fn unit_needed(name: &str, value: &Scalar<'_>, likely: crate::model::TimeUnit) -> Refused {
    let unit = likely.as_str();
    let error = Error::usage(format!("`{name}` is a number ({}), and nobody said what it counts", value.text()))
        .code("time-unit")
        .hint(format!("it looks like {unit}: add --time-unit {unit}, or events.time_unit to tier.toml"));
    Refused::Run(error)
}

/// For a time in the far future: whether another unit would make it a likely one.
fn confused_unit(value: &Scalar<'_>, mapping: &Mapping) -> String {
    let text = value.text();
    match mapping.time_unit {
        Some(unit) if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            let likely = time::likely_unit(&text);
            if likely == unit {
                String::new()
            } else {
                format!(" (it looks like {}, not {})", likely.as_str(), unit.as_str())
            }
        }
        _ => String::new(),
    }
}

/// Cell numbers this block has met, found without making a [`Partition`] for every row.
#[derive(Default)]
struct CellNumbers(HashMap<String, HashMap<String, HashMap<Date, u32>>>);

impl CellNumbers {
    /// The error says whether the event type is the bad key, and why.
    fn number(
        &mut self,
        cells: &Cells,
        date: Date,
        event_type: &str,
        tenant: &str,
    ) -> Result<u32, (bool, crate::model::BadKey)> {
        if let Some(&number) =
            self.0.get(event_type).and_then(|tenants| tenants.get(tenant)).and_then(|dates| dates.get(&date))
        {
            return Ok(number);
        }
        let event_type = Key::parse(event_type).map_err(|bad| (true, bad))?;
        let tenant_id = Key::parse(tenant).map_err(|bad| (false, bad))?;
        let tenants = self.0.entry(event_type.as_str().to_owned()).or_default();
        let dates = tenants.entry(tenant_id.as_str().to_owned()).or_default();
        let number = cells.number(Partition { tenant_id, event_type, date });
        dates.insert(date, number);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_reserved_columns_are_stored_under_their_names() {
        let mapping = Mapping { time: "created_at".into(), ..Mapping::default() };
        assert_eq!(stored_name("event_id", &mapping), None);
        assert_eq!(stored_name("created_at", &mapping), Some("created_at".into()));
        assert_eq!(stored_name("ts", &mapping), Some("ts_source".into()));
        assert_eq!(stored_name("Date", &mapping), Some("Date_source".into()));
        let composite = Mapping { id: IdSource::Columns(vec!["event_id".into(), "n".into()]), ..Mapping::default() };
        assert_eq!(stored_name("event_id", &composite), Some("event_id_source".into()));
    }
}
