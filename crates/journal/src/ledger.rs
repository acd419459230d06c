//! The account of rows: none is read without being counted in exactly one class.

use serde::{Deserialize, Serialize};

/// Rows of one input, counted since the first epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Rows that came, counted where bytes become rows.
    pub read: u64,
    /// Rows that went on into f.
    pub accepted: u64,
    /// Rows whose key was seen before.
    pub duplicate: u64,
    /// Rows behind their source partition's watermark.
    pub late: u64,
    /// Rows that could not be used: malformed, or too far in the future.
    pub rejected: u64,
    /// Rows that a condition of the user's left out.
    pub filtered: u64,
}

impl Ledger {
    /// Adds another's counts, class by class. Stops at the largest number, and so out of balance, instead of wrapping.
    pub fn add(&mut self, other: &Self) {
        self.read = self.read.saturating_add(other.read);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
        self.late = self.late.saturating_add(other.late);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.filtered = self.filtered.saturating_add(other.filtered);
    }

    /// Counts rows that were accepted in another class instead, `|ledger| &mut ledger.duplicate` for one. More of them
    /// than were accepted put the ledger out of balance.
    pub fn reclass(&mut self, rows: u64, class: fn(&mut Self) -> &mut u64) {
        self.accepted = self.accepted.saturating_sub(rows);
        let class = class(self);
        *class = class.saturating_add(rows);
    }

    /// Checks `read = accepted + duplicate + late + rejected + filtered`.
    ///
    /// # Errors
    /// The two sides differ; `input` is named in the error.
    pub fn check(&self, input: &str) -> Result<(), Unbalanced> {
        let classes = [self.accepted, self.duplicate, self.late, self.rejected, self.filtered];
        let accounted: u128 = classes.into_iter().map(u128::from).sum();
        if accounted == u128::from(self.read) {
            Ok(())
        } else {
            Err(Unbalanced { input: input.to_owned(), ledger: *self, accounted })
        }
    }
}

/// Rows were lost or counted twice: a fault in rescan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger of input {input} does not balance: {} read, but {accounted} accounted for ({} accepted, {} duplicate, \
     {} late, {} rejected, {} filtered); nothing of this epoch was kept: please report it with the command line",
    ledger.read, ledger.accepted, ledger.duplicate, ledger.late, ledger.rejected, ledger.filtered
)]
pub struct Unbalanced {
    /// The input by its name in the command.
    pub input: String,
    /// Its counts.
    pub ledger: Ledger,
    /// The sum of the classes.
    pub accounted: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger([read, accepted, duplicate, late, rejected, filtered]: [u64; 6]) -> Ledger {
        Ledger { read, accepted, duplicate, late, rejected, filtered }
    }

    #[test]
    fn each_class_counts_once() {
        assert!(ledger([0; 6]).check("plays").is_ok());
        for class in 1..6 {
            let mut counts = [0; 6];
            counts[0] = 3;
            counts[class] = 3;
            assert!(ledger(counts).check("plays").is_ok(), "class {class}");
            counts[class] = 2;
            assert!(ledger(counts).check("plays").is_err(), "class {class}, one lost");
            counts[class] = 4;
            assert!(ledger(counts).check("plays").is_err(), "class {class}, one twice");
        }
    }

    #[test]
    fn the_error_says_every_number() {
        let error = ledger([100, 11, 12, 13, 14, 15]).check("plays").unwrap_err().to_string();
        for part in ["input plays", "100 read", "65 accounted", "11 acc", "12 dup", "13 late", "14 rej", "15 filt"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn adds_class_by_class() {
        let mut sum = ledger([15, 1, 2, 3, 4, 5]);
        sum.add(&ledger([150, 10, 20, 30, 40, 50]));
        assert_eq!(sum, ledger([165, 11, 22, 33, 44, 55]));
    }

    #[test]
    fn rows_change_their_class_and_never_vanish() {
        let mut sum = ledger([10, 8, 1, 0, 1, 0]);
        sum.reclass(3, |ledger| &mut ledger.rejected);
        sum.reclass(2, |ledger| &mut ledger.duplicate);
        assert_eq!(sum, ledger([10, 3, 3, 0, 4, 0]));
        sum.reclass(4, |ledger| &mut ledger.duplicate);
        assert_eq!(sum.check("plays").unwrap_err().accounted, 11);
    }

    #[test]
    fn does_not_wrap_into_balance() {
        let mut sum = ledger([u64::MAX, u64::MAX, 0, 0, 0, 0]);
        sum.add(&ledger([0, 0, 1, 0, 0, 0]));
        assert_eq!(sum.check("plays").unwrap_err().accounted, 1 << 64);
        assert!(ledger([0, u64::MAX, 1, 0, 0, 0]).check("plays").is_err());
    }
}
