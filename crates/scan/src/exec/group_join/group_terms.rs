//! The terms of a group join: what it joins, and what it gathers; and how its parts share the threads and the memory.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};

use crate::exec::lookup::span::Span;

/// What is joined, and what is gathered.
#[derive(Debug)]
pub(crate) struct GroupJoin {
    /// What is equal on both sides, and whatever else holds of a pair.
    pub on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    pub filter: Option<JoinFilter>,
    /// The filter that scans of the right side know of, where any does: true of all rows until the left side is read, and
    /// then of those with a partner, for as long as the plan lives.
    pub partnered: Option<Arc<DynamicFilterPhysicalExpr>>,
    /// What the filter says of the time of a right row.
    pub span: Option<Span>,
    /// Set where of a left row's partners only the earliest, the latest and the latest of its own count.
    pub ends: Option<Ends>,
    /// The columns of the left side that name a group.
    pub group: Vec<usize>,
    /// What is gathered. A left row without a partner must give it nothing.
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// Its arguments, over the columns of a pair.
    pub args: Vec<PhysicalExprRef>,
    /// Those columns, of either side, and their schema.
    pub pair: Vec<ColumnIndex>,
    pub pair_schema: SchemaRef,
}

/// Which right rows count, where not all of them do.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The right column that, with the time of the span, tells one row from another.
    pub identity: usize,
    /// What is equal on both sides where a right row is a left row's own.
    pub own: Vec<(PhysicalExprRef, PhysicalExprRef)>,
}

/// What a group join holds is counted among the memory of its session.
pub(crate) fn reservation(context: &Arc<TaskContext>) -> MemoryReservation {
    MemoryConsumer::new("GroupJoinExec").register(context.memory_pool())
}

/// Does some work on a thread of its own, begun at once. A task would be worked off by the thread that begot it, or woke
/// it, after its own work.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let working = SpawnedTask::spawn_blocking(work);
    async move { working.join_unwind().await.map_err(|e| DataFusionError::External(Box::new(e)))? }
}
