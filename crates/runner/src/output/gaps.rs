//! Which hours without rows are sealed: a reader takes an hour that is not there for one that is still to come.

use std::ops::Range;

use connector::Hour;

/// Hours without rows are sealed for so long after one that has some. A single event with a wrong time, say 0, must not
/// seal half a million.
pub(crate) const SILENCE: i64 = 31 * 24;

/// The hours of a range to seal: those that have rows (`present`, ascending), and those that follow one of them, or
/// `before` (the last that had rows before the range), within a month. They depend on rows alone, and not on how a
/// stream is cut.
pub(crate) fn to_seal(range: Range<Hour>, present: &[Hour], before: Option<Hour>) -> Vec<Hour> {
    let mut hours = Vec::new();
    let begins = before.into_iter().chain(present.iter().copied().filter(|hour| *hour < range.end));
    let mut begins = begins.peekable();
    while let Some(begin) = begins.next() {
        let end = begins.peek().copied().unwrap_or(range.end).min(begin.plus(1 + SILENCE));
        hours.extend(Hour::range(begin.max(range.start)..end.min(range.end)));
    }
    hours
}

#[cfg(test)]
mod tests {
    use connector::HOUR_US;

    use super::*;

    fn hour(number: i64) -> Hour {
        Hour::of(number * HOUR_US)
    }

    fn sealed(range: Range<i64>, present: &[i64], before: Option<i64>) -> Vec<i64> {
        let present: Vec<Hour> = present.iter().copied().map(hour).collect();
        let hours = to_seal(hour(range.start)..hour(range.end), &present, before.map(hour));
        hours.into_iter().map(|hour| hour.start_us().div_euclid(HOUR_US)).collect()
    }

    #[test]
    fn hours_between_rows_are_sealed() {
        assert_eq!(sealed(0..6, &[0, 3, 7], None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sealed(4..6, &[], Some(0)), [4, 5]);
        assert_eq!(sealed(4..6, &[5], Some(0)), [4, 5]);
        assert!(sealed(0..0, &[0], None).is_empty());
    }

    #[test]
    fn a_long_silence_is_not() {
        let (now, last) = (490_000, SILENCE);
        let all: Vec<i64> = (0..=last).chain([now, now + 1]).collect();
        assert_eq!(sealed(0..now + 2, &[0, now], None), all);
        assert!(sealed(now..now + 2, &[], Some(0)).is_empty());
    }

    #[test]
    fn any_cut_seals_the_same() {
        let present = [3, 5, SILENCE + 9, 2 * SILENCE + 11, 2 * SILENCE + 14];
        let end = 2 * SILENCE + 20;
        let whole = sealed(3..end, &present, None);
        for cut in [4, 5, 6, 7, SILENCE, SILENCE + 6, SILENCE + 8, SILENCE + 9, SILENCE + 10, 2 * SILENCE + 12] {
            let (first, rest): (Vec<i64>, Vec<i64>) = present.iter().partition(|hour| **hour < cut);
            let parts = [sealed(3..cut, &first, None), sealed(cut..end, &rest, first.last().copied())];
            assert_eq!(parts.concat(), whole, "cut at {cut}");
        }
    }
}
