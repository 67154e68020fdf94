//! The partition (cell) of an event, and its folder: `date=2026-08-24/event_type=login/tenant_id=acme`.
//!
//! Values are percent-encoded as Hive does, so that every engine that reads Hive folders reads the archive, and no
//! value can leave its folder. A value that Hive cannot carry is refused before it gets this far: see [`Key::parse`].

use std::fmt::{self, Write};

use jiff::civil::Date;
use percent_encoding::percent_decode_str;

/// The longest encoded key. File systems take 255 bytes per name, and `event_type=` needs some of them.
pub const MAX_ENCODED_KEY_BYTES: usize = 200;

/// Files of cells lie below this folder.
pub const EVENTS: &str = "events";

/// Hive's name for null, <https://hive.apache.org/> (`hive.exec.default.partition.name`): readers turn it into null.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A valid event type or tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// Why a text cannot be a partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKey {
    Empty,
    TooLong,
    HiveNull,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadKey::Empty => f.write_str("is empty"),
            BadKey::TooLong => write!(f, "is longer than {MAX_ENCODED_KEY_BYTES} bytes once percent-encoded"),
            BadKey::HiveNull => write!(f, "is {HIVE_NULL}, which Hive readers take for null"),
        }
    }
}

impl Key {
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let encoded_bytes: usize = text.chars().map(|c| if needs_encoding(c) { 3 } else { c.len_utf8() }).sum();
        match text {
            "" => Err(BadKey::Empty),
            HIVE_NULL => Err(BadKey::HiveNull),
            _ if encoded_bytes > MAX_ENCODED_KEY_BYTES => Err(BadKey::TooLong),
            _ => Ok(Key(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One cell of the archive. The order is the order of a leaf: tenant, type, date.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub tenant_id: Key,
    pub event_type: Key,
    pub date: Date,
}

impl Partition {
    /// The folder of this cell, relative to `events/`.
    pub fn folder(&self) -> String {
        let mut folder = String::new();
        write_folder(self.date, &self.event_type.0, &self.tenant_id.0, &mut folder);
        folder
    }

    /// The file of this cell that a run of this name gave this number, relative to the archive root.
    pub fn file(&self, run: &str, number: u64) -> String {
        path_in_cell(self.date, &self.event_type.0, &self.tenant_id.0, run, number)
    }

    /// The inverse of [`Partition::folder`]; `None` when the text is no cell's folder.
    pub fn parse_folder(folder: &str) -> Option<Self> {
        let mut parts = folder.split('/');
        let date = parts.next()?.strip_prefix("date=")?.parse().ok()?;
        let event_type = decode(parts.next()?.strip_prefix("event_type=")?)?;
        let tenant_id = decode(parts.next()?.strip_prefix("tenant_id=")?)?;
        parts.next().is_none().then_some(Partition { tenant_id, event_type, date })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder())
    }
}

/// What [`Partition::file`] is of these keys.
pub(super) fn path_in_cell(date: Date, event_type: &str, tenant_id: &str, run: &str, number: u64) -> String {
    // One allocation is enough for nearly all of them.
    let mut path = String::with_capacity(128);
    path.push_str(EVENTS);
    path.push('/');
    write_folder(date, event_type, tenant_id, &mut path);
    write!(path, "/{run}-{number}.parquet").expect("a String takes every write");
    path
}

/// Appends what [`Partition::folder`] is of these keys.
fn write_folder(date: Date, event_type: &str, tenant_id: &str, out: &mut String) {
    write!(out, "date={date}/event_type=").expect("a String takes every write");
    encode_into(event_type, out);
    out.push_str("/tenant_id=");
    encode_into(tenant_id, out);
}

/// Hive's list: `FileUtils.charToEscape` in apache/hive, `common/src/java/org/apache/hadoop/hive/common/FileUtils.java`.
fn needs_encoding(c: char) -> bool {
    c.is_ascii_control()
        || matches!(
            c,
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' | '<' | '>' | '|'
        )
}

/// A key as it stands in the name of its folder.
pub fn folder_value(key: &str) -> String {
    let mut value = String::with_capacity(key.len());
    encode_into(key, &mut value);
    value
}

fn encode_into(value: &str, out: &mut String) {
    for c in value.chars() {
        if needs_encoding(c) {
            write!(out, "%{:02X}", c as u32).expect("a String takes every write");
        } else {
            out.push(c);
        }
    }
}

fn decode(encoded: &str) -> Option<Key> {
    Key::parse(&percent_decode_str(encoded).decode_utf8().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(event_type: &str, tenant: &str) -> Partition {
        Partition {
            tenant_id: Key::parse(tenant).unwrap(),
            event_type: Key::parse(event_type).unwrap(),
            date: "2026-08-24".parse().unwrap(),
        }
    }

    #[test]
    fn folders_are_encoded_as_hive_does() {
        assert_eq!(cell("login", "acme").folder(), "date=2026-08-24/event_type=login/tenant_id=acme");
        assert_eq!(cell("a b", "名前").folder(), "date=2026-08-24/event_type=a b/tenant_id=名前");
        assert_eq!(cell("../..", "%2e").folder(), "date=2026-08-24/event_type=..%2F../tenant_id=%252e");
        assert_eq!(cell("a=b", "x\n").folder(), "date=2026-08-24/event_type=a%3Db/tenant_id=x%0A");
    }

    #[test]
    fn every_folder_parses_back_to_its_cell() {
        for value in ["007", "a=b", "名前", "a b", "%2e", "..", "a/b", "\u{7f}", "it's", "a\"b", "100%"] {
            let cell = cell(value, value);
            assert_eq!(Partition::parse_folder(&cell.folder()), Some(cell));
        }
        assert_eq!(Partition::parse_folder("date=2026-08-24/event_type=x"), None);
    }

    #[test]
    fn keys_that_a_folder_cannot_carry_are_refused() {
        assert_eq!(Key::parse(""), Err(BadKey::Empty));
        assert_eq!(Key::parse("__HIVE_DEFAULT_PARTITION__"), Err(BadKey::HiveNull));
        assert_eq!(Key::parse(&"%".repeat(67)), Err(BadKey::TooLong));
        assert!(Key::parse(&"%".repeat(66)).is_ok());
    }
}
