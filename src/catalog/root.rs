//! The root of a version: one row per leaf, and the document.

use bytes::Bytes;

use super::document::RootDocument;
use super::leaf_list::LeafList;
use super::table;
use crate::error::{Context, Error, Result};

const KEY: &str = "tier.root";

/// A version of the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    pub document: RootDocument,
    pub leaves: LeafList,
}

impl Root {
    pub fn encode(&self) -> Result<Bytes> {
        let document = serde_json::to_string(&self.document).context("encode the root document")?;
        table::encode(self.leaves.batch(), KEY, document)
    }

    pub fn decode(bytes: Bytes) -> Result<Self> {
        let (batch, document) = table::decode(bytes, KEY)?;
        // Read the two fields that decide readability before anything that a newer format may have changed.
        let document: RootDocument = match serde_json::from_str(&document) {
            Ok(document) => document,
            Err(error) => return Err(unreadable(&document, error)),
        };
        document.check_readable()?;
        Ok(Root { document, leaves: LeafList::of(batch)? })
    }
}

fn unreadable(document: &str, error: serde_json::Error) -> Error {
    let version = serde_json::from_str::<serde_json::Value>(document).ok().and_then(|v| v["format_version"].as_u64());
    match version {
        Some(version) if version > u64::from(super::FORMAT_VERSION) => Error::usage(format!(
            "the archive has catalog format {version}; this tier reads up to {}",
            super::FORMAT_VERSION
        ))
        .code("newer-format")
        .hint("use a newer tier"),
        _ => Error::failed("the root's document cannot be read").code("corrupt-root").with_source(error),
    }
}
