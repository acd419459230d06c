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
        let order = sorted(&keys);
        let standing = self.standing(&all, &keys, &order)?;
        let visible = self.visible();
        let visible = visible.fields().iter().map(|field| self.schema.index_of(field.name()));
        let visible: Vec<usize> = visible.collect::<Result<_, _>>()?;
        Ok(take_record_batch(&all.project(&visible)?, &UInt32Array::from(standing))?)
    }

    fn standing(&self, all: &RecordBatch, keys: &Rows, order: &[u32]) -> Result<Vec<u32>> {
        let retracted = all.column_by_name("retracted").filter(|_| self.retracts).map(|column| column.as_boolean());
        let taken =
            |row: u32| retracted.is_some_and(|column| column.is_valid(row as usize) && column.value(row as usize));
        let mut standing = Vec::with_capacity(order.len());
        // Where in `standing` the strongest of several rows is to go, and those rows.
        let mut contested: Vec<(usize, &[u32])> = Vec::new();
        for group in order.chunk_by(|a, b| keys.row(*a as usize) == keys.row(*b as usize)) {
            if group.iter().any(|row| taken(*row)) {
                continue;
            }
            if group.len() > 1 {
                contested.push((standing.len(), group));
            }
            standing.push(group[0]);
        }
        for ((place, _), row) in contested.iter().zip(self.strongest(all, &contested)?) {
            standing[*place] = row;
        }
        Ok(standing)
    }

    /// The row of each group that stands: the greater in the columns that say so, then the lesser in all.
    fn strongest(&self, all: &RecordBatch, groups: &[(usize, &[u32])]) -> Result<Vec<u32>> {
        let rows: Vec<u32> = groups.iter().flat_map(|(_, group)| group.iter().copied()).collect();
        let some = take_record_batch(all, &UInt32Array::from(rows.clone()))?;
        let columns: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        let content = encode(&some, &columns)?;
        let rank = if self.greatest.is_empty() { None } else { Some(encode(&some, &self.greatest)?) };
        let weaker = |a: &usize, b: &usize| {
            let greater = rank.as_ref().map_or(Ordering::Equal, |rank| rank.row(*a).cmp(&rank.row(*b)));
            greater.then_with(|| content.row(*b).cmp(&content.row(*a)))
        };
        let mut from = 0;
        let strongest = groups.iter().map(|(_, group)| {
            let members = from..from + group.len();
            from = members.end;
            members.max_by(weaker).map_or(group[0], |row| rows[row])
        });
        Ok(strongest.collect())
    }
}

/// Row numbers in the order of their keys. Most comparisons are decided by the first bytes, held beside the number.
fn sorted(keys: &Rows) -> Vec<u32> {
    let prefix = |row: usize| {
        let key = keys.row(row);
        let key = key.as_ref();
        let mut head = [0; 16];
        let length = key.len().min(head.len());
        head[..length].copy_from_slice(&key[..length]);
        u128::from_be_bytes(head)
    };
    let mut order: Vec<(u128, u32)> = (0..keys.num_rows()).map(|row| (prefix(row), row as u32)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys.row(a.1 as usize).cmp(&keys.row(b.1 as usize))));
    order.into_iter().map(|(_, row)| row).collect()
}

fn encode(rows: &RecordBatch, columns: &[String]) -> Result<Rows> {
    let schema = rows.schema();
    let fields = columns.iter().map(|column| Ok(SortField::new(schema.field_with_name(column)?.data_type().clone())));
    let arrays = columns.iter().map(|column| Ok(rows.column(schema.index_of(column)?).clone()));
    let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
    Ok(RowConverter::new(fields.collect::<Result<_>>()?)?.convert_columns(&arrays)?)
}
