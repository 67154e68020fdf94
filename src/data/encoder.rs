//! A Parquet writer for files of any size, of which most have few rows.
//!
//! # Cost
//! For each column of each file that it writes, parquet sets up a context to compress and one to decompress, and for each zstd
//! asks the processor what it can do, a question that a virtual machine passes on to its host. Of a day in 20,000 cells of 150
//! rows that was a fifth of the time. So a few rows are encoded without a codec first, and then their pages are compressed by
//! a context that the thread keeps, where that saves something: what is not compressed costs readers no context either.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageReader, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::SerializedPageReader;
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use zstd::bulk::Compressor;

/// Of fewer rows than this nearly every column is one page, of which an index says what the footer says.
const FEW_ROWS: u64 = 4_096;

/// The least part of its bytes that a column must save to be compressed.
const WORTH_A_CODEC: usize = 8;

/// Half the time of level 3, and after delta encodings not more bytes: see [`super::encode`].
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Writes flat rows to `W`.
pub struct Encoder<W: Write + Send>(Kind<W>);

enum Kind<W: Write + Send> {
    Many(Box<ArrowWriter<W>>),
    Few(Box<FewRows<W>>),
}

/// Row groups are encoded in memory, and compressed when they are closed.
struct FewRows<W: Write + Send> {
    schema: SchemaRef,
    /// Of rows that are not in `file` yet.
    plain: ArrowWriter<Vec<u8>>,
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> Encoder<W> {
    /// Of about so many rows; the encoder chooses the codec.
    pub fn new(out: W, schema: SchemaRef, properties: WriterProperties, rows: u64) -> Result<Self> {
        if rows < FEW_ROWS {
            return FewRows::new(out, schema, properties).map(|few| Encoder(Kind::Few(Box::new(few))));
        }
        let codec = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?);
        let options = ArrowWriterOptions::new()
            .with_properties(properties.into_builder().set_compression(codec).build())
            // Every type of ours has its own Parquet type.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, schema, options)?;
        Ok(Encoder(Kind::Many(Box::new(writer))))
    }

    /// Adds rows to the open row group.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.0 {
            Kind::Many(writer) => writer.write(rows),
            Kind::Few(few) => few.plain.write(rows),
        }
    }

    /// About what the open row group takes in the file.
    pub fn in_progress_size(&self) -> usize {
        match &self.0 {
            Kind::Many(writer) => writer.in_progress_size(),
            Kind::Few(few) => few.plain.in_progress_size(),
        }
    }

    /// What closed row groups take.
    pub fn bytes_written(&self) -> usize {
        match &self.0 {
            Kind::Many(writer) => writer.bytes_written(),
            Kind::Few(few) => few.file.bytes_written(),
        }
    }

    /// Closes the open row group, if it has rows.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Many(writer) => writer.flush(),
            Kind::Few(few) => few.flush(),
        }
    }

    /// Completes the file.
    pub fn into_inner(self) -> Result<W> {
        match self.0 {
            Kind::Many(writer) => writer.into_inner(),
            Kind::Few(few) => {
                let FewRows { plain, mut file, .. } = *few;
                compress_groups(plain, &mut file)?;
                file.into_inner()
            }
        }
    }
}

impl<W: Write + Send> FewRows<W> {
    fn new(out: W, schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let properties = properties
            .into_builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::UNCOMPRESSED)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        // Without the arrow schema, which would be a third of a small file.
        let columns = ArrowSchemaConverter::new().convert(&schema)?;
        let file = SerializedFileWriter::new(out, columns.root_schema_ptr(), Arc::new(properties))?;
        Ok(FewRows { plain: plain(&file, schema.clone())?, schema, file })
    }

    fn flush(&mut self) -> Result<()> {
        let next = plain(&self.file, self.schema.clone())?;
        compress_groups(std::mem::replace(&mut self.plain, next), &mut self.file)
    }
}

/// Encodes in memory what `file` is to have.
fn plain<W: Write + Send>(file: &SerializedFileWriter<W>, schema: SchemaRef) -> Result<ArrowWriter<Vec<u8>>> {
    let options = ArrowWriterOptions::new()
        .with_properties(file.properties().as_ref().clone())
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(file.schema_descr().clone());
    ArrowWriter::try_new_with_options(Vec::new(), schema, options)
}

/// Adds the row groups of `plain`, which has no codec, to `file`.
fn compress_groups<W: Write + Send>(mut plain: ArrowWriter<Vec<u8>>, file: &mut SerializedFileWriter<W>) -> Result<()> {
    let expected = plain.in_progress_size();
    plain.inner_mut().reserve(expected);
    plain.flush()?;
    plain.sync()?;
    let bytes = Arc::new(Bytes::from(std::mem::take(plain.inner_mut())));
    for group in plain.flushed_row_groups() {
        let mut compressed = file.next_row_group()?;
        for column in group.columns() {
            let rows_written = group.num_rows() as u64;
            let (bytes, metadata) = match compress(&bytes, column, rows_written)? {
                Some((bytes, metadata)) => (&Bytes::from(bytes), metadata),
                None => (&*bytes, column.clone()),
            };
            let column = ColumnCloseResult {
                bytes_written: metadata.compressed_size() as u64,
                rows_written,
                metadata,
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            compressed.append_column(bytes, column)?;
        }
        compressed.close()?;
    }
    Ok(())
}

/// The pages of a column that is not compressed in `bytes`, compressed, and what they are; `None` where it is not worth it.
fn compress(
    bytes: &Arc<Bytes>,
    column: &ColumnChunkMetaData,
    rows: u64,
) -> Result<Option<(Vec<u8>, ColumnChunkMetaData)>> {
    let mut pages = SerializedPageReader::new(bytes.clone(), column, rows as usize, None)?;
    let mut compressed = TrackedWrite::new(Vec::new());
    let mut writer = SerializedPageWriter::new(&mut compressed);
    let (mut dictionary, mut data, mut uncompressed_bytes) = (None, None, 0);
    while let Some(page) = pages.get_next_page()? {
        let place = if page.is_dictionary_page() { &mut dictionary } else { &mut data };
        let written = writer.write_page(compressed_page(page)?)?;
        place.get_or_insert(written.offset as i64);
        uncompressed_bytes += written.uncompressed_size as i64;
    }
    let compressed = compressed.into_inner()?;
    let plain_bytes = column.compressed_size() as usize;
    let Some(data) = data.filter(|_| compressed.len() <= plain_bytes - plain_bytes / WORTH_A_CODEC) else {
        return Ok(None);
    };
    let metadata = column
        .clone()
        .into_builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_dictionary_page_offset(dictionary)
        .set_data_page_offset(data)
        .set_total_compressed_size(compressed.len() as i64)
        .set_total_uncompressed_size(uncompressed_bytes)
        .build()?;
    Ok(Some((compressed, metadata)))
}

fn compressed_page(mut page: Page) -> Result<CompressedPage> {
    let plain_bytes = page.buffer().len();
    let compressed = COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(ZSTD_LEVEL)?),
        };
        compressor.compress(page.buffer())
    })?;
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = compressed.into(),
        Page::DataPageV2 { .. } => unreachable!("it is not what this version of Parquet has"),
    }
    Ok(CompressedPage::new(page, plain_bytes))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn encoded(rows: &RecordBatch, expected: u64) -> Bytes {
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(200)).build();
        assert_eq!(properties.writer_version(), WriterVersion::PARQUET_1_0);
        let mut encoder = Encoder::new(Vec::new(), rows.schema(), properties, expected).unwrap();
        encoder.write(&rows.slice(0, 250)).unwrap();
        encoder.flush().unwrap();
        assert_eq!(encoder.in_progress_size(), 0);
        assert!(encoder.bytes_written() > 250);
        encoder.write(&rows.slice(250, 50)).unwrap();
        encoder.into_inner().unwrap().into()
    }

    #[test]
    fn few_rows_are_compressed_where_it_saves_something_and_read_as_they_were() {
        let texts =
            |text: fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..300).map(text))) };
        let squares: ArrayRef = Arc::new(Int64Array::from_iter((0..300).map(|n| (n % 7 > 0).then_some(n * n))));
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("square", squares, true),
            ("region", texts(|n| ["eu", "us"][n % 2].to_owned()), false),
            ("agent", texts(|n| format!("Mozilla/5.0 (X11; Linux x86_64) {n}")), false),
        ])
        .unwrap();
        for (expected, have_codec) in [(300, [true, false, true]), (FEW_ROWS, [true; 3])] {
            let reader = ParquetRecordBatchReaderBuilder::try_new(encoded(&rows, expected)).unwrap();
            let metadata = reader.metadata().clone();
            assert_eq!(metadata.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [200, 50, 50]);
            for group in metadata.row_groups() {
                let are: Vec<bool> =
                    group.columns().iter().map(|column| column.compression() != Compression::UNCOMPRESSED).collect();
                assert_eq!(are, have_codec);
                assert!(group.columns().iter().all(|column| column.statistics().is_some()));
            }
            let read: Vec<RecordBatch> = reader.build().unwrap().collect::<std::result::Result<_, _>>().unwrap();
            let read = arrow::compute::concat_batches(&rows.schema(), &read).unwrap();
            assert_eq!(read, rows);
        }
    }
}
