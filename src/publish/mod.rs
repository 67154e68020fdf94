//! The archive for other engines.

pub mod ddl;
pub mod delta;
