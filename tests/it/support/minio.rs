//! The S3 store that `infra/test.sh` starts for the tests.

use tier::clock::Random;
use tier::store::{ClassTime, Location, Store};

/// The bucket that `infra/minio.sh run` makes.
pub const BUCKET: &str = "events";

/// The store's address; a test that needs it fails without it.
pub fn endpoint() -> String {
    std::env::var("AWS_ENDPOINT_URL").expect("no S3 store to test against: run the tests with infra/test.sh")
}

/// An address below the bucket that nothing else uses.
pub fn fresh_address() -> String {
    endpoint();
    format!("s3://{BUCKET}/{}", Random::System.id())
}

pub async fn fresh_store() -> Store {
    let location: Location = fresh_address().parse().unwrap();
    Store::open(&location, ClassTime::default()).await.unwrap()
}
