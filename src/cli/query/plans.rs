//! EXPLAIN as text: a plan is a tree of long lines, which no table cell can hold.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::cells::{Cells, harmless};
use super::format::Rows;
use super::output::Target;
use crate::error::{Context, Result};

/// Whether these are the columns of EXPLAIN's answer.
pub fn is_plan(schema: &Schema) -> bool {
    schema.fields().iter().map(|field| field.name().as_str()).eq(["plan_type", "plan"])
}

/// The kind of each plan, and indented below it the plan.
pub struct Plans(Target);

impl Plans {
    pub fn new(target: Target) -> Self {
        Plans(target)
    }
}

impl Rows for Plans {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            let texts = cells.row(row).map(|value| Ok(value?.unwrap_or_default())).collect::<Result<Vec<_>>>()?;
            for (column, text) in texts.iter().enumerate() {
                let indent = if column == 0 { "" } else { "  " };
                for line in text.lines() {
                    writeln!(self.0, "{indent}{}", harmless(line)).context("write")?;
                }
            }
        }
        self.0.flush().context("write")
    }

    fn finish(self: Box<Self>) -> Result<Target> {
        Ok(self.0)
    }
}
