//! Looking rows of state up by key, and by time where the join says between which times a partner may be.

use arrow::array::{ArrayRef, DynComparator, make_comparator};
use arrow::compute::SortOptions;
use datafusion::error::Result;

use crate::state::bucket::Bucket;
use crate::state::runs::Runs;
use crate::state::table::{Found, Table};

/// A look-up of some rows in a table, and how far it has come.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Which of the table's lookups.
    pub lookup: usize,
    /// Of each probing row the hash of its key; none where it has no partner.
    pub hashes: Vec<Option<u64>>,
    /// Of each probing row the first and the last time, microseconds, that a partner may have.
    pub spans: Option<Vec<(i64, i64)>>,
    /// Whether rows that were retracted are no partners.
    pub standing: bool,
    /// Whether one partner will do.
    pub one: bool,
    /// The bucket and the probing row that are next.
    bucket: usize,
    row: usize,
    /// Which probing rows have their one partner.
    done: Vec<bool>,
}

/// Candidates: of each the probing row, and the row of state.
pub(crate) type Candidates = (Vec<u32>, Vec<Found>);

impl Probe {
    pub(crate) fn new(lookup: usize, hashes: Vec<Option<u64>>) -> Probe {
        Probe { lookup, hashes, spans: None, standing: false, one: false, bucket: 0, row: 0, done: Vec::new() }
    }

    /// The same for other rows, from the beginning: all partners of those that have a hash here.
    pub(crate) fn again(&self, hashes: Vec<Option<u64>>) -> Probe {
        Probe { spans: self.spans.clone(), standing: self.standing, ..Probe::new(self.lookup, hashes) }
    }

    /// Lets one row of a key stand for all whose spans meet its own: for whoever asks which rows of state have a partner, and
    /// not which. The rest of the rows then have none.
    pub(crate) fn unite(&mut self, keys: &[ArrayRef]) -> Result<()> {
        let same = keys.iter().map(|key| make_comparator(key, key, SortOptions::default()));
        let same: Vec<DynComparator> = same.collect::<Result<_, _>>()?;
        let span = |spans: &Option<Vec<(i64, i64)>>, row: usize| spans.as_ref().map_or((0, 0), |spans| spans[row]);
        let mut rows: Vec<usize> = (0..self.hashes.len()).filter(|row| self.hashes[*row].is_some()).collect();
        rows.sort_unstable_by_key(|row| (self.hashes[*row], span(&self.spans, *row)));
        let mut standing: Option<usize> = None;
        for row in rows {
            let (first, last) = span(&self.spans, row);
            if first > last {
                self.hashes[row] = None;
                continue;
            }
            match standing {
                Some(held)
                    if self.hashes[held] == self.hashes[row]
                        && first <= span(&self.spans, held).1
                        && same.iter().all(|same| same(held, row).is_eq()) =>
                {
                    self.hashes[row] = None;
                    if let Some(spans) = &mut self.spans {
                        spans[held].1 = spans[held].1.max(last);
                    }
                }
                _ => standing = Some(row),
            }
        }
        Ok(())
    }

    /// The next candidates, about `at_once` of them: more only where one row has more in one bucket. None at the end. The
    /// keys of a pair may still differ.
    pub(crate) fn next(&mut self, table: &Table, at_once: usize) -> Option<Candidates> {
        let (mut probing, mut found) = (Vec::new(), Vec::new());
        self.done.resize(if self.one { self.hashes.len() } else { 0 }, false);
        for (position, (start, bucket)) in table.buckets.iter().enumerate().skip(self.bucket) {
            let lasts = (start.saturating_mul(table.width), bucket.newest);
            for row in self.row..self.hashes.len() {
                if probing.len() >= at_once {
                    (self.bucket, self.row) = (position, row);
                    return Some((probing, found));
                }
                let Some(hash) = self.hashes[row] else { continue };
                let span = self.spans.as_ref().map(|spans| spans[row]);
                let apart = span.is_some_and(|(first, last)| first > last || last < lasts.0 || first > lasts.1);
                if apart || self.one && self.done[row] {
                    continue;
                }
                for state_row in self.candidates(table, bucket, hash, span) {
                    probing.push(row as u32);
                    found.push(Found { bucket: position as u32, row: state_row });
                    if self.one {
                        self.done[row] = true;
                        break;
                    }
                }
            }
            (self.bucket, self.row) = (position + 1, 0);
        }
        (!probing.is_empty()).then_some((probing, found))
    }

    /// The rows of a bucket that have a hash, and a time within the span.
    fn candidates<'a>(
        &self,
        table: &'a Table,
        bucket: &'a Bucket,
        hash: u64,
        span: Option<(i64, i64)>,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let standing = self.standing;
        let by_time = bucket.by_time[self.lookup].as_ref().and_then(|by_time| by_time.get(hash));
        let (sorted, chain) = match (by_time, span) {
            (Some(times), Some((first, last))) => (Some(times.between(first, last, standing)), None),
            _ => (None, Some(bucket.indexes[1 + self.lookup].chain(hash))),
        };
        let within = move |row: &u32| {
            span.is_none_or(|(first, last)| (first..=last).contains(&bucket.time(table.stored_time, *row)))
        };
        let rows = sorted.into_iter().flatten().chain(chain.into_iter().flatten().filter(within));
        rows.filter(move |row| bucket.live(*row) && !(standing && bucket.retracted.contains(row)))
    }
}

/// Of the rows of a key, within a span of time, those at its ends.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// All at the earliest time, all at the latest, and all at the latest of those that are the probing row's own.
    pub found: Vec<Found>,
    /// How many rows there are, whether they stand or not. It never grows less.
    pub count: usize,
    /// Whether one of them is the probing row's own by its hash.
    pub own: bool,
}

impl Table {
    /// The ends of the rows with a hash, from `first` to `last`, both included; where `own` is given, also of those that
    /// have it as the hash of what makes a row the probing row's own.
    pub(crate) fn ends(&self, lookup: usize, hash: u64, (first, last): (i64, i64), own: Option<u64>) -> Ends {
        let (mut earliest, mut latest, mut of_own, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut few = Vec::new();
        for (position, (start, bucket)) in self.buckets.iter().enumerate() {
            if first > last || last < start.saturating_mul(self.width) || first > bucket.newest {
                continue;
            }
            let live = |row: u32| bucket.live(row);
            let place = |rows: Vec<(i64, u32)>| -> Vec<(i64, Found)> {
                rows.into_iter().map(|(time, row)| (time, Found { bucket: position as u32, row })).collect()
            };
            match bucket.by_time[lookup].as_ref().and_then(|by_time| by_time.get(hash)) {
                Some(times) => {
                    count += times.all().count(first, last);
                    earliest.extend(place(times.all().earliest(first, last, live)));
                    latest.extend(place(times.all().latest(first, last, live)));
                    let latest_own = |own: &Runs| place(own.latest(first, last, live));
                    of_own.extend(own.and_then(|own| times.own(own)).map(latest_own).unwrap_or_default());
                }
                None => {
                    let timed = bucket.indexes[1 + lookup].chain(hash);
                    let timed = timed.map(|row| (bucket.time(self.stored_time, row), row));
                    let within: Vec<_> = timed.filter(|(time, _)| (first..=last).contains(time)).collect();
                    count += within.len();
                    few.extend(place(within.into_iter().filter(|(_, row)| live(*row)).collect()));
                }
            }
        }
        let mut found: Vec<Found> = few.into_iter().map(|(_, found)| found).collect();
        let time = earliest.iter().map(|(time, _)| *time).min();
        found.extend(earliest.into_iter().filter(|(of, _)| Some(*of) == time).map(|(_, found)| found));
        let own = !of_own.is_empty();
        for rows in [latest, of_own] {
            let time = rows.iter().map(|(time, _)| *time).max();
            found.extend(rows.into_iter().filter(|(of, _)| Some(*of) == time).map(|(_, found)| found));
        }
        found.sort_unstable();
        found.dedup();
        Ends { found, count, own }
    }
}
