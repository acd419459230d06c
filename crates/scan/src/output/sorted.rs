//! Compaction of more rows than memory holds: they come in the order of their key, so that a few of them at a time will do.

use arrow::array::RecordBatch;
use arrow::compute::{BatchCoalescer, concat_batches};
use datafusion::error::{DataFusionError, Result};

use crate::output::compact::PIECE_ROWS;
use crate::output::order::encode;
use crate::script::bind::Output;
use crate::state::bucket::unshared;

impl Output {
    /// As [`Output::compact`], the same pieces, of rows that come in the order of the key: ascending, nulls first.
    pub fn compact_sorted<E: From<DataFusionError>>(
        &self,
        rows: impl Iterator<Item = Result<RecordBatch, E>>,
    ) -> impl Iterator<Item = Result<RecordBatch, E>> {
        let pieces = BatchCoalescer::new(self.visible(), PIECE_ROWS);
        Sorted { output: self, rows, held: Vec::new(), pieces, ended: false }
    }
}

struct Sorted<'a, I> {
    output: &'a Output,
    rows: I,
    /// Rows that may have more of their group behind them.
    held: Vec<RecordBatch>,
    /// Rows that stand, on their way to the size of a piece.
    pieces: BatchCoalescer,
    ended: bool,
}

impl<E: From<DataFusionError>, I: Iterator<Item = Result<RecordBatch, E>>> Iterator for Sorted<'_, I> {
    type Item = Result<RecordBatch, E>;

    fn next(&mut self) -> Option<Result<RecordBatch, E>> {
        loop {
            if let Some(piece) = self.pieces.next_completed_batch() {
                return Some(Ok(piece));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.read() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}

impl<I> Sorted<'_, I> {
    fn read<E: From<DataFusionError>>(&mut self) -> Result<(), E>
    where
        I: Iterator<Item = Result<RecordBatch, E>>,
    {
        match self.rows.next().transpose()? {
            Some(rows) => self.hold(rows)?,
            None => self.end()?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.ended = true;
        let held = std::mem::take(&mut self.held);
        self.settle(&held)?;
        Ok(self.pieces.finish_buffered_batch()?)
    }

    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        self.held.push(rows);
        if self.held.iter().map(RecordBatch::num_rows).sum::<usize>() < PIECE_ROWS {
            return Ok(());
        }
        let held = concat_batches(&self.output.schema, &std::mem::take(&mut self.held))?;
        let whole = self.whole_groups(&held)?;
        // Text of its own: else the buffers of all rows so far would stay with these few.
        self.held.push(unshared(&held.slice(whole, held.num_rows() - whole))?);
        self.settle(&[held.slice(0, whole)])
    }

    /// How many of the first rows are of groups that end among them.
    fn whole_groups(&self, rows: &RecordBatch) -> Result<usize> {
        let groups = encode(std::slice::from_ref(rows), &self.output.key[..self.output.group])?;
        let last = rows.num_rows() - 1;
        Ok((0..last).rev().find(|row| groups.row(*row) != groups.row(last)).map_or(0, |row| row + 1))
    }

    fn settle(&mut self, rows: &[RecordBatch]) -> Result<()> {
        for standing in self.output.compact(rows)? {
            self.pieces.push_batch(standing?)?;
        }
        Ok(())
    }
}
