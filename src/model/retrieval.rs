//! How fast, and how dear, an archived object is restored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StorageClass;
use crate::error::Error;

/// S3's retrieval tiers, fastest first.
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

    /// DEEP_ARCHIVE has no Expedited,
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>
    pub fn is_offered_for(self, class: StorageClass) -> bool {
        class.is_archived() && !(self == Self::Expedited && class == StorageClass::DeepArchive)
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
        Self::ALL.into_iter().find(|tier| tier.as_str() == text.to_ascii_lowercase()).ok_or_else(|| {
            Error::usage(format!("`{text}` is not a retrieval tier"))
                .hint("the tiers are expedited, standard and bulk; DEEP_ARCHIVE has no expedited")
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
        assert_eq!("Bulk".parse::<Retrieval>().unwrap(), Retrieval::Bulk);
        assert!(
            "quick".parse::<Retrieval>().unwrap_err().hint_text().unwrap().contains("expedited, standard and bulk")
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
