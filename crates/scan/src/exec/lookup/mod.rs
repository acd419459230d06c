//! The join of a small batch with state as a look-up by key: its cost is the batch's, however much state there is.

pub(crate) mod group_lookup;
pub(crate) mod group_lookup_rule;
pub(crate) mod lookup_rule;
pub(crate) mod probe;
pub(crate) mod span;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinSide;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use crate::exec::lookup::probe::Probe;
use crate::exec::lookup::span::Span;
use crate::exec::node::{Node, NodeExec};
use crate::exec::pairs::{self, PAIRS_AT_ONCE, evaluated, verified};
use crate::exec::slot::{Filling, filling};
use crate::lattice::Detail;
use crate::state::layout::hash_rows;
use crate::state::table::{Found, Table};

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
pub(crate) type KeyLookupJoinExec = NodeExec<Lookup>;

impl Node for Lookup {
    const NAME: &'static str = "KeyLookupJoinExec";

    fn detail(&self, _: &SchemaRef) -> String {
        let keys: Vec<String> = self.keys.iter().map(|(expr, column)| format!("{expr} = #{column}")).collect();
        let filter = self.filter.as_ref().map(|filter| format!(", filter={}", filter.expression()));
        format!("state.{} {:?} on [{}]{}", self.table, self.kind, keys.join(", "), filter.unwrap_or_default())
    }

    fn expressions(&self) -> Vec<&PhysicalExprRef> {
        self.keys.iter().map(|(expr, _)| expr).collect()
    }

    fn execute(
        self: &Arc<Self>,
        inputs: &[Arc<dyn ExecutionPlan>],
        schema: &SchemaRef,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let join = Joining { lookup: self.clone(), filling: filling(&context)?, schema: schema.clone() };
        let batches = inputs[0].execute(partition, context)?;
        if self.kind == Kind::State {
            let rows = futures::stream::once(async move { join.state_rows(batches).await });
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)));
        }
        let join = Arc::new(join);
        // A key with many partners costs time and not memory: pairs are made as they are taken.
        let joined = batches.map(move |batch| {
            let mut joined = Joined::new(join.clone(), batch?)?;
            Ok::<_, DataFusionError>(futures::stream::iter(std::iter::from_fn(move || joined.next().transpose())))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), joined.try_flatten())))
    }
}

/// One execution.
struct Joining {
    lookup: Arc<Lookup>,
    filling: Arc<Filling>,
    schema: SchemaRef,
}

/// Pairs of batch rows and rows of state that the join means.
type Pairs = (UInt32Array, Vec<Found>);

/// A batch that is looked up, and how far that has come.
struct Looking {
    batch: RecordBatch,
    keys: Vec<ArrayRef>,
    probe: Probe,
    /// Whether rows stand for others of their key: what bounds the time alone is then true of every candidate of one of them.
    united: bool,
    /// Rows whose one candidate has another key.
    alone: Vec<u32>,
}

/// The result of one batch, for the kinds that need no memory between batches.
struct Joined {
    join: Arc<Joining>,
    looking: Looking,
    matched: Vec<bool>,
    ended: bool,
}

impl Joined {
    fn new(join: Arc<Joining>, batch: RecordBatch) -> Result<Joined> {
        let matched = vec![false; batch.num_rows()];
        let looking = join.looking(batch)?;
        Ok(Joined { join, looking, matched, ended: false })
    }

    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended {
            let Some((rows, found)) = self.join.pairs(&mut self.looking)? else {
                self.ended = true;
                return self.unpaired();
            };
            rows.values().iter().for_each(|row| self.matched[*row as usize] = true);
            if matches!(self.join.lookup.kind, Kind::Pairs { .. })
                && !rows.is_empty()
                && let Some(table) = self.join.table()
            {
                return self.join.output(&self.looking.batch, &rows, Some((table, &found))).map(Some);
            }
        }
        Ok(None)
    }

    /// What is told of batch rows for having a pair, or for having none.
    fn unpaired(&self) -> Result<Option<RecordBatch>> {
        let wanted = match self.join.lookup.kind {
            Kind::Batch { matched } => matched,
            Kind::Pairs { outer: true } => false,
            Kind::Pairs { outer: false } | Kind::State => return Ok(None),
        };
        let rows = self.matched.iter().enumerate().filter(|(_, matched)| **matched == wanted);
        let rows = UInt32Array::from_iter_values(rows.map(|(row, _)| row as u32));
        if rows.is_empty() {
            return Ok(None);
        }
        self.join.output(&self.looking.batch, &rows, None).map(Some)
    }
}

impl Joining {
    fn table(&self) -> Option<&Table> {
        self.filling.state.table(&self.lookup.table)
    }

    async fn state_rows(&self, mut batches: SendableRecordBatchStream) -> Result<RecordBatch> {
        let mut seen = BTreeSet::new();
        while let Some(batch) = batches.try_next().await? {
            let mut looking = self.looking(batch)?;
            while let Some((_, found)) = self.pairs(&mut looking)? {
                seen.extend(found);
            }
        }
        let found: Vec<Found> = seen.into_iter().collect();
        match self.table() {
            Some(table) => self.output(
                &RecordBatch::new_empty(self.schema.clone()),
                &UInt32Array::from(vec![0; 0]),
                Some((table, &found)),
            ),
            None => Ok(RecordBatch::new_empty(self.schema.clone())),
        }
    }

    /// Prepares to look the rows of a batch up.
    fn looking(&self, batch: RecordBatch) -> Result<Looking> {
        let Lookup { lookup, standing, kind, .. } = *self.lookup.as_ref();
        let keys = evaluated(self.lookup.keys.iter().map(|(expr, _)| expr), &batch)?;
        let mut probe = Probe::new(lookup, hash_rows(&keys, true)?);
        let time = self.table().map(Table::time_column);
        let span = self.lookup.span.as_ref().filter(|span| Some(span.column) == time);
        let whole = self.lookup.filter.is_none() || span.is_some_and(|span| span.whole);
        probe.spans = span.map(|span| span.of_rows(&batch)).transpose()?;
        (probe.standing, probe.one) = (standing, matches!(kind, Kind::Batch { .. }) && whole);
        let united = kind == Kind::State && whole;
        if united {
            probe.unite(&keys)?;
        }
        Ok(Looking { batch, keys, probe, united, alone: Vec::new() })
    }

    /// The next pairs of batch rows and state rows whose keys are equal and that pass the filter, which may be none of some
    /// candidates; where only the batch rows come out, one pair of each row that has any. None at the end.
    fn pairs(&self, looking: &mut Looking) -> Result<Option<Pairs>> {
        let Some(table) = self.table() else { return Ok(None) };
        loop {
            if let Some((rows, found)) = looking.probe.next(table, PAIRS_AT_ONCE) {
                let rows = UInt32Array::from(rows);
                let kept = self.verify(looking, table, &rows, &found)?;
                if looking.probe.one {
                    let alone = rows.values().iter().zip(kept.values()).filter(|(_, kept)| !*kept);
                    looking.alone.extend(alone.map(|(row, _)| *row));
                }
                if kept.true_count() == found.len() {
                    return Ok(Some((rows, found)));
                }
                let rows = arrow::compute::filter(&rows, &kept)?.as_primitive().clone();
                let found = found.into_iter().zip(kept.values()).filter(|pair| pair.1).map(|pair| pair.0).collect();
                return Ok(Some((rows, found)));
            }
            if looking.alone.is_empty() {
                return Ok(None);
            }
            // The one candidate of a row shares its hash and not its key: there may be others.
            let mut again = vec![None; looking.probe.hashes.len()];
            for row in looking.alone.drain(..) {
                again[row as usize] = looking.probe.hashes[row as usize];
            }
            looking.probe = looking.probe.again(again);
        }
    }

    fn verify(&self, looking: &Looking, table: &Table, rows: &UInt32Array, found: &[Found]) -> Result<BooleanArray> {
        let keys = looking.keys.iter().zip(&self.lookup.keys);
        let keys =
            keys.map(|(key, (_, column))| Ok((take(key, rows, None)?, table.gather(*column, found, Detail::Whole)?)));
        let filter = self.lookup.filter.as_ref().filter(|_| !looking.united);
        verified(found.len(), keys, filter, |index| self.column(index, &looking.batch, rows, Some((table, found))))
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
