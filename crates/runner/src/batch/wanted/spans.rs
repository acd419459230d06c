//! Sets of hours that are mostly one after another: `_SUCCESS` names the input hours that an hour was made of as such.

use std::ops::Range;

use connector::Hour;
use serde::{Deserialize, Serialize};

/// Hours, as the first and the last of each run of neighbours; ascending, and no two runs touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Spans(Vec<(Hour, Hour)>);

impl Spans {
    /// Of hours in ascending order.
    pub(crate) fn of(hours: impl IntoIterator<Item = Hour>) -> Spans {
        let mut spans = Spans::default();
        hours.into_iter().for_each(|hour| spans.push((hour, hour)));
        spans
    }

    /// All hours of several sets.
    pub(crate) fn union(sets: impl IntoIterator<Item = Spans>) -> Spans {
        let mut all: Vec<(Hour, Hour)> = sets.into_iter().flat_map(|spans| spans.0).collect();
        all.sort_unstable();
        let mut spans = Spans::default();
        all.into_iter().for_each(|span| spans.push(span));
        spans
    }

    /// Adds a run that begins at or after the begin of the last.
    fn push(&mut self, (first, last): (Hour, Hour)) {
        match self.0.last_mut() {
            Some(known) if first <= known.1.plus(1) => known.1 = known.1.max(last),
            _ => self.0.push((first, last)),
        }
    }

    pub(crate) fn contains(&self, hour: Hour) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= hour);
        after > 0 && hour <= self.0[after - 1].1
    }

    /// The first hour of all and the last.
    pub(crate) fn ends(&self) -> Option<(Hour, Hour)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// Those of a range.
    pub(crate) fn within(&self, range: Range<Hour>) -> impl Iterator<Item = Hour> {
        let clipped =
            move |(first, last): &(Hour, Hour)| Hour::range(range.start.max(*first)..range.end.min(last.plus(1)));
        self.0.iter().flat_map(clipped)
    }

    /// The runs, for people: `2016-11-07T03`, `2016-11-07T03 to 2016-11-07T05`.
    pub(crate) fn named(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(first, last)| named(*first, *last))
    }
}

/// A run of hours, for people.
pub(crate) fn named(first: Hour, last: Hour) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

#[cfg(test)]
mod tests {
    use connector::HOUR_US;

    use super::*;

    fn hours(numbers: &[i64]) -> Vec<Hour> {
        numbers.iter().map(|number| Hour::of(number * HOUR_US)).collect()
    }

    #[test]
    fn a_set_holds_the_hours_that_it_was_made_of() {
        for some in [&[][..], &[3], &[1, 2, 3, 5, 8, 9], &[0, 2, 4]] {
            let spans = Spans::of(hours(some));
            let all = hours(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
            let held: Vec<Hour> = all.iter().copied().filter(|hour| spans.contains(*hour)).collect();
            assert_eq!(held, hours(some));
            let within: Vec<Hour> = spans.within(all[2]..all[9]).collect();
            assert_eq!(within, held.iter().copied().filter(|hour| (all[2]..all[9]).contains(hour)).collect::<Vec<_>>());
            assert_eq!(spans.ends(), held.first().copied().zip(held.last().copied()));
        }
    }

    #[test]
    fn a_union_is_the_same_in_any_order() {
        let sets = [&[1, 2][..], &[2, 3, 7], &[4, 9]].map(|some| Spans::of(hours(some)));
        let [a, b, c] = sets.clone();
        assert_eq!(Spans::union([c, a, b]), Spans::of(hours(&[1, 2, 3, 4, 7, 9])));
        assert_eq!(Spans::union(sets).named().collect::<Vec<_>>().len(), 3);
    }
}
