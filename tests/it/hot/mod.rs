//! The hot tier: a real Cassandra.

mod archive;
mod query;
