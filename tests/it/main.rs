//! Tests of the library as its callers see it.

mod archive;
mod golden;
mod hostile;
mod query;
mod query_output;
mod support;
