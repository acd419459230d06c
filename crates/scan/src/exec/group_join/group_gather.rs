//! The last part of a group join: the pairs of each group, and what is gathered of them, a piece at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, DynComparator, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinSide;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::joins::utils::ColumnIndex;

use crate::exec::group_join::group_left::Left;
use crate::exec::group_join::group_right::Right;
use crate::exec::group_join::group_terms::{Ends, GroupJoin};
use crate::exec::pairs::{self, PAIRS_AT_ONCE, evaluated, own_hashes, verified};
use crate::state::bucket::unshared_column;

/// Pairs of a piece: what is in memory of them at once, unless one group has more.
const PAIRS_A_PIECE: usize = 4 * PAIRS_AT_ONCE;

/// What one partition still has to gather: group g is that of partition g % n, as neighbours have about as many partners,
/// and groups far from one another have not.
pub(crate) struct Gathering {
    join: Arc<GroupJoin>,
    left: Arc<Left>,
    right: Arc<Right>,
    own: Option<Own>,
    schema: SchemaRef,
    /// The next group.
    group: usize,
    partitions: usize,
    /// Groups of a piece at most.
    groups_max: usize,
}

/// What makes a right row a left row's own.
struct Own {
    /// Of each left row.
    hashes: Vec<Option<u64>>,
    same: Vec<DynComparator>,
    /// Compares the identities of right rows.
    identity: DynComparator,
    /// Compares the keys of left rows.
    keys: Vec<DynComparator>,
}

/// Pairs on their way into the aggregate.
#[derive(Default)]
struct Pairs {
    lefts: Vec<u32>,
    rights: Vec<u32>,
    groups: Vec<usize>,
}

impl Own {
    fn new(ends: &Ends, left: &Left, right: &Right) -> Result<Own> {
        let lefts = evaluated(ends.own.iter().map(|(left, _)| left), &left.rows)?;
        let rights = evaluated(ends.own.iter().map(|(_, right)| right), &right.rows)?;
        let compare = |one: &ArrayRef, other: &ArrayRef| make_comparator(one, other, SortOptions::default());
        let same = lefts.iter().zip(&rights).map(|(left, right)| compare(left, right)).collect::<Result<_, _>>()?;
        let keys = left.on.iter().map(|key| compare(key, key)).collect::<Result<_, _>>()?;
        let identity = right.rows.column(ends.identity);
        let of_left: Vec<_> = ends.own.iter().map(|(left, _)| left).collect();
        let hashes = own_hashes(&of_left, &left.rows)?;
        Ok(Own { hashes, same, identity: compare(identity, identity)?, keys })
    }
}

impl Gathering {
    pub(crate) fn new(
        join: Arc<GroupJoin>,
        left: Arc<Left>,
        right: Arc<Right>,
        schema: SchemaRef,
        (partition, partitions): (usize, usize),
        groups_max: usize,
    ) -> Result<Gathering> {
        let own = join.ends.as_ref().map(|ends| Own::new(ends, &left, &right)).transpose()?;
        Ok(Gathering { join, left, right, own, schema, group: partition, partitions, groups_max })
    }

    /// The next groups, each with what was gathered for it; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.group >= self.left.groups.count() {
            return Ok(None);
        }
        let mut gathered = self.join.aggregate.create_groups_accumulator()?;
        let (mut pairs, mut found, mut groups) = (Pairs::default(), 0, Vec::new());
        while self.group < self.left.groups.count() && groups.len() < self.groups_max && found < PAIRS_A_PIECE {
            for left in self.left.groups.members(self.group) {
                for place in self.places(*left) {
                    pairs.lefts.push(*left);
                    pairs.rights.push(self.right.row(place));
                    pairs.groups.push(groups.len());
                    found += 1;
                    if pairs.lefts.len() == PAIRS_AT_ONCE {
                        self.add(std::mem::take(&mut pairs), gathered.as_mut(), groups.len() + 1)?;
                    }
                }
            }
            groups.push(self.group as u32);
            self.group += self.partitions;
        }
        // Groups without a pair are told of too.
        self.add(pairs, gathered.as_mut(), groups.len())?;
        let groups = UInt32Array::from(groups);
        let columns = self.left.groups.columns.iter().map(|column| Ok(take(column, &groups, None)?));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        columns.push(gathered.evaluate(EmitTo::All)?);
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    /// The places of the right rows that a left row may gather; where only the ends count, a few of them.
    fn places(&self, left: u32) -> impl Iterator<Item = usize> + use<> {
        let span = self.left.spans.as_ref().map(|spans| spans[left as usize]);
        let places = self.left.key_of[left as usize].map_or(0..0, |key| self.right.places(key, span));
        let ends = self.ends(left, &places);
        let all = if ends.is_some() { 0..0 } else { places };
        all.chain(ends.into_iter().flatten())
    }

    /// Of many places the earliest, the latest, and the latest of the left row's own; none where all are to be looked at.
    fn ends(&self, left: u32, places: &Range<usize>) -> Option<Vec<usize>> {
        let own = self.own.as_ref().filter(|_| places.len() > 2)?;
        let key = self.left.key_of[left as usize]?;
        let candidates = self.right.own(key, own.hashes[left as usize])?;
        if own.keys.iter().any(|compare| compare(left as usize, key as usize).is_ne()) {
            return None;
        }
        let mut ends = self.alike(own, places.start, places);
        ends.extend(self.alike(own, places.end - 1, places));
        let before = candidates.partition_point(|place| (*place as usize) < places.end);
        let within = candidates[..before].iter().rev().map(|place| *place as usize);
        let is_own = |place: &usize| {
            own.same.iter().all(|compare| compare(left as usize, self.right.row(*place) as usize).is_eq())
        };
        if let Some(latest) = within.take_while(|place| *place >= places.start).find(is_own) {
            ends.extend(self.alike(own, latest, places));
        }
        ends.sort_unstable();
        ends.dedup();
        Some(ends)
    }

    /// A place, and those beside it with rows of the same time and identity.
    fn alike(&self, own: &Own, place: usize, places: &Range<usize>) -> Vec<usize> {
        let right = &self.right;
        let same = |other: &usize| {
            right.time(*other) == right.time(place)
                && (own.identity)(right.row(*other) as usize, right.row(place) as usize).is_eq()
        };
        let earlier = (places.start..place).rev().take_while(same);
        earlier.chain((place..places.end).take_while(same)).collect()
    }

    /// Hands pairs to the aggregate, of those the ones that the join means.
    fn add(&self, pairs: Pairs, gathered: &mut dyn GroupsAccumulator, total: usize) -> Result<()> {
        let (lefts, rights) = (UInt32Array::from(pairs.lefts), UInt32Array::from(pairs.rights));
        let kept = self.verify(&lefts, &rights)?;
        let (lefts, rights, groups) = if kept.true_count() == kept.len() {
            (lefts, rights, pairs.groups)
        } else {
            let groups = pairs.groups.iter().zip(kept.values()).filter(|(_, kept)| *kept).map(|(group, _)| *group);
            (which(&lefts, &kept)?, which(&rights, &kept)?, groups.collect())
        };
        let column = |column: &ColumnIndex| self.column(column, &lefts, &rights);
        let rows = pairs::rows(&self.join.pair_schema, &self.join.pair, lefts.len(), column)?;
        let args: Vec<ArrayRef> = evaluated(&self.join.args, &rows)?.iter().map(unshared_column).collect();
        gathered.update_batch(&args, &groups, None, total)
    }

    /// Which pairs of rows with equal hashes are pairs of the join.
    fn verify(&self, lefts: &UInt32Array, rights: &UInt32Array) -> Result<BooleanArray> {
        let keys = self.left.on.iter().zip(&self.right.on);
        let keys = keys.map(|(left, right)| Ok((take(left, lefts, None)?, take(right, rights, None)?)));
        // What bounds the time alone is true of the places within it.
        let filter = self.join.filter.as_ref().filter(|_| !self.join.span.as_ref().is_some_and(|span| span.whole));
        verified(lefts.len(), keys, filter, |column| self.column(column, lefts, rights))
    }

    fn column(&self, column: &ColumnIndex, lefts: &UInt32Array, rights: &UInt32Array) -> Result<ArrayRef> {
        Ok(match column.side {
            JoinSide::Left => take(self.left.rows.column(column.index), lefts, None)?,
            _ => take(self.right.rows.column(column.index), rights, None)?,
        })
    }
}

fn which(numbers: &UInt32Array, kept: &BooleanArray) -> Result<UInt32Array> {
    Ok(filter(numbers, kept)?.as_primitive().clone())
}
