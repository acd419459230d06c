//! The left side of a group join, read: its rows, their keys and their groups.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use futures::TryStreamExt;

use crate::aggregate::grouped::by_group;
use crate::exec::group_join::group_terms::{GroupJoin, apart, reservation};
use crate::exec::group_join::partnered::Partnered;
use crate::exec::pairs::evaluated;
use crate::state::index::Index;
use crate::state::layout::hash_rows;

/// The left side, read.
#[derive(Debug)]
pub(crate) struct Left {
    pub rows: RecordBatch,
    /// What must be equal on both sides.
    pub on: Vec<ArrayRef>,
    /// Whom the right side may have partners for: the newest row of a hash stands for all that have it.
    pub index: Arc<Index>,
    /// Of each row the one that stands for its keys; none where a key is null.
    pub key_of: Vec<Option<u32>>,
    /// Of each row the first and the last time that a partner may have, where the filter bounds it.
    pub spans: Option<Vec<(i64, i64)>>,
    pub groups: Groups,
    _held: MemoryReservation,
}

/// Bytes of a left row beside its columns: in the index, and as a key, a span and a member of a group.
const BYTES_BESIDE: usize = 64;

/// Rows by group.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The columns of each group.
    pub columns: Vec<ArrayRef>,
    /// Where its rows start, and the rows of all groups.
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Left {
    /// Reads the left side, and tells scans of the right side whom it has partners for.
    pub(crate) async fn read(
        left: &Arc<dyn ExecutionPlan>,
        join: &Arc<GroupJoin>,
        context: &Arc<TaskContext>,
    ) -> Result<Left> {
        let schema = left.schema();
        let (held, mut batches) = (reservation(context), Vec::new());
        let mut rows = left.execute(0, context.clone())?;
        while let Some(rows) = rows.try_next().await? {
            held.try_grow(rows.get_array_memory_size() + rows.num_rows() * BYTES_BESIDE)?;
            batches.push(rows);
        }
        let batches = Arc::new(batches);
        let grouping = {
            let (batches, join, schema) = (batches.clone(), join.clone(), schema.clone());
            apart(move || Groups::of(&batches, &join.group, &schema))
        };
        let rows = concat_batches(&schema, batches.iter())?;
        let (left_keys, right_keys): (Vec<_>, Vec<PhysicalExprRef>) = join.on.iter().cloned().unzip();
        let on = evaluated(&left_keys, &rows)?;
        let hashes = hash_rows(&on, true)?;
        let mut index = Index::default();
        hashes.iter().for_each(|hash| {
            index.push(*hash);
        });
        let index = Arc::new(index);
        let key_of = hashes.into_iter().map(|hash| index.newest(hash?)).collect();
        let spans = join.span.as_ref().map(|span| span.of_rows(&rows)).transpose()?;
        let groups = grouping.await?;
        if let Some(partnered) = &join.partnered {
            partnered.update(Arc::new(Partnered::new(right_keys, index.clone())))?;
            partnered.mark_complete();
        }
        Ok(Left { rows, on, index, key_of, spans, groups, _held: held })
    }
}

impl Groups {
    /// Groups rows by some columns, of those that `schema` has.
    pub(crate) fn of(rows: &[RecordBatch], by: &[usize], schema: &SchemaRef) -> Result<Groups> {
        let (group_of, columns) = grouped(rows, by, schema)?;
        let mut members = vec![0; group_of.len()];
        let count = columns.first().map_or(0, |column| column.len());
        let starts = by_group(&group_of, count, |from, to| members[to] = from as u32);
        Ok(Groups { columns, starts, members })
    }

    /// How many groups there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The rows of a group.
    pub(crate) fn members(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// The group of each row, and the columns of each group.
fn grouped(rows: &[RecordBatch], by: &[usize], schema: &SchemaRef) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
    if rows.is_empty() {
        let columns = by.iter().map(|column| new_empty_array(schema.field(*column).data_type()));
        return Ok((Vec::new(), columns.collect()));
    }
    let mut values = new_group_values(Arc::new(schema.project(by)?), &GroupOrdering::None)?;
    let (mut group_of, mut groups) = (Vec::new(), Vec::new());
    for rows in rows {
        values.intern(rows.project(by)?.columns(), &mut groups)?;
        group_of.extend(groups.iter().map(|group| *group as u32));
    }
    Ok((group_of, values.emit(EmitTo::All)?))
}
