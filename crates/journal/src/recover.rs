//! What to do with a chain that was found: a pure function of what a look at its directory showed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use crate::epoch::Epoch;

/// What a look at a chain's directory showed, and what the run is about to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Numbers with a record: these epochs were decided.
    pub decided: BTreeSet<u64>,
    /// Numbers with a `.done` file: these epochs were published to the end.
    pub done: BTreeSet<u64>,
    /// The record of the greatest decided number, or why it cannot be read; none for an empty chain.
    pub newest: Option<Result<Epoch, String>>,
    /// The configuration of this run.
    pub config: BTreeMap<String, String>,
}

/// How to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing was decided yet: begin with epoch 1.
    Fresh,
    /// The epoch is complete: go on after it.
    Continue {
        /// The last epoch.
        epoch: u64,
    },
    /// The epoch was decided, but perhaps not all of it published: publish it, then look again.
    RollForward {
        /// The last epoch.
        epoch: u64,
    },
    /// The last epoch is complete, and was made with another configuration.
    ConfigChanged {
        /// The last epoch.
        epoch: u64,
        /// Every key whose value differs.
        differences: Vec<Difference>,
    },
    /// The chain contradicts itself; touch nothing.
    Corrupt {
        /// Which epoch, and what is wrong with it.
        what: String,
    },
    /// Records between others are gone; touch nothing.
    Gap {
        /// The greatest run of missing numbers below the newest record.
        missing: RangeInclusive<u64>,
    },
}

/// A key of the configuration whose value changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The last epoch's value; none where it had no such key.
    pub then: Option<String>,
    /// This run's value; none where it has no such key.
    pub now: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        let list = |value: &Option<String>| value.as_ref().is_some_and(|value| value.contains(LIST));
        match (&self.then, &self.now) {
            (Some(then), Some(now)) if list(&self.then) || list(&self.now) => {
                write!(f, "{} {}", self.key, differing(then, now))
            }
            _ => write!(f, "{} was {}, now {}", self.key, or_none(&self.then), or_none(&self.now)),
        }
    }
}

/// What stands between the items of a value that is a list, such as the columns of a schema.
const LIST: &str = ", ";

/// The items that one of two lists has and the other has not; or that the order is another.
fn differing(then: &str, now: &str) -> String {
    let only = |list: &str, other: &str| {
        let other: BTreeSet<&str> = items(other).into_iter().collect();
        items(list).into_iter().filter(|item| !other.contains(item)).collect::<Vec<_>>().join(LIST)
    };
    let (gone, new) = (only(then, now), only(now, then));
    match (gone.is_empty(), new.is_empty()) {
        (true, true) => format!("has another order: it was {then}, now {now}"),
        (true, false) => format!("has also {new}"),
        (false, true) => format!("has no more {gone}"),
        (false, false) => format!("had {gone}, now {new}"),
    }
}

/// Decides how to go on. An epoch that was decided is rolled forward whatever this run's configuration: it was decided
/// under its own, and publishing needs no other.
#[must_use]
pub fn recover(facts: &Facts) -> Decision {
    let Some(&last) = facts.decided.last() else {
        return match facts.done.last() {
            Some(done) => corrupt(*done, "was published, but its record is gone"),
            None => Decision::Fresh,
        };
    };
    if let Some(later) = facts.done.last().filter(|done| **done > last) {
        return corrupt(*later, "was published, but its record is gone");
    }
    if let Some(missing) = gap(&facts.decided, last) {
        return Decision::Gap { missing };
    }
    // An epoch is decided only once the one before is done.
    if let Some(skipped) = facts.decided.iter().find(|number| **number < last && !facts.done.contains(number)) {
        return corrupt(*skipped, "has a successor, but was not published itself");
    }
    match &facts.newest {
        None => corrupt(last, "has a record that was not read"),
        Some(Err(why)) => corrupt(last, why),
        Some(Ok(epoch)) if epoch.number != last => corrupt(last, &format!("has the record of epoch {}", epoch.number)),
        Some(Ok(_)) if !facts.done.contains(&last) => Decision::RollForward { epoch: last },
        Some(Ok(epoch)) => compare(epoch, &facts.config),
    }
}

fn corrupt(epoch: u64, what: &str) -> Decision {
    Decision::Corrupt { what: format!("epoch {epoch} {what}") }
}

/// The newest run of missing numbers: garbage collection takes the oldest records and leaves the last two.
fn gap(decided: &BTreeSet<u64>, last: u64) -> Option<RangeInclusive<u64>> {
    let mut above = last;
    for &number in decided.iter().rev().skip(1) {
        if number + 1 < above {
            return Some(number + 1..=above - 1);
        }
        above = number;
    }
    if decided.len() == 1 && last > 1 { Some(1..=last - 1) } else { None }
}

fn compare(last: &Epoch, now: &BTreeMap<String, String>) -> Decision {
    let (epoch, differences) = (last.number, last.differences(now));
    if differences.is_empty() { Decision::Continue { epoch } } else { Decision::ConfigChanged { epoch, differences } }
}

impl Epoch {
    /// What another configuration has otherwise, key by key.
    #[must_use]
    pub fn differences(&self, now: &BTreeMap<String, String>) -> Vec<Difference> {
        differences(&self.config, now)
    }
}

/// What differs between two configurations, key by key.
#[must_use]
pub fn differences(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<Difference> {
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differ = keys.into_iter().filter(|key| then.get(*key) != now.get(*key));
    let difference =
        |key: &String| Difference { key: key.clone(), then: then.get(key).cloned(), now: now.get(key).cloned() };
    differ.map(difference).collect()
}

/// The items of a list; what stands in brackets is one item: `price Decimal128(10, 2)`.
fn items(list: &str) -> Vec<&str> {
    let (mut open, mut from, mut items) = (0_i32, 0, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        open += i32::from(byte == b'(') - i32::from(byte == b')');
        if open == 0 && at >= from && list.as_bytes()[at..].starts_with(LIST.as_bytes()) {
            items.push(&list[from..at]);
            from = at + LIST.len();
        }
    }
    items.push(&list[from..]);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_lists_names_the_items_that_differ() {
        for (then, now, said) in [
            (Some("2h"), Some("3h"), "schema was 2h, now 3h"),
            (None, Some("a Int64, b Utf8"), "schema was not set, now a Int64, b Utf8"),
            (Some("a Int64, b Utf8"), Some("a Int64, b Int64"), "schema had b Utf8, now b Int64"),
            (Some("a Int64, b Utf8"), Some("a Int64"), "schema has no more b Utf8"),
            (Some("a Int64"), Some("c Utf8, a Int64"), "schema has also c Utf8"),
            (Some("a D(10, 2), ü Utf8"), Some("a D(10, 3), ü Utf8"), "schema had a D(10, 2), now a D(10, 3)"),
            (
                Some("a Int64, b Utf8"),
                Some("b Utf8, a Int64"),
                "schema has another order: it was a Int64, b Utf8, now b Utf8, a Int64",
            ),
        ] {
            let owned = |value: Option<&str>| value.map(str::to_owned);
            let difference = Difference { key: "schema".to_owned(), then: owned(then), now: owned(now) };
            assert_eq!(difference.to_string(), said);
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Newest {
        Good,
        Unreadable,
        OtherNumber,
        NotRead,
    }

    fn facts(decided: u8, done: u8, newest: Newest, same_config: bool) -> Facts {
        let numbers = |bits: u8| (1..=4u64).filter(|n| bits & (1 << (n - 1)) != 0).collect::<BTreeSet<_>>();
        let config: BTreeMap<String, String> = [("within".into(), "2h".into())].into();
        let last = numbers(decided).last().copied();
        let record = |number| Epoch { number, config: config.clone(), ..Default::default() };
        let newest = last.and_then(|last| match newest {
            Newest::Good => Some(Ok(record(last))),
            Newest::Unreadable => Some(Err("is damaged".into())),
            Newest::OtherNumber => Some(Ok(record(last + 1))),
            Newest::NotRead => None,
        });
        let config = if same_config { config } else { [("within".into(), "1h".into())].into() };
        Facts { decided: numbers(decided), done: numbers(done), newest, config }
    }

    /// Every chain of at most four epochs that a run, a crash or garbage collection can leave behind:
    /// which records stand (a bit each, the lowest is epoch 1), and which of them must be done.
    const SOUND: [(u8, u8); 7] = [
        (0b0001, 0b0000),
        (0b0011, 0b0001),
        (0b0111, 0b0011),
        (0b0110, 0b0010),
        (0b1111, 0b0111),
        (0b1110, 0b0110),
        (0b1100, 0b0100),
    ];

    /// The expected decision by name, from the table above and not from the code.
    fn expected(decided: u8, done: u8, newest: Newest, same_config: bool) -> &'static str {
        let last = 8u8.checked_shr(decided.leading_zeros() - 4).unwrap_or(0);
        if done >= (last << 1).max(1) {
            return "corrupt";
        }
        if decided == 0 {
            return "fresh";
        }
        let Some((_, must)) = SOUND.iter().find(|(records, _)| *records == decided) else {
            return "gap";
        };
        match (done & must == *must, newest, done & last != 0, same_config) {
            (false, ..) => "corrupt",
            (_, Newest::Good, false, _) => "roll forward",
            (_, Newest::Good, true, true) => "continue",
            (_, Newest::Good, true, false) => "config changed",
            _ => "corrupt",
        }
    }

    #[test]
    fn every_combination_has_its_decision() {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (decided, done) in (0..16).flat_map(|a| (0..16).map(move |b| (a, b))) {
            for newest in [Newest::Good, Newest::Unreadable, Newest::OtherNumber, Newest::NotRead] {
                for same in [true, false] {
                    let expected = expected(decided, done, newest, same);
                    let last = (0..4).filter(|bit| decided & (1 << bit) != 0).max().map(|bit| bit + 1);
                    let (name, epoch) = match recover(&facts(decided, done, newest, same)) {
                        Decision::Fresh => ("fresh", None),
                        Decision::Continue { epoch } => ("continue", Some(epoch)),
                        Decision::RollForward { epoch } => ("roll forward", Some(epoch)),
                        Decision::ConfigChanged { epoch, .. } => ("config changed", Some(epoch)),
                        Decision::Corrupt { .. } => ("corrupt", last),
                        Decision::Gap { .. } => ("gap", last),
                    };
                    assert_eq!((name, epoch), (expected, last), "{decided:04b} {done:04b} {newest:?} {same}");
                    *seen.entry(name).or_default() += 1;
                }
            }
        }
        let seen: Vec<_> = seen.into_iter().collect();
        assert_eq!(
            seen,
            [
                ("config changed", 12),
                ("continue", 12),
                ("corrupt", 1192),
                ("fresh", 8),
                ("gap", 800),
                ("roll forward", 24)
            ]
        );
    }

    #[test]
    fn a_gap_is_named_whole() {
        let gap =
            |decided: &[u64]| recover(&Facts { decided: decided.iter().copied().collect(), ..Default::default() });
        assert_eq!(gap(&[1, 5]), Decision::Gap { missing: 2..=4 });
        assert_eq!(gap(&[9]), Decision::Gap { missing: 1..=8 });
        assert_eq!(gap(&[1, 4, 5, u64::MAX - 1, u64::MAX]), Decision::Gap { missing: 6..=u64::MAX - 2 });
    }

    #[test]
    fn each_kind_of_difference_is_listed() {
        let config = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let then = Epoch { number: 1, config: config(&[("a", "1"), ("b", "1"), ("c", "1")]), ..Default::default() };
        let facts = Facts {
            decided: [1].into(),
            done: [1].into(),
            newest: Some(Ok(then)),
            config: config(&[("b", "1"), ("c", "2"), ("d", "1")]),
        };
        let Decision::ConfigChanged { differences, .. } = recover(&facts) else { panic!("not seen") };
        let lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["a was 1, now not set", "c was 1, now 2", "d was not set, now 1"]);
    }
}
