//! What several test modules share.

pub mod events;
pub mod lab;
