//! Fields to rows: applies the mapping and validates.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use jiff::civil::Date;

use super::cells::{CellNumbers, Cells};
use super::columns::{Columns, Resolved, Seen};
use super::ids;
use super::row::RowWriter;
use super::time::{self, BadTime};
use super::values::Scalar;
use crate::error::{Error, Result};
use crate::model::{
    ColumnType, IdSource, KeySource, Mapping, RESERVED_COLUMNS, Reason, date_of_micros, timestamp_of_micros,
};

/// The hidden column of a cell's rows: where a row stood, for "the first one stays".
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

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Sources looked at before a name is looked up.
const NEAR: usize = 3;

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
    pub bytes: Vec<u8>,
    /// The cell of each row.
    pub cells: Vec<u32>,
    /// And its bytes.
    pub lengths: Vec<u32>,
}

impl Rows {
    pub fn memory_bytes(&self) -> usize {
        // Regrouped, each row has a place beside its cell.
        const PLACE_BYTES: usize = 16;
        self.bytes.len() + self.cells.len() * (2 * size_of::<u32>() + PLACE_BYTES)
    }
}

/// Collects rows, block by block. For each record: [`RowBuilder::field`] for its fields, then [`RowBuilder::finish`].
pub struct RowBuilder<'r> {
    rules: &'r Rules,
    export: u64,
    /// The only date that events may have.
    date: Option<Date>,
    sources: Vec<Source>,
    by_name: HashMap<String, usize, RandomState>,
    columns: Vec<Column>,
    roles: Roles,
    rows: RowWriter,
    cells: Vec<u32>,
    lengths: Vec<u32>,
    /// The day of the last time, since the epoch, and its date.
    last_day: (i64, Option<Date>),
    cell_numbers: CellNumbers,
    /// Tells the fields of this record from those of earlier ones.
    record: u64,
    /// Where the next field is likely to belong: records tend to look alike.
    expected: usize,
}

/// A column that values of this thread's records are stored in.
struct Column {
    resolved: Resolved,
    /// What the values of a new column have been, since the last block.
    seen: Option<Seen>,
    /// The last record that had a value: two source columns may be stored as one.
    record: u64,
}

/// A column that the mapping names.
struct Role {
    /// In lower case.
    name: String,
    /// Its source, once a record had it.
    source: Option<usize>,
}

/// Which sources the mapping makes id, keys and time of: looked up by name once, not for each record.
struct Roles {
    ids: Vec<Role>,
    event_type: Option<Role>,
    tenant: Option<Role>,
    time: Role,
}

impl Roles {
    fn new(mapping: &Mapping) -> Self {
        let role = |name: &String| Role { name: name.to_lowercase(), source: None };
        let key = |source: &KeySource| match source {
            KeySource::Column(name) => Some(role(name)),
            KeySource::Constant(_) => None,
        };
        let ids = match &mapping.id {
            IdSource::Columns(names) => names.iter().map(role).collect(),
            IdSource::Hash => Vec::new(),
        };
        Roles { ids, event_type: key(&mapping.event_type), tenant: key(&mapping.tenant), time: role(&mapping.time) }
    }

    /// Gives a new source the roles that its name in lower case has.
    fn assign(&mut self, source: usize, lower: &str) {
        let others = [self.event_type.as_mut(), self.tenant.as_mut(), Some(&mut self.time)];
        let roles = self.ids.iter_mut().chain(others.into_iter().flatten());
        roles.filter(|role| role.name == lower).for_each(|role| role.source = Some(source));
    }
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
    pub fn with_capacity(fields: usize) -> Self {
        Fields(Vec::with_capacity(fields))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<'r> RowBuilder<'r> {
    pub fn new(rules: &'r Rules) -> Self {
        RowBuilder {
            rules,
            export: 0,
            date: None,
            sources: Vec::new(),
            by_name: HashMap::default(),
            columns: Vec::new(),
            roles: Roles::new(&rules.mapping),
            rows: RowWriter::default(),
            cells: Vec::new(),
            lengths: Vec::new(),
            last_day: (0, date_of_micros(0)),
            cell_numbers: CellNumbers::default(),
            record: 1,
            expected: 0,
        }
    }

    /// The records that follow are of this export; those of other dates than `date` are refused, for sources that say
    /// which date their records are of.
    pub fn begin(&mut self, export: u64, date: Option<Date>) {
        (self.export, self.date) = (export, date);
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
                let detail = format!("two columns of it are to be stored as `{}`", column.resolved.name);
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
        let event_type = key(fields, &mapping.event_type, self.roles.event_type.as_ref(), "event type")?;
        let tenant = key(fields, &mapping.tenant, self.roles.tenant.as_ref(), "tenant")?;
        let (micros, date) = self.time(fields)?;
        self.rows.begin(order(self.export, line), micros, &event_id);
        for (column, scalar) in stored(&self.sources, fields) {
            let Resolved { number, known, .. } = self.columns[column].resolved;
            if !self.rows.field(number, scalar, known.unwrap_or(ColumnType::Varchar)) {
                return Err(misfit(&self.columns[column].resolved, scalar).into());
            }
        }
        let bad_key = |what: &str, bad| Rejection::new(Reason::Key, format!("the {what} {bad}"));
        let cell = self
            .cell_numbers
            .number(&self.rules.cells, date, &event_type, &tenant)
            .map_err(|(of_type, bad)| bad_key(if of_type { "event type" } else { "tenant" }, bad))?;
        self.lengths.push(self.rows.end());
        self.cells.push(cell);
        for (column, scalar) in stored(&self.sources, fields) {
            if let Some(seen) = &mut self.columns[column].seen {
                seen.add(scalar, (self.export, line));
            }
        }
        Ok(())
    }

    fn source(&mut self, name: &str) -> Result<usize, Rejection> {
        // A null before it was left out.
        let mut near = self.sources.iter().skip(self.expected).take(NEAR);
        if let Some(index) = near.position(|source| source.name == name).map(|skipped| self.expected + skipped) {
            self.expected = index + 1;
            return Ok(index);
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
                let resolved = self.rules.columns.resolve(&stored).ok_or_else(|| {
                    let limit = super::columns::MAX_COLUMNS;
                    Rejection::new(
                        Reason::Columns,
                        format!("column `{name}` is one too many: an archive has at most {limit}"),
                    )
                })?;
                let shared = self.columns.iter().position(|column| column.resolved.number == resolved.number);
                Some(shared.unwrap_or_else(|| {
                    let seen = resolved.known.is_none().then(Seen::default);
                    self.columns.push(Column { resolved, seen, record: 0 });
                    self.columns.len() - 1
                }))
            }
        };
        self.roles.assign(self.sources.len(), &lower);
        self.sources.push(Source { name: name.to_owned(), lower, column, record: 0 });
        self.by_name.insert(name.to_owned(), self.sources.len() - 1);
        Ok(self.sources.len() - 1)
    }

    fn event_id<'f>(&self, fields: &'f Fields<'_>) -> Result<Cow<'f, str>, Rejection> {
        let text = |(role, name): (&Role, &String)| match role.value(fields).map(Scalar::text) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Rejection::new(Reason::Id, format!("no event id: `{name}` is missing or empty"))),
        };
        match &self.rules.mapping.id {
            IdSource::Columns(names) => {
                let mut parts = self.roles.ids.iter().zip(names).map(text).collect::<Result<Vec<_>, _>>()?;
                match (names.len(), parts.pop()) {
                    (1, Some(only)) => Ok(only),
                    (_, last) => {
                        parts.extend(last);
                        Ok(Cow::Owned(ids::composite(&parts)))
                    }
                }
            }
            IdSource::Hash => Ok(Cow::Owned(ids::hash(
                fields.0.iter().map(|(source, value)| (self.sources[*source].lower.as_str(), value.text())).collect(),
            ))),
        }
    }

    fn time(&mut self, fields: &Fields<'_>) -> Result<(i64, Date), Refused> {
        let mapping = &self.rules.mapping;
        let name = &mapping.time;
        let reject = |detail: String| Refused::Record(Rejection::new(Reason::Time, detail));
        let value = self.roles.time.value(fields).ok_or_else(|| reject(format!("no time: `{name}` is missing")))?;
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
        for column in &mut self.columns {
            if let Some(seen) = column.seen.as_mut().filter(|seen| seen.kinds != 0) {
                self.rules.columns.saw(&column.resolved.name, std::mem::take(seen));
            }
        }
        let cells = std::mem::take(&mut self.cells);
        let (bytes, lengths) = (self.rows.take(), std::mem::take(&mut self.lengths));
        (!cells.is_empty()).then_some(Rows { bytes, cells, lengths })
    }
}

impl Role {
    /// The record's value.
    fn value<'f, 'a>(&self, fields: &'f Fields<'a>) -> Option<&'f Scalar<'a>> {
        let wanted = self.source?;
        fields.0.iter().find(|(source, _)| *source == wanted).map(|(_, value)| value)
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

/// The values to store, each with the index of its column.
fn stored<'f, 'a>(sources: &'f [Source], fields: &'f Fields<'a>) -> impl Iterator<Item = (usize, &'f Scalar<'a>)> {
    fields.0.iter().filter_map(|(source, scalar)| Some((sources[*source].column?, scalar)))
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
