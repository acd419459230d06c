//! Pairs of rows that a join found by the hash of their keys: which of them it means, and what their columns are.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};

use crate::state::layout::hash_rows;

/// Pairs are verified and put out by so many at once, so that a key with many partners costs time and not memory.
pub(crate) const PAIRS_AT_ONCE: usize = if cfg!(test) { 16 } else { 1 << 16 };

/// The values of some expressions for the rows of a batch.
pub(crate) fn evaluated<'a>(
    expressions: impl IntoIterator<Item = &'a PhysicalExprRef>,
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    let values = |expression: &PhysicalExprRef| expression.evaluate(batch)?.into_array(batch.num_rows());
    expressions.into_iter().map(values).collect()
}

/// Which of `count` pairs have equal keys, of which `keys` are the values on both sides, and pass the join's filter, whose
/// columns `column` makes. A null is equal to nothing.
pub(crate) fn verified(
    count: usize,
    keys: impl Iterator<Item = Result<(ArrayRef, ArrayRef)>>,
    filter: Option<&JoinFilter>,
    column: impl FnMut(&ColumnIndex) -> Result<ArrayRef>,
) -> Result<BooleanArray> {
    let mut kept = BooleanArray::from(vec![true; count]);
    for key in keys {
        let (one, other) = key?;
        kept = and(&kept, &true_only(&eq(&one, &other)?))?;
    }
    let Some(filter) = filter else { return Ok(kept) };
    let pairs = rows(filter.schema(), filter.column_indices(), count, column)?;
    let passed = filter.expression().evaluate(&pairs)?.into_array(count)?;
    Ok(and(&kept, &true_only(passed.as_boolean()))?)
}

/// Pairs as rows of these columns.
pub(crate) fn rows(
    schema: &SchemaRef,
    columns: &[ColumnIndex],
    count: usize,
    column: impl FnMut(&ColumnIndex) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let columns = columns.iter().map(column).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// Unknown is not true.
fn true_only(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() }
}

/// The hashes of what makes rows one another's own, by some expressions; where there are none, no row is anybody's own.
pub(crate) fn own_hashes(own: &[&PhysicalExprRef], rows: &RecordBatch) -> Result<Vec<Option<u64>>> {
    if own.is_empty() {
        Ok(vec![None; rows.num_rows()])
    } else {
        hash_rows(&evaluated(own.iter().copied(), rows)?, true)
    }
}
