//! What storage, requests and restores cost: a dated data file, never constants in code.
//!
//! Everything here is arithmetic over one [`Prices`]; a quote built on it must name [`Prices::date`]. A GB is 2^30
//! bytes and a month 30 days, as the store bills them. Which numbers apply is the price file's business: the built-in
//! one is `prices.toml` beside this file, which names its sources.

mod file;

use jiff::SignedDuration;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Retrieval, StorageClass, Usd};

const BYTES_PER_GB: f64 = (1_u64 << 30) as f64;
const DAYS_PER_MONTH: f64 = 30.0;

/// The prices of one region on one date.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The date on which these were the prices.
    pub date: Date,
    pub region: String,
    /// Of 1,000 LIST requests, each of up to 1,000 keys.
    pub list_per_1000: f64,
    /// Of a GB sent from the region to the internet.
    pub egress_per_gb: f64,
    classes: Classes,
}

/// One entry per class, so that a file which leaves one out is refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
struct Classes {
    standard: ClassPrices,
    standard_ia: ClassPrices,
    glacier_ir: ClassPrices,
    glacier: ClassPrices,
    deep_archive: ClassPrices,
}

/// What one storage class charges, in dollars.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassPrices {
    pub storage_gb_month: f64,
    /// An object deleted earlier is billed for the rest.
    pub minimum_days: u32,
    /// A smaller object is billed as this large.
    pub minimum_billed_bytes: u64,
    /// What each object takes beside its bytes, at this class's price.
    pub overhead_bytes: u64,
    /// What each object takes beside its bytes, at STANDARD's price.
    pub overhead_standard_bytes: u64,
    pub put_per_1000: f64,
    pub get_per_1000: f64,
    /// Of 1,000 lifecycle transitions into this class.
    pub transition_per_1000: f64,
    /// Of a GB read from a class that is read as it lies.
    pub retrieval_per_gb: f64,
    #[serde(default)]
    retrievals: Retrievals,
}

/// Present exactly where [`Retrieval::is_offered_for`] says so.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retrievals {
    expedited: Option<RetrievalPrices>,
    standard: Option<RetrievalPrices>,
    bulk: Option<RetrievalPrices>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetrievalPrices {
    per_gb: f64,
    per_1000: f64,
    ready_min: SignedDuration,
    ready_max: SignedDuration,
}

/// What a restore costs, line by line.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct RestoreQuote {
    /// Retrieval by the GB.
    pub data: Usd,
    /// One restore request per object.
    pub requests: Usd,
    /// The readable copy, at STANDARD's price for as long as it is kept; the archived object is billed on beside it.
    pub temporary_copy: Usd,
    /// Sending the bytes out of the region; nothing unless asked for.
    pub egress: Usd,
}

impl RestoreQuote {
    pub fn total(&self) -> Usd {
        self.data + self.requests + self.temporary_copy + self.egress
    }
}

impl Prices {
    pub fn class(&self, class: StorageClass) -> &ClassPrices {
        match class {
            StorageClass::Standard => &self.classes.standard,
            StorageClass::StandardIa => &self.classes.standard_ia,
            StorageClass::GlacierIr => &self.classes.glacier_ir,
            StorageClass::Glacier => &self.classes.glacier,
            StorageClass::DeepArchive => &self.classes.deep_archive,
        }
    }

    /// One object of this size for a month, with its minimum billed size and its overheads.
    pub fn storage_month(&self, class: StorageClass, size_bytes: u64) -> Usd {
        let overhead_bytes = self.class(class).overhead_standard_bytes;
        self.own_storage_month(class, size_bytes)
            + gigabytes(overhead_bytes, self.class(StorageClass::Standard).storage_gb_month)
    }

    /// The part of a month's storage that is billed in the object's own class.
    fn own_storage_month(&self, class: StorageClass, size_bytes: u64) -> Usd {
        let prices = self.class(class);
        let billed_bytes = size_bytes.max(prices.minimum_billed_bytes).saturating_add(prices.overhead_bytes);
        gigabytes(billed_bytes, prices.storage_gb_month)
    }

    /// Writing objects straight into a class, or copying them there.
    pub fn put(&self, class: StorageClass, requests: u64) -> Usd {
        thousands(requests, self.class(class).put_per_1000)
    }

    pub fn get(&self, class: StorageClass, requests: u64) -> Usd {
        thousands(requests, self.class(class).get_per_1000)
    }

    pub fn list(&self, requests: u64) -> Usd {
        thousands(requests, self.list_per_1000)
    }

    /// Lifecycle transitions of objects into a class.
    pub fn transition(&self, class: StorageClass, objects: u64) -> Usd {
        thousands(objects, self.class(class).transition_per_1000)
    }

    /// What reading bytes costs beside the requests, in a class that is read as it lies. Nothing in an archived class:
    /// what is read there is a restored copy, see [`Prices::restore`].
    pub fn instant_retrieval(&self, class: StorageClass, size_bytes: u64) -> Usd {
        gigabytes(size_bytes, self.class(class).retrieval_per_gb)
    }

    /// Sending bytes out of the region to the internet.
    pub fn egress(&self, size_bytes: u64) -> Usd {
        gigabytes(size_bytes, self.egress_per_gb)
    }

    /// Deleting or moving one object before its class's minimum duration: the rest of it, pro rata. The overhead that
    /// lies in STANDARD has no minimum.
    pub fn early_delete(&self, class: StorageClass, size_bytes: u64, days_stored: u32) -> Usd {
        let days_left = self.class(class).minimum_days.saturating_sub(days_stored);
        self.own_storage_month(class, size_bytes) * (f64::from(days_left) / DAYS_PER_MONTH)
    }

    /// Making `files` objects of together `size_bytes` readable for `days`, and, with `transfer`, sending them out of the
    /// region once. `None` where the tier is not offered for the class.
    pub fn restore(
        &self,
        class: StorageClass,
        retrieval: Retrieval,
        files: u64,
        size_bytes: u64,
        days: u32,
        transfer: bool,
    ) -> Option<RestoreQuote> {
        let prices = self.retrieval(class, retrieval)?;
        let copy_gb_month = self.class(StorageClass::Standard).storage_gb_month;
        Some(RestoreQuote {
            data: gigabytes(size_bytes, prices.per_gb),
            requests: thousands(files, prices.per_1000),
            temporary_copy: gigabytes(size_bytes, copy_gb_month) * (f64::from(days) / DAYS_PER_MONTH),
            egress: if transfer { self.egress(size_bytes) } else { Usd::default() },
        })
    }

    /// How long after its request a restored object is readable, at the soonest and at the latest. Zero at the soonest
    /// where only a latest is promised. `None` where the tier is not offered for the class.
    pub fn ready_within(&self, class: StorageClass, retrieval: Retrieval) -> Option<(SignedDuration, SignedDuration)> {
        self.retrieval(class, retrieval).map(|prices| (prices.ready_min, prices.ready_max))
    }

    fn retrieval(&self, class: StorageClass, retrieval: Retrieval) -> Option<&RetrievalPrices> {
        let retrievals = &self.class(class).retrievals;
        match retrieval {
            Retrieval::Expedited => retrievals.expedited.as_ref(),
            Retrieval::Standard => retrievals.standard.as_ref(),
            Retrieval::Bulk => retrievals.bulk.as_ref(),
        }
    }
}

fn gigabytes(size_bytes: u64, per_gb: f64) -> Usd {
    Usd(size_bytes as f64 / BYTES_PER_GB * per_gb)
}

fn thousands(count: u64, per_1000: f64) -> Usd {
    Usd(count as f64 / 1000.0 * per_1000)
}

#[cfg(test)]
mod worked_examples;
