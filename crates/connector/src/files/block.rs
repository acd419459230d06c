//! Decoded rows of one file that can be given out in pieces, each with the offset that follows it.

use std::collections::VecDeque;

use arrow::array::RecordBatch;

use crate::files::known::mark::FileMark;
use crate::files::known::sum::RowSum;
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
    /// The sum of the file up to the end of each row, the first one's first; empty where nothing needs it.
    sums: VecDeque<RowSum>,
    head: u64,
}

impl Block {
    pub(crate) fn new(file: String, rows: RecordBatch, rejected: Vec<Rejected>, starts: Vec<u64>, row: u64) -> Self {
        Self { file, rows, rejected, starts, row, sums: VecDeque::new(), head: 0 }
    }

    /// The same, of a file that is to be known again: see [`FileMark`].
    pub(crate) fn with_sums(self, sums: VecDeque<RowSum>, head: u64) -> Self {
        Self { sums, head, ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.len() <= 1
    }

    /// The file that its rows are of.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Moves the mark of the file on to the end of the block.
    pub(crate) fn pass(&self, mark: &mut FileMark) {
        mark.position = self.starts.last().copied().unwrap_or_default();
        mark.row = self.row + self.starts.len().saturating_sub(1) as u64;
        (mark.sum, mark.head) = (self.sums.back().copied().unwrap_or_default(), self.head);
        mark.rest = true;
    }

    /// Gives out the first rows, at most as many as asked for, and moves the mark of their file on.
    pub(crate) fn take(&mut self, rows_max: usize, mark: Option<&mut FileMark>) -> Chunk {
        let held = self.starts.len().saturating_sub(1);
        let read = held.min(rows_max);
        self.starts.drain(..read);
        let sum = self.sums.drain(..read.min(self.sums.len())).next_back().unwrap_or_default();
        self.row += read as u64;
        let bad = self.rejected.partition_point(|r| (r.offset as u64) < self.row);
        let good = if read == held { self.rows.num_rows() } else { (read - bad).min(self.rows.num_rows()) };
        let rows = self.rows.slice(0, good);
        self.rows = self.rows.slice(good, self.rows.num_rows() - good);
        let rejected = self.rejected.drain(..bad).collect();
        let position = self.starts.first().copied().unwrap_or_default();
        if let Some(mark) = mark {
            (mark.position, mark.row, mark.sum, mark.head, mark.rest) = (position, self.row, sum, self.head, true);
        }
        let next = Offset { file: self.file.clone(), position, row: self.row, ..Offset::default() };
        Chunk { rows, rejected, read: read as u64, next }
    }
}
