//! Which tiers a question is asked of.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::StorageClass;

/// Some of the three tiers; all, where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    pub hot: bool,
    /// The archive's files that can be read at once.
    pub cold: bool,
    /// The archive's files in classes that need a restore first, restored ones too.
    pub deep: bool,
}

impl Tiers {
    pub const ALL: Tiers = Tiers { hot: true, cold: true, deep: true };

    pub fn archive(self) -> bool {
        self.cold || self.deep
    }

    /// Classes of the archive's files that are looked at.
    pub fn classes(self) -> Vec<StorageClass> {
        let is_asked = |class: &StorageClass| if class.is_archived() { self.deep } else { self.cold };
        StorageClass::ALL.into_iter().filter(is_asked).collect()
    }
}

impl Default for Tiers {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(self.hot, "hot"), (self.cold, "cold"), (self.deep, "deep")];
        let names: Vec<&str> = named.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Tiers {
    type Err = Error;

    /// `hot,cold,deep` or fewer of them.
    fn from_str(text: &str) -> Result<Self> {
        let mut tiers = Tiers { hot: false, cold: false, deep: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "hot" => tiers.hot = true,
                "cold" => tiers.cold = true,
                "deep" => tiers.deep = true,
                _ => {
                    return Err(
                        Error::usage(format!("`{name}` is not a tier")).hint("the tiers are hot, cold and deep")
                    );
                }
            }
        }
        Ok(tiers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_named_in_any_order_and_written_in_one() {
        let tiers: Tiers = "deep, hot".parse().unwrap();
        assert_eq!(tiers, Tiers { hot: true, cold: false, deep: true });
        assert_eq!((tiers.to_string(), Tiers::ALL.to_string()), ("hot,deep".into(), "hot,cold,deep".into()));
        assert_eq!(tiers.classes(), [StorageClass::Glacier, StorageClass::DeepArchive]);
        assert_eq!("warm".parse::<Tiers>().unwrap_err().to_string(), "`warm` is not a tier");
        assert!("".parse::<Tiers>().is_err());
    }
}
