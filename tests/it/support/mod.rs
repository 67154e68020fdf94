//! What several test modules share.

pub mod ask;
pub mod bundles;
pub mod cassandra;
pub mod delta;
pub mod dice;
pub mod events;
pub mod fault;
pub mod glacier;
mod glacier_s3;
pub mod lab;
pub mod minio;
pub mod moto;
pub mod placements;
pub mod server;
pub mod tier;
