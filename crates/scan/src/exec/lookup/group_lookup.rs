//! A left join of some rows with state, and what an aggregate gathers from the partners of each, as one node: what
//! `group_join` is over tables. It reads the state after the step's own rows were merged into it, so that a partner is found
//! in one place, whether it is new or was there. Pairs are gathered group by group, a few at a time; and where only the ends
//! of a list count, they are looked up, and nothing between them is looked at.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::ColumnIndex;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use crate::exec::group_join::group_left::Groups;
use crate::exec::lookup::Lookup;
use crate::exec::lookup::probe::Probe;
use crate::exec::node::{Node, NodeExec};
use crate::exec::pairs::{self, PAIRS_AT_ONCE, evaluated, own_hashes, verified};
use crate::exec::slot::{Filling, filling};
use crate::lattice::Detail;
use crate::state::bucket::unshared_column;
use crate::state::layout::hash_rows;
use crate::state::table::{Found, Table};

/// Pairs of a piece: what is in memory of them at once, unless one group has more.
const PAIRS_A_PIECE: usize = 4 * PAIRS_AT_ONCE;

/// What is joined, and what is gathered.
#[derive(Clone, Debug)]
pub(crate) struct GroupLookup {
    /// The join; it puts out every pair.
    pub lookup: Lookup,
    /// The columns of the input that name a group.
    pub group: Vec<usize>,
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// Its arguments, over the columns of a pair.
    pub args: Vec<PhysicalExprRef>,
    /// Those columns, of either side as the join has them, and their schema.
    pub pair: Vec<ColumnIndex>,
    pub pair_schema: SchemaRef,
    /// Whether it reads state as it is before the merge.
    pub before: bool,
    /// Set where of a row's partners only the earliest, the latest and the latest of its own count: over the input, what
    /// tells its own, which the last argument says of a pair.
    pub ends: Option<Vec<PhysicalExprRef>>,
}

/// A [`GroupLookup`] of one input. Puts out a row a group: its columns, and what was gathered.
pub(crate) type GroupLookupExec = NodeExec<GroupLookup>;

impl Node for GroupLookup {
    const NAME: &'static str = "GroupLookupExec";

    fn detail(&self, schema: &SchemaRef) -> String {
        let ends = if self.ends.is_some() { ", the ends of each list" } else { "" };
        let when = if self.before { "before" } else { "after" };
        format!("{} {when} the merge of {}{ends}", self.aggregate.name(), self.lookup.detail(schema))
    }

    fn expressions(&self) -> Vec<&PhysicalExprRef> {
        let own = self.ends.iter().flatten();
        self.lookup.expressions().into_iter().chain(&self.args).chain(own).collect()
    }

    fn execute(
        self: &Arc<Self>,
        inputs: &[Arc<dyn ExecutionPlan>],
        schema: &SchemaRef,
        _: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (join, filling, given) = (self.clone(), filling(&context)?, inputs[0].schema());
        let groups_max = context.session_config().batch_size();
        let batches = inputs[0].execute(0, context)?;
        let of = schema.clone();
        let gathered = async move {
            let batches: Vec<RecordBatch> = batches.try_collect().await?;
            let mut gathering = Gathering::new(join, filling, &given, &batches, of, groups_max)?;
            let pieces = std::iter::from_fn(move || gathering.next().transpose());
            Ok::<_, DataFusionError>(futures::stream::iter(pieces))
        };
        let rows = futures::stream::once(gathered).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)))
    }
}

/// What is still to gather.
struct Gathering {
    join: Arc<GroupLookup>,
    filling: Arc<Filling>,
    rows: RecordBatch,
    keys: Vec<ArrayRef>,
    hashes: Vec<Option<u64>>,
    spans: Option<Vec<(i64, i64)>>,
    /// Of each row the hash of what makes a partner its own.
    own: Option<Vec<Option<u64>>>,
    groups: Groups,
    /// The next group.
    group: usize,
    /// Groups of a piece at most.
    groups_max: usize,
    schema: SchemaRef,
}

/// Pairs on their way into the aggregate.
#[derive(Default)]
struct Pairs {
    rows: Vec<u32>,
    found: Vec<Found>,
    groups: Vec<usize>,
    /// Where only the ends of a list are here: how many pairs the row has.
    counts: Vec<Option<i64>>,
    ends: Vec<OfRow>,
}

/// The ends of the list of one row.
#[derive(Clone)]
struct OfRow {
    row: u32,
    group: usize,
    count: i64,
    pairs: Range<usize>,
    /// Whether one of them is the row's own by its hash.
    own: bool,
}

impl Gathering {
    fn new(
        join: Arc<GroupLookup>,
        filling: Arc<Filling>,
        given: &SchemaRef,
        batches: &[RecordBatch],
        schema: SchemaRef,
        groups_max: usize,
    ) -> Result<Gathering> {
        let groups = Groups::of(batches, &join.group, given)?;
        let rows = concat_batches(given, batches)?;
        let keys = evaluated(join.lookup.keys.iter().map(|(expr, _)| expr), &rows)?;
        let hashes = hash_rows(&keys, true)?;
        let time = filling.state.table(&join.lookup.table).map(Table::time_column);
        let span = join.lookup.span.as_ref().filter(|span| Some(span.column) == time);
        let spans = span.map(|span| span.of_rows(&rows)).transpose()?;
        let own = join.ends.as_ref().filter(|_| spans.is_some());
        let own = own.map(|own| own_hashes(&own.iter().collect::<Vec<_>>(), &rows)).transpose()?;
        Ok(Gathering { join, filling, rows, keys, hashes, spans, own, groups, group: 0, groups_max, schema })
    }

    /// The next groups, each with what was gathered for it; none at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.group >= self.groups.count() {
            return Ok(None);
        }
        let filling = self.filling.clone();
        let table = filling.state.table(&self.join.lookup.table);
        let mut gathered = self.join.aggregate.create_groups_accumulator()?;
        let (mut pairs, mut found, first) = (Pairs::default(), 0, self.group);
        while self.group < self.groups.count() && self.group - first < self.groups_max && found < PAIRS_A_PIECE {
            for row in self.groups.members(self.group) {
                let Some(table) = table else { continue };
                found += self.partners(table, *row, self.group - first, &mut pairs, gathered.as_mut())?;
            }
            self.group += 1;
        }
        // Groups without a pair are told of too.
        if let Some(table) = table {
            self.add(table, pairs, gathered.as_mut(), self.group - first)?;
        }
        let groups = UInt32Array::from_iter_values(first as u32..self.group as u32);
        let columns = self.groups.columns.iter().map(|column| Ok(take(column, &groups, None)?));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        columns.push(gathered.evaluate(EmitTo::All)?);
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    /// Adds the pairs of a row; says how many.
    fn partners(
        &self,
        table: &Table,
        row: u32,
        group: usize,
        pairs: &mut Pairs,
        gathered: &mut dyn GroupsAccumulator,
    ) -> Result<usize> {
        let Some(hash) = self.hashes[row as usize] else { return Ok(0) };
        let lookup = self.join.lookup.lookup;
        let span = self.spans.as_ref().map(|spans| spans[row as usize]);
        let (Some(own), Some(span)) = (&self.own, span) else {
            return self.all_partners(table, (row, group, None), pairs, gathered);
        };
        let ends = table.ends(lookup, hash, span, own[row as usize]);
        let (begun, count, added) = (pairs.rows.len(), ends.count as i64, ends.found.len());
        pairs.push(row, group, ends.found, Some(count));
        pairs.ends.push(OfRow { row, group, count, pairs: begun..pairs.rows.len(), own: ends.own });
        if pairs.rows.len() >= PAIRS_AT_ONCE {
            self.add(table, std::mem::take(pairs), gathered, group + 1)?;
        }
        Ok(added)
    }

    /// Adds all pairs of a row of a group, and where it is told, how many that are in all; says how many.
    fn all_partners(
        &self,
        table: &Table,
        (row, group, count): (u32, usize, Option<i64>),
        pairs: &mut Pairs,
        gathered: &mut dyn GroupsAccumulator,
    ) -> Result<usize> {
        let at = row as usize;
        let mut probe = Probe::new(self.join.lookup.lookup, vec![self.hashes[at]]);
        probe.spans = self.spans.as_ref().map(|spans| vec![spans[at]]);
        probe.standing = self.join.lookup.standing;
        let mut added = 0;
        while let Some((_, found)) = probe.next(table, PAIRS_AT_ONCE) {
            added += found.len();
            pairs.push(row, group, found, count);
            if pairs.rows.len() >= PAIRS_AT_ONCE {
                self.add(table, std::mem::take(pairs), gathered, group + 1)?;
            }
        }
        Ok(added)
    }

    /// Hands pairs to the aggregate, of those the ones that the join means.
    fn add(&self, table: &Table, pairs: Pairs, gathered: &mut dyn GroupsAccumulator, total: usize) -> Result<()> {
        let rows = UInt32Array::from(pairs.rows);
        let keys = self.keys.iter().zip(&self.join.lookup.keys).map(|(key, (_, column))| {
            Ok((take(key, &rows, None)?, table.gather(*column, &pairs.found, Detail::Whole)?))
        });
        // What bounds the time alone is true of the places within it.
        let whole = self.spans.is_some() && self.join.lookup.span.as_ref().is_some_and(|span| span.whole);
        let filter = self.join.lookup.filter.as_ref().filter(|_| !whole);
        let column = |index: &ColumnIndex| self.column(table, index, &rows, &pairs.found);
        let kept = verified(rows.len(), keys, filter, column)?;
        let passed = pairs::rows(&self.join.pair_schema, &self.join.pair, rows.len(), column)?;
        let args: Vec<ArrayRef> = evaluated(&self.join.args, &passed)?.iter().map(unshared_column).collect();
        let doubtful = self.doubtful(&pairs.ends, &kept, &args);
        let counts: ArrayRef = Arc::new(Int64Array::from(pairs.counts));
        let args = args.iter().chain([&counts]).map(|arg| filter_where(arg, &kept));
        let args: Vec<ArrayRef> = args.collect::<Result<_>>()?;
        let groups = pairs.groups.iter().zip(kept.values()).filter(|(_, kept)| *kept).map(|(group, _)| *group);
        gathered.update_batch(&args, &groups.collect::<Vec<_>>(), None, total)?;
        let mut all = Pairs::default();
        for OfRow { row, group, count, .. } in doubtful {
            self.all_partners(table, (row, group, Some(count)), &mut all, gathered)?;
        }
        if all.rows.is_empty() { Ok(()) } else { self.add(table, all, gathered, total) }
    }

    /// The rows whose ends are not known: of what was looked up by a hash one has another key, or none is the row's own.
    fn doubtful(&self, ends: &[OfRow], kept: &BooleanArray, args: &[ArrayRef]) -> Vec<OfRow> {
        let (Some(_), Some(owns)) = (&self.join.ends, args.last()) else { return Vec::new() };
        let owns = owns.as_boolean();
        let is_own = |at: usize| owns.is_valid(at) && owns.value(at);
        let doubtful = ends.iter().filter(|of_row| {
            of_row.pairs.clone().any(|at| !kept.value(at)) || of_row.own && !of_row.pairs.clone().any(is_own)
        });
        doubtful.cloned().collect()
    }

    fn column(&self, table: &Table, index: &ColumnIndex, rows: &UInt32Array, found: &[Found]) -> Result<ArrayRef> {
        if index.side == self.join.lookup.batch_side {
            return Ok(take(self.rows.column(index.index), rows, None)?);
        }
        table.gather(self.join.lookup.state_columns[index.index], found, Detail::Whole)
    }
}

impl Pairs {
    fn push(&mut self, row: u32, group: usize, found: Vec<Found>, count: Option<i64>) {
        self.rows.extend(std::iter::repeat_n(row, found.len()));
        self.groups.extend(std::iter::repeat_n(group, found.len()));
        self.counts.extend(std::iter::repeat_n(count, found.len()));
        self.found.extend(found);
    }
}

fn filter_where(column: &ArrayRef, kept: &BooleanArray) -> Result<ArrayRef> {
    if kept.true_count() == kept.len() { Ok(column.clone()) } else { Ok(filter(column, kept)?) }
}
