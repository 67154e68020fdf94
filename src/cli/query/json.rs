//! Rows as JSON: one array, or one object per line. NULL is `null`, so that every row has every name.

use arrow::array::RecordBatch;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder};
use std::io::Write;

use super::format::Rows;
use super::output::Target;
use crate::error::{Context, Result};

pub struct Array(Writer<Target, JsonArray>);

impl Array {
    pub fn start(target: Target) -> Self {
        Array(builder().build(target))
    }
}

impl Rows for Array {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        write(&mut self.0, batch)
    }

    fn finish(mut self: Box<Self>) -> Result<Target> {
        self.0.finish().context("write JSON")?;
        let mut target = self.0.into_inner();
        writeln!(target).context("write")?;
        Ok(target)
    }
}

pub struct Lines(Writer<Target, LineDelimited>);

impl Lines {
    pub fn start(target: Target) -> Self {
        Lines(builder().build(target))
    }
}

impl Rows for Lines {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        write(&mut self.0, batch)?;
        self.0.get_mut().flush().context("write")
    }

    fn finish(mut self: Box<Self>) -> Result<Target> {
        self.0.finish().context("write JSON")?;
        Ok(self.0.into_inner())
    }
}

fn builder() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

fn write<F: JsonFormat>(writer: &mut Writer<Target, F>, batch: &RecordBatch) -> Result<()> {
    writer.write(batch).context("write JSON")
}
