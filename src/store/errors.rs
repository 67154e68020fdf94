//! Turns what a store answered into what a person can do about it.

use crate::error::{Error, Kind};

/// The words by which S3 and MinIO say that a bucket does not exist.
pub fn is_missing_bucket(text: &str) -> bool {
    text.contains("NoSuchBucket")
}

/// A store's error with a kind and a hint. The class of an archived object is known from the catalog, never from here.
pub fn explain(error: object_store::Error) -> Error {
    explain_ref(&error)
}

/// [`explain`] for an error that came wrapped in another library's.
pub fn explain_ref(error: &object_store::Error) -> Error {
    let text = chain(error);
    let has = |needle: &str| text.contains(needle);
    let explained = if is_missing_bucket(&text) {
        Error::failed("the bucket does not exist")
            .code("no-such-bucket")
            .hint("create it, or check the name, the region and AWS_ENDPOINT_URL")
    } else if has("InvalidAccessKeyId") || has("SignatureDoesNotMatch") || has("ExpiredToken") || has("InvalidToken") {
        Error::failed("the store refused the credentials").code("bad-credentials").hint(
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; `aws sts get-caller-identity` shows whose they are",
        )
    } else if has("no providers in chain provided credentials") || has("the credential provider was not enabled") {
        Error::failed("no credentials were found")
            .code("no-credentials")
            .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, as for the aws command")
    } else if has("AccessDenied") || matches!(error, object_store::Error::PermissionDenied { .. }) {
        Error::failed("the store denied access")
            .code("access-denied")
            .hint("the credentials need read and write access to this prefix")
    } else if has("PermanentRedirect") || has("AuthorizationHeaderMalformed") {
        Error::failed("the bucket is in another region")
            .code("wrong-region")
            .hint("set AWS_REGION to the bucket's region")
    } else if has("Connection refused") || has("dns error") || has("timed out") || has("error sending request") {
        Error::new(Kind::TryAgain, "the store does not answer")
            .code("store-unavailable")
            .hint("check the network and AWS_ENDPOINT_URL, then run it again")
    } else if has("SlowDown") || has("ServiceUnavailable") {
        Error::new(Kind::TryAgain, "the store asks to slow down").code("store-unavailable").hint("run it again later")
    } else {
        return Error::failed(text);
    };
    explained.with_source(Error::failed(text))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
