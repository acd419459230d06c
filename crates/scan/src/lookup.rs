//! The join of a small batch with state as a look-up by key: its cost is the batch's, however much state there is.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinSide;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, TryStreamExt};

use crate::lattice::Detail;
use crate::pairs::{self, PAIRS_AT_ONCE, evaluated, verified};
use crate::probe::Probe;
use crate::slot::{Filling, filling};
use crate::span::Span;
use crate::table::{Found, Table, hash_rows};

/// Which rows come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every pair; with `outer` also batch rows without one.
    Pairs { outer: bool },
    /// Batch rows with a pair, or those without.
    Batch { matched: bool },
    /// State rows with a pair, once each.
    State,
}

/// What is looked up, and what comes out of it.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub kind: Kind,
    /// The table of state, and which of its lookups.
    pub table: String,
    pub lookup: usize,
    /// The batch's key expressions, and the state table's key columns.
    pub keys: Vec<(PhysicalExprRef, usize)>,
    pub filter: Option<JoinFilter>,
    /// What the filter says of the partner's time; its column is the state table's.
    pub span: Option<Span>,
    /// Whether rows of state that were retracted are no partners.
    pub standing: bool,
    /// Which side of the join, and of its filter, the batch is.
    pub batch_side: JoinSide,
    /// The state table's column behind each column of the state side.
    pub state_columns: Vec<usize>,
    /// Where each column of the result comes from.
    pub output: Vec<ColumnIndex>,
}

/// A join of its input, the batch, with a table of state.
#[derive(Debug)]
pub(crate) struct KeyLookupJoinExec {
    batch: Arc<dyn ExecutionPlan>,
    lookup: Arc<Lookup>,
    properties: Arc<PlanProperties>,
}

impl KeyLookupJoinExec {
    pub(crate) fn new(batch: Arc<dyn ExecutionPlan>, lookup: Arc<Lookup>, schema: SchemaRef) -> KeyLookupJoinExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            batch.output_partitioning().clone(),
            EmissionType::Incremental,
            batch.boundedness(),
        );
        KeyLookupJoinExec { batch, lookup, properties: Arc::new(properties) }
    }
}

impl DisplayAs for KeyLookupJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lookup { kind, table, keys, .. } = self.lookup.as_ref();
        let keys: Vec<String> = keys.iter().map(|(expr, column)| format!("{expr} = #{column}")).collect();
        write!(f, "KeyLookupJoinExec: state.{table} {kind:?} on [{}]", keys.join(", "))
    }
}

impl ExecutionPlan for KeyLookupJoinExec {
    fn name(&self) -> &str {
        "KeyLookupJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.batch]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for (expr, _) in &self.lookup.keys {
            f(expr)?;
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch = children.swap_remove(0);
        Ok(Arc::new(KeyLookupJoinExec::new(batch, self.lookup.clone(), self.schema())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let join = Joining { lookup: self.lookup.clone(), filling: filling(&context)?, schema: self.schema() };
        let batches = self.batch.execute(partition, context)?;
        if self.lookup.kind == Kind::State {
            let rows = futures::stream::once(async move { join.state_rows(batches).await });
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)));
        }
        let joined =
            batches.map(move |batch| join.batch(&batch?)).map_ok(|out| futures::stream::iter(out.into_iter().map(Ok)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), joined.try_flatten())))
    }
}

/// One execution.
struct Joining {
    lookup: Arc<Lookup>,
    filling: Arc<Filling>,
    schema: SchemaRef,
}

impl Joining {
    /// The result of one batch, for the kinds that need no memory between batches.
    fn batch(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        let mut matched = vec![false; batch.num_rows()];
        self.pairs(batch, |table, rows, found| {
            rows.values().iter().for_each(|row| matched[*row as usize] = true);
            if matches!(self.lookup.kind, Kind::Pairs { .. }) {
                out.push(self.output(batch, rows, Some((table, found)))?);
            }
            Ok(())
        })?;
        let wanted = match self.lookup.kind {
            Kind::Batch { matched } => matched,
            Kind::Pairs { outer: true } => false,
            Kind::Pairs { outer: false } | Kind::State => return Ok(out),
        };
        let rows = (0..batch.num_rows()).filter(|row| matched[*row] == wanted).map(|row| row as u32);
        let rows = UInt32Array::from_iter_values(rows);
        if !rows.is_empty() {
            out.push(self.output(batch, &rows, None)?);
        }
        Ok(out)
    }

    async fn state_rows(&self, mut batches: SendableRecordBatchStream) -> Result<RecordBatch> {
        let mut seen = BTreeSet::new();
        while let Some(batch) = batches.try_next().await? {
            self.pairs(&batch, |_, _, found| {
                seen.extend(found.iter().copied());
                Ok(())
            })?;
        }
        let found: Vec<Found> = seen.into_iter().collect();
        match self.filling.state.table(&self.lookup.table) {
            Some(table) => self.output(
                &RecordBatch::new_empty(self.schema.clone()),
                &UInt32Array::from(vec![0; 0]),
                Some((table, &found)),
            ),
            None => Ok(RecordBatch::new_empty(self.schema.clone())),
        }
    }

    /// Calls `each` with the pairs of batch rows and state rows whose keys are equal and that pass the filter; where only
    /// the batch rows come out, with one pair of each row that has any.
    fn pairs(
        &self,
        batch: &RecordBatch,
        mut each: impl FnMut(&Table, &UInt32Array, &[Found]) -> Result<()>,
    ) -> Result<()> {
        let Some(table) = self.filling.state.table(&self.lookup.table) else { return Ok(()) };
        let Lookup { lookup, standing, kind, .. } = *self.lookup.as_ref();
        let keys = evaluated(self.lookup.keys.iter().map(|(expr, _)| expr), batch)?;
        let mut hashes = hash_rows(&keys, true)?;
        let span = self.lookup.span.as_ref().filter(|span| span.column == table.time_column());
        let spans = span.map(|span| span.of_rows(batch)).transpose()?;
        let one =
            matches!(kind, Kind::Batch { .. }) && (self.lookup.filter.is_none() || span.is_some_and(|span| span.whole));
        let mut probe = Probe { lookup, hashes: &hashes, spans, standing, one };
        let mut alone = Vec::new();
        table.probe(&probe, PAIRS_AT_ONCE, |rows, found| {
            let kept = self.verified(batch, &keys, table, rows, found, &mut each)?;
            alone.extend(rows.iter().zip(kept.values()).filter(|(_, kept)| one && !*kept).map(|(row, _)| *row));
            Ok(())
        })?;
        if alone.is_empty() {
            return Ok(());
        }
        // The one candidate of a row shares its hash and not its key: there may be others.
        let spans = probe.spans.take();
        let mut again = vec![None; hashes.len()];
        alone.into_iter().for_each(|row| again[row as usize] = hashes[row as usize].take());
        let probe = Probe { lookup, hashes: &again, spans, standing, one: false };
        table.probe(&probe, PAIRS_AT_ONCE, |rows, found| {
            self.verified(batch, &keys, table, rows, found, &mut each).map(|_| ())
        })
    }

    /// Calls `each` with those pairs that the join means, and says which they are.
    fn verified(
        &self,
        batch: &RecordBatch,
        keys: &[ArrayRef],
        table: &Table,
        rows: &[u32],
        found: &[Found],
        each: &mut impl FnMut(&Table, &UInt32Array, &[Found]) -> Result<()>,
    ) -> Result<BooleanArray> {
        let rows = UInt32Array::from(rows.to_vec());
        let kept = self.verify(batch, keys, table, &rows, found)?;
        if kept.true_count() == found.len() {
            each(table, &rows, found)?;
        } else if kept.true_count() > 0 {
            let rows = arrow::compute::filter(&rows, &kept)?;
            let found: Vec<Found> = found.iter().zip(kept.values()).filter(|pair| pair.1).map(|pair| *pair.0).collect();
            each(table, rows.as_primitive(), &found)?;
        }
        Ok(kept)
    }

    fn verify(
        &self,
        batch: &RecordBatch,
        keys: &[ArrayRef],
        table: &Table,
        rows: &UInt32Array,
        found: &[Found],
    ) -> Result<BooleanArray> {
        let keys = keys.iter().zip(&self.lookup.keys);
        let keys =
            keys.map(|(key, (_, column))| Ok((take(key, rows, None)?, table.gather(*column, found, Detail::Whole)?)));
        verified(found.len(), keys, self.lookup.filter.as_ref(), |index| {
            self.column(index, batch, rows, Some((table, found)))
        })
    }

    fn output(
        &self,
        batch: &RecordBatch,
        rows: &UInt32Array,
        state: Option<(&Table, &[Found])>,
    ) -> Result<RecordBatch> {
        let count =
            if self.lookup.kind == Kind::State { state.map_or(0, |(_, found)| found.len()) } else { rows.len() };
        pairs::rows(&self.schema, &self.lookup.output, count, |index| self.column(index, batch, rows, state))
    }

    fn column(
        &self,
        index: &ColumnIndex,
        batch: &RecordBatch,
        rows: &UInt32Array,
        state: Option<(&Table, &[Found])>,
    ) -> Result<ArrayRef> {
        if index.side == self.lookup.batch_side {
            return Ok(take(batch.column(index.index), rows, None)?);
        }
        let column = self.lookup.state_columns[index.index];
        match (state, self.filling.state.table(&self.lookup.table)) {
            (Some((table, found)), _) => table.gather(column, found, Detail::Whole),
            (None, Some(table)) => Ok(new_null_array(table.schema().field(column).data_type(), rows.len())),
            (None, None) => Ok(new_null_array(&arrow::datatypes::DataType::Null, rows.len())),
        }
    }
}
