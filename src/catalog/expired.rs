//! What remains of a version whose files were deleted: its name, so that nobody can create it again, and what it did.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Operation, RootDocument};
use super::table;
use crate::error::{Context, Result};

const KEY: &str = "tier.root.expired";

/// An expired version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stub {
    pub version: u64,
    pub commit_id: String,
    pub time: Timestamp,
    pub operation: Operation,
}

impl Stub {
    pub fn of(document: &RootDocument) -> Self {
        Stub {
            version: document.version,
            commit_id: document.commit_id.clone(),
            time: document.time,
            operation: document.operation.clone(),
        }
    }

    pub fn encode(&self) -> Result<Bytes> {
        let document = serde_json::to_string(self).context("encode an expired version")?;
        table::encode(&RecordBatch::new_empty(Arc::new(Schema::empty())), KEY, document)
    }

    /// `None` when the bytes are a root.
    pub fn decode(bytes: Bytes) -> Result<Option<Self>> {
        match table::value(bytes, KEY)? {
            Some(document) => serde_json::from_str(&document).context("read an expired version").map(Some),
            None => Ok(None),
        }
    }
}
