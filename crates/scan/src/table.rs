//! Keyed state: what earlier batches left, by key, in buckets of event time.
//!
//! Merging is idempotent, associative and commutative, whatever the merge class: of two rows with one key and other
//! content the lesser stays, lattice columns merge, and retracted wins over not. So state can be rebuilt by merging its
//! deltas again, in any order, and expiry drops whole buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, and, filter_record_batch, interleave, not, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::{DataFusionError, Result};

use crate::bucket::Bucket;
use crate::lattice::{self, Detail, Lattice};

/// What a script declares of a table of state.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub schema: SchemaRef,
    pub key: Vec<usize>,
    /// Event time: a column of the key, so that a key's rows are all in one bucket.
    pub time: usize,
    /// Microseconds after its time in which a row can still meet one that is not late.
    pub keep: i64,
    pub lattices: Vec<(usize, Lattice)>,
    /// The boolean column that takes a row back.
    pub retracted: Option<usize>,
    /// The sets of columns by which joins look rows up.
    pub lookups: Vec<Vec<usize>>,
}

/// What merging rows into a table did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows whose key was not there.
    pub new: u64,
    /// Rows whose key was there already.
    pub known: u64,
    /// Rows that stood and were retracted.
    pub retracted: u64,
}

/// A row of state: the position of its bucket in time order, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub bucket: u32,
    pub row: u32,
}

/// A table of state.
#[derive(Debug)]
pub(crate) struct Table {
    layout: Arc<Layout>,
    /// The columns that are stored as Arrow: all but the lattices.
    stored: Vec<usize>,
    stored_schema: SchemaRef,
    width: i64,
    buckets: BTreeMap<i64, Bucket>,
}

/// Looking up costs a cache miss a bucket, expiry is exact to a bucket: a few buckets a retention balance the two.
const BUCKETS_A_RETENTION: i64 = 3;
const WIDTH_MIN: i64 = 600_000_000;

impl Table {
    pub(crate) fn new(layout: Arc<Layout>) -> Table {
        let is_lattice = |column: &usize| layout.lattices.iter().any(|(lattice, _)| lattice == column);
        let stored: Vec<usize> = (0..layout.schema.fields().len()).filter(|column| !is_lattice(column)).collect();
        let fields: Vec<Field> = stored.iter().map(|column| layout.schema.field(*column).clone()).collect();
        let width = (layout.keep / BUCKETS_A_RETENTION).max(WIDTH_MIN);
        Table { stored, stored_schema: Arc::new(Schema::new(fields)), width, buckets: BTreeMap::new(), layout }
    }

    /// Merges rows; their schema is the table's. `touched` collects the rows of state they went to.
    pub(crate) fn merge(&mut self, rows: &RecordBatch, touched: &mut Vec<(i64, u32)>) -> Result<Merged> {
        let Some(column) = self.layout.retracted else { return self.merge_plain(rows, touched) };
        // A row is read before it is taken back, whichever way round a delta lists the two.
        let taken = rows.column(column).as_boolean().clone();
        let reads = self.merge_plain(&filter_record_batch(rows, &not(&taken)?)?, touched)?;
        let retractions = self.merge_plain(&filter_record_batch(rows, &taken)?, touched)?;
        Ok(Merged { retracted: retractions.retracted, ..reads })
    }

    fn merge_plain(&mut self, rows: &RecordBatch, touched: &mut Vec<(i64, u32)>) -> Result<Merged> {
        let mut merged = Merged::default();
        let times = event_times(rows.column(self.layout.time))?;
        let hashes = self.hashes(rows)?;
        for (bucket, members) in self.by_bucket(times.values()) {
            let state = self
                .buckets
                .entry(bucket)
                .or_insert_with(|| Bucket::new(1 + self.layout.lookups.len(), self.layout.lattices.len()));
            let part =
                Part { layout: &self.layout, stored: &self.stored, schema: &self.stored_schema, rows, hashes: &hashes };
            let newest = members.iter().map(|row| times.value(*row as usize)).max();
            state.newest = state.newest.max(newest.unwrap_or(i64::MIN));
            part.merge_into(state, &members, &mut merged, |row| touched.push((bucket, row)))?;
        }
        Ok(merged)
    }

    /// The key's hashes, then those of each lookup; `None` where a looked-up column is null, as it equals nothing.
    fn hashes(&self, rows: &RecordBatch) -> Result<Vec<Vec<Option<u64>>>> {
        let columns =
            |set: &[usize]| -> Vec<ArrayRef> { set.iter().map(|column| rows.column(*column).clone()).collect() };
        let mut all = vec![hash_rows(&columns(&self.layout.key), false)?];
        for lookup in &self.layout.lookups {
            all.push(hash_rows(&columns(lookup), true)?);
        }
        Ok(all)
    }

    fn by_bucket(&self, times: &[i64]) -> BTreeMap<i64, Vec<u32>> {
        let mut members: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in times.iter().enumerate() {
            members.entry(time.div_euclid(self.width)).or_default().push(row as u32);
        }
        members
    }

    /// Drops rows that no row at `before` or later can meet. Garbage collection: it never changes a result.
    pub(crate) fn expire(&mut self, before: i64) -> usize {
        let rows = self.rows();
        let keep = self.layout.keep;
        self.buckets.retain(|_, bucket| bucket.newest.saturating_add(keep) >= before);
        rows - self.rows()
    }

    pub(crate) fn rows(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.rows as usize).sum()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// Candidates of each hash by one lookup: pairs of a probing row and a row of state. Their keys may still differ.
    pub(crate) fn probe(&self, lookup: usize, hashes: &[Option<u64>], probing: &mut Vec<u32>, found: &mut Vec<Found>) {
        for (position, bucket) in self.buckets.values().enumerate() {
            let index = &bucket.indexes[1 + lookup];
            for (row, hash) in hashes.iter().enumerate() {
                let Some(hash) = hash else { continue };
                for state_row in index.chain(*hash) {
                    if bucket.live(state_row) {
                        probing.push(row as u32);
                        found.push(Found { bucket: position as u32, row: state_row });
                    }
                }
            }
        }
    }

    /// Every row that joins and scans see.
    pub(crate) fn all(&self) -> Vec<Found> {
        let each = self.buckets.values().enumerate();
        each.flat_map(|(position, bucket)| {
            let live = (0..bucket.rows).filter(|row| bucket.live(*row));
            live.map(move |row| Found { bucket: position as u32, row })
        })
        .collect()
    }

    /// The rows that a merge touched, once each.
    pub(crate) fn find(&self, mut touched: Vec<(i64, u32)>) -> Vec<Found> {
        touched.sort_unstable();
        touched.dedup();
        let positions: BTreeMap<i64, u32> =
            self.buckets.keys().zip(0..).map(|(bucket, position)| (*bucket, position)).collect();
        touched.into_iter().map(|(bucket, row)| Found { bucket: positions[&bucket], row }).collect()
    }

    /// One column of some rows.
    pub(crate) fn gather(&self, column: usize, found: &[Found], detail: Detail) -> Result<ArrayRef> {
        let buckets: Vec<&Bucket> = self.buckets.values().collect();
        let kind = self.layout.schema.field(column).data_type();
        if let Some(at) = self.layout.lattices.iter().position(|(lattice, _)| *lattice == column) {
            let values = found.iter().map(|found| &buckets[found.bucket as usize].lattices[at][found.row as usize]);
            return lattice::column(values, kind, detail);
        }
        if found.is_empty() {
            return Ok(arrow::array::new_empty_array(kind));
        }
        let column = self.stored.iter().position(|stored| *stored == column).unwrap_or_default();
        let mut arrays: Vec<&dyn Array> = Vec::new();
        let mut firsts = Vec::with_capacity(buckets.len());
        for bucket in &buckets {
            firsts.push(arrays.len());
            arrays.extend(bucket.chunks().iter().map(|chunk| chunk.column(column).as_ref()));
        }
        let place = |found: &Found| {
            let (chunk, row) = buckets[found.bucket as usize].locate(found.row);
            (firsts[found.bucket as usize] + chunk, row)
        };
        Ok(interleave(&arrays, &found.iter().map(place).collect::<Vec<_>>())?)
    }
}

/// Which rows hold the same in both columns; null is the same as null.
fn alike(one: &ArrayRef, other: &ArrayRef) -> Result<BooleanArray> {
    if !one.data_type().is_nested() {
        return Ok(not_distinct(one, other)?);
    }
    let compare = make_comparator(one, other, SortOptions::default())?;
    Ok((0..one.len()).map(|row| Some(compare(row, row).is_eq())).collect())
}

/// Rows on their way into one bucket.
struct Part<'a> {
    layout: &'a Layout,
    stored: &'a [usize],
    schema: &'a SchemaRef,
    rows: &'a RecordBatch,
    hashes: &'a [Vec<Option<u64>>],
}

impl Part<'_> {
    fn merge_into(
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
        for (lookup, hashes) in self.hashes[1..].iter().enumerate() {
            fresh.iter().for_each(|row| bucket.indexes[1 + lookup].push(hashes[*row as usize]));
        }
        let rows = take_record_batch(self.rows, &UInt32Array::from(fresh.to_vec()))?;
        for (at, (column, lattice)) in self.layout.lattices.iter().enumerate() {
            bucket.lattices[at].extend(lattice.values(rows.column(*column))?);
        }
        if let Some(column) = self.layout.retracted {
            let retracted = rows.column(column).as_boolean();
            bucket.retracted.extend((0..fresh.len()).filter(|row| retracted.value(*row)).map(|row| base + row as u32));
        }
        Ok(bucket.append(self.schema, &rows.project(self.stored)?)?)
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
        Ok(taken && bucket.retracted.insert(held))
    }
}

/// Hashes of rows over some columns; with `nulls_differ` a null has none. State and whoever looks into it share this.
pub(crate) fn hash_rows(columns: &[ArrayRef], nulls_differ: bool) -> Result<Vec<Option<u64>>> {
    let (hashes, whole) = hash_whole(columns)?;
    let has = |row| !nulls_differ || whole.as_ref().is_none_or(|whole| whole.is_valid(row));
    Ok(hashes.into_iter().enumerate().map(|(row, hash)| has(row).then_some(hash)).collect())
}

/// The hashes of [`hash_rows`], and which rows have no null in any of the columns; `None` where no row has.
pub(crate) fn hash_whole(columns: &[ArrayRef]) -> Result<(Vec<u64>, Option<NullBuffer>)> {
    let mut hashes = vec![0; columns.first().map_or(0, |column| column.len())];
    create_hashes(columns, &RandomState::with_seed(0x7265_7363_616e), &mut hashes)?;
    let nulls = columns.iter().map(|column| column.logical_nulls());
    let whole = nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()));
    Ok((hashes, whole.filter(|whole| whole.null_count() > 0)))
}

fn event_times(column: &ArrayRef) -> Result<&arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) if times.null_count() == 0 => Ok(times),
        Some(_) => Err(DataFusionError::Execution("a row of state has no event time".to_owned())),
        None => Err(DataFusionError::Plan(format!(
            "event time is a {}, not {}",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
            column.data_type()
        ))),
    }
}
