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

use std::io::Write;

use ::tier::store::TempFile;

/// A file to upload.
pub fn temp_file(bytes: impl AsRef<[u8]>) -> TempFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    TempFile::new(file).unwrap()
}
