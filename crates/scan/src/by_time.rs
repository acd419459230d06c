//! The rows of keys that many rows have, in the order of time: whether a row has a partner within a span of time is then
//! known without a look at all that share its key.

use std::collections::{BTreeSet, HashMap};

/// Up to this many rows a key's chain is followed to its end.
pub(crate) const MANY: u32 = if cfg!(test) { 3 } else { 64 };

/// By the hash of their key; only of keys that have [`MANY`] rows or more.
#[derive(Debug, Default)]
pub(crate) struct ByTime(HashMap<u64, Times>);

/// Rows of one hash, each behind its time, microseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    all: BTreeSet<(i64, u32)>,
    /// Without those that are known to be retracted.
    standing: BTreeSet<(i64, u32)>,
}

impl ByTime {
    pub(crate) fn get(&self, hash: u64) -> Option<&Times> {
        if self.0.is_empty() { None } else { self.0.get(&hash) }
    }

    pub(crate) fn has(&self, hash: u64) -> bool {
        self.0.contains_key(&hash)
    }

    /// Adds a row, once however often it is told of.
    pub(crate) fn insert(&mut self, hash: u64, time: i64, row: u32, retracted: bool) {
        let times = self.0.entry(hash).or_default();
        times.all.insert((time, row));
        if !retracted {
            times.standing.insert((time, row));
        }
    }

    /// A row is retracted.
    pub(crate) fn retract(&mut self, hash: u64, time: i64, row: u32) {
        if let Some(times) = self.0.get_mut(&hash) {
            times.standing.remove(&(time, row));
        }
    }
}

impl Times {
    /// The rows from `first` to `last`, both included, the earliest first; of rows that are retracted none needs to be
    /// among them where only `standing` rows are wanted.
    pub(crate) fn between(&self, first: i64, last: i64, standing: bool) -> impl Iterator<Item = u32> + '_ {
        let rows = if standing { &self.standing } else { &self.all };
        let span = (first <= last).then(|| rows.range((first, 0)..=(last, u32::MAX)));
        span.into_iter().flatten().map(|(_, row)| *row)
    }
}
