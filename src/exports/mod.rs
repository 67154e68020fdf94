//! Exports: complete files of records, found by what a user types, opened, unpacked, and read piece by piece.
//!
//! # Flow
//! [`find()`] lists them; [`read`] hands over [`Piece`]s of whole records, which any number of threads decode.
//!
//! # Cost
//! An export is read once from front to end; of a Parquet file that is not local a temporary copy is made.

mod find;
mod pieces;
pub mod source;

pub use find::{Compression, Export, Format, Place, find, kind_of};
pub use pieces::{Piece, Unfit, next_block, open_quote, read};
