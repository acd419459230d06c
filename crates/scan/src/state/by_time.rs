//! The rows of keys that many rows have, in the order of time: which of them are within a span of time, how many, and
//! which is the first or the last, is then known without a look at all that share the key.

use std::collections::{BTreeSet, HashMap};

use crate::state::runs::Runs;

/// Up to this many rows a key's chain is followed to its end.
pub(crate) const MANY: u32 = if cfg!(test) { 3 } else { 64 };

/// By the hash of their key; only of keys that have [`MANY`] rows or more.
#[derive(Debug, Default)]
pub(crate) struct ByTime(HashMap<u64, Times>);

/// Rows of one hash, each behind its time, microseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    all: Runs,
    /// Where rows are retracted, those that are not known to be.
    standing: BTreeSet<(i64, u32)>,
    /// Where a look-up asks for a row's own, the rows by the hash of what makes them that.
    own: HashMap<u64, Runs>,
    /// The next row to be told of: those before it are here.
    next: u32,
}

/// A row on its way to those of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub time: i64,
    pub row: u32,
    /// Whether it stands, where rows are retracted.
    pub standing: Option<bool>,
    /// The hash of what makes it a probing row's own.
    pub own: Option<u64>,
}

impl ByTime {
    pub(crate) fn get(&self, hash: u64) -> Option<&Times> {
        if self.0.is_empty() { None } else { self.0.get(&hash) }
    }

    /// Adds rows of a key, ascending by number: those that are here already are passed over.
    pub(crate) fn insert(&mut self, hash: u64, rows: impl IntoIterator<Item = Timed>) {
        let times = self.0.entry(hash).or_default();
        for Timed { time, row, standing, own } in rows {
            if row < times.next {
                continue;
            }
            times.next = row + 1;
            times.all.insert((time, row));
            if standing == Some(true) {
                times.standing.insert((time, row));
            }
            if let Some(own) = own {
                times.own.entry(own).or_default().insert((time, row));
            }
        }
    }

    /// Whether rows of a key are here.
    pub(crate) fn begun(&self, hash: u64) -> bool {
        self.0.contains_key(&hash)
    }

    /// A row is retracted.
    pub(crate) fn retract(&mut self, hash: u64, time: i64, row: u32) {
        if let Some(times) = self.0.get_mut(&hash) {
            times.standing.remove(&(time, row));
        }
    }
}

impl Times {
    /// The rows from `first` to `last`, both included, in any order; where only `standing` rows are wanted, none needs to
    /// be among them that is retracted.
    pub(crate) fn between(&self, first: i64, last: i64, standing: bool) -> impl Iterator<Item = u32> + '_ {
        let span = (first <= last).then_some((first, 0)..=(last, u32::MAX));
        let rows = span.clone().filter(|_| standing).map(|span| self.standing.range(span));
        let all = span.filter(|_| !standing).map(|_| self.all.between(first, last));
        let standing = rows.into_iter().flatten().map(|(_, row)| *row);
        standing.chain(all.into_iter().flatten().map(|(_, row)| *row))
    }

    /// All rows.
    pub(crate) fn all(&self) -> &Runs {
        &self.all
    }

    /// The rows with this hash of what makes them a probing row's own.
    pub(crate) fn own(&self, hash: u64) -> Option<&Runs> {
        self.own.get(&hash)
    }
}
