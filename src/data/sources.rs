//! The columns of an export as one thread meets them, and what the mapping makes of each.

use std::collections::HashMap;
use std::sync::PoisonError;

use foldhash::fast::RandomState;

use super::columns::{MAX_COLUMNS, Resolved, Seen};
use super::rows::{Rejection, Rules};
use super::step::begins_with;
use super::values::Scalar;
use crate::model::{IdSource, KeySource, Mapping, RESERVED_COLUMNS, Reason};

/// Sources looked at before a name is looked up.
const NEAR: usize = 3;

/// A source column and the parts it plays.
pub struct Source {
    pub name: String,
    /// In lower case: spellings that differ in case are one column.
    pub lower: String,
    /// As JSON has it: in quotes, with a colon. `None` of a name that JSON would escape.
    quoted: Option<Box<[u8]>>,
    /// Index into the columns, unless the canonical column is all there is to store.
    pub column: Option<usize>,
    /// The mapping makes something of it.
    pub has_role: bool,
    /// The last record that had this field.
    pub record: u64,
}

/// A column that values of this thread's records are stored in.
pub struct Column {
    pub resolved: Resolved,
    /// What the values have been since the last block, where the type is not yet known.
    pub seen: Seen,
    /// The last record that had a value: two source columns may be stored as one.
    pub record: u64,
}

/// A column that the mapping names.
pub struct Role {
    /// In lower case.
    name: String,
    /// Its source, once a record had it.
    source: Option<usize>,
}

/// Which sources the mapping makes id, keys and time of: looked up by name once, not for each record.
pub struct Roles {
    pub ids: Vec<Role>,
    pub event_type: Option<Role>,
    pub tenant: Option<Role>,
    pub time: Role,
}

/// The fields of one record that are looked at when all of it was read: sources and values.
#[derive(Default)]
pub struct Fields<'a>(Vec<(usize, Scalar<'a>)>);

/// The sources met so far.
pub struct Sources {
    pub list: Vec<Source>,
    pub columns: Vec<Column>,
    pub roles: Roles,
    by_name: HashMap<String, usize, RandomState>,
    /// Where the next field is likely to belong: records tend to look alike.
    expected: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    pub fn push(&mut self, source: usize, value: Scalar<'a>) {
        self.0.push((source, value));
    }

    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub fn get(&self, wanted: usize) -> Option<&Scalar<'a>> {
        self.0.iter().find(|(source, _)| *source == wanted).map(|(_, value)| value)
    }

    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Scalar<'a>)> {
        self.0.iter().map(|(source, value)| (*source, value))
    }

    /// No fields, in the same memory, for a record that lives elsewhere.
    #[inline]
    pub fn reuse<'b>(mut self) -> Fields<'b> {
        self.clear();
        Fields(self.0.into_iter().map(|_| unreachable!("it was cleared")).collect())
    }
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

    /// Gives a new source the roles that its name in lower case has; `false` if there are none.
    fn assign(&mut self, source: usize, lower: &str) -> bool {
        let others = [self.event_type.as_mut(), self.tenant.as_mut(), Some(&mut self.time)];
        let roles = self.ids.iter_mut().chain(others.into_iter().flatten());
        let mut has_any = false;
        for role in roles.filter(|role| role.name == lower) {
            role.source = Some(source);
            has_any = true;
        }
        has_any
    }
}

impl Role {
    /// The record's value.
    #[inline]
    pub fn value<'f, 'a>(&self, fields: &'f Fields<'a>) -> Option<&'f Scalar<'a>> {
        fields.get(self.source?)
    }
}

impl Sources {
    pub fn new(mapping: &Mapping) -> Self {
        Sources {
            list: Vec::new(),
            columns: Vec::new(),
            roles: Roles::new(mapping),
            by_name: HashMap::default(),
            expected: 0,
        }
    }

    /// The next field is the first of its record.
    pub fn next_record(&mut self) {
        self.expected = 0;
    }

    /// The source whose name, in quotes and with a colon, this JSON begins with, and the length of that: if it is one of
    /// those that are likely here.
    #[inline]
    pub fn expected(&mut self, json: &[u8]) -> Option<(usize, usize)> {
        for (index, source) in self.list.iter().enumerate().skip(self.expected).take(NEAR) {
            if let Some(quoted) = source.quoted.as_deref().filter(|quoted| begins_with(json, quoted)) {
                self.expected = index + 1;
                return Some((index, quoted.len()));
            }
        }
        None
    }

    /// The source of this name, in whatever case; a new one is added.
    pub fn find(&mut self, rules: &Rules, name: &str) -> Result<usize, Rejection> {
        // A null before it was left out.
        let mut near = self.list.iter().skip(self.expected).take(NEAR);
        let index = match near.position(|source| source.name == name) {
            Some(skipped) => self.expected + skipped,
            None => match self.by_name.get(name) {
                Some(&index) => index,
                None => self.add(rules, name)?,
            },
        };
        self.expected = index + 1;
        Ok(index)
    }

    fn add(&mut self, rules: &Rules, name: &str) -> Result<usize, Rejection> {
        // Another spelling of a column that is there already.
        let lower = name.to_lowercase();
        if let Some(index) = self.list.iter().position(|source| source.lower == lower) {
            self.by_name.insert(name.to_owned(), index);
            return Ok(index);
        }
        if name.is_empty() {
            return Err(Rejection::new(Reason::Columns, "a column without a name"));
        }
        // Readers in C end a name there.
        if name.contains('\0') {
            return Err(Rejection::new(Reason::Columns, format!("a column whose name has a NUL in it: {name:?}")));
        }
        let column = match stored_name(name, &rules.mapping) {
            None => None,
            Some(stored) => {
                if stored != name {
                    let mut renamed = rules.renamed.lock().unwrap_or_else(PoisonError::into_inner);
                    renamed.insert((name.to_owned(), stored.clone()));
                }
                let resolved = rules.columns.resolve(&stored).ok_or_else(|| {
                    let detail = format!("column `{name}` is one too many: an archive has at most {MAX_COLUMNS}");
                    Rejection::new(Reason::Columns, detail)
                })?;
                let shared = self.columns.iter().position(|column| column.resolved.number == resolved.number);
                Some(shared.unwrap_or_else(|| {
                    self.columns.push(Column { resolved, seen: Seen::default(), record: 0 });
                    self.columns.len() - 1
                }))
            }
        };
        let index = self.list.len();
        // An id that is made from the whole record is made from each field.
        let has_role = self.roles.assign(index, &lower) || rules.mapping.id == IdSource::Hash;
        let is_plain = !name.contains(|c: char| c == '"' || c == '\\' || c < ' ');
        let quoted = is_plain.then(|| format!("\"{name}\":").into_bytes().into_boxed_slice());
        self.list.push(Source { name: name.to_owned(), lower, quoted, column, has_role, record: 0 });
        self.by_name.insert(name.to_owned(), index);
        Ok(index)
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
