//! Money, in US dollars.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Serialize};

/// Below this an amount is nothing: the cheapest request costs four hundred times as much.
const NOTHING: f64 = 1e-9;
const CENT: f64 = 0.01;
/// From here on cents are noise.
const WHOLE_DOLLARS: f64 = 1000.0;

/// An amount of US dollars. An estimate: what is owed is on the store's bill.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub f64);

impl Usd {
    /// A plain number for `--max-cost`, one step above the amount, so that a quote filled into a command passes: cents
    /// below $1,000, dollars above, and two significant figures below a cent. Nothing costs `0`.
    pub fn round_up(self) -> String {
        // What is a whole number of steps but for the last bits is one more all the same.
        const SLACK: f64 = 1.0 + 1e-9;
        if self.0 < NOTHING {
            return "0".to_owned();
        }
        let places = match self.0 {
            amount if amount < CENT => significant_places(amount, 2),
            amount if amount < WHOLE_DOLLARS => 2,
            _ => 0,
        };
        let steps_per_dollar = 10_f64.powi(places as i32);
        let steps = (self.0 * steps_per_dollar * SLACK).floor() + 1.0;
        trim_zeros(&format!("{:.places$}", steps / steps_per_dollar)).to_owned()
    }
}

/// How many places after the point show this many significant figures of an amount below one.
fn significant_places(amount: f64, figures: i32) -> usize {
    (figures - 1 - amount.log10().floor() as i32).max(0) as usize
}

fn trim_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// `$0`, `$0.00004917`, `$0.41`, `$838.86`, `$6,393`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, amount) = if self.0 < 0.0 { ("-", -self.0) } else { ("", self.0) };
        let cents = (amount / CENT).round() * CENT;
        let text = if amount < NOTHING {
            "$0".to_owned()
        } else if amount < CENT {
            format!("{sign}${}", trim_zeros(&format!("{amount:.0$}", significant_places(amount, 4))))
        } else if cents < WHOLE_DOLLARS {
            format!("{sign}${cents:.2}")
        } else {
            format!("{sign}${}", thousands(&format!("{:.0}", amount.round())))
        };
        f.pad(&text)
    }
}

/// A comma before every third digit from the end.
fn thousands(digits: &str) -> String {
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

impl Add for Usd {
    type Output = Usd;
    fn add(self, other: Usd) -> Usd {
        Usd(self.0 + other.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Usd) {
        self.0 += other.0;
    }
}

impl Sub for Usd {
    type Output = Usd;
    fn sub(self, other: Usd) -> Usd {
        Usd(self.0 - other.0)
    }
}

impl Mul<f64> for Usd {
    type Output = Usd;
    fn mul(self, factor: f64) -> Usd {
        Usd(self.0 * factor)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(amounts: I) -> Usd {
        amounts.fold(Usd::default(), Add::add)
    }
}

/// After how many months what is saved each month has paid for what was spent once; `None` when nothing is saved.
pub fn pays_back_after(one_off: Usd, monthly_saving: Usd) -> Option<u32> {
    // A quotient that is whole but for its last bits is whole.
    const SLACK: f64 = 1e-9;
    if one_off.0 <= 0.0 {
        return Some(0);
    }
    let months = (one_off.0 / monthly_saving.0 * (1.0 - SLACK)).ceil();
    (monthly_saving.0 > 0.0 && months <= f64::from(u32::MAX)).then_some(months as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_the_figures_that_matter() {
        for (amount, text) in [
            (0.0, "$0"),
            (-0.0, "$0"),
            (0.3 - 0.1 - 0.2, "$0"),
            (0.0012, "$0.0012"),
            (0.000_049_174_2, "$0.00004917"),
            (0.000_000_4, "$0.0000004"),
            (0.009_999_96, "$0.01"),
            (0.01, "$0.01"),
            (0.409_6, "$0.41"),
            (12.341, "$12.34"),
            (838.860_8, "$838.86"),
            (999.994, "$999.99"),
            (999.996, "$1,000"),
            (6392.5, "$6,393"),
            (141_969.3, "$141,969"),
            (1_234_567.0, "$1,234,567"),
            (-12.341, "-$12.34"),
            (-1500.0, "-$1,500"),
        ] {
            assert_eq!(Usd(amount).to_string(), text, "{amount}");
        }
        assert_eq!(format!("{:>8}|", Usd(0.41)), "   $0.41|");
    }

    #[test]
    fn a_limit_made_of_a_price_is_never_below_it() {
        for (amount, text) in [
            (0.0, "0"),
            (0.0012, "0.0013"),
            (0.001_204, "0.0013"),
            (0.009_9, "0.01"),
            (0.41, "0.42"),
            (0.404, "0.41"),
            (22.727, "22.73"),
            (999.995, "1000"),
            (6392.5, "6393"),
            (6393.0, "6394"),
        ] {
            assert_eq!(Usd(amount).round_up(), text, "{amount}");
        }
        let mut amount = 3.7e-9;
        while amount < 1e9 {
            let limit: f64 = Usd(amount).round_up().parse().unwrap();
            assert!(limit >= amount && limit <= amount * 1.2 + CENT.min(amount), "{amount}: {limit}");
            amount *= 1.013;
        }
    }

    #[test]
    fn a_move_pays_back_in_whole_months_or_never() {
        assert_eq!(pays_back_after(Usd(1.0), Usd(0.3)), Some(4));
        assert_eq!(pays_back_after(Usd(1.1), Usd(0.1)), Some(11));
        assert_eq!(pays_back_after(Usd(0.0), Usd(0.3)), Some(0));
        assert_eq!(pays_back_after(Usd(1.0), Usd(0.0)), None);
        assert_eq!(pays_back_after(Usd(1.0), Usd(-0.1)), None);
        assert_eq!(pays_back_after(Usd(1.0), Usd(1e-12)), None);
    }

    #[test]
    fn amounts_add_up_and_are_numbers_in_json() {
        let all: Usd = [Usd(1.0), Usd(2.5)].into_iter().sum();
        assert_eq!((all - Usd(0.5)) * 2.0, Usd(6.0));
        assert_eq!(serde_json::to_string(&all).unwrap(), "3.5");
    }
}
