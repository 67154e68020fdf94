//! Glacier vaults: archives known by an id alone, read only through a job that takes hours.
//!
//! The account and the credentials are those of the `aws` command; `AWS_ENDPOINT_URL_GLACIER` names another server.
//!
//! # Consistency
//! Every byte goes under a SHA-256 tree hash: of each part, of the whole, and of what comes back.
//!
//! # Crash
//! An archive appears whole or not at all. The vault drops the parts of a killed upload after a day.
//! An upload or a job whose answer was lost is there all the same, without anybody knowing its id.

use std::io::Write;
use std::time::Duration;

use aws_sdk_glacier::Client;
use aws_sdk_glacier::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_glacier::primitives::ByteStream;
use aws_sdk_glacier::types::{JobParameters, StatusCode};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::TempFile;
use super::aws::Access;
use super::errors::explain_sdk;
use super::tree_hash::{Node, TreeHash, combine, text};
use crate::error::{Context, Error, Kind, Result};
use crate::model::Retrieval;

const MEBIBYTE: u64 = 1 << 20;

/// A file up to here is one request; AWS advises parts above, and takes 4 GB at most:
/// <https://docs.aws.amazon.com/amazonglacier/latest/dev/uploading-an-archive.html>
const SINGLE_UPLOAD_BYTES: u64 = 100 * MEBIBYTE;

/// A part is a power of two of MiB up to 4 GiB, and an upload has at most so many:
/// <https://docs.aws.amazon.com/amazonglacier/latest/dev/uploading-archive-mpu.html>
const MAX_PARTS: u64 = 10_000;
const MAX_PART_BYTES: u64 = 4096 * MEBIBYTE;

/// Smaller parts would only be more requests.
const MIN_PART_BYTES: u64 = 16 * MEBIBYTE;

/// Parts under way at once, each in memory.
const PARTS_IN_FLIGHT: usize = 4;

/// A job's output is fetched in ranges of this size, each in memory and tried so often.
const RANGE_BYTES: u64 = 16 * MEBIBYTE;
const RANGE_ATTEMPTS: usize = 4;

/// From a request to the first byte of its answer, the upload of the largest body included.
const READ_TIMEOUT: Duration = Duration::from_secs(900);

/// Of an archive's description: printable ASCII.
const MAX_DESCRIPTION: usize = 1024;

const NOT_FOUND: [&str; 2] = ["ResourceNotFoundException", "VaultNotFound"];

/// Told how many bytes have passed; an error ends the transfer there, and nothing of it stays.
pub type Border<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// What a vault holds since an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub archive_id: String,
    /// 64 hex digits.
    pub tree_hash: String,
    pub size_bytes: u64,
}

/// How far a retrieval is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultJob {
    Running,
    /// Its output can be downloaded, for about a day.
    Ready {
        /// Of the archive, where the server says so.
        tree_hash: Option<String>,
    },
    Failed(String),
    /// The vault knows no such job: its day is over.
    Gone,
}

/// The vaults of a region.
#[derive(Debug, Clone)]
pub struct Vaults {
    client: Client,
    region: String,
}

impl Vaults {
    /// In `region`, or else where the environment says. Nothing is requested yet.
    pub async fn open(region: Option<&str>) -> Result<Self> {
        let config = Access::from_environment().await?.sdk_config(region, READ_TIMEOUT);
        let region = config.region().map_or_else(String::new, ToString::to_string);
        Ok(Vaults { client: Client::new(&config), region })
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Puts a file into a vault and returns when the vault has confirmed it. Not safe to repeat: each upload is an archive
    /// of its own.
    pub async fn upload(&self, vault: &str, file: &TempFile, description: &str, border: Border<'_>) -> Result<Stored> {
        let description: String = utf8_percent_encode(description, CONTROLS).to_string();
        let description = &description[..description.len().min(MAX_DESCRIPTION)];
        let stored = match part_bytes(file.size_bytes())? {
            None => self.upload_whole(vault, file, description).await,
            Some(part) => self.upload_parts(vault, file, part, description, border).await,
        };
        stored.with_context(|| format!("put an archive into the vault {vault}"))
    }

    async fn upload_whole(&self, vault: &str, file: &TempFile, description: &str) -> Result<Stored> {
        let size = file.size_bytes();
        let (bytes, tree_hash) = file.part(0, size, TreeHash::of).await?;
        let tree_hash = text(&tree_hash);
        let request = self.client.upload_archive().vault_name(vault).archive_description(description);
        let sent = request.checksum(&tree_hash).body(ByteStream::from(bytes)).send().await;
        let sent = sent.map_err(|error| explain(vault, error))?;
        stored(sent.archive_id, sent.checksum, tree_hash, size)
    }

    async fn upload_parts(
        &self,
        vault: &str,
        file: &TempFile,
        part_bytes: u64,
        description: &str,
        border: Border<'_>,
    ) -> Result<Stored> {
        let request = self.client.initiate_multipart_upload().vault_name(vault).archive_description(description);
        let begun = request.part_size(part_bytes.to_string()).send().await.map_err(|error| explain(vault, error))?;
        let id = begun.upload_id().ok_or_else(|| Error::failed("the vault named no upload"))?;
        let uploaded = async {
            let tree_hash = text(&self.send_parts(vault, id, file, part_bytes, border).await?);
            let request = self.client.complete_multipart_upload().vault_name(vault).upload_id(id);
            let size = file.size_bytes();
            let sent = request.archive_size(size.to_string()).checksum(&tree_hash).send().await;
            let sent = sent.map_err(|error| explain(vault, error))?;
            stored(sent.archive_id, sent.checksum, tree_hash, size)
        };
        let uploaded = uploaded.await;
        if uploaded.is_err() {
            // What cannot be aborted either ends by itself after a day; the first error is the one to tell.
            let _ = self.client.abort_multipart_upload().vault_name(vault).upload_id(id).send().await;
        }
        uploaded
    }

    /// Returns the tree hash of the whole.
    async fn send_parts(
        &self,
        vault: &str,
        id: &str,
        file: &TempFile,
        part_bytes: u64,
        border: Border<'_>,
    ) -> Result<Node> {
        let send = |(offset, length): (u64, u64)| async move {
            let (bytes, tree_hash) = file.part(offset, length, TreeHash::of).await?;
            let request = self.client.upload_multipart_part().vault_name(vault).upload_id(id);
            let range = format!("bytes {}-{}/*", offset, offset + length - 1);
            let request = request.range(range).checksum(text(&tree_hash)).body(ByteStream::from(bytes));
            request.send().await.map_err(|error| explain(vault, error))?;
            border(length)?;
            Ok::<_, Error>(tree_hash)
        };
        let parts = futures::stream::iter(pieces(file.size_bytes(), part_bytes)).map(send);
        parts.buffered(PARTS_IN_FLIGHT).try_collect().await.map(combine)
    }

    /// Asks for an archive to be made readable; returns the job's id. Each call is a job of its own, and is paid for.
    pub async fn start_retrieval(&self, vault: &str, archive_id: &str, retrieval: Retrieval) -> Result<String> {
        let tier = match retrieval {
            Retrieval::Expedited => "Expedited",
            Retrieval::Standard => "Standard",
            Retrieval::Bulk => "Bulk",
        };
        let parameters = JobParameters::builder().r#type("archive-retrieval").archive_id(archive_id).tier(tier).build();
        let sent = self.client.initiate_job().vault_name(vault).job_parameters(parameters).send().await;
        let job = sent.map_err(|error| explain(vault, error)).and_then(|sent| {
            sent.job_id.filter(|id| !id.is_empty()).ok_or_else(|| Error::failed("the vault named no job"))
        });
        job.with_context(|| format!("ask the vault {vault} for an archive"))
    }

    pub async fn job(&self, vault: &str, id: &str) -> Result<VaultJob> {
        let described = match self.client.describe_job().vault_name(vault).job_id(id).send().await {
            Ok(described) => described,
            Err(error) if error.code().is_some_and(|code| NOT_FOUND.contains(&code)) => return Ok(VaultJob::Gone),
            Err(error) => return Err(explain(vault, error)).context(format!("look at a job of the vault {vault}")),
        };
        Ok(match described.status_code {
            Some(StatusCode::Succeeded) => VaultJob::Ready { tree_hash: described.archive_sha256_tree_hash },
            Some(StatusCode::Failed) => VaultJob::Failed(described.status_message.unwrap_or_default()),
            _ => VaultJob::Running,
        })
    }

    /// Writes the output of a job that is ready, range by range, and returns the tree hash of what was written: only the
    /// caller knows which it must be.
    pub async fn download(
        &self,
        vault: &str,
        job: &str,
        size_bytes: u64,
        writer: &mut (dyn Write + Send),
        border: Border<'_>,
    ) -> Result<String> {
        let mut hash = TreeHash::default();
        for (offset, length) in pieces(size_bytes, RANGE_BYTES) {
            let phrase = || format!("get bytes {offset} to {} from the vault {vault}", offset + length);
            let bytes = self.range(vault, job, offset, length).await.with_context(phrase)?;
            hash.update(&bytes);
            writer.write_all(&bytes).context("write")?;
            border(length)?;
        }
        Ok(text(&hash.finish()))
    }

    /// A body that breaks off is asked for again: the client itself repeats only what was refused.
    async fn range(&self, vault: &str, job: &str, offset: u64, length: u64) -> Result<Bytes> {
        let mut attempt = 1;
        loop {
            let range = format!("bytes={}-{}", offset, offset + length - 1);
            let request = self.client.get_job_output().vault_name(vault).job_id(job).range(range);
            let sent = request.send().await.map_err(|error| explain(vault, error))?;
            match sent.body.collect().await {
                Ok(body) => {
                    let bytes = body.into_bytes();
                    if bytes.len() as u64 != length {
                        return Err(Error::failed(format!("{} bytes came instead of {length}", bytes.len())));
                    }
                    return Ok(bytes);
                }
                Err(_) if attempt < RANGE_ATTEMPTS => attempt += 1,
                Err(error) => {
                    let stopped = Error::new(Kind::TryAgain, "the answer broke off").with_source(error);
                    return Err(stopped.hint("run it again; the job stays ready for about a day"));
                }
            }
        }
    }

    /// Deletes an archive. Deleting one again is no error of the vault's.
    pub async fn delete(&self, vault: &str, archive_id: &str) -> Result<()> {
        let sent = self.client.delete_archive().vault_name(vault).archive_id(archive_id).send().await;
        let sent = sent.map(|_| ()).map_err(|error| explain(vault, error));
        sent.with_context(|| format!("delete an archive of the vault {vault}"))
    }
}

/// How many requests an upload takes.
pub fn upload_requests(size_bytes: u64) -> Result<u64> {
    Ok(part_bytes(size_bytes)?.map_or(1, |part| size_bytes.div_ceil(part) + 2))
}

/// The size of the parts of an upload; `None` where it goes as a whole.
fn part_bytes(size_bytes: u64) -> Result<Option<u64>> {
    if size_bytes == 0 {
        return Err(Error::usage("a vault takes no empty file"));
    }
    if size_bytes <= SINGLE_UPLOAD_BYTES {
        return Ok(None);
    }
    let part = size_bytes.div_ceil(MAX_PARTS).checked_next_power_of_two().unwrap_or(u64::MAX).max(MIN_PART_BYTES);
    if part > MAX_PART_BYTES {
        return Err(Error::usage(format!("{size_bytes} bytes are more than a vault takes as one archive")));
    }
    Ok(Some(part))
}

/// Offsets and lengths of the pieces of `size_bytes`; the last may be shorter.
fn pieces(size_bytes: u64, piece_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..size_bytes.div_ceil(piece_bytes)).map(move |number| {
        let offset = number * piece_bytes;
        (offset, piece_bytes.min(size_bytes - offset))
    })
}

/// What the vault confirmed; a hash other than ours means that it keeps other bytes.
fn stored(id: Option<String>, theirs: Option<String>, ours: String, size_bytes: u64) -> Result<Stored> {
    let archive_id =
        id.filter(|id| !id.is_empty()).ok_or_else(|| Error::failed("the vault named no archive for the upload"))?;
    match theirs {
        Some(theirs) if theirs != ours => {
            Err(Error::failed(format!("the vault says its archive {archive_id} has the hash {theirs}, not {ours}"))
                .code("vault-damaged")
                .hint("nothing was recorded; delete that archive, and run it again"))
        }
        _ => Ok(Stored { archive_id, tree_hash: ours, size_bytes }),
    }
}

fn explain<E>(vault: &str, error: SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let explained = match code.as_str() {
        code if NOT_FOUND.contains(&code) => Error::failed(format!(
            "the vault {vault}, or what it was asked for, is not there"
        ))
        .code("no-such-vault")
        .hint("check the name, AWS_REGION and whose credentials these are: `aws glacier list-vaults --account-id -`"),
        "NoLongerSupportedException" => Error::failed("AWS offers no vaults to this account")
            .code("no-vaults")
            .hint("new customers have had none since 2025-12-15; storage classes do the same: tier lifecycle"),
        "InsufficientCapacityException" => Error::new(Kind::TryAgain, "there is no capacity for it now")
            .code("no-capacity")
            .hint("ask with --retrieval standard"),
        "PolicyEnforcedException" => Error::new(Kind::OverBudget, "the account's data retrieval policy refuses it")
            .code("retrieval-policy")
            .hint("wait, or change the policy: `aws glacier get-data-retrieval-policy --account-id -`"),
        _ => return explain_sdk(error),
    };
    explained.with_source(explain_sdk(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_powers_of_two_and_never_too_many() {
        const GIBIBYTE: u64 = 1 << 30;
        assert_eq!(part_bytes(1).unwrap(), None);
        assert_eq!(part_bytes(SINGLE_UPLOAD_BYTES).unwrap(), None);
        assert_eq!(part_bytes(SINGLE_UPLOAD_BYTES + 1).unwrap(), Some(MIN_PART_BYTES));
        assert_eq!(part_bytes(MAX_PARTS * MIN_PART_BYTES).unwrap(), Some(MIN_PART_BYTES));
        assert_eq!(part_bytes(MAX_PARTS * MIN_PART_BYTES + 1).unwrap(), Some(2 * MIN_PART_BYTES));
        assert_eq!(part_bytes(MAX_PARTS * MAX_PART_BYTES).unwrap(), Some(MAX_PART_BYTES));
        for size in [101 * MEBIBYTE, 160 * GIBIBYTE, 999 * GIBIBYTE, 30_000 * GIBIBYTE] {
            let part = part_bytes(size).unwrap().unwrap();
            assert!((part / MEBIBYTE).is_power_of_two() && part.is_multiple_of(MEBIBYTE), "{size}: {part}");
            assert!(size.div_ceil(part) <= MAX_PARTS, "{size}: {part}");
        }
        for size in [0, MAX_PARTS * MAX_PART_BYTES + 1, u64::MAX] {
            assert_eq!(part_bytes(size).unwrap_err().kind(), Kind::Usage, "{size}");
        }
    }

    #[test]
    fn pieces_cover_every_byte_once() {
        let all = |size, piece| pieces(size, piece).collect::<Vec<_>>();
        assert_eq!(all(10, 4), [(0, 4), (4, 4), (8, 2)]);
        assert_eq!(all(8, 4), [(0, 4), (4, 4)]);
        assert_eq!(all(3, 4), [(0, 3)]);
        assert_eq!(upload_requests(3).unwrap(), 1);
        assert_eq!(upload_requests(101 * MEBIBYTE).unwrap(), 7 + 2);
    }

    #[test]
    fn another_hash_than_ours_is_not_taken_for_a_copy() {
        let of = |theirs: Option<&str>| stored(Some("id".into()), theirs.map(str::to_owned), "a".into(), 1);
        assert_eq!(of(Some("a")).unwrap(), of(None).unwrap());
        assert_eq!(of(Some("b")).unwrap_err().stable_code(), "vault-damaged");
        assert!(stored(None, None, "a".into(), 1).is_err());
    }
}
