//! How rows merge into a bucket of state: new ones are added, those of a known key meet what is held.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, and, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;

use crate::state::bucket::Bucket;
use crate::state::by_time::{MANY, Timed};
use crate::state::layout::{Layout, Merged, hash_rows};

/// Which rows hold the same in both columns; null is the same as null.
fn alike(one: &ArrayRef, other: &ArrayRef) -> Result<BooleanArray> {
    if !one.data_type().is_nested() {
        return Ok(not_distinct(one, other)?);
    }
    let compare = make_comparator(one, other, SortOptions::default())?;
    Ok((0..one.len()).map(|row| Some(compare(row, row).is_eq())).collect())
}

/// Rows on their way into one bucket.
pub(crate) struct Part<'a> {
    pub layout: &'a Layout,
    pub stored: &'a [usize],
    /// Which of those is event time.
    pub time: usize,
    pub schema: &'a SchemaRef,
    pub rows: &'a RecordBatch,
    pub hashes: &'a [Vec<Option<u64>>],
}

impl Part<'_> {
    /// Merges rows into a bucket; tells `touched` of each row of the bucket that one went to.
    pub(crate) fn merge_into(
        &self,
        bucket: &mut Bucket,
        members: &[u32],
        merged: &mut Merged,
        mut touched: impl FnMut(u32),
    ) -> Result<()> {
        let mut fresh = Vec::new();
        let mut candidates = Vec::new();
        for row in members {
            let hash = self.hashes[0][*row as usize];
            match hash.and_then(|hash| bucket.indexes[0].chain(hash).next()) {
                Some(held) => candidates.push((*row, held)),
                None => {
                    touched(bucket.rows + fresh.len() as u32);
                    bucket.indexes[0].push(hash);
                    fresh.push(*row);
                }
            }
        }
        merged.new += fresh.len() as u64;
        self.append(bucket, &fresh)?;
        let (same, equal) = self.compare(bucket, &candidates)?;
        for (at, (row, held)) in candidates.into_iter().enumerate() {
            let held = match (same.value(at), equal.value(at)) {
                (true, true) if bucket.live(held) => held,
                (true, _) => {
                    let held = self.resolve(bucket, row)?.unwrap_or(held);
                    self.settle(bucket, row, held)?
                }
                (false, _) => match self.resolve(bucket, row)? {
                    Some(held) => held,
                    None => {
                        touched(bucket.rows);
                        self.insert(bucket, row)?;
                        merged.new += 1;
                        continue;
                    }
                },
            };
            touched(held);
            merged.known += 1;
            merged.retracted += u64::from(self.meet(bucket, row, held)?);
        }
        Ok(())
    }

    /// Stores rows that are new; their key is in the index already.
    fn append(&self, bucket: &mut Bucket, fresh: &[u32]) -> Result<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        let base = bucket.rows;
        let mut many = Vec::new();
        for (lookup, hashes) in self.hashes[1..].iter().enumerate() {
            for (row, new) in fresh.iter().zip(base..) {
                let rows = bucket.indexes[1 + lookup].push(hashes[*row as usize]);
                if rows >= MANY && self.layout.lookups[lookup].by_time {
                    many.push((lookup, hashes[*row as usize], new));
                }
            }
        }
        let rows = take_record_batch(self.rows, &UInt32Array::from(fresh.to_vec()))?;
        for (at, (column, lattice)) in self.layout.lattices.iter().enumerate() {
            bucket.lattices[at].extend(lattice.values(rows.column(*column))?);
        }
        if let Some(column) = self.layout.retracted {
            let retracted = rows.column(column).as_boolean();
            bucket.retracted.extend((0..fresh.len()).filter(|row| retracted.value(*row)).map(|row| base + row as u32));
        }
        bucket.append(self.schema, &rows.project(self.stored)?)?;
        self.sort_in(bucket, &many)
    }

    /// Puts new rows among those of their keys in the order of time: each as its lookup, its hash and its number.
    fn sort_in(&self, bucket: &mut Bucket, many: &[(usize, Option<u64>, u32)]) -> Result<()> {
        let mut told: BTreeMap<(usize, u64), Vec<u32>> = BTreeMap::new();
        for (lookup, hash, row) in many {
            let (Some(hash), Some(by_time)) = (*hash, &bucket.by_time[*lookup]) else { continue };
            let rows = told.entry((*lookup, hash)).or_default();
            if rows.is_empty() && !by_time.begun(hash) {
                rows.extend(bucket.indexes[1 + lookup].chain(hash));
                rows.sort_unstable();
            }
            if rows.last() < Some(row) {
                rows.push(*row);
            }
        }
        for ((lookup, hash), rows) in told {
            let own = match &self.layout.lookups[lookup].own {
                Some(own) => hash_rows(&self.stored_columns(bucket, own, &rows)?, true)?,
                None => vec![None; rows.len()],
            };
            let timed = rows.iter().zip(own).map(|(row, own)| {
                let standing = self.layout.retracted.map(|_| !bucket.retracted.contains(row));
                Timed { time: bucket.time(self.time, *row), row: *row, standing, own }
            });
            let timed: Vec<Timed> = timed.collect();
            if let Some(by_time) = &mut bucket.by_time[lookup] {
                by_time.insert(hash, timed);
            }
        }
        Ok(())
    }

    /// Some columns of the table, which are stored, of some rows of a bucket.
    fn stored_columns(&self, bucket: &Bucket, columns: &[usize], rows: &[u32]) -> Result<Vec<ArrayRef>> {
        let stored = columns.iter().filter_map(|column| self.stored.iter().position(|stored| stored == column));
        Ok(stored.map(|column| bucket.column(column, rows)).collect::<Result<_, _>>()?)
    }

    fn insert(&self, bucket: &mut Bucket, row: u32) -> Result<()> {
        bucket.indexes[0].push(self.hashes[0][row as usize]);
        self.append(bucket, &[row])
    }

    /// Whether candidates have the same key, and whether they have the same content.
    fn compare(&self, bucket: &Bucket, candidates: &[(u32, u32)]) -> Result<(BooleanArray, BooleanArray)> {
        let mut same = BooleanArray::from(vec![true; candidates.len()]);
        let mut equal = same.clone();
        if candidates.is_empty() {
            return Ok((same, equal));
        }
        let new = UInt32Array::from_iter_values(candidates.iter().map(|(row, _)| *row));
        let held: Vec<u32> = candidates.iter().map(|(_, held)| *held).collect();
        for (at, column) in self.stored.iter().enumerate() {
            if Some(*column) == self.layout.retracted {
                continue;
            }
            let agree = alike(&take(self.rows.column(*column), &new, None)?, &bucket.column(at, &held)?)?;
            let verdict = if self.layout.key.contains(column) { &mut same } else { &mut equal };
            *verdict = and(verdict, &agree)?;
        }
        Ok((same, equal))
    }

    /// Two contents of one key: the lesser stays, whichever came first.
    fn settle(&self, bucket: &mut Bucket, row: u32, held: u32) -> Result<u32> {
        let fields = self.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let new = self.rows.slice(row as usize, 1).project(self.stored)?;
        let old: Vec<ArrayRef> =
            (0..self.stored.len()).map(|at| bucket.column(at, &[held])).collect::<Result<_, _>>()?;
        let new = converter.convert_columns(new.columns())?;
        let old = converter.convert_columns(&old)?;
        if new.row(0) >= old.row(0) {
            return Ok(held);
        }
        let lattices: Vec<_> = bucket.lattices.iter().map(|values| values[held as usize].clone()).collect();
        let replacement = bucket.rows;
        self.insert(bucket, row)?;
        bucket.superseded.insert(held);
        for (values, value) in bucket.lattices.iter_mut().zip(lattices) {
            values[replacement as usize] = value;
        }
        if bucket.retracted.contains(&held) {
            bucket.retracted.insert(replacement);
        }
        Ok(replacement)
    }

    /// The live row that has this key, among all that share its hash.
    fn resolve(&self, bucket: &Bucket, row: u32) -> Result<Option<u32>> {
        let Some(hash) = self.hashes[0][row as usize] else { return Ok(None) };
        for held in bucket.indexes[0].chain(hash) {
            if bucket.live(held) && self.compare(bucket, &[(row, held)])?.0.value(0) {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// A row meets its key: lattices merge, a retraction stays. Answers whether the row was taken back now.
    fn meet(&self, bucket: &mut Bucket, row: u32, held: u32) -> Result<bool> {
        for (at, (column, lattice)) in self.layout.lattices.iter().enumerate() {
            lattice.merge(&mut bucket.lattices[at][held as usize], self.rows.column(*column), row as usize)?;
        }
        let taken =
            self.layout.retracted.is_some_and(|column| self.rows.column(column).as_boolean().value(row as usize));
        let retracted = taken && bucket.retracted.insert(held);
        if retracted && bucket.by_time.iter().any(Option::is_some) {
            let time = bucket.time(self.time, held);
            for (by_time, hashes) in bucket.by_time.iter_mut().zip(&self.hashes[1..]) {
                if let (Some(by_time), Some(hash)) = (by_time, hashes[row as usize]) {
                    by_time.retract(hash, time, held);
                }
            }
        }
        Ok(retracted)
    }
}
