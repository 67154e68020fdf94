//! Rows as a drawn table: names, types, and of many rows the first and the last.

use std::collections::VecDeque;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use comfy_table::CellAlignment;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use indicatif::HumanCount;

use super::cells::{Cells, harmless};
use super::format::{MaxRows, Rows, Style};
use super::output::Target;
use crate::error::{Context, Result};
use crate::query::sql_type;

/// Marks around what is dimmed. They have no width, and data never brings them along.
const DIM: char = '\u{2061}';
const PLAIN: char = '\u{2062}';

/// Holds the rows it will show; more it only counts.
pub struct Table {
    schema: SchemaRef,
    target: Target,
    is_dimmed: bool,
    first: Vec<Vec<String>>,
    last: VecDeque<Vec<String>>,
    max_first: usize,
    max_last: usize,
    rows: u64,
}

impl Table {
    pub fn new(schema: &SchemaRef, target: Target, style: &Style) -> Self {
        let (max_first, max_last) = match style.max_rows {
            MaxRows::All => (usize::MAX, 0),
            MaxRows::Some(rows) => (rows.div_ceil(2), rows / 2),
        };
        Table {
            schema: schema.clone(),
            target,
            is_dimmed: style.is_dimmed,
            first: Vec::new(),
            last: VecDeque::new(),
            max_first,
            max_last,
            rows: 0,
        }
    }

    fn keep(&mut self, cells: &Cells, row: usize) -> Result<()> {
        let dim_null = || format!("{DIM}NULL{PLAIN}");
        let values = cells.row(row).map(|value| Ok(value?.map_or_else(dim_null, |text| in_cell(&text))));
        let values = values.collect::<Result<Vec<_>>>()?;
        if self.first.len() < self.max_first {
            self.first.push(values);
        } else if self.max_last > 0 {
            if self.last.len() == self.max_last {
                self.last.pop_front();
            }
            self.last.push_back(values);
        }
        Ok(())
    }

    fn draw(&self) -> String {
        let mut table = comfy_table::Table::new();
        let fields = self.schema.fields();
        table.load_preset(UTF8_FULL_CONDENSED);
        table.set_header(
            fields
                .iter()
                .map(|field| format!("{}\n{DIM}{}{PLAIN}", harmless(field.name()), sql_type(field.data_type()))),
        );
        table.add_rows(&self.first);
        if self.hidden() > 0 {
            table.add_row(fields.iter().map(|_| "·"));
        }
        table.add_rows(&self.last);
        for (field, column) in fields.iter().zip(table.column_iter_mut()) {
            if field.data_type().is_numeric() {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let (dim, plain) = if self.is_dimmed { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        table.to_string().replace(DIM, dim).replace(PLAIN, plain)
    }

    fn hidden(&self) -> u64 {
        self.rows - (self.first.len() + self.last.len()) as u64
    }
}

/// A line of text stays a line: a cell has as many as it needs.
fn in_cell(text: &str) -> String {
    text.trim_end_matches('\n').split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// `1 row`, `2,000 rows`.
pub fn rows_counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{} rows", HumanCount(rows)) }
}

impl Rows for Table {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            // Rows of a long answer that cannot be among the last are not worth formatting.
            let is_shown = self.first.len() < self.max_first || batch.num_rows() - row <= self.max_last;
            if is_shown {
                self.keep(&cells, row)?;
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Target> {
        let rows = rows_counted(self.rows);
        let shown = match self.hidden() {
            0 => String::new(),
            hidden => format!(" ({} shown; --max-rows all)", HumanCount(self.rows - hidden)),
        };
        let drawn = self.draw();
        writeln!(self.target, "{drawn}\n{rows}{shown}").context("write")?;
        Ok(self.target)
    }
}
