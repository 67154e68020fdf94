//! Exports nobody should write: every record is an event or a dead letter, every broken file an error that names it.

mod csv;
mod files;
mod lines;

use tier::archive::{ArchiveRequest, DeadLetterLimit};

/// Nothing is too bad to go on.
fn tolerant(request: &mut ArchiveRequest) {
    request.max_dead_letters = DeadLetterLimit::Percent(100.0);
}
