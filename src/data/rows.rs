//! Fields to rows: applies the mapping and validates.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Mutex;

use jiff::civil::Date;

use super::cells::{CellNumbers, Cells};
use super::columns::{Columns, Resolved};
use super::ids;
use super::reused::Reused;
use super::row::RowWriter;
use super::sources::{Fields, Role, Source, Sources};
use super::time::{self, BadTime};
use super::values::{Kinds, Scalar, kinds};
use crate::error::{Error, Result};
use crate::model::{ColumnType, IdSource, KeySource, Mapping, Reason, date_of_micros, timestamp_of_micros};

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

const MICROS_PER_DAY: i64 = 86_400_000_000;

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

/// The accepted rows of one block: see [`super::row`]. Values are in their column's type, those of new columns text.
#[derive(Debug)]
pub struct Rows {
    pub bytes: Reused,
    /// The cell of each row.
    pub cells: Vec<u32>,
    /// And its bytes.
    pub lengths: Vec<u32>,
}

impl Rows {
    pub fn memory_bytes(&self) -> usize {
        // Regrouped, each row has a place beside its cell.
        const PLACE_BYTES: usize = 16;
        self.bytes.capacity() + self.cells.len() * (2 * size_of::<u32>() + PLACE_BYTES)
    }
}

/// Collects rows, block by block. For each record: [`RowBuilder::field`] for its fields, then [`RowBuilder::finish`].
pub struct RowBuilder<'r> {
    rules: &'r Rules,
    export: u64,
    /// The only date that events may have.
    date: Option<Date>,
    sources: Sources,
    rows: RowWriter,
    cells: Vec<u32>,
    lengths: Vec<u32>,
    /// The day of the last time, since the epoch, and its date.
    last_day: (i64, Option<Date>),
    cell_numbers: CellNumbers,
    /// Tells the fields of this record from those of earlier ones.
    record: u64,
    /// Its values in columns whose type is not yet known: they count when it is accepted.
    noted: Vec<Noted>,
    /// Its first value that its column cannot hold.
    misfit: Option<Rejection>,
}

struct Noted {
    source: usize,
    column: usize,
    kind: Kinds,
    is_untyped_text: bool,
}

impl<'r> RowBuilder<'r> {
    pub fn new(rules: &'r Rules) -> Self {
        RowBuilder {
            rules,
            export: 0,
            date: None,
            sources: Sources::new(&rules.mapping),
            rows: RowWriter::default(),
            cells: Vec::new(),
            lengths: Vec::new(),
            last_day: (0, date_of_micros(0)),
            cell_numbers: CellNumbers::default(),
            record: 1,
            noted: Vec::new(),
            misfit: None,
        }
    }

    /// The records that follow are of this export; those of other dates than `date` are refused, for sources that say
    /// which date their records are of.
    pub fn begin(&mut self, export: u64, date: Option<Date>) {
        (self.export, self.date) = (export, date);
    }

    /// Adds a field to the record being read. A null is no field.
    pub fn field<'a>(&mut self, fields: &mut Fields<'a>, name: &str, value: Scalar<'a>) -> Result<(), Rejection> {
        if value.is_null() {
            return Ok(());
        }
        let source = self.source(name)?;
        self.field_of(fields, source, value)
    }

    /// The source of this name, in whatever case. One without a value must not be asked for: it is no column.
    pub fn source(&mut self, name: &str) -> Result<usize, Rejection> {
        self.sources.find(self.rules, name)
    }

    /// The source that this JSON begins with the name of, and the bytes of that: see [`Sources::expected`].
    #[inline]
    pub fn expected_source(&mut self, json: &[u8]) -> Option<(usize, usize)> {
        self.sources.expected(json)
    }

    /// Adds a field whose source is known. Always inlined: what the value is, is most often known where it is made.
    #[inline(always)]
    pub fn field_of<'a>(&mut self, fields: &mut Fields<'a>, source: usize, value: Scalar<'a>) -> Result<(), Rejection> {
        if value.is_null() {
            return Ok(());
        }
        let Source { name, column, has_role, record, .. } = &mut self.sources.list[source];
        if std::mem::replace(record, self.record) == self.record {
            return Err(is_there_twice(name));
        }
        let (column, has_role) = (*column, *has_role);
        // No closure: the compiler left it a function of its own, which read the value right after it was written.
        let is_kept = match column {
            Some(column) => self.store(source, column, &value)?,
            None => false,
        };
        if is_kept || has_role {
            fields.push(source, value);
        }
        Ok(())
    }

    /// Adds a value to the row; `true` if it has to be looked at once more when the record is accepted.
    #[inline(always)]
    fn store(&mut self, source: usize, index: usize, value: &Scalar<'_>) -> Result<bool, Rejection> {
        let column = &mut self.sources.columns[index];
        if std::mem::replace(&mut column.record, self.record) == self.record {
            return Err(are_stored_as_one(&column.resolved));
        }
        let Resolved { number, known, .. } = column.resolved;
        if let Some(column_type) = known {
            match value.fit(column_type) {
                Some(stored) => self.rows.field(number, &stored),
                None => _ = self.misfit.get_or_insert_with(|| misfit(&column.resolved, value)),
            }
            return Ok(false);
        }
        let (kind, stored) = value.for_new_column();
        self.rows.field(number, &stored);
        let is_untyped_text = kind == kinds::TEXT && matches!(value, Scalar::Untyped(_));
        // Texts that said they were are not counted.
        if is_untyped_text || kind != kinds::TEXT || column.seen.kinds & kinds::TEXT == 0 {
            self.noted.push(Noted { source, column: index, kind, is_untyped_text });
        }
        Ok(is_untyped_text && column.seen.first_text.is_none())
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
        self.rows.abandon();
        self.noted.clear();
        self.misfit = None;
        self.record += 1;
        self.sources.next_record();
    }

    fn accept(&mut self, fields: &Fields<'_>, line: u64) -> Result<(), Refused> {
        let mapping = &self.rules.mapping;
        let event_id = self.event_id(fields)?;
        let event_type = key(fields, &mapping.event_type, self.sources.roles.event_type.as_ref(), "event type")?;
        let tenant = key(fields, &mapping.tenant, self.sources.roles.tenant.as_ref(), "tenant")?;
        let (micros, date) = self.time(fields)?;
        if let Some(misfit) = self.misfit.take() {
            return Err(misfit.into());
        }
        let bad_key = |what: &str, bad| Rejection::new(Reason::Key, format!("the {what} {bad}"));
        let cell = self
            .cell_numbers
            .number(&self.rules.cells, date, &event_type, &tenant)
            .map_err(|(of_type, bad)| bad_key(if of_type { "event type" } else { "tenant" }, bad))?;
        self.lengths.push(self.rows.end(order(self.export, line), micros, &event_id));
        self.cells.push(cell);
        for noted in self.noted.drain(..) {
            let seen = &mut self.sources.columns[noted.column].seen;
            if noted.is_untyped_text {
                seen.add_untyped_text((self.export, line), fields.get(noted.source));
            } else {
                seen.add(noted.kind);
            }
        }
        Ok(())
    }

    fn event_id<'f>(&self, fields: &'f Fields<'_>) -> Result<Cow<'f, str>, Rejection> {
        let text = |(role, name): (&Role, &String)| match role.value(fields).map(Scalar::text) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Rejection::new(Reason::Id, format!("no event id: `{name}` is missing or empty"))),
        };
        match &self.rules.mapping.id {
            IdSource::Columns(names) if names.len() == 1 => text((&self.sources.roles.ids[0], &names[0])),
            IdSource::Columns(names) => {
                let parts = self.sources.roles.ids.iter().zip(names).map(text).collect::<Result<Vec<_>, _>>()?;
                Ok(Cow::Owned(ids::composite(&parts)))
            }
            IdSource::Hash => Ok(Cow::Owned(ids::hash(
                fields.iter().map(|(source, value)| (self.sources.list[source].lower.as_str(), value.text())).collect(),
            ))),
        }
    }

    fn time(&mut self, fields: &Fields<'_>) -> Result<(i64, Date), Refused> {
        let mapping = &self.rules.mapping;
        let name = &mapping.time;
        let reject = |detail: String| Refused::Record(Rejection::new(Reason::Time, detail));
        let value =
            self.sources.roles.time.value(fields).ok_or_else(|| reject(format!("no time: `{name}` is missing")))?;
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
        let day = micros.div_euclid(MICROS_PER_DAY);
        if day != self.last_day.0 {
            self.last_day = (day, date_of_micros(micros));
        }
        let date = self.last_day.1.ok_or_else(|| reject(format!("`{name}` is out of range: {}", shown())))?;
        match self.date {
            Some(expected) if expected != date => {
                Err(reject(format!("`{name}` is not of the day {expected}, under which it is kept: {}", shown())))
            }
            _ => Ok((micros, date)),
        }
    }

    /// The rows since the last time, if there are any. What new columns could be is noted for the run.
    pub fn build(&mut self) -> Option<Rows> {
        for column in &mut self.sources.columns {
            if column.seen.kinds != 0 {
                self.rules.columns.saw(&column.resolved.name, std::mem::take(&mut column.seen));
            }
        }
        // As much room for the next: blocks differ little.
        let count = self.cells.len();
        let cells = std::mem::replace(&mut self.cells, Vec::with_capacity(count));
        let lengths = std::mem::replace(&mut self.lengths, Vec::with_capacity(count));
        let bytes = self.rows.take();
        (!cells.is_empty()).then_some(Rows { bytes, cells, lengths })
    }
}

fn key<'f>(
    fields: &'f Fields<'_>,
    source: &'f KeySource,
    role: Option<&Role>,
    what: &str,
) -> Result<Cow<'f, str>, Rejection> {
    match source {
        KeySource::Constant(value) => Ok(Cow::Borrowed(value)),
        KeySource::Column(name) => role
            .and_then(|role| role.value(fields))
            .map(Scalar::text)
            .ok_or_else(|| Rejection::new(Reason::Key, format!("no {what}: `{name}` is missing"))),
    }
}

#[cold]
fn is_there_twice(name: &str) -> Rejection {
    Rejection::new(Reason::Syntax, format!("column `{name}` is there twice"))
}

#[cold]
fn are_stored_as_one(column: &Resolved) -> Rejection {
    Rejection::new(Reason::Columns, format!("two columns of it are to be stored as `{}`", column.name))
}

#[cold]
fn misfit(column: &Resolved, scalar: &Scalar<'_>) -> Rejection {
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
