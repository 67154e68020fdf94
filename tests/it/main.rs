//! Tests of the library as its callers see it.

mod archive;
mod bundle;
mod cli;
mod crash;
mod golden;
mod hostile;
mod ledger;
mod minio;
mod query;
mod query_output;
mod readers;
mod readme;
mod restore;
mod simulate;
mod simulated;
mod simulation;
mod store;
mod support;
