//! `tier`: a tiered archive for events. (Crate docs are completed as the layers land.)

pub mod catalog;
pub mod clock;
pub mod context;
pub mod error;
pub mod model;
pub mod progress;
pub mod store;
