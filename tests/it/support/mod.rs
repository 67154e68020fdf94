//! What several test modules share.

pub mod ask;
pub mod bundles;
pub mod dice;
pub mod events;
pub mod fault;
pub mod lab;
pub mod minio;
pub mod placements;
pub mod tier;
