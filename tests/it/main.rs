//! Tests of the library as its callers see it.

mod query;
mod support;
mod golden;
