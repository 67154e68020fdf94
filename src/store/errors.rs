//! Turns what a store answered into what a person can do about it.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

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
    explain_words(chain(error), matches!(error, object_store::Error::PermissionDenied { .. }), false)
}

/// [`explain`] for an error of the SDK.
pub fn explain_sdk<E>(error: SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = status(&error);
    let text = match &error {
        // An answer to HEAD has no body and so no code.
        SdkError::ServiceError(failed) => match (failed.err().code(), failed.err().message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => {
                format!("the store answered with status {}: {}", status.unwrap_or_default(), chain(failed.err()))
            }
        },
        _ => chain(&error),
    };
    let has_no_answer = matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_));
    explain_words(text, status == Some(403), has_no_answer)
}

/// The HTTP status that came back, if one did.
pub fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// An error code and its message, as one of ours.
pub fn explain_words(text: String, is_denied: bool, has_no_answer: bool) -> Error {
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
    } else if has("InvalidStorageClass") {
        Error::usage("the store refused the storage class").code("class-refused").hint(
            "MinIO reaches a class only by a lifecycle rule to a remote tier of that name: \
             `mc ilm tier add minio ALIAS DEEP_ARCHIVE …`, then set `[lifecycle] transitions = \"rules\"` and run \
             `tier lifecycle rules --put`",
        )
    } else if has("object lock") || has("WORM protected") {
        Error::failed("the object is locked")
            .code("object-locked")
            .hint("a retention period or a legal hold of the bucket protects it; it can be deleted when that has ended")
    } else if has("AccessDenied") || is_denied {
        Error::failed("the store denied access")
            .code("access-denied")
            .hint("the credentials need read and write access to this prefix")
    } else if has("PermanentRedirect") || has("AuthorizationHeaderMalformed") {
        Error::failed("the bucket is in another region")
            .code("wrong-region")
            .hint("set AWS_REGION to the bucket's region")
    } else if has("Connection refused")
        || has("dns error")
        || has("timed out")
        || has("error sending request")
        || has_no_answer
    {
        Error::new(Kind::TryAgain, "the store does not answer")
            .code("store-unavailable")
            .hint("check the network and AWS_ENDPOINT_URL, then run it again")
    } else if ["SlowDown", "ServiceUnavailable", "InternalError", "RequestLimitExceeded"].iter().any(|code| has(code)) {
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
