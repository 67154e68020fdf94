//! The records of CSV text as RFC 4180 has them, and where it is silent as the `csv` crate does, at memory speed.
//!
//! A line feed, a carriage return or both end a record; blank lines are none. A quote opens only at the beginning of a
//! field, and is a letter like others elsewhere; what follows one that closed belongs to the field.
//!
//! # Cost
//! The crate takes a byte at a time through a table, into memory of its own. Here fields lie where the text has them, and
//! only those with doubled quotes are copied.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::step::{STEP, equal, find, first};

/// The field is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8;

/// Goes through the records of a text: [`Records::begin`], then [`Records::read`] for each.
pub struct Records<'a> {
    bytes: &'a [u8],
    /// The same, where all of it is UTF-8.
    text: Option<&'a str>,
    delimiter: u8,
    at: usize,
    line: u64,
}

impl<'a> Records<'a> {
    /// `line` is the number of the first.
    pub fn new(bytes: &'a [u8], delimiter: u8, line: u64) -> Self {
        Records { bytes, text: simdutf8::basic::from_utf8(bytes).ok(), delimiter, at: 0, line }
    }

    /// Goes to the next record and returns its line and where it begins; `None` at the end.
    pub fn begin(&mut self) -> Option<(u64, usize)> {
        while let end @ (b'\r' | b'\n') = *self.bytes.get(self.at)? {
            self.line += u64::from(end == b'\n');
            self.at += 1;
        }
        Some((self.line, self.at))
    }

    /// The record that was read last, as it is written, without its end; `start` is where it begins.
    pub fn raw(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// Reads the record that begins here, hands over its fields and returns how many there are. `unescaped` has room for
    /// texts that hold quotes; those beyond it are allocated.
    #[inline(always)]
    pub fn read<'f>(
        &mut self,
        mut unescaped: &'f mut [u8],
        mut take: impl FnMut(Result<Cow<'f, str>, NotUtf8>),
    ) -> usize
    where
        'a: 'f,
    {
        let mut count = 0;
        loop {
            count += 1;
            let start = self.at;
            if self.peek() != Some(b'"') {
                self.skip_unquoted();
                take(self.text(start, self.at).map(Cow::Borrowed));
            } else if let Some(end) = self.skip_plain_quoted() {
                take(self.text(start + 1, end).map(Cow::Borrowed));
            } else if let Some(length) = self.unescape(start + 1, unescaped) {
                let (text, rest) = std::mem::take(&mut unescaped).split_at_mut(length);
                unescaped = rest;
                take(simdutf8::basic::from_utf8(text).map(Cow::Borrowed).map_err(|_| NotUtf8));
            } else {
                take(String::from_utf8(self.odd_field(start + 1)).map(Cow::Owned).map_err(|_| NotUtf8));
            }
            if self.peek() != Some(self.delimiter) {
                return count;
            }
            self.at += 1;
        }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The text between two ends of a field: in UTF-8 they never lie within a letter.
    #[inline(always)]
    fn text(&self, start: usize, end: usize) -> Result<&'a str, NotUtf8> {
        match self.text {
            Some(text) => Ok(&text[start..end]),
            None => std::str::from_utf8(&self.bytes[start..end]).map_err(|_| NotUtf8),
        }
    }

    #[inline(always)]
    fn skip_unquoted(&mut self) {
        let delimiter = self.delimiter;
        let ends = |eight| equal(eight, delimiter) | equal(eight, b'\n') | equal(eight, b'\r');
        self.at = find(self.bytes, self.at, ends).unwrap_or(self.bytes.len());
    }

    /// Whether a field may end before the byte at `at`.
    #[inline(always)]
    fn ends_field(&self, at: usize) -> bool {
        self.bytes.get(at).is_none_or(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'\r'))
    }

    /// Goes past a quoted field without quotes in it and returns where its text ends. Of another one it goes to the first
    /// quote.
    #[inline(always)]
    fn skip_plain_quoted(&mut self) -> Option<usize> {
        let start = self.at + 1;
        self.at = find(self.bytes, start, |eight| equal(eight, b'"')).unwrap_or(self.bytes.len());
        self.end_quoted(start)
    }

    /// Past the quote here, if it closes the field whose text begins at `start`, and where that text ends.
    #[inline(always)]
    fn end_quoted(&mut self, start: usize) -> Option<usize> {
        let end = self.at;
        if !self.ends_field(end + 1) {
            return None;
        }
        self.line += memchr_iter(b'\n', &self.bytes[start..end]).count() as u64;
        self.at = self.bytes.len().min(end + 1);
        Some(end)
    }

    /// Writes the text of a quoted field, of which what lies between `start` and the quote here holds none, and goes past
    /// it; returns its length. `None` where there is too little room, or letters follow the closing quote.
    #[inline(always)]
    fn unescape(&mut self, start: usize, room: &mut [u8]) -> Option<usize> {
        let mut length = self.at - start;
        room.get_mut(..length)?.copy_from_slice(&self.bytes[start..self.at]);
        while self.bytes[self.at..].starts_with(b"\"\"") {
            *room.get_mut(length)? = b'"';
            self.at += 2;
            length += 1;
            // Quotes stand close together: a step is copied whole, and what is too much of it overwritten.
            loop {
                let step: &[u8; STEP] = self.bytes[self.at..].first_chunk()?;
                *room.get_mut(length..)?.first_chunk_mut()? = *step;
                let plain = first(step, |eight| equal(eight, b'"'));
                self.at += plain;
                length += plain;
                if plain < STEP {
                    break;
                }
            }
        }
        self.end_quoted(start).map(|_| length)
    }

    /// The text of any quoted field, which begins at `start`; goes past it.
    #[cold]
    fn odd_field(&mut self, start: usize) -> Vec<u8> {
        let mut text = Vec::new();
        self.at = start;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'"' {
                if self.peek() != Some(b'"') {
                    break;
                }
                self.at += 1;
            }
            text.push(byte);
        }
        let after = self.at;
        self.skip_unquoted();
        text.extend_from_slice(&self.bytes[after..self.at]);
        self.line += memchr_iter(b'\n', &text).count() as u64;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records with their lines.
    type Read = Vec<(u64, Vec<Vec<u8>>)>;

    fn read(text: &[u8], room: usize) -> Read {
        let (mut records, mut unescaped) = (Records::new(text, b',', 1), vec![0; room]);
        let mut all = Vec::new();
        while let Some((line, start)) = records.begin() {
            let mut fields = Vec::new();
            let count = records.read(&mut unescaped, |field| fields.push(field.unwrap().into_owned().into_bytes()));
            assert_eq!(count, fields.len());
            assert_eq!(by_the_crate(records.raw(start)), [(1, fields.clone())]);
            all.push((line, fields));
        }
        all
    }

    fn by_the_crate(text: &[u8]) -> Read {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let mut record = csv::ByteRecord::new();
        let mut all = Vec::new();
        while reader.read_byte_record(&mut record).unwrap() {
            let after_the_last = record.position().unwrap().byte() as usize;
            let ends = text[after_the_last..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let line = 1 + memchr_iter(b'\n', &text[..after_the_last + ends]).count() as u64;
            all.push((line, record.iter().map(<[u8]>::to_vec).collect()));
        }
        all
    }

    /// All texts of so many of these letters.
    fn texts(letters: &'static str, length: u32) -> impl Iterator<Item = String> {
        let letters: Vec<char> = letters.chars().collect();
        (0..letters.len().pow(length)).map(move |number| {
            (0..length).map(|place| letters[number / letters.len().pow(place) % letters.len()]).collect()
        })
    }

    #[test]
    fn it_agrees_with_the_csv_crate_on_every_text() {
        for length in 0..=5 {
            for text in texts("a\",\n\r", length) {
                assert_eq!(read(text.as_bytes(), 64), by_the_crate(text.as_bytes()), "{text:?}");
            }
        }
    }

    #[test]
    fn it_agrees_with_the_csv_crate_at_every_place_of_a_step() {
        for before in 0..=STEP + 1 {
            for middle in texts("é\",\n", 3) {
                for (open, close) in [("", ""), ("\"", "\""), ("\"\"\"", "\"\",b\",")] {
                    let text = format!("{open}{}{middle}{}{close}\r\nb,c\n", "x".repeat(before), "y".repeat(STEP));
                    for room in [0, before + STEP, 1 << 10] {
                        assert_eq!(read(text.as_bytes(), room), by_the_crate(text.as_bytes()), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_utf8_is_told_field_by_field() {
        let mut records =
            Records::new(b"a,\xff,\"\xfe\",\"\"\"\xfe----------------\",\"\xc3\"\xa9,\xc3\xa9\nb", b',', 1);
        let (mut fields, mut unescaped) = (Vec::new(), [0; 64]);
        records.begin();
        records.read(&mut unescaped, |field| fields.push(field.map(Cow::into_owned)));
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(fields, [text("a"), Err(NotUtf8), Err(NotUtf8), Err(NotUtf8), text("é"), text("é")]);
        assert_eq!(records.begin().map(|(line, _)| line), Some(2));
    }
}
