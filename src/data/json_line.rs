//! Reads the JSON objects that nearly all lines are, at memory speed; leaves every other line to the general parser.
//!
//! # Consistency
//! What is accepted here means to the letter what the general parser would have made of it. Everything that is wrong or
//! rare (a control character, an escape in a name, a surrogate, a byte after the end) is
//! [`Unusual`], and the line is read again by the general parser, which alone says what is wrong with it.
//!
//! # Cost
//! Strings are most of an event, so sixteen bytes of them are looked at in one step: most strings end within one, and a
//! branch that always goes the same way costs nothing. A general parser looks at each value twice: for its end, and for
//! what it means.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::step::{STEP, below, equal, first};
use super::values::Scalar;

/// So many bytes are searched for escapes together.
const BLOCK: usize = 64;

/// What there must be room for beyond a line's own length where it is unescaped.
pub const SPARE_BYTES: usize = 2 * BLOCK;

/// The line is not for this parser.
#[derive(Debug)]
pub struct Unusual;

/// Takes the fields of an object.
pub trait Record<'a> {
    /// A column that was met before.
    type Source;
    type Error;

    /// The source whose name, in quotes and with a colon, this JSON begins with, and the length of that. Lines look alike:
    /// most names need not be read at all.
    fn expected(&mut self, json: &[u8]) -> Option<(Self::Source, usize)>;

    fn add(&mut self, source: Self::Source, value: Scalar<'a>) -> Result<(), Self::Error>;

    fn add_named(&mut self, name: &str, value: Scalar<'a>) -> Result<(), Self::Error>;
}

/// Reads the object on one line, which holds no line break, and hands over its fields. Stops at the first that is refused.
/// `unescaped` has room for the texts that hold escapes: as much as the line is long, and [`SPARE_BYTES`].
pub fn read_object<'a, R: Record<'a>>(
    line: &'a str,
    unescaped: &'a mut [u8],
    record: &mut R,
) -> Result<Result<(), R::Error>, Unusual> {
    let mut parser = Parser { text: line, at: 0, unescaped };
    parser.expect(b'{')?;
    if parser.take(b'}') {
        return parser.end().map(Ok);
    }
    loop {
        let added = match record.expected(&line.as_bytes()[parser.at..]) {
            Some((source, length)) => {
                parser.at += length;
                parser.value(|value| record.add(source, value))?
            }
            None => {
                parser.expect(b'"')?;
                let start = parser.at;
                if parser.skip_plain()? != b'"' {
                    return Err(Unusual);
                }
                let name = &line[start..parser.at - 1];
                parser.expect(b':')?;
                parser.value(|value| record.add_named(name, value))?
            }
        };
        if let Err(refused) = added {
            return Ok(Err(refused));
        }
        if !parser.take(b',') {
            parser.expect(b'}')?;
            return parser.end().map(Ok);
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Room for texts with escapes.
    unescaped: &'a mut [u8],
}

impl<'a> Parser<'a> {
    /// The next byte that is not white space, not yet taken.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let b' ' | b'\t' | b'\r' = *bytes.get(self.at)? {
            self.at += 1;
        }
        Some(bytes[self.at])
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Unusual> {
        if self.take(byte) { Ok(()) } else { Err(Unusual) }
    }

    fn end(&mut self) -> Result<(), Unusual> {
        if self.peek().is_none() { Ok(()) } else { Err(Unusual) }
    }

    /// Reads a value and hands it over. What is most of them is made right where it is taken: one that was returned would
    /// be written to memory and read back at once in other pieces, which a processor waits for.
    #[inline]
    fn value<T>(&mut self, take: impl FnOnce(Scalar<'a>) -> T) -> Result<T, Unusual> {
        Ok(match self.peek().ok_or(Unusual)? {
            b'"' => {
                self.at += 1;
                take(Scalar::Text(Cow::Borrowed(self.string()?)))
            }
            b'-' | b'0'..=b'9' => take(Scalar::Number(self.number()?)),
            first => take(self.other(first)?),
        })
    }

    fn other(&mut self, first: u8) -> Result<Scalar<'a>, Unusual> {
        match first {
            b'n' => self.word("null", Scalar::Null),
            b't' => self.word("true", Scalar::Bool(true)),
            b'f' => self.word("false", Scalar::Bool(false)),
            b'{' | b'[' => self.nested(),
            _ => Err(Unusual),
        }
    }

    fn word(&mut self, word: &str, value: Scalar<'a>) -> Result<Scalar<'a>, Unusual> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self) -> Result<Scalar<'a>, Unusual> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<&RawValue>();
        let value = values.next().and_then(Result::ok).ok_or(Unusual)?.get();
        self.at += value.len();
        Ok(Scalar::Json(value))
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<&'a str, Unusual> {
        let start = self.at;
        self.skip_one_of(b"-");
        let first = self.text.as_bytes().get(self.at);
        let whole = self.digits()?;
        if first == Some(&b'0') && whole > 1 {
            return Err(Unusual);
        }
        if self.skip_one_of(b".") {
            self.digits()?;
        }
        if self.skip_one_of(b"eE") {
            self.skip_one_of(b"+-");
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn skip_one_of(&mut self, bytes: &[u8]) -> bool {
        let is_there = self.text.as_bytes().get(self.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(is_there);
        is_there
    }

    fn digits(&mut self) -> Result<usize, Unusual> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(count) } else { Err(Unusual) }
    }

    /// The text after an opening quote, and past the closing one.
    #[inline]
    fn string(&mut self) -> Result<&'a str, Unusual> {
        let start = self.at;
        if self.skip_plain()? == b'"' {
            return Ok(&self.text[start..self.at - 1]);
        }
        let length = self.unescape(start)?;
        let (text, rest) = std::mem::take(&mut self.unescaped).split_at_mut(length);
        self.unescaped = rest;
        simdutf8::basic::from_utf8(text).map_err(|_| Unusual)
    }

    /// Writes the text that begins at `start` to the closing quote; returns its length.
    fn unescape(&mut self, start: usize) -> Result<usize, Unusual> {
        let bytes = self.text.as_bytes();
        let (mut at, mut length) = (start, 0);
        loop {
            // Of zeros beyond the line's end, which are control characters: no text ends among them.
            let mut last = [0; SPARE_BYTES];
            let from: &[u8; SPARE_BYTES] = match bytes[at..].first_chunk() {
                Some(from) => from,
                None => {
                    last[..bytes.len() - at].copy_from_slice(&bytes[at..]);
                    &last
                }
            };
            let to: &mut [u8; SPARE_BYTES] = self.unescaped[length..].first_chunk_mut().ok_or(Unusual)?;
            let (mut specials, mut read, mut written) = (specials(from), 0, 0);
            while read < BLOCK {
                let special = specials.trailing_zeros() as usize;
                // Escapes stand close together: a step is copied whole, and what is too much of it overwritten.
                to[written..][..STEP].copy_from_slice(&from[read..][..STEP]);
                if special - read > STEP {
                    to[written + STEP..][..BLOCK - STEP].copy_from_slice(&from[read + STEP..][..BLOCK - STEP]);
                }
                written += special - read;
                read = special;
                if special == BLOCK {
                    break;
                }
                match from[special] {
                    b'"' => {
                        self.at = at + special + 1;
                        return Ok(length + written);
                    }
                    b'\\' => to[written] = unescaped(from[special + 1]).ok_or(Unusual)?,
                    _ => return Err(Unusual),
                }
                written += 1;
                read += 2;
                specials &= u64::MAX.checked_shl(read as u32).unwrap_or(0);
            }
            at += read;
            length += written;
        }
    }

    /// Goes past the next quote or backslash and returns it.
    fn skip_plain(&mut self) -> Result<u8, Unusual> {
        let bytes = self.text.as_bytes();
        while let Some(step) = bytes[self.at..].first_chunk() {
            let plain = first_special(step);
            self.at += plain;
            if plain < STEP {
                break;
            }
        }
        loop {
            let byte = *bytes.get(self.at).ok_or(Unusual)?;
            self.at += 1;
            match byte {
                b'"' | b'\\' => return Ok(byte),
                0..0x20 => return Err(Unusual),
                _ => {}
            }
        }
    }
}

/// Where [`BLOCK`] bytes have a quote, a backslash or a control character: the first of them in the lowest bit. A loop over
/// flags of equal size, which compilers turn into vectors, and a multiplication that moves the flags of eight bytes together.
#[inline]
fn specials(bytes: &[u8; SPARE_BYTES]) -> u64 {
    const TOGETHER: u64 = 0x0102_0408_1020_4080;
    let is_special = |byte| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
    let flags: [u8; BLOCK] = std::array::from_fn(|at| is_special(bytes[at]));
    let (eights, _) = flags.as_chunks();
    let bits = eights.iter().map(|eight| u64::from_le_bytes(*eight).wrapping_mul(TOGETHER) >> 56);
    (0..).zip(bits).fold(0, |all, (number, bits)| all | bits << (8 * number))
}

/// What a backslash and this byte mean.
#[inline]
fn unescaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// The place of the first quote, backslash or control character; [`STEP`] where there is none.
#[inline]
fn first_special(bytes: &[u8; STEP]) -> usize {
    first(bytes, |eight| equal(eight, b'"') | equal(eight, b'\\') | below(eight, 0x20))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields so far; those that may come next are expected.
    #[derive(Default)]
    struct Fields(Vec<(String, Scalar<'static>)>, Vec<&'static str>);

    fn owned(value: Scalar<'_>) -> Scalar<'static> {
        match value {
            Scalar::Text(text) => Scalar::Text(text.into_owned().into()),
            Scalar::Number(text) => Scalar::Number(text.to_owned().leak()),
            Scalar::Json(text) => Scalar::Json(text.to_owned().leak()),
            Scalar::Bool(value) => Scalar::Bool(value),
            Scalar::Null => Scalar::Null,
            other => panic!("{other:?}"),
        }
    }

    impl<'a> Record<'a> for Fields {
        type Source = &'static str;
        type Error = ();

        fn expected(&mut self, json: &[u8]) -> Option<(&'static str, usize)> {
            let quoted = |name: &&'static str| format!("\"{name}\":");
            let name = self.1.iter().find(|name| json.starts_with(quoted(name).as_bytes()))?;
            Some((name, quoted(name).len()))
        }

        fn add(&mut self, name: &'static str, value: Scalar<'a>) -> Result<(), ()> {
            self.add_named(name, value)
        }

        fn add_named(&mut self, name: &str, value: Scalar<'a>) -> Result<(), ()> {
            self.0.push((name.to_owned(), owned(value)));
            Ok(())
        }
    }

    /// What the line means, or `None` where it is unusual; whichever names are expected.
    fn fields(line: &str) -> Option<Vec<(String, Scalar<'static>)>> {
        let read = |expected: &[&'static str]| {
            let mut fields = Fields(Vec::new(), expected.to_vec());
            read_object(line, &mut vec![0; line.len() + SPARE_BYTES], &mut fields).ok().map(|_| fields.0)
        };
        let (none, some) = (read(&[]), read(&["a", "c", "k", "x"]));
        assert_eq!(none, some, "{line}");
        none
    }

    fn named(fields: Vec<(&str, Scalar<'static>)>) -> Option<Vec<(String, Scalar<'static>)>> {
        Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    #[test]
    fn plain_objects_are_read() {
        let line = r#" { "a" : "x" ,"b":-1.5e+3,"c":null, "d":true,"e":false,"f":"say \"hi\"\\\/\n…","g":0 } "#;
        let expected = vec![
            ("a", Scalar::Text("x".into())),
            ("b", Scalar::Number("-1.5e+3")),
            ("c", Scalar::Null),
            ("d", Scalar::Bool(true)),
            ("e", Scalar::Bool(false)),
            ("f", Scalar::Text("say \"hi\"\\/\n…".into())),
            ("g", Scalar::Number("0")),
        ];
        assert_eq!(fields(line), named(expected));
        assert_eq!(fields("{}"), named(vec![]));
        let nested = vec![("a", Scalar::Json(r#"{"b": [1, "]"]}"#)), ("c", Scalar::Json("[]"))];
        assert_eq!(fields(r#"{"a":{"b": [1, "]"]} ,"c":[]}"#), named(nested));
    }

    #[test]
    fn whatever_is_wrong_or_rare_is_left_to_the_general_parser() {
        for line in [
            "",
            "[1]",
            "{",
            "{}x",
            "{} {}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":nul}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"x}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\x"}"#,
            r#"{"\n":1}"#,
            r#"{"a":{"b":}}"#,
            r#"{"a":[1,]}"#,
            "{\"a\":\"\t\"}",
            "{\"a\":\"long enough for two whole steps, or for three\u{1}\"}",
            "{'a':1}",
            r#"{"a":"\"#,
            r#"{"a":truex}"#,
        ] {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    #[test]
    fn a_special_byte_is_found_at_any_place_and_among_any_others() {
        for length in 0..3 * STEP {
            for before in ["x", "\u{7f}", "é", "\u{10ffff}", "!", "#", "[", "]", " "] {
                let text = before.repeat(length);
                assert_eq!(
                    fields(&format!("{{\"{text}\":\"{text}\"}}")),
                    named(vec![(&*text, Scalar::Text(text.clone().into()))])
                );
                assert_eq!(fields(&format!("{{\"a\":\"{text}\u{1f}{text}\"}}")), None);
            }
        }
    }

    #[test]
    fn a_line_that_ends_early_is_left_to_the_general_parser() {
        let line =
            format!(r#"{{"a":"{}\"{}\n\t\b\f\r\\","c":"\/{}"}}"#, "x".repeat(20), "y".repeat(70), "z".repeat(40));
        let general: std::collections::BTreeMap<String, String> = serde_json::from_str(&line).unwrap();
        let text = |name: &str| Scalar::Text(general[name].clone().into());
        assert_eq!(fields(&line), named(vec![("a", text("a")), ("c", text("c"))]));
        for end in 0..line.len() {
            assert_eq!(fields(&line[..end]), None, "{end}");
        }
    }

    #[test]
    fn it_agrees_with_the_general_parser_on_every_text() {
        // Every pair of bytes that ends or changes a text, at every place of a step and of a block.
        let parts = ["\\\\", "\\\"", "\\n", "a", "é", "\\/", "{", ",", ":", "}"];
        for length in 0..SPARE_BYTES {
            for first in parts {
                for second in parts {
                    let line = format!("{{\"k\":\"{}{first}{second}b\"}}", "x".repeat(length));
                    let general: std::collections::BTreeMap<String, String> = serde_json::from_str(&line).unwrap();
                    assert_eq!(fields(&line), named(vec![("k", Scalar::Text(general["k"].clone().into()))]), "{line}");
                }
            }
        }
    }
}
