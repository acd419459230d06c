//! Decoded rows of one file that can be given out in pieces, each with the offset that follows it.

use arrow::array::RecordBatch;

use crate::source::{Chunk, Offset, Rejected};

/// Bounds what is decoded at once, and so what waits in memory.
pub(crate) const BYTES_MAX: u64 = 16 << 20;
pub(crate) const ROWS_MAX: usize = 1 << 16;

pub(crate) struct Block {
    file: String,
    rows: RecordBatch,
    rejected: Vec<Rejected>,
    /// Where in the file each row read starts, good or bad, and at last where what follows them does.
    starts: Vec<u64>,
    /// The number of the row at `starts[0]`.
    row: u64,
}

impl Block {
    pub(crate) fn new(file: String, rows: RecordBatch, rejected: Vec<Rejected>, starts: Vec<u64>, row: u64) -> Self {
        Self { file, rows, rejected, starts, row }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.len() <= 1
    }

    /// Gives out the first rows, at most as many as asked for.
    pub(crate) fn take(&mut self, rows_max: usize) -> Chunk {
        let held = self.starts.len().saturating_sub(1);
        let read = held.min(rows_max);
        self.starts.drain(..read);
        self.row += read as u64;
        let bad = self.rejected.partition_point(|r| (r.offset as u64) < self.row);
        let good = if read == held { self.rows.num_rows() } else { (read - bad).min(self.rows.num_rows()) };
        let rows = self.rows.slice(0, good);
        self.rows = self.rows.slice(good, self.rows.num_rows() - good);
        let rejected = self.rejected.drain(..bad).collect();
        let position = self.starts.first().copied().unwrap_or_default();
        Chunk { rows, rejected, read: read as u64, next: Offset { file: self.file.clone(), position, row: self.row } }
    }
}
