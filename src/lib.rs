//! `tier`: a tiered archive for events. (Crate docs are completed as the layers land.)

pub mod archive;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod context;
pub mod data;
pub mod error;
pub mod model;
pub mod progress;
pub mod query;
pub mod scan;
pub mod store;
