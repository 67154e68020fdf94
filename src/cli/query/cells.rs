//! Values as text: RFC 3339 for times, ISO for dates.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{Context, Result};

/// The values of a batch, by row and column.
pub struct Cells<'a> {
    columns: Vec<(ArrayFormatter<'a>, &'a dyn Array)>,
}

impl<'a> Cells<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Self> {
        const OPTIONS: FormatOptions = FormatOptions::new();
        let column = |array: &'a arrow::array::ArrayRef| {
            Ok((ArrayFormatter::try_new(array, &OPTIONS).context("write a value")?, array.as_ref()))
        };
        Ok(Cells { columns: batch.columns().iter().map(column).collect::<Result<_>>()? })
    }

    /// The values of a row; `None` is NULL.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Result<Option<String>>> {
        self.columns.iter().map(move |(formatter, array)| {
            if array.is_null(row) {
                return Ok(None);
            }
            formatter.value(row).try_to_string().context("write a value").map(Some)
        })
    }
}

/// Text that cannot move the cursor, ring a bell or change a colour, whatever the data holds.
pub fn harmless(text: &str) -> String {
    // Two of the invisible operators mark what is dimmed in a table.
    let is_unsafe = |c: char| c.is_control() || ('\u{2060}'..='\u{2064}').contains(&c);
    if !text.contains(is_unsafe) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| if is_unsafe(c) { Escaped::Hidden(c.escape_default()) } else { Escaped::Plain(Some(c)) })
        .collect()
}

enum Escaped {
    Plain(Option<char>),
    Hidden(std::char::EscapeDefault),
}

impl Iterator for Escaped {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Escaped::Plain(c) => c.take(),
            Escaped::Hidden(escape) => escape.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(harmless("a\u{1b}[31m\nb\u{9b}名前"), "a\\u{1b}[31m\\nb\\u{9b}名前");
    }
}
