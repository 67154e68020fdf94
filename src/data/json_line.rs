//! Reads the JSON objects that nearly all lines are, at memory speed; leaves every other line to the general parser.
//!
//! # Consistency
//! What is accepted here means to the letter what the general parser would have made of it. Everything that is wrong or
//! rare (a control character, an escape in a name, a surrogate, a byte after the end) is
//! [`Unusual`], and the line is read again by the general parser, which alone says what is wrong with it.
//!
//! # Cost
//! Strings are most of an event, so eight bytes of them are looked at in one step. A general parser looks at each value
//! twice: for its end, and for what it means.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::values::Scalar;

/// Room for a text with escapes, beyond what is known of it.
const USUAL_BYTES: usize = 128;

/// The line is not for this parser.
#[derive(Debug)]
pub struct Unusual;

/// Reads the object on one line, which holds no line break, and hands over its fields. Stops at the first that is refused.
pub fn read_object<'a, E>(
    line: &'a str,
    mut field: impl FnMut(&'a str, Scalar<'a>) -> Result<(), E>,
) -> Result<Result<(), E>, Unusual> {
    let mut parser = Parser { text: line, at: 0 };
    parser.expect(b'{')?;
    if parser.take(b'}') {
        return parser.end().map(Ok);
    }
    loop {
        parser.expect(b'"')?;
        let name = match parser.string()? {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => return Err(Unusual),
        };
        parser.expect(b':')?;
        let value = parser.value()?;
        if let Err(refused) = field(name, value) {
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

    #[inline]
    fn value(&mut self) -> Result<Scalar<'a>, Unusual> {
        match self.peek().ok_or(Unusual)? {
            b'"' => {
                self.at += 1;
                self.string().map(Scalar::Text)
            }
            b'-' | b'0'..=b'9' => self.number(),
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
    fn number(&mut self) -> Result<Scalar<'a>, Unusual> {
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
        Ok(Scalar::Number(&self.text[start..self.at]))
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
    fn string(&mut self) -> Result<Cow<'a, str>, Unusual> {
        let start = self.at;
        if self.skip_plain()? == b'"' {
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut unescaped = Vec::with_capacity(2 * (self.at - start) + USUAL_BYTES);
        unescaped.extend_from_slice(&self.text.as_bytes()[start..self.at - 1]);
        self.unescape(&mut unescaped)?;
        String::from_utf8(unescaped).map(Cow::Owned).map_err(|_| Unusual)
    }

    /// Appends the rest of a text, from after a backslash to the closing quote.
    fn unescape(&mut self, text: &mut Vec<u8>) -> Result<(), Unusual> {
        let bytes = self.text.as_bytes();
        loop {
            text.push(match bytes.get(self.at).ok_or(Unusual)? {
                byte @ (b'"' | b'\\' | b'/') => *byte,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                _ => return Err(Unusual),
            });
            self.at += 1;
            // Escapes stand close together: a step is copied whole and cut, which is cheaper than a copy of its length.
            while let Some(eight) = bytes[self.at..].first_chunk() {
                text.extend_from_slice(eight);
                let specials = specials(u64::from_le_bytes(*eight));
                if specials != 0 {
                    let plain = (specials.trailing_zeros() / 8) as usize;
                    text.truncate(text.len() - eight.len() + plain);
                    self.at += plain;
                    break;
                }
                self.at += eight.len();
            }
            loop {
                let byte = *bytes.get(self.at).ok_or(Unusual)?;
                self.at += 1;
                match byte {
                    b'"' => return Ok(()),
                    b'\\' => break,
                    0..0x20 => return Err(Unusual),
                    _ => text.push(byte),
                }
            }
        }
    }

    /// Goes past the next quote or backslash and returns it.
    fn skip_plain(&mut self) -> Result<u8, Unusual> {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes[self.at..].first_chunk() {
            let specials = specials(u64::from_le_bytes(*eight));
            if specials != 0 {
                self.at += (specials.trailing_zeros() / 8) as usize;
                break;
            }
            self.at += eight.len();
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

/// The high bit of each byte that may be a quote, a backslash or a control character. Exact up to and with the first: a
/// borrow can reach only bytes above it.
#[inline]
fn specials(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let equals = |byte: u8| zeros(eight ^ (ONES * u64::from(byte)));
    let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
    (equals(b'"') | equals(b'\\') | controls) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the line means, or `None` where it is unusual.
    fn fields(line: &str) -> Option<Vec<(&str, Scalar<'_>)>> {
        let mut all = Vec::new();
        let read = read_object(line, |name, value| {
            all.push((name, value));
            Ok::<_, ()>(())
        });
        read.ok().map(|_| all)
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
        assert_eq!(fields(line), Some(expected));
        assert_eq!(fields("{}"), Some(vec![]));
        let nested = vec![("a", Scalar::Json(r#"{"b": [1, "]"]}"#)), ("c", Scalar::Json("[]"))];
        assert_eq!(fields(r#"{"a":{"b": [1, "]"]} ,"c":[]}"#), Some(nested));
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
            "{\"a\":\"long enough for a whole step\u{1}\"}",
            "{'a':1}",
            r#"{"a":"\"#,
            r#"{"a":truex}"#,
        ] {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    #[test]
    fn a_special_byte_is_found_at_any_place_and_among_any_others() {
        for length in 0..40 {
            for before in ["x", "\u{7f}", "é", "\u{10ffff}", "!", "#", "[", "]", " "] {
                let text = before.repeat(length);
                assert_eq!(
                    fields(&format!("{{\"{text}\":\"{text}\"}}")),
                    Some(vec![(&*text, Scalar::Text(text.as_str().into()))])
                );
                assert_eq!(fields(&format!("{{\"a\":\"{text}\u{1f}{text}\"}}")), None);
            }
        }
    }

    #[test]
    fn it_agrees_with_the_general_parser_on_every_text() {
        // Every pair of bytes that ends or changes a text, at every place of a step.
        let parts = ["\\\\", "\\\"", "\\n", "a", "é", "\\/", "{", ",", ":", "}"];
        for length in 0..10 {
            for first in parts {
                for second in parts {
                    let line = format!("{{\"k\":\"{}{first}{second}b\"}}", "x".repeat(length));
                    let general: std::collections::BTreeMap<String, String> = serde_json::from_str(&line).unwrap();
                    assert_eq!(fields(&line), Some(vec![("k", Scalar::Text(general["k"].as_str().into()))]), "{line}");
                }
            }
        }
    }
}
