//! Tests of the library as its callers see it.

mod archive;
mod archived_queries;
mod bundle;
mod bundles;
mod cli;
mod crash;
mod golden;
mod hostile;
mod ledger;
mod minio;
mod placements;
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
