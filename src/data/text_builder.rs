//! Builds a column of texts from bytes.

use arrow::array::{NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::error::{Context, Result};

/// So many texts tell how much memory all of them will take: to make room again and again is to copy them again and again.
const SAMPLE_ROWS: usize = 32;

/// Texts as bytes: that they are UTF-8 is checked once for all of them.
pub struct TextBuilder {
    rows: usize,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    valid: NullBufferBuilder,
}

impl TextBuilder {
    /// For so many rows.
    pub fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        TextBuilder { rows, offsets, bytes: Vec::new(), valid: NullBufferBuilder::new(rows) }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub fn append(&mut self, text: &[u8]) {
        if self.len() == SAMPLE_ROWS {
            let expected = self.bytes.len() / SAMPLE_ROWS * self.rows;
            self.bytes.reserve((expected + expected / 8).saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.end());
        self.valid.append_non_null();
    }

    pub fn append_nulls(&mut self, count: usize) {
        self.offsets.resize(self.offsets.len() + count, self.end());
        self.valid.append_n_nulls(count);
    }

    pub fn finish(self) -> Result<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.bytes), self.valid.build())
            .context("build a column of texts")
    }

    fn end(&self) -> i32 {
        i32::try_from(self.bytes.len()).expect("rows that are in memory together have less than 2 GiB of text")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn texts_and_nulls_come_back_in_their_order() {
        for rows in [0, 1, SAMPLE_ROWS, SAMPLE_ROWS + 1, 1000] {
            let texts: Vec<Option<String>> =
                (0..rows).map(|row| (row % 3 != 1).then(|| "ü".repeat(row % 50))).collect();
            let mut builder = TextBuilder::new(rows);
            for text in &texts {
                match text {
                    Some(text) => builder.append(text.as_bytes()),
                    None => builder.append_nulls(1),
                }
            }
            assert_eq!(builder.len(), rows);
            assert_eq!(builder.finish().unwrap(), StringArray::from(texts));
        }
    }

    #[test]
    fn without_nulls_there_is_no_buffer_of_them_and_what_is_no_text_is_refused() {
        let mut builder = TextBuilder::new(2);
        builder.append(b"a");
        builder.append(b"");
        assert!(builder.finish().unwrap().nulls().is_none());
        let mut builder = TextBuilder::new(1);
        builder.append(&[0xff]);
        assert!(builder.finish().is_err());
    }
}
