//! The archive job: what becomes of exports.

mod dead_letters;
mod exports;
pub mod formats;
mod identity;
mod large;
mod types;
mod undecided;
