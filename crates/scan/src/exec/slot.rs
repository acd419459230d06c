//! Leaves of a template plan. A template names its tables; what is in them comes with each step, in the task context, so
//! that one plan serves every step and many steps at once.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Statistics, project_schema};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::MemoryStream;

use crate::exec::node::{Node, NodeExec};
use crate::lattice::Detail;
use crate::state::State;

/// What one step puts into the slots of a template.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    pub batch: BTreeMap<String, Vec<RecordBatch>>,
    pub state: State,
    pub next: BTreeMap<String, Vec<RecordBatch>>,
    /// What plans that follow the merge need from before it.
    pub before: BTreeMap<String, Vec<RecordBatch>>,
}

/// Which table of a step a leaf stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Batch(String),
    State(String),
    Next(String),
    Before(String),
}

/// The optimiser puts the smaller side of a join where it is hashed: a batch is small, state is large.
const BATCH_ROWS_ABOUT: usize = 1_000;
const STATE_ROWS_ABOUT: usize = 1_000_000;

/// A slot as the planner sees it.
#[derive(Debug)]
pub(crate) struct SlotTable {
    pub slot: Slot,
    pub schema: SchemaRef,
}

#[async_trait]
impl TableProvider for SlotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let standing = filters.iter().any(|filter| self.is_standing(filter));
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let leaf = Leaf { slot: self.slot.clone(), columns, standing };
        Ok(Arc::new(SlotExec::new(Arc::new(leaf), Vec::new(), project_schema(&self.schema, projection)?)))
    }

    /// State itself leaves out the rows that were retracted, so that a look-up still finds it below.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let applied = |filter: &&Expr| match self.is_standing(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(applied).collect())
    }
}

impl SlotTable {
    /// Whether a filter is `not retracted`, of state.
    fn is_standing(&self, filter: &Expr) -> bool {
        let Expr::Not(of) = filter else { return false };
        matches!((of.as_ref(), &self.slot), (Expr::Column(column), Slot::State(_)) if column.name == "retracted")
    }
}

/// A slot as the executor sees it.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub slot: Slot,
    /// The columns of the table that it gives.
    pub columns: Vec<usize>,
    /// Of state only the rows that were not retracted.
    pub standing: bool,
}

/// The node of a slot.
pub(crate) type SlotExec = NodeExec<Leaf>;

impl Leaf {
    fn rows(&self, filling: &Filling, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let project = |batches: Option<&Vec<RecordBatch>>| -> Result<Vec<RecordBatch>> {
            Ok(batches.into_iter().flatten().map(|batch| batch.project(&self.columns)).collect::<Result<_, _>>()?)
        };
        match &self.slot {
            Slot::Batch(name) => project(filling.batch.get(name)),
            Slot::Next(name) => project(filling.next.get(name)),
            Slot::Before(name) => Ok(filling.before.get(name).cloned().unwrap_or_default()),
            Slot::State(name) => {
                let Some(table) = filling.state.table(name) else { return Ok(Vec::new()) };
                let found = table.all(self.standing);
                let columns = self.columns.iter().map(|column| table.gather(*column, &found, Detail::Whole));
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(found.len()));
                let columns = columns.collect::<Result<_>>()?;
                Ok(vec![RecordBatch::try_new_with_options(schema.clone(), columns, &options)?])
            }
        }
    }
}

/// What this step filled the slots with.
pub(crate) fn filling(context: &TaskContext) -> Result<Arc<Filling>> {
    let filling = context.session_config().get_extension::<Filling>();
    filling.ok_or_else(|| DataFusionError::Internal("a template was executed outside of a step".to_owned()))
}

impl Node for Leaf {
    const NAME: &'static str = "SlotExec";

    fn detail(&self, schema: &SchemaRef) -> String {
        let (space, name) = match &self.slot {
            Slot::Batch(name) => ("batch", name),
            Slot::State(name) => ("state", name),
            Slot::Next(name) => ("next", name),
            Slot::Before(name) => ("before", name),
        };
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let standing = if self.standing { ", not retracted" } else { "" };
        format!("{space}.{name} [{}]{standing}", columns.join(", "))
    }

    fn statistics(&self, schema: &SchemaRef) -> Statistics {
        let rows = if matches!(self.slot, Slot::State(_)) { STATE_ROWS_ABOUT } else { BATCH_ROWS_ABOUT };
        Statistics { num_rows: Precision::Inexact(rows), ..Statistics::new_unknown(schema) }
    }

    fn execute(
        self: &Arc<Self>,
        _: &[Arc<dyn ExecutionPlan>],
        schema: &SchemaRef,
        _: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.rows(filling(&context)?.as_ref(), schema)?;
        Ok(Box::pin(MemoryStream::try_new(rows, schema.clone(), None)?))
    }
}

/// The slot below nodes that change no row.
pub(crate) fn slot_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&Leaf> {
    let any: &dyn Any = plan.as_ref();
    if let Some(slot) = any.downcast_ref::<SlotExec>() {
        return Some(&slot.node);
    }
    match plan.name() {
        "CooperativeExec" | "CoalesceBatchesExec" | "CoalescePartitionsExec" | "RepartitionExec" => {
            plan.children().first().and_then(|child| slot_below(child))
        }
        _ => None,
    }
}
