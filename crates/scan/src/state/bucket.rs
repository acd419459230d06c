//! The rows of one span of event time: Arrow chunks that only grow, and what finds a row in them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::lattice::Value;
use crate::state::by_time::ByTime;
use crate::state::index::Index;

/// Chunks grow by doubling up to this many rows, so that there are few of them and each row is copied a few times.
const CHUNK_ROWS_MAX: usize = 1 << 16;

/// Rows of one time bucket, numbered in the order of insertion.
#[derive(Debug)]
pub(crate) struct Bucket {
    chunks: Vec<RecordBatch>,
    /// The number of the first row of each chunk.
    starts: Vec<u32>,
    pub rows: u32,
    /// The key's index, then one for each set of columns that a join looks up.
    pub indexes: Vec<Index>,
    /// For each set of columns that a join looks up by time too, the rows of those keys that have many.
    pub by_time: Vec<Option<ByTime>>,
    /// The values of each lattice column, by row.
    pub lattices: Vec<Vec<Value>>,
    /// Rows that a row of the same key and lesser content replaced.
    pub superseded: HashSet<u32>,
    pub retracted: HashSet<u32>,
    /// The largest event time in it.
    pub newest: i64,
}

impl Bucket {
    /// `by_time`: of each lookup whether it is by time too.
    pub(crate) fn new(by_time: impl ExactSizeIterator<Item = bool>, lattices: usize) -> Bucket {
        Bucket {
            chunks: Vec::new(),
            starts: Vec::new(),
            rows: 0,
            indexes: (0..=by_time.len()).map(|_| Index::default()).collect(),
            by_time: by_time.map(|by_time| by_time.then(ByTime::default)).collect(),
            lattices: vec![Vec::new(); lattices],
            superseded: HashSet::new(),
            retracted: HashSet::new(),
            newest: i64::MIN,
        }
    }

    /// Adds rows behind the last; the indexes are the caller's.
    pub(crate) fn append(&mut self, schema: &SchemaRef, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.starts.push(self.rows);
        self.rows += rows.num_rows() as u32;
        self.chunks.push(unshared(rows)?);
        while let [.., older, newer] = self.chunks.as_slice() {
            let total = older.num_rows() + newer.num_rows();
            if older.num_rows() > 2 * newer.num_rows() || total > CHUNK_ROWS_MAX {
                break;
            }
            let merged = unshared(&concat_batches(schema, [older, newer])?)?;
            self.chunks.truncate(self.chunks.len() - 2);
            self.starts.pop();
            self.chunks.push(merged);
        }
        Ok(())
    }

    pub(crate) fn chunks(&self) -> &[RecordBatch] {
        &self.chunks
    }

    /// The chunk of a row, and the row in it.
    #[inline]
    pub(crate) fn locate(&self, row: u32) -> (usize, usize) {
        let chunk = self.starts.partition_point(|start| *start <= row) - 1;
        (chunk, (row - self.starts[chunk]) as usize)
    }

    /// The event time of a row, microseconds, which is in this stored column.
    pub(crate) fn time(&self, column: usize, row: u32) -> i64 {
        let (chunk, row) = self.locate(row);
        self.chunks[chunk].column(column).as_primitive::<TimestampMicrosecondType>().value(row)
    }

    /// One stored column of some rows.
    pub(crate) fn column(&self, column: usize, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let arrays: Vec<&dyn Array> = self.chunks.iter().map(|chunk| chunk.column(column).as_ref()).collect();
        let places: Vec<(usize, usize)> = rows.iter().map(|row| self.locate(*row)).collect();
        interleave(&arrays, &places)
    }

    /// Whether joins and scans still see a row.
    pub(crate) fn live(&self, row: u32) -> bool {
        self.superseded.is_empty() || !self.superseded.contains(&row)
    }
}

/// Frees text of the buffers it came in: a view of one row would keep a whole input block alive, and be written with it.
///
/// # Errors
/// None for rows that are valid.
pub fn unshared(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(rows.schema(), rows.columns().iter().map(unshared_column).collect())
}

/// A column of text in buffers of its own, where those it is in are more than twice as large; so it is with the columns
/// of rows that are values.
pub(crate) fn compact_column(column: &ArrayRef) -> ArrayRef {
    if let Some(rows) = column.as_struct_opt() {
        return fields(rows, compact_column);
    }
    let Some(text) = column.as_string_view_opt() else { return column.clone() };
    let held: usize = text.data_buffers().iter().map(|buffer| buffer.len()).sum();
    if held > 2 * text.total_buffer_bytes_used() { unshared_column(column) } else { column.clone() }
}

/// A column of text in buffers of its own.
pub(crate) fn unshared_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::Struct(_) => fields(column.as_struct(), unshared_column),
        _ => column.clone(),
    }
}

/// Rows as values, each of their columns made anew.
fn fields(rows: &StructArray, of: impl Fn(&ArrayRef) -> ArrayRef) -> ArrayRef {
    let (fields, columns, nulls) = rows.clone().into_parts();
    let (columns, length) = (columns.iter().map(of).collect(), rows.len());
    let made = StructArray::try_new_with_length(fields, columns, nulls, length);
    made.map_or_else(|_| Arc::new(rows.clone()) as ArrayRef, |rows| Arc::new(rows) as ArrayRef)
}
