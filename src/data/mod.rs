//! Bytes to events and events to Parquet: decode, validate, spill, sort, deduplicate, encode, read back.
//!
//! # Flow
//! [`blocks`] cuts an export into blocks of whole records; a decoder ([`ndjson`], [`csv`], [`parquet_rows`]) turns a
//! block's records into fields; [`rows`] maps and validates them and makes each a [`row`]; [`buffer`] collects rows of all
//! cells and spills them, sorted by cell, when memory is full; [`cell`] takes one cell's rows, drops duplicates, sorts,
//! makes columns of them and hands those to [`encode`]. Later [`bundle`] re-lays the files of a month's cells as few large ones.
//!
//! # Types
//! A column the archive knows is decoded into its type at once, and a value that does not fit rejects its record. A
//! *new* column is carried as text, and what its values could be is noted; its type is settled when the whole run has
//! been read, so a surprise in the last line costs no second pass and no precision.

pub mod blocks;
pub mod buffer;
pub mod bundle;
pub mod by_folder;
pub mod cell;
pub mod cells;
pub mod column_builder;
pub mod columns;
pub mod csv;
pub mod csv_records;
pub mod encode;
pub mod encoder;
pub mod existing;
pub mod footer;
pub mod footer_facts;
pub mod footers;
pub mod id_bounds;
pub mod ids;
pub mod json_line;
pub mod merge;
pub mod ndjson;
pub mod pack;
pub mod pack_parts;
pub mod parallel_writer;
pub mod parquet_rows;
pub mod range_reader;
pub mod reused;
pub mod rewrite;
pub mod row;
pub mod rows;
pub mod runs;
pub mod sorted_lines;
pub mod sources;
pub mod spill;
pub mod step;
pub mod text_builder;
pub mod threads;
pub mod time;
pub mod turns;
pub mod typed;
pub mod values;
