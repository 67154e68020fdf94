//! Rows as text that streams: CSV and TSV, Markdown, and one line per value.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::{Cells, harmless};
use super::format::Rows;
use super::output::Target;
use crate::error::{Context, Result};

/// CSV as RFC 4180 has it, always with a header. NULL is the bare token, and a text that reads like it is quoted: an
/// empty text is `""`.
pub struct Separated {
    target: Target,
    separator: char,
    null: String,
}

impl Separated {
    pub fn start(schema: &SchemaRef, mut target: Target, separator: char, null: &str) -> Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name(), separator, null)).collect();
        writeln!(target, "{}", names.join(&separator.to_string())).context("write")?;
        Ok(Separated { target, separator, null: null.to_owned() })
    }
}

impl Rows for Separated {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            for (column, value) in cells.row(row).enumerate() {
                if column > 0 {
                    line.push(self.separator);
                }
                match value? {
                    None => line.push_str(&self.null),
                    Some(text) => line.push_str(&quoted(&text, self.separator, &self.null)),
                }
            }
            line.push('\n');
            self.target.write_all(line.as_bytes()).context("write")?;
        }
        self.target.flush().context("write")
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        Ok(self.target)
    }
}

fn quoted(text: &str, separator: char, null: &str) -> String {
    let needs_quotes = text.is_empty() || text == null || text.contains([separator, '"', '\n', '\r']);
    if needs_quotes { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

pub struct Markdown {
    target: Target,
}

impl Markdown {
    pub fn start(schema: &SchemaRef, mut target: Target) -> Result<Self> {
        let (mut names, mut rule) = (String::from("|"), String::from("|"));
        for field in schema.fields() {
            names.push_str(&format!(" {} |", in_markdown(field.name())));
            rule.push_str(if field.data_type().is_numeric() { "---:|" } else { "---|" });
        }
        writeln!(target, "{names}\n{rule}").context("write")?;
        Ok(Markdown { target })
    }
}

impl Rows for Markdown {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            let mut line = String::from("|");
            for value in cells.row(row) {
                line.push_str(&format!(" {} |", value?.map_or_else(|| "NULL".to_owned(), |text| in_markdown(&text))));
            }
            writeln!(self.target, "{line}").context("write")?;
        }
        self.target.flush().context("write")
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        Ok(self.target)
    }
}

fn in_markdown(text: &str) -> String {
    harmless(text).replace('|', "\\|")
}

/// `name = value`, with an empty line between rows.
pub struct Vertical {
    target: Target,
    rows: u64,
}

impl Vertical {
    pub fn new(target: Target) -> Self {
        Vertical { target, rows: 0 }
    }
}

impl Rows for Vertical {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let width = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            if self.rows > 0 {
                writeln!(self.target).context("write")?;
            }
            self.rows += 1;
            for (field, value) in schema.fields().iter().zip(cells.row(row)) {
                let value = value?.map_or_else(|| "NULL".to_owned(), |text| harmless(&text));
                writeln!(self.target, "{:>width$} = {value}", field.name()).context("write")?;
            }
        }
        self.target.flush().context("write")
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        Ok(self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_only_what_would_be_misread() {
        let csv = |text| quoted(text, ',', "");
        assert_eq!(
            ["a", "", "a,b", "a\"b", "a\nb", "a\tb"].map(csv),
            ["a", "\"\"", "\"a,b\"", "\"a\"\"b\"", "\"a\nb\"", "a\tb"]
        );
        assert_eq!(quoted("NA", ',', "NA"), "\"NA\"");
        assert_eq!(quoted("a\tb", '\t', ""), "\"a\tb\"");
    }
}
