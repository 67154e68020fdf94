//! An S3 server inside the tests that has Glacier's classes: archived objects cannot be read, restores take hours of a
//! clock that the test moves, copies expire, and faults come when the test asks for them.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use s3s::auth::SimpleAuth;
use s3s::dto::{BucketLifecycleConfiguration, TransitionDefaultMinimumObjectSize};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpRequest, HttpResponse};
use tier::store::Store;
use tokio::sync::oneshot;

use super::glacier_s3::Glacier;
use super::tier::Tier;

pub const BUCKET: &str = "archive";
const KEY_ID: &str = "glacier";
const SECRET: &str = "glaciersecret";

/// The server's answer names the status that s3s would not send.
pub const STATUS_HEADER: HeaderName = HeaderName::from_static("x-test-status");

/// Serves one bucket until it is dropped.
pub struct GlacierServer {
    endpoint: String,
    bucket: Arc<Mutex<Bucket>>,
    _stop: oneshot::Sender<()>,
}

/// All that the server knows.
pub struct Bucket {
    pub now: Timestamp,
    /// Versions of each key, the current one last. Without versioning there is one.
    pub objects: BTreeMap<String, Vec<Version>>,
    pub uploads: HashMap<String, Upload>,
    pub rules: Option<BucketLifecycleConfiguration>,
    pub smallest_moved: Option<TransitionDefaultMinimumObjectSize>,
    pub versioned: bool,
    pub has_expedited_capacity: bool,
    /// So many requests are answered with 503 SlowDown.
    pub faults: u32,
    /// Method, path and query of every request.
    pub log: Vec<String>,
    last_id: u64,
}

#[derive(Clone)]
pub struct Version {
    pub id: String,
    /// `None` is a delete marker.
    pub bytes: Option<Bytes>,
    pub class: String,
    pub tags: String,
    pub modified: Timestamp,
    pub restore: Option<Restore>,
    pub legal_hold: bool,
}

#[derive(Clone)]
pub struct Restore {
    pub ready: Timestamp,
    pub until: Timestamp,
    /// Place in [`DELAYS`]' columns: 0 is the fastest.
    pub tier: usize,
}

pub struct Upload {
    pub class: String,
    pub tags: String,
    pub parts: BTreeMap<i32, Bytes>,
}

/// Hours until a copy is readable: Expedited, Standard, Bulk. The longest that S3 names,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>
const DELAYS: [(&str, [Option<SignedDuration>; 3]); 2] = [
    (
        "GLACIER",
        [Some(SignedDuration::from_mins(5)), Some(SignedDuration::from_hours(5)), Some(SignedDuration::from_hours(12))],
    ),
    ("DEEP_ARCHIVE", [None, Some(SignedDuration::from_hours(12)), Some(SignedDuration::from_hours(48))]),
];

impl Version {
    pub fn is_archived(&self) -> bool {
        DELAYS.iter().any(|(class, _)| *class == self.class)
    }

    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.is_archived() || self.live_restore(now).is_some_and(|restore| restore.ready <= now)
    }

    /// The restore that runs or whose copy is still there.
    pub fn live_restore(&self, now: Timestamp) -> Option<&Restore> {
        self.restore.as_ref().filter(|restore| restore.until > now)
    }

    pub fn delay(&self, tier: usize) -> Option<SignedDuration> {
        DELAYS.iter().find(|(class, _)| *class == self.class).and_then(|(_, delays)| delays[tier])
    }
}

impl Bucket {
    pub fn fresh_id(&mut self) -> String {
        self.last_id += 1;
        format!("id-{}", self.last_id)
    }

    /// S3 rounds the end of a copy up to midnight, UTC.
    pub fn end_of_copy(ready: Timestamp, days: i32) -> Timestamp {
        let end = (ready + SignedDuration::from_hours(24 * i64::from(days))).to_zoned(TimeZone::UTC).datetime();
        let midnight = if end.time() == time(0, 0, 0, 0) { end.date() } else { end.date().tomorrow().unwrap() };
        midnight.to_zoned(TimeZone::UTC).unwrap().timestamp()
    }

    pub fn current(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last().filter(|version| version.bytes.is_some())
    }
}

impl GlacierServer {
    pub fn start() -> Self {
        let bucket = Arc::new(Mutex::new(Bucket {
            now: "2026-08-24T00:00:00Z".parse().unwrap(),
            objects: BTreeMap::new(),
            uploads: HashMap::new(),
            rules: None,
            smallest_moved: None,
            versioned: false,
            has_expedited_capacity: true,
            faults: 0,
            log: Vec::new(),
            last_id: 0,
        }));
        let mut builder = S3ServiceBuilder::new(Glacier(bucket.clone()));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let state = bucket.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service, state) => {}
                    _ = stopped => {}
                }
            });
        });
        GlacierServer { endpoint, bucket, _stop: stop }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The archive's address for the binary, whose environment [`GlacierServer::tier`] sets.
    pub fn address(&self) -> String {
        format!("s3://{BUCKET}/a/b")
    }

    pub async fn store(&self) -> Store {
        Store::open_s3_at(&self.endpoint, BUCKET, "a/b", KEY_ID, SECRET).await.unwrap()
    }

    /// The binary, with this server in its environment.
    pub fn tier(&self) -> Tier {
        let mut tier = Tier::new();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("NO_PROXY", "127.0.0.1"),
        ] {
            tier.set(name, value);
        }
        tier
    }

    pub fn advance(&self, by: SignedDuration) {
        self.bucket().now += by;
    }

    pub fn now(&self) -> Timestamp {
        self.bucket().now
    }

    /// What the server knows, to look at and to change.
    pub fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap()
    }
}

async fn serve(listener: TcpListener, service: S3Service, bucket: Arc<Mutex<Bucket>>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, bucket) = (service.clone(), bucket.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (service, bucket) = (service.clone(), bucket.clone());
                async move { answer(service, &bucket, request.map(Body::from)).await }
            });
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(service: S3Service, bucket: &Mutex<Bucket>, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let is_faulty = {
        let mut bucket = bucket.lock().unwrap();
        bucket.log.push(format!("{} {}", request.method(), request.uri()));
        let is_faulty = bucket.faults > 0;
        bucket.faults = bucket.faults.saturating_sub(1);
        is_faulty
    };
    if is_faulty {
        let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        let answer = http::Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        return Ok(answer.body(Body::from(body.to_owned())).unwrap());
    }
    let mut response = service.call(request).await?;
    if let Some(status) = response.headers_mut().remove(STATUS_HEADER) {
        *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    Ok(response)
}
