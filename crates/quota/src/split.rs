//! `--split train=0.8,val=0.1,test=0.1`: which split a unit is in, by its stable hash alone.

use crate::proportion::{self, ONE};

/// Named proportions that sum to 1 exactly.
///
/// The 64-bit hashes are cut at the cumulative proportions: split `k` holds the hashes `h` with
/// `c(k-1) <= h / 2^64 < c(k)`, compared in whole numbers. So every hash is in exactly one split, and a first split
/// that grows keeps what it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splits {
    names: Vec<String>,
    /// Cumulative, in units of 10^-18; the last is 1.
    ends: Vec<u64>,
}

/// Why a `--split` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A part that is not `name=decimal`.
    #[error("split `{0}` is not of the form name=0.1 (a decimal between 0 and 1, at most 18 places)")]
    Part(String),
    /// Two parts of one name.
    #[error("split `{0}` is named twice; give each split its own name")]
    Twice(String),
    /// The proportions do not sum to 1.
    #[error("the splits' proportions sum to {0}, not to exactly 1; change one of them")]
    Sum(String),
}

impl Splits {
    /// Reads `name=proportion` parts, separated by commas.
    pub fn parse(text: &str) -> Result<Splits, SplitError> {
        let (mut names, mut ends, mut sum) = (Vec::<String>::new(), Vec::new(), 0u128);
        for part in text.split(',') {
            let refused = || SplitError::Part(part.trim().to_owned());
            let (name, proportion) = part.split_once('=').ok_or_else(refused)?;
            let (name, proportion) = (name.trim(), proportion::parse(proportion.trim()).ok_or_else(refused)?);
            if name.is_empty() {
                return Err(refused());
            }
            if names.iter().any(|other| other == name) {
                return Err(SplitError::Twice(name.to_owned()));
            }
            sum += u128::from(proportion);
            names.push(name.to_owned());
            ends.push(u64::try_from(sum).unwrap_or(u64::MAX));
        }
        if sum != u128::from(ONE) {
            let places = format!("{:018}", sum % u128::from(ONE));
            return Err(SplitError::Sum(format!("{}.{}", sum / u128::from(ONE), places.trim_end_matches('0'))));
        }
        Ok(Splits { names, ends })
    }

    /// The names, in the order given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of the split that holds `hash`, a stable hash of the unit, uniform over all 64-bit numbers.
    pub fn of(&self, hash: u64) -> &str {
        let at = self.ends.partition_point(|end| (u128::from(*end) << 64) <= u128::from(hash) * u128::from(ONE));
        &self.names[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_in_the_split_its_place_says() {
        let splits = Splits::parse("train=0.8, val=0.1,test=0.1").unwrap();
        assert_eq!(splits.names(), ["train", "val", "test"]);
        // 0.8 x 2^64 = 14757395258967641292.8: the last hash of train, and the first of val.
        let edge = 14_757_395_258_967_641_292;
        assert_eq!([0, edge, edge + 1, u64::MAX].map(|hash| splits.of(hash)), ["train", "train", "val", "test"]);
        assert_eq!(Splits::parse("none=0,half=0.5,rest=0.5").unwrap().of(0), "half");
        assert_eq!(Splits::parse("all=1,none=0").unwrap().of(u64::MAX), "all");
        assert_eq!(Splits::parse("a=0.5,b=0.5").unwrap().of(1 << 63), "b");
    }

    #[test]
    fn a_first_split_that_grows_keeps_what_it_had() {
        let (small, large) = (Splits::parse("in=0.05,out=0.95").unwrap(), Splits::parse("in=0.2,out=0.8").unwrap());
        let hashes = (0..10_000u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let held: Vec<u64> = hashes.filter(|hash| small.of(*hash) == "in").collect();
        assert!((450..550).contains(&held.len()), "{}", held.len());
        assert!(held.iter().all(|hash| large.of(*hash) == "in"));
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for wrong in ["", "train", "=1", "a=x", "a=-1", "a=1.5"] {
            assert!(matches!(Splits::parse(wrong), Err(SplitError::Part(_))), "{wrong}");
        }
        assert_eq!(Splits::parse("a=0.5,a=0.5"), Err(SplitError::Twice("a".into())));
        assert_eq!(Splits::parse("a=0.8,b=0.1"), Err(SplitError::Sum("0.9".into())));
        assert_eq!(Splits::parse("a=0.8,b=0.25"), Err(SplitError::Sum("1.05".into())));
    }
}
