//! Tests of the library as its callers see it.

mod archive;
mod archived_queries;
mod bundle;
mod bundles;
mod classes;
mod cli;
mod crash;
mod golden;
mod hostile;
mod ledger;
mod lifecycle;
mod minio;
mod minio_tiers;
mod moto;
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
mod story;
mod support;
