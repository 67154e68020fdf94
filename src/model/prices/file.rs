//! Reading a price file. A price that is missing, misspelt or negative is refused: taken for nothing, it would let every
//! `--max-cost` pass.

use toml::Value;

use super::Prices;
use crate::error::{Error, Result};
use crate::model::{Retrieval, StorageClass};

const BUILT_IN: &str = include_str!("prices.toml");

impl Prices {
    /// The prices this program was built with.
    pub fn built_in() -> Self {
        // Unchecked: a test reads them as it would any file.
        toml::from_str(BUILT_IN).expect("a test reads the built-in prices")
    }

    /// Prices from the text of a file shaped as `prices.toml` is. What is wrong with it is a usage error that names the
    /// key.
    pub fn parse(text: &str) -> Result<Self> {
        // The parser's own message shows the line with a caret and the names it expected.
        let bad = |error: toml::de::Error| Error::usage(error.to_string().trim_end());
        let prices: Prices = toml::from_str(text).map_err(bad)?;
        check_amounts("", &Value::Table(toml::from_str(text).map_err(bad)?))?;
        prices.check_retrievals()?;
        Ok(prices)
    }

    fn check_retrievals(&self) -> Result<()> {
        for class in StorageClass::ALL {
            for retrieval in Retrieval::ALL {
                let key = format!("classes.{class}.retrievals.{retrieval}");
                match (retrieval.is_offered_for(class), self.retrieval(class, retrieval)) {
                    (true, None) => return Err(Error::usage(format!("`{key}` is missing"))),
                    (false, Some(_)) => return Err(Error::usage(format!("`{key}`: there is no such restore"))),
                    (_, Some(prices)) if prices.ready_min.is_negative() => {
                        return Err(Error::usage(format!("`{key}.ready_min` is negative")));
                    }
                    (_, Some(prices)) if prices.ready_max < prices.ready_min => {
                        return Err(Error::usage(format!("`{key}.ready_max` is less than ready_min")));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Every number of the document is a finite amount of at least nothing. TOML has words for the others.
fn check_amounts(key: &str, value: &Value) -> Result<()> {
    let is_amount = match value {
        Value::Integer(number) => *number >= 0,
        Value::Float(number) => number.is_finite() && *number >= 0.0,
        Value::Table(table) => {
            return table.iter().try_for_each(|(name, value)| {
                check_amounts(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value)
            });
        }
        _ => true,
    };
    if is_amount { Ok(()) } else { Err(Error::usage(format!("`{key}` is {value}, which is no price"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// What is said of the built-in file after one change.
    fn refusal(from: &str, to: &str) -> String {
        assert!(BUILT_IN.contains(from), "{from}");
        let error = Prices::parse(&BUILT_IN.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        error.to_string()
    }

    #[test]
    fn the_built_in_prices_are_read_and_dated() {
        let prices = Prices::parse(BUILT_IN).unwrap();
        assert_eq!(prices, Prices::built_in());
        assert_eq!((prices.date.to_string().as_str(), prices.region.as_str()), ("2026-09-26", "us-east-1"));
    }

    #[test]
    fn a_price_that_is_missing_misspelt_or_impossible_is_named() {
        for (from, to, said) in [
            ("list_per_1000 = 0.005", "", "missing field `list_per_1000`"),
            ("list_per_1000", "list_per_100", "unknown field `list_per_100`"),
            ("[classes.GLACIER_IR]", "[classes.GLACIER_XR]", "unknown field `GLACIER_XR`"),
            ("put_per_1000 = 0.03\n", "", "missing field `put_per_1000`"),
            ("put_per_1000 = 0.03\n", "put_per_1000 = -0.03\n", "`classes.GLACIER.put_per_1000` is -0.03"),
            ("put_per_1000 = 0.03\n", "put_per_1000 = nan\n", "`classes.GLACIER.put_per_1000` is nan"),
            ("put_per_1000 = 0.03\n", "put_per_1000 = \"0.03\"\n", "expected f64"),
            ("per_1000 = 10,", "per_1000 = -10,", "`classes.GLACIER.retrievals.expedited.per_1000` is -10"),
            ("ready_max = \"5m\"", "ready_max = \"5s\"", "expedited.ready_max` is less than ready_min"),
            ("expedited =", "#", "`classes.GLACIER.retrievals.expedited` is missing"),
            ("expedited =", "quick =", "unknown field `quick`"),
            ("date = \"2026-09-26\"", "date = \"soon\"", "soon"),
        ] {
            let message = refusal(from, to);
            assert!(message.contains(said), "{from} → {to}: {message}");
        }
        let start = BUILT_IN.find("[classes.STANDARD_IA]").unwrap();
        let end = BUILT_IN.find("[classes.GLACIER_IR]").unwrap();
        let without = format!("{}{}", &BUILT_IN[..start], &BUILT_IN[end..]);
        let message = Prices::parse(&without).unwrap_err().to_string();
        assert!(message.contains("missing field `STANDARD_IA`"), "{message}");
    }

    #[test]
    fn a_restore_that_does_not_exist_has_no_price() {
        let expedited = "\n[classes.DEEP_ARCHIVE.retrievals]\nexpedited = { per_gb = 0, per_1000 = 0, \
                         ready_min = \"1m\", ready_max = \"5m\" }";
        let message = refusal("\n[classes.DEEP_ARCHIVE.retrievals]", expedited);
        assert_eq!(message, "`classes.DEEP_ARCHIVE.retrievals.expedited`: there is no such restore");
    }
}
