//! Tests of the library as its callers see it.

mod archive;
mod classes;
mod cli;
mod crash;
mod golden;
mod hostile;
mod ledger;
mod minio;
mod minio_tiers;
mod moto;
mod query;
mod query_output;
mod readers;
mod readme;
mod simulation;
mod store;
mod support;
