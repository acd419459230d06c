//! The right side of a group join, read: its rows by key, and in the order of time where the join bounds it. Of a key
//! that many rows have, those that matter are then found without a look at all of them.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, DynComparator, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::error::Result;

use crate::aggregate::grouped::by_group;
use crate::exec::group_join::group_left::Left;
use crate::exec::group_join::group_terms::{Ends, GroupJoin};
use crate::exec::pairs::{evaluated, own_hashes};
use crate::state::bucket::unshared;
use crate::state::by_time::MANY;
use crate::state::layout::hash_whole;

/// Rows of the right side that may have a partner, and the key of each.
#[derive(Debug)]
pub(crate) struct Kept {
    rows: RecordBatch,
    keys: Vec<u32>,
}

impl Kept {
    /// What they take of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.keys.capacity() * size_of::<u32>()
    }

    /// Those of some rows; none where no row has a partner.
    pub(crate) fn of(join: &GroupJoin, left: &Left, rows: &RecordBatch) -> Result<Option<Kept>> {
        let on = evaluated(join.on.iter().map(|(_, right)| right), rows)?;
        let (hashes, whole) = hash_whole(&on)?;
        let (mut kept, mut keys) = (Vec::new(), Vec::new());
        for (row, hash) in hashes.into_iter().enumerate() {
            if whole.as_ref().is_some_and(|whole| whole.is_null(row)) {
                continue;
            }
            if let Some(key) = left.index.newest(hash) {
                kept.push(row as u32);
                keys.push(key);
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        // Text of its own: else each row would keep the whole page that it was read from.
        Ok(Some(Kept { rows: unshared(&take_record_batch(rows, &UInt32Array::from(kept))?)?, keys }))
    }
}

/// The right side.
#[derive(Debug)]
pub(crate) struct Right {
    pub rows: RecordBatch,
    pub on: Vec<ArrayRef>,
    /// Where the rows of each key start in `order`.
    starts: Vec<u32>,
    order: Vec<u32>,
    /// The times of the rows in `order`, where they are sorted by time.
    times: Vec<i64>,
    /// Of keys that many rows have, where only some rows of each matter.
    many: HashMap<u32, Many>,
}

/// A key that many rows have.
#[derive(Debug)]
struct Many {
    /// By the hash of what makes a row the left row's own: places in `order`, ascending.
    own: HashMap<u64, Vec<u32>>,
}

impl Right {
    pub(crate) fn new(join: &GroupJoin, left: &Left, schema: &SchemaRef, kept: Vec<Kept>) -> Result<Right> {
        let keys: Vec<u32> = kept.iter().flat_map(|kept| kept.keys.iter().copied()).collect();
        let rows = concat_batches(schema, kept.iter().map(|kept| &kept.rows))?;
        drop(kept);
        let on = evaluated(join.on.iter().map(|(_, right)| right), &rows)?;
        let mut order = vec![0; keys.len()];
        let starts = by_group(&keys, left.rows.num_rows(), |from, to| order[to] = from as u32);
        let mut right = Right { rows, on, starts, order, times: Vec::new(), many: HashMap::new() };
        if let Some(span) = &join.span {
            right.sort(span.column)?;
        }
        if let Some(ends) = &join.ends {
            right.find_own(left, ends)?;
        }
        Ok(right)
    }

    /// Sorts the rows of each key by time, and rows of one time by what they hold. Rows that hold the same stay one.
    fn sort(&mut self, time: usize) -> Result<()> {
        let column = self.rows.column(time).as_primitive::<TimestampMicrosecondType>();
        let times = column.values();
        let comparators =
            self.rows.columns().iter().map(|column| make_comparator(column, column, SortOptions::default()));
        let comparators: Vec<DynComparator> = comparators.collect::<Result<_, _>>()?;
        let compare = |a: u32, b: u32| {
            let (a, b) = (a as usize, b as usize);
            comparators.iter().fold(times[a].cmp(&times[b]), |order, compare| order.then_with(|| compare(a, b)))
        };
        let (mut order, mut starts) = (Vec::with_capacity(self.order.len()), vec![0]);
        for bounds in self.starts.windows(2) {
            let rows = &mut self.order[bounds[0] as usize..bounds[1] as usize];
            rows.sort_unstable_by(|a, b| compare(*a, *b));
            let begun = order.len();
            for row in rows {
                let same = order[begun..].last().is_some_and(|last| compare(*last, *row).is_eq());
                // Without a time it is nobody's partner.
                if !same && column.nulls().is_none_or(|nulls| nulls.is_valid(*row as usize)) {
                    order.push(*row);
                }
            }
            starts.push(order.len() as u32);
        }
        self.times = order.iter().map(|row| times[*row as usize]).collect();
        (self.order, self.starts) = (order, starts);
        Ok(())
    }

    /// Finds, of keys that many rows have, whose own each row is.
    fn find_own(&mut self, left: &Left, ends: &Ends) -> Result<()> {
        let mut hashes = None;
        let same = left.on.iter().zip(&self.on);
        let same = same.map(|(left, right)| make_comparator(left, right, SortOptions::default()));
        let same: Vec<DynComparator> = same.collect::<Result<_, _>>()?;
        for (key, bounds) in self.starts.windows(2).enumerate() {
            let places = bounds[0]..bounds[1];
            if places.len() < MANY as usize {
                continue;
            }
            let row = |place: u32| self.order[place as usize] as usize;
            // Rows of another key with the same hash: all of them are looked at then.
            if places.clone().any(|place| same.iter().any(|compare| compare(key, row(place)).is_ne())) {
                continue;
            }
            let hashes = match &hashes {
                Some(hashes) => hashes,
                None => {
                    let of_right: Vec<_> = ends.own.iter().map(|(_, right)| right).collect();
                    hashes.insert(own_hashes(&of_right, &self.rows)?)
                }
            };
            let mut own: HashMap<u64, Vec<u32>> = HashMap::new();
            for place in places {
                if let Some(hash) = hashes[row(place)] {
                    own.entry(hash).or_default().push(place);
                }
            }
            self.many.insert(key as u32, Many { own });
        }
        Ok(())
    }

    /// The places of the rows of a key, of those within a span of time where there is one.
    pub(crate) fn places(&self, key: u32, span: Option<(i64, i64)>) -> Range<usize> {
        let (from, to) = (self.starts[key as usize] as usize, self.starts[key as usize + 1] as usize);
        let Some((first, last)) = span else { return from..to };
        let times = &self.times[from..to];
        let begin = times.partition_point(|time| *time < first);
        from + begin..from + begin.max(times.partition_point(|time| *time <= last))
    }

    /// The row at a place.
    pub(crate) fn row(&self, place: usize) -> u32 {
        self.order[place]
    }

    /// The event time at a place, microseconds.
    pub(crate) fn time(&self, place: usize) -> i64 {
        self.times[place]
    }

    /// The places of a key's rows that may be a left row's own by their hash, ascending; none where the key has few rows,
    /// all of which may be.
    pub(crate) fn own(&self, key: u32, hash: Option<u64>) -> Option<&[u32]> {
        let many = self.many.get(&key)?;
        Some(hash.and_then(|hash| many.own.get(&hash)).map_or(&[], Vec::as_slice))
    }
}
