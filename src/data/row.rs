//! One event as bytes, while a run holds it: in memory, in a spill file, in a piece of a large cell.
//!
//! Rows, not columns. Events come in any order and leave by cell: as columns, each value of each row would be moved, and
//! missed by the cache, whenever rows are regrouped. A row is written once, after the one decoded before it, copied as one
//! piece, and taken apart once, when the columns of its cell are built in their final order.
//!
//! # Format
//! Little-endian: the length of the rest (u32), order (u64), time (i64), length of the fields (u32), the fields that are not
//! null, each a column's number in the run (u16), a tag (u8) and a value, and the id. A field is written as soon as it was
//! decoded, before it is known which of them is the id. It is read by the process that wrote it.

use std::io::{self, BufRead};

use super::reused::Reused;
use super::values::Value;

const LENGTH_BYTES: usize = 4;

/// Order, time, and the length of the fields.
const HEAD_BYTES: usize = 20;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const TIME: u8 = 4;
const TEXT: u8 = 5;

/// A row's bytes without their length.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(&'a [u8]);

/// A value as a row holds it; a text is UTF-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stored<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Time(i64),
    Text(&'a [u8]),
}

impl<'a> Row<'a> {
    /// The first of these rows and the bytes after it; `None` when not all of one is there.
    #[inline]
    pub fn split_first(bytes: &'a [u8]) -> Option<(Row<'a>, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some((Row(row), rest))
    }

    /// The row whose bytes these are, with their length before them.
    #[inline]
    pub fn whole(bytes: &'a [u8]) -> Row<'a> {
        Row(&bytes[LENGTH_BYTES..])
    }

    /// Its place in the run: see [`super::rows::order`].
    #[inline]
    pub fn order(&self) -> u64 {
        u64::from_le_bytes(chunk(self.0))
    }

    /// Microseconds since the epoch.
    #[inline]
    pub fn ts(&self) -> i64 {
        i64::from_le_bytes(chunk(&self.0[8..]))
    }

    #[inline]
    pub fn id(&self) -> &'a [u8] {
        &self.0[HEAD_BYTES + self.fields_bytes()..]
    }

    /// All but the order: rows of the same are the same event. The reverse does not hold: fields may come in any order.
    pub fn content(&self) -> &'a [u8] {
        &self.0[8..]
    }

    /// The values with their columns' numbers, in the order of the record.
    pub fn fields(&self) -> impl Iterator<Item = (usize, Stored<'a>)> + use<'a> {
        let mut rest = &self.0[HEAD_BYTES..][..self.fields_bytes()];
        std::iter::from_fn(move || {
            let (&[low, high, tag], value) = rest.split_first_chunk()?;
            let (stored, length) = match tag {
                FALSE | TRUE => (Stored::Bool(tag == TRUE), 0),
                INT => (Stored::Int(i64::from_le_bytes(chunk(value))), 8),
                FLOAT => (Stored::Float(f64::from_le_bytes(chunk(value))), 8),
                TIME => (Stored::Time(i64::from_le_bytes(chunk(value))), 8),
                _ => {
                    let length = LENGTH_BYTES + u32::from_le_bytes(chunk(value)) as usize;
                    (Stored::Text(&value[LENGTH_BYTES..length]), length)
                }
            };
            rest = &value[length..];
            Some((usize::from(u16::from_le_bytes([low, high])), stored))
        })
    }

    /// What it takes among others.
    #[inline]
    pub fn stored_bytes(&self) -> usize {
        LENGTH_BYTES + self.0.len()
    }

    #[inline]
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.0);
    }

    #[inline]
    fn fields_bytes(&self) -> usize {
        u32::from_le_bytes(chunk(&self.0[16..])) as usize
    }
}

/// The rows in these bytes.
pub fn rows(mut bytes: &[u8]) -> impl Iterator<Item = Row<'_>> {
    std::iter::from_fn(move || {
        let (row, rest) = Row::split_first(bytes)?;
        bytes = rest;
        Some(row)
    })
}

/// Reads the bytes of the next row in place of those that are there; `false` at the end.
pub fn read_next(file: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<bool> {
    if file.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut length = [0; LENGTH_BYTES];
    file.read_exact(&mut length)?;
    bytes.clear();
    bytes.extend_from_slice(&length);
    bytes.resize(LENGTH_BYTES + u32::from_le_bytes(length) as usize, 0);
    file.read_exact(&mut bytes[LENGTH_BYTES..])?;
    Ok(true)
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a row is whole")
}

/// Writes rows one after another. The one after the last that was ended is open: fields are added to it.
#[derive(Debug)]
pub struct RowWriter {
    bytes: Reused,
    /// Where the open row begins.
    start: usize,
}

impl Default for RowWriter {
    fn default() -> Self {
        let mut writer = RowWriter { bytes: Reused::default(), start: 0 };
        writer.open();
        writer
    }
}

impl RowWriter {
    /// Adds a value to the open row.
    #[inline(always)]
    pub fn field(&mut self, column: u16, value: &Value<'_>) {
        let [low, high] = column.to_le_bytes();
        let mut eight = |tag, value: [u8; 8]| {
            let [a, b, c, d, e, f, g, h] = value;
            self.bytes.extend_from_slice(&[low, high, tag, a, b, c, d, e, f, g, h]);
        };
        match value {
            Value::Int(value) => eight(INT, value.to_le_bytes()),
            Value::Float(value) => eight(FLOAT, value.to_le_bytes()),
            Value::Time(value) => eight(TIME, value.to_le_bytes()),
            Value::Bool(value) => self.bytes.extend_from_slice(&[low, high, if *value { TRUE } else { FALSE }]),
            Value::Text(value) => {
                let [a, b, c, d] = (value.len() as u32).to_le_bytes();
                self.bytes.extend_from_slice(&[low, high, TEXT, a, b, c, d]);
                self.bytes.extend_from_slice(value.as_bytes());
            }
        }
    }

    /// Ends the row and returns what it takes among others.
    #[inline]
    pub fn end(&mut self, order: u64, ts: i64, id: &str) -> u32 {
        let fields_bytes = (self.bytes.len() - self.start - LENGTH_BYTES - HEAD_BYTES) as u32;
        self.bytes.extend_from_slice(id.as_bytes());
        let all = (self.bytes.len() - self.start) as u32;
        let head = &mut self.bytes[self.start..][..LENGTH_BYTES + HEAD_BYTES];
        head[..4].copy_from_slice(&(all - LENGTH_BYTES as u32).to_le_bytes());
        head[4..12].copy_from_slice(&order.to_le_bytes());
        head[12..20].copy_from_slice(&ts.to_le_bytes());
        head[20..].copy_from_slice(&fields_bytes.to_le_bytes());
        self.start = self.bytes.len();
        self.open();
        all
    }

    /// Drops the fields of the open row.
    #[inline]
    pub fn abandon(&mut self) {
        self.bytes.truncate(self.start + LENGTH_BYTES + HEAD_BYTES);
    }

    fn open(&mut self) {
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES + HEAD_BYTES]);
    }

    /// All rows that were ended.
    pub fn take(&mut self) -> Reused {
        self.bytes.truncate(self.start);
        self.start = 0;
        let mut next = self.bytes.another();
        next.clear();
        // What follows differs little in size.
        next.reserve(self.bytes.len());
        let rows = std::mem::replace(&mut self.bytes, next);
        self.open();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written_and_a_dropped_one_leaves_nothing() {
        let mut writer = RowWriter::default();
        writer.field(0, &Value::Text("dropped".into()));
        writer.abandon();
        writer.field(3, &Value::Text("ü".into()));
        writer.field(1, &Value::Bool(true));
        writer.field(1999, &Value::Int(-4));
        writer.field(4, &Value::Float(0.5));
        writer.field(5, &Value::Time(9));
        writer.end(7, -5, "a");
        writer.end(8, 0, "");
        writer.field(0, &Value::Text("never ended".into()));
        let bytes = writer.take();
        let [first, second] = rows(&bytes).collect::<Vec<_>>()[..] else { panic!("not two rows") };
        assert_eq!((first.order(), first.ts(), first.id()), (7, -5, "a".as_bytes()));
        let fields = [
            (3, Stored::Text("ü".as_bytes())),
            (1, Stored::Bool(true)),
            (1999, Stored::Int(-4)),
            (4, Stored::Float(0.5)),
            (5, Stored::Time(9)),
        ];
        assert_eq!(first.fields().collect::<Vec<_>>(), fields);
        assert_eq!((second.order(), second.id(), second.fields().count()), (8, &b""[..], 0));
        let mut copy = Vec::new();
        rows(&bytes).for_each(|row| row.append_to(&mut copy));
        assert_eq!(copy, *bytes);
        let (mut source, mut next) = (&bytes[..], Vec::new());
        let mut read = Vec::new();
        while read_next(&mut source, &mut next).unwrap() {
            read.extend_from_slice(&next);
        }
        assert_eq!(read, *bytes);
        assert!(rows(&bytes[..first.stored_bytes() - 1]).next().is_none());
        assert!(writer.take().is_empty());
        writer.end(9, 0, "b");
        assert_eq!(rows(&writer.take()).map(|row| (row.order(), row.fields().count())).collect::<Vec<_>>(), [(9, 0)]);
    }
}
