//! From changed rows to the rows that stand: one a key, sorted by key.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::Result;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::bind::Output;

/// Columns of an output that say how rows stand, and are not shown.
const HIDDEN: [&str; 2] = ["retracted", "_time"];

impl Output {
    /// The columns that readers see.
    pub fn visible(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().filter(|field| !HIDDEN.contains(&field.name().as_str()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// The rows that stand of all that were put out for some keys: one a key, in the order of keys, visible columns
    /// only. Idempotent, and the same for any order of `rows`.
    ///
    /// # Errors
    /// Rows of another schema.
    pub fn compact(&self, rows: &[RecordBatch]) -> Result<RecordBatch> {
        let all = concat_batches(&self.schema, rows)?;
        let keys = encode(&all, &self.key)?;
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        order.sort_unstable_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        let standing = self.standing(&all, &keys, &order)?;
        let visible: Vec<usize> =
            self.visible().fields().iter().map(|field| self.schema.index_of(field.name())).collect::<Result<_, _>>()?;
        Ok(take_record_batch(&all.project(&visible)?, &UInt32Array::from(standing))?)
    }

    fn standing(&self, all: &RecordBatch, keys: &Rows, order: &[u32]) -> Result<Vec<u32>> {
        let retracted =
            self.retracts.then(|| all.column_by_name("retracted").map(|column| column.as_boolean())).flatten();
        let taken =
            |row: u32| retracted.is_some_and(|column| column.is_valid(row as usize) && column.value(row as usize));
        let mut ranks = None;
        let mut standing = Vec::with_capacity(order.len());
        for group in order.chunk_by(|a, b| keys.row(*a as usize) == keys.row(*b as usize)) {
            if group.iter().any(|row| taken(*row)) {
                continue;
            }
            if let [row] = group {
                standing.push(*row);
                continue;
            }
            if ranks.is_none() {
                ranks = Some(self.ranks(all)?);
            }
            let Some((content, rank)) = &ranks else { continue };
            standing.extend(group.iter().copied().reduce(|best, row| stronger(best, row, rank.as_ref(), content)));
        }
        Ok(standing)
    }

    /// What decides between rows of one key: all columns, and those in which the greater wins.
    fn ranks(&self, all: &RecordBatch) -> Result<(Rows, Option<Rows>)> {
        let columns: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        let rank = if self.greatest.is_empty() { None } else { Some(encode(all, &self.greatest)?) };
        Ok((encode(all, &columns)?, rank))
    }
}

fn stronger(best: u32, row: u32, rank: Option<&Rows>, content: &Rows) -> u32 {
    let greater = rank.map_or(Ordering::Equal, |rank| rank.row(row as usize).cmp(&rank.row(best as usize)));
    let less = content.row(best as usize).cmp(&content.row(row as usize));
    if greater.then(less) == Ordering::Greater { row } else { best }
}

fn encode(rows: &RecordBatch, columns: &[String]) -> Result<Rows> {
    let schema = rows.schema();
    let fields = columns.iter().map(|column| Ok(SortField::new(schema.field_with_name(column)?.data_type().clone())));
    let arrays = columns.iter().map(|column| Ok(rows.column(schema.index_of(column)?).clone()));
    let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
    Ok(RowConverter::new(fields.collect::<Result<_>>()?)?.convert_columns(&arrays)?)
}
