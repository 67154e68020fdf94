//! How fast a restore is asked to be, in S3's words (`GlacierJobParameters/Tier`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StorageClass;
use crate::error::Error;

/// The retrieval tier of a restore, fastest and dearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retrieval {
    Expedited,
    Standard,
    Bulk,
}

impl Retrieval {
    pub const ALL: [Retrieval; 3] = [Self::Expedited, Self::Standard, Self::Bulk];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expedited => "expedited",
            Self::Standard => "standard",
            Self::Bulk => "bulk",
        }
    }

    /// Whether objects of this class can be restored this way. What can be read as it lies needs no restore.
    pub fn is_offered_for(self, class: StorageClass) -> bool {
        match class {
            StorageClass::Glacier => true,
            StorageClass::DeepArchive => self != Self::Expedited,
            StorageClass::Standard | StorageClass::StandardIa | StorageClass::GlacierIr => false,
        }
    }

    /// The next slower tier: what is asked for when this one has no capacity.
    pub fn slower(self) -> Option<Retrieval> {
        match self {
            Self::Expedited => Some(Self::Standard),
            Self::Standard => Some(Self::Bulk),
            Self::Bulk => None,
        }
    }
}

impl fmt::Display for Retrieval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Retrieval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|retrieval| retrieval.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("`{text}` is not a retrieval tier")).hint(format!("the tiers are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_reads_back_from_its_name() {
        for retrieval in Retrieval::ALL {
            assert_eq!(retrieval.as_str().parse::<Retrieval>().unwrap(), retrieval);
            assert_eq!(serde_json::to_value(retrieval).unwrap(), retrieval.as_str());
        }
        assert_eq!(
            "Bulk".parse::<Retrieval>().unwrap_err().hint_text(),
            Some("the tiers are expedited, standard, bulk")
        );
    }

    #[test]
    fn deep_archive_knows_no_hurry() {
        let offered = |class| Retrieval::ALL.map(|retrieval| retrieval.is_offered_for(class));
        assert_eq!(offered(StorageClass::Glacier), [true, true, true]);
        assert_eq!(offered(StorageClass::DeepArchive), [false, true, true]);
        assert_eq!(offered(StorageClass::GlacierIr), [false, false, false]);
    }
}
