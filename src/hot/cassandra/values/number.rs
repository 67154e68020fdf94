//! Decimals and integers of any length, as text and back, without losing a digit.

use num_bigint::BigInt;
use scylla::value::{CqlDecimal, CqlVarint};

/// More zeros than these are written as an exponent: a few bytes may say a number of a billion digits.
const MAX_ZEROS: usize = 64;

pub fn varint_text(value: &CqlVarint) -> String {
    BigInt::from_signed_bytes_be(value.as_signed_bytes_be_slice()).to_string()
}

pub fn parse_varint(text: &str) -> Option<CqlVarint> {
    Some(CqlVarint::from_signed_bytes_be(text.parse::<BigInt>().ok()?.to_signed_bytes_be()))
}

/// `1.50` stays `1.50`: the digits behind the point are part of the value.
pub fn decimal_text(value: &CqlDecimal) -> String {
    let (bytes, scale) = value.as_signed_be_bytes_slice_and_exponent();
    let number = BigInt::from_signed_bytes_be(bytes);
    let digits = number.magnitude().to_string();
    let sign = if number < BigInt::ZERO { "-" } else { "" };
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) if scale < digits.len() + MAX_ZEROS => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        _ => format!("{sign}{digits}E{}", -i64::from(scale)),
    }
}

pub fn parse_decimal(text: &str) -> Option<CqlDecimal> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let number: BigInt = format!("{whole}{fraction}").parse().ok().filter(|_| is_plain)?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some(CqlDecimal::from_signed_be_bytes_and_exponent(number.to_signed_bytes_be(), scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit_and_their_scale() {
        for text in ["0", "1.50", "-0.001", "12345678901234567890.123456789", "7E20", "1E-1000", "-5", "0.00"] {
            let parsed = parse_decimal(text).unwrap();
            assert_eq!(decimal_text(&parsed), text);
        }
        assert_eq!(decimal_text(&parse_decimal("1.5e3").unwrap()), "15E2");
        for text in ["", "x", "1.2.3", "1.-2", "1e", "."] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn varints_have_any_length() {
        for text in ["0", "-1", "128", "-129", "123456789012345678901234567890"] {
            assert_eq!(varint_text(&parse_varint(text).unwrap()), text);
        }
    }
}
