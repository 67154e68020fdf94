//! Newline-delimited JSON: one object per line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::blocks::Block;
use super::json_line;
use super::rows::{Refused, Rejection, RowBuilder};
use super::sources::Fields;
use super::values::Scalar;
use crate::model::Reason;

/// Decodes a block; `refused` receives each line that is no event, with its number.
pub fn decode<'a>(
    block: &'a Block,
    builder: &mut RowBuilder<'_>,
    mut refused: impl FnMut(u64, &'a [u8], Refused),
) -> u64 {
    let mut records = 0;
    let (mut memory, mut unescaped) = (Fields::default(), Vec::new());
    for (number, line) in (block.first_line..).zip(lines(&block.bytes)) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        records += 1;
        // No text is longer without its escapes.
        let room = line.len() + json_line::SPARE_BYTES;
        if unescaped.len() < room {
            unescaped.resize(room, 0);
        }
        let mut fields = memory.reuse();
        let outcome = read_object(line, &mut unescaped, builder, &mut fields).map_err(Refused::from);
        let outcome = outcome.and_then(|()| builder.finish(&mut fields, number));
        if let Err(why) = outcome {
            builder.abandon(&mut fields);
            refused(number, line, why);
        }
        memory = fields.reuse();
    }
    records
}

/// The lines of a block without their ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or(&[]);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

fn read_object<'a>(
    line: &'a [u8],
    unescaped: &'a mut [u8],
    builder: &mut RowBuilder<'_>,
    fields: &mut Fields<'a>,
) -> Result<(), Rejection> {
    let text = utf8(line)?;
    match json_line::read_object(text, unescaped, &mut Record { builder, fields }) {
        Ok(outcome) => return outcome,
        Err(json_line::Unusual) => builder.abandon(fields),
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let mut rejection = None;
    let visitor = Object { builder, fields, rejection: &mut rejection };
    let parsed = parser.deserialize_map(visitor).and_then(|()| parser.end());
    match (rejection, parsed) {
        (Some(rejection), _) => Err(rejection),
        (None, Err(error)) => Err(Rejection::new(Reason::Syntax, syntax_error(&error))),
        (None, Ok(())) => Ok(()),
    }
}

fn utf8(line: &[u8]) -> Result<&str, Rejection> {
    // The first only says whether it is, which takes less.
    simdutf8::basic::from_utf8(line)
        .or_else(|_| simdutf8::compat::from_utf8(line))
        .map_err(|error| Rejection::new(Reason::Encoding, format!("not UTF-8 at byte {}", error.valid_up_to())))
}

struct Record<'x, 'r, 'a> {
    builder: &'x mut RowBuilder<'r>,
    fields: &'x mut Fields<'a>,
}

impl<'a> json_line::Record<'a> for Record<'_, '_, 'a> {
    type Source = usize;
    type Error = Rejection;

    #[inline]
    fn expected(&mut self, json: &[u8]) -> Option<(usize, usize)> {
        self.builder.expected_source(json)
    }

    #[inline(always)]
    fn add(&mut self, source: usize, value: Scalar<'a>) -> Result<(), Rejection> {
        self.builder.field_of(self.fields, source, value)
    }

    fn add_named(&mut self, name: &str, value: Scalar<'a>) -> Result<(), Rejection> {
        self.builder.field(self.fields, name, value)
    }
}

/// serde_json's message names a line; ours is always the first.
fn syntax_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    format!("{message} at column {}", error.column())
}

struct Object<'x, 'r, 'a> {
    builder: &'x mut RowBuilder<'r>,
    fields: &'x mut Fields<'a>,
    rejection: &'x mut Option<Rejection>,
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(FieldName(name)) = map.next_key()? {
            let raw: &'a RawValue = map.next_value()?;
            let added = match scalar(raw.get()) {
                Ok(value) => self.builder.field(self.fields, &name, value),
                Err(rejection) => Err(rejection),
            };
            if let Err(rejection) = added {
                *self.rejection = Some(rejection);
                return Err(serde::de::Error::custom("rejected"));
            }
        }
        Ok(())
    }
}

/// A key, borrowed from the line where it holds no escapes.
struct FieldName<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = FieldName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// A value from its JSON text, which the parser has checked.
fn scalar(raw: &str) -> Result<Scalar<'_>, Rejection> {
    Ok(match raw.as_bytes() {
        [b'n', ..] => Scalar::Null,
        [b't', ..] => Scalar::Bool(true),
        [b'f', ..] => Scalar::Bool(false),
        [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_none() => {
            Scalar::Text(Cow::Borrowed(&raw[1..raw.len() - 1]))
        }
        [b'"', ..] => match serde_json::from_str::<String>(raw) {
            Ok(text) => Scalar::Text(Cow::Owned(text)),
            Err(error) => return Err(Rejection::new(Reason::Syntax, format!("in a text: {}", syntax_error(&error)))),
        },
        [b'{' | b'[', ..] => Scalar::Json(raw),
        _ => Scalar::Number(raw),
    })
}
