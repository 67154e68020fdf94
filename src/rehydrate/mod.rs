//! Archived events back out: into files, or into a table of the hot tier.
//!
//! # Flow
//! A [`Wanted`] says what is asked for; [`added_since`] leaves of a version only what was added after another. The caller
//! asks for the events of one date after the other, in order of time and id, and hands them to a [`Sink`]. A [`Record`]
//! remembers after each date how far it is.
//!
//! # Crash
//! A date's file gets its name when it is whole, and is in the record after that. Running again goes on with the first
//! date that is not in the record, from the same version and with the same present time, so that it ends as if it had
//! never stopped. What is inserted into a table twice is there once.

mod files;
mod record;
mod since;
mod sink;
mod table;

pub use files::{FileFormat, Folder};
pub use record::{Finished, Record, Wanted};
pub use since::added_since;
pub use sink::Sink;
pub use table::HotTable;
