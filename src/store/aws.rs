//! S3 as the `aws` command sees it: profiles, SSO, roles, endpoint and region come from aws-config, and object_store,
//! whose own builder reads no profiles, is handed the same credentials.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{ConfigLoader, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};
use jiff::Timestamp;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::client::{Certificate, ClientOptions};
use object_store::{CredentialProvider, ObjectStore, RetryConfig};
use tokio::sync::Mutex;
use url::Url;

use crate::clock::Clock;
use crate::error::{Context, Error, Result};

/// What S3 assumes when no region is set anywhere; MinIO ignores it.
const DEFAULT_REGION: &str = "us-east-1";

/// A request that fails is tried again for this long, then the store counts as unavailable.
const RETRY_FOR: Duration = Duration::from_secs(30);
const MAX_RETRIES: usize = 8;

/// Temporary credentials are renewed this long before they end, so that no request is signed with the last second.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(300);

/// Waiting for an answer's first byte; a copy of 1 GiB inside the store takes its time.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who asks, and where: one answer for object_store and for the SDK's clients.
#[derive(Debug, Clone)]
pub struct Access {
    config: SdkConfig,
    endpoint: Option<String>,
    ca_bundle: Option<Vec<u8>>,
}

impl Access {
    /// As the `aws` command would have it.
    pub async fn from_environment() -> Result<Self> {
        let ca_bundle = ca_bundle()?;
        let config = loader(ca_bundle.as_deref())?.load().await;
        Ok(Access { endpoint: endpoint(&config), config, ca_bundle })
    }

    /// A server and a key, whatever the environment says.
    pub async fn explicit(endpoint: &str, key_id: &str, secret: &str) -> Result<Self> {
        let credentials = Credentials::new(key_id, secret, None, None, "explicit");
        let loader = loader(None)?.credentials_provider(credentials).region(DEFAULT_REGION).endpoint_url(endpoint);
        Ok(Access { config: loader.load().await, endpoint: Some(endpoint.to_owned()), ca_bundle: None })
    }

    /// Whether the answers are AWS's own, which other servers imitate more or less.
    pub fn is_aws(&self) -> bool {
        let host = |endpoint: &String| Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.endpoint.as_ref().is_none_or(|endpoint| host(endpoint).is_some_and(|h| h.ends_with(".amazonaws.com")))
    }

    pub fn open_bucket(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let region = self.config.region().map_or(DEFAULT_REGION, |region| region.as_ref());
        let mut client = ClientOptions::new();
        for certificate in self
            .ca_bundle
            .as_deref()
            .map(Certificate::from_pem_bundle)
            .transpose()
            .context("read AWS_CA_BUNDLE")?
            .into_iter()
            .flatten()
        {
            client = client.with_root_certificate(certificate);
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_region(region).with_retry(RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        });
        if let Some(endpoint) = &self.endpoint {
            client = client.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(provider) = self.config.credentials_provider() {
            builder = builder.with_credentials(Arc::new(SdkCredentials::new(provider)));
        }
        let store = builder
            .with_client_options(client)
            .build()
            .map_err(super::explain)
            .with_context(|| format!("open bucket {bucket}"))?;
        Ok(Arc::new(store))
    }

    /// How the SDK's S3 client is set up. Nothing is requested yet.
    pub fn s3_config(&self) -> aws_sdk_s3::config::Builder {
        use aws_sdk_s3::config::{
            Region, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig, timeout::TimeoutConfig,
        };
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        let region = self.config.region().cloned().unwrap_or(Region::from_static(DEFAULT_REGION));
        let mut builder = aws_sdk_s3::config::Builder::from(&self.config)
            .region(region)
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_RETRIES as u32))
            .timeout_config(timeouts)
            // By default the SDK sends a checksum as a trailer of a chunked body, which not every server understands.
            // Uploads carry one of ours in a header instead.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(endpoint).force_path_style(true);
        }
        builder
    }

    /// How the client of another service is set up, in `region` or else where the environment says.
    pub fn sdk_config(&self, region: Option<&str>, read_timeout: Duration) -> SdkConfig {
        use aws_config::{Region, retry::RetryConfig, timeout::TimeoutConfig};
        let known = || self.config.region().cloned().unwrap_or(Region::from_static(DEFAULT_REGION));
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(read_timeout).build();
        let builder = self.config.clone().into_builder();
        builder
            .region(region.map_or_else(known, |region| Region::new(region.to_owned())))
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_RETRIES as u32))
            .timeout_config(timeouts)
            .build()
    }
}

/// `AWS_ENDPOINT_URL_S3` is for this service alone and goes first, as in every AWS SDK:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
fn endpoint(config: &SdkConfig) -> Option<String> {
    let for_s3 = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
    for_s3.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn loader(ca_bundle: Option<&[u8]>) -> Result<ConfigLoader> {
    let mut loader = aws_config::from_env();
    if let Some(pem) = ca_bundle {
        let roots = tls::TrustStore::default().with_pem_certificate(pem);
        let context = tls::TlsContext::builder().with_trust_store(roots).build().context("read AWS_CA_BUNDLE")?;
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        loader = loader.http_client(Builder::new().tls_provider(provider).tls_context(context).build_https());
    }
    Ok(loader)
}

/// The file that `AWS_CA_BUNDLE` names. The Rust SDK does not read the variable itself (aws-sdk-rust#1362).
fn ca_bundle() -> Result<Option<Vec<u8>>> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) => Err(Error::usage(format!("cannot read AWS_CA_BUNDLE {}", path.display())).with_source(error)),
    }
}

/// The SDK's providers ask a file, a server or a command each time; a signature is needed for every request.
#[derive(Debug)]
struct SdkCredentials {
    provider: SharedCredentialsProvider,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug, Clone)]
struct Cached {
    credential: Arc<AwsCredential>,
    expires: Option<Timestamp>,
}

impl SdkCredentials {
    fn new(provider: SharedCredentialsProvider) -> Self {
        SdkCredentials { provider, cached: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        // Real time, whatever --now says: it is the store's clock that counts.
        let renew_at = |expires: Timestamp| expires - RENEW_BEFORE_EXPIRY;
        if let Some(valid) = cached.as_ref().filter(|c| c.expires.is_none_or(|at| Clock::System.now() < renew_at(at))) {
            return Ok(valid.credential.clone());
        }
        let unauthenticated = |source| object_store::Error::Unauthenticated { path: String::new(), source };
        let fresh = self.provider.provide_credentials().await.map_err(|source| unauthenticated(Box::new(source)))?;
        let credential = Arc::new(AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        });
        let expires = fresh.expiry().and_then(|at| Timestamp::try_from(at).ok());
        *cached = Some(Cached { credential: credential.clone(), expires });
        Ok(credential)
    }
}
