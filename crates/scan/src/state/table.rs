//! Keyed state: what earlier batches left, by key, in buckets of event time.
//!
//! Merging is idempotent, associative and commutative, whatever the merge class: of two rows with one key and other
//! content the lesser stays, lattice columns merge, and retracted wins over not. So state can be rebuilt by merging its
//! deltas again, in any order, and expiry drops whole buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave, not};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};

use crate::lattice::{self, Detail};
use crate::state::bucket::Bucket;
use crate::state::incoming::Part;
use crate::state::layout::{Layout, Merged, hash_rows};

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
    /// Which of those is event time.
    pub(crate) stored_time: usize,
    pub(crate) width: i64,
    pub(crate) buckets: BTreeMap<i64, Bucket>,
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
        let stored_time = stored.iter().position(|column| *column == layout.time).unwrap_or_default();
        let stored_schema = Arc::new(Schema::new(fields));
        Table { stored, stored_schema, stored_time, width, buckets: BTreeMap::new(), layout }
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
            let state = self.buckets.entry(bucket).or_insert_with(|| {
                let by_time = self.layout.lookups.iter().map(|lookup| lookup.by_time);
                Bucket::new(by_time, self.layout.lattices.len())
            });
            let (layout, stored, schema) = (&self.layout, &self.stored, &self.stored_schema);
            let part = Part { layout, stored, time: self.stored_time, schema, rows, hashes: &hashes };
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
            all.push(hash_rows(&columns(&lookup.columns), true)?);
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

    /// The position of its event time among its columns.
    pub(crate) fn time_column(&self) -> usize {
        self.layout.time
    }

    /// Every row that joins and scans see; where only `standing` rows are wanted, none that was retracted.
    pub(crate) fn all(&self, standing: bool) -> Vec<Found> {
        let each = self.buckets.values().enumerate();
        each.flat_map(|(position, bucket)| {
            let stands = move |row: &u32| bucket.live(*row) && !(standing && bucket.retracted.contains(row));
            let live = (0..bucket.rows).filter(stands);
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
        if Some(column) == self.layout.retracted {
            // What was stored is how a row came.
            let retracted = |found: &Found| Some(buckets[found.bucket as usize].retracted.contains(&found.row));
            return Ok(Arc::new(found.iter().map(retracted).collect::<BooleanArray>()));
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
