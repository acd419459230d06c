//! What a step gathers of a batch's rows and, again, of state's becomes one look-up in the state that has both, after the
//! merge: a union of two joins below an aggregate that gathers lists becomes a [`GroupLookupExec`]. The rows whose partners
//! are gathered are worked out before the merge, as the script says them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinSide, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::projection::update_expr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExprRef, split_conjunction};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use crate::group_join_rule::{among, below, is_of};
use crate::group_lookup::{GroupLookup, GroupLookupExec};
use crate::lookup::{KeyLookupJoinExec, Kind, Lookup};
use crate::lookup_rule::{KeyLookupRule, is_plain, output};
use crate::slot::{Leaf, Slot, SlotExec, slot_below};
use crate::touches::{TOLD, TOUCHES, ends_only};

/// A plan that follows the merge, and those whose rows it needs from before it, by the slot they fill.
pub(crate) type Following = (Arc<dyn ExecutionPlan>, BTreeMap<String, Arc<dyn ExecutionPlan>>);

/// What the rule knows of a script.
pub(crate) struct GroupLookupRule<'a> {
    pub lookups: &'a KeyLookupRule,
    /// The tables of state that keep the rows of the batch as they are, by name.
    pub kept: &'a BTreeMap<String, SchemaRef>,
}

impl GroupLookupRule<'_> {
    /// The plan of an output, where it can be one that follows the merge; else none.
    pub(crate) fn following(&self, output: &str, plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Following>> {
        let mut before = BTreeMap::new();
        let following = plan.clone().transform_down(|node| {
            let gathered = node.downcast_ref::<AggregateExec>().map(|node| self.gathered(node)).transpose()?.flatten();
            let Some((join, rows, schema)) = gathered else { return Ok(Transformed::no(node)) };
            let name = format!("{output}#{}", before.len());
            let leaf = Leaf { slot: Slot::Before(name.clone()), columns: Vec::new(), standing: false };
            let leaf: Arc<dyn ExecutionPlan> = Arc::new(SlotExec::new(Arc::new(leaf), Vec::new(), rows.schema()));
            before.insert(name, rows);
            let node = GroupLookupExec::new(Arc::new(join), vec![leaf], schema);
            Ok(Transformed::new(Arc::new(node) as _, true, TreeNodeRecursion::Jump))
        });
        let following = following.data()?;
        // Whatever else reads state means that of before the merge.
        let reads_state = following.exists(|node| {
            let slot = node.downcast_ref::<SlotExec>().map(|leaf| &leaf.node.slot);
            Ok(matches!(slot, Some(Slot::State(_))) || node.downcast_ref::<KeyLookupJoinExec>().is_some())
        })?;
        Ok((!before.is_empty() && !reads_state).then_some((following, before)))
    }

    /// An aggregate as a group look-up: of which rows, and with which schema.
    fn gathered(&self, last: &AggregateExec) -> Result<Option<(GroupLookup, Arc<dyn ExecutionPlan>, SchemaRef)>> {
        let Some(first) = whole(last) else { return Ok(None) };
        let Some(union) = plain(first.input()).downcast_ref::<UnionExec>() else { return Ok(None) };
        let [one, other] = union.inputs().as_slice() else { return Ok(None) };
        for (new, held) in [(one, other), (other, one)] {
            let (Some((new, new_join)), Some((held, held_join))) = (projected(new), projected(held)) else { continue };
            let (Some(new_join), Some(held_join)) =
                (new_join.downcast_ref::<HashJoinExec>(), held_join.downcast_ref::<KeyLookupJoinExec>())
            else {
                continue;
            };
            let Some(new_side) = NewSide::of(new_join) else { continue };
            let (lookup, Some(rows)) = (held_join.node.as_ref(), held_join.input()) else { continue };
            let Some(schema) = self.kept.get(&lookup.table).filter(|_| new_side.table == lookup.table) else {
                continue;
            };
            let held_side = HeldSide { lookup, schema };
            let same = new_side.says(first, new)? == held_side.says(first, held)?
                && shown(new_side.rows) == shown(rows)
                && lookup.kind == (Kind::Pairs { outer: false })
                && !lookup.standing;
            if let Some(join) = held_side.join(first, held, self.lookups)?.filter(|_| same) {
                return Ok(Some((join, rows.clone(), last.schema())));
            }
        }
        Ok(None)
    }
}

/// The aggregate that sees all rows, of one in one or two phases that gathers lists alone.
fn whole(last: &AggregateExec) -> Option<&AggregateExec> {
    let first = match last.mode() {
        AggregateMode::Single => last,
        AggregateMode::Final => plain(last.input()).downcast_ref::<AggregateExec>()?,
        _ => return None,
    };
    let ([gathers], [None]) = (first.aggr_expr(), first.filter_expr()) else { return None };
    let groups = first.group_expr();
    let lists = gathers.fun().name() == TOUCHES && !gathers.is_distinct();
    let modes = matches!(first.mode(), AggregateMode::Single | AggregateMode::Partial);
    (lists && modes && groups.is_single() && !groups.is_empty()).then_some(first)
}

/// What is below nodes that change no row.
fn plain(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    match plan.name() {
        "CooperativeExec" | "CoalesceBatchesExec" | "CoalescePartitionsExec" => {
            plan.children().first().map_or(plan, |child| plain(child))
        }
        _ => plan,
    }
}

fn projected(plan: &Arc<dyn ExecutionPlan>) -> Option<(&ProjectionExec, &Arc<dyn ExecutionPlan>)> {
    let projection = plain(plan).downcast_ref::<ProjectionExec>()?;
    Some((projection, plain(projection.input())))
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

/// What a join and the aggregate above it say, in words that are the same for both sides of the union.
#[derive(PartialEq)]
struct Says {
    groups: Vec<String>,
    args: Vec<String>,
    on: BTreeSet<(String, String)>,
    filter: Option<String>,
}

/// An expression with its columns under the names that `name` gives them.
fn named(expr: &PhysicalExprRef, name: impl Fn(usize) -> String) -> Result<String> {
    let named = expr.clone().transform(|expr| {
        let column = expr.downcast_ref::<Column>().map(|column| Column::new(&name(column.index()), 0));
        Ok(column.map_or_else(|| Transformed::no(expr), |column| Transformed::yes(Arc::new(column) as _)))
    });
    Ok(named.data()?.to_string())
}

/// Says it of expressions above a projection of a join.
fn says(
    aggregate: &AggregateExec,
    projection: &ProjectionExec,
    output: &[ColumnIndex],
    on: BTreeSet<(String, String)>,
    filter: Option<&JoinFilter>,
    name: impl Fn(&ColumnIndex) -> String,
) -> Result<Option<Says>> {
    let say = |expr: &PhysicalExprRef| -> Result<Option<String>> {
        let of_join = update_expr(expr, projection.expr(), true)?;
        of_join.map(|expr| named(&expr, |column| name(&output[column]))).transpose()
    };
    let groups: Option<Vec<String>> =
        aggregate.group_expr().expr().iter().map(|(expr, _)| say(expr)).collect::<Result<_>>()?;
    let args: Option<Vec<String>> = aggregate.aggr_expr()[0].expressions().iter().map(say).collect::<Result<_>>()?;
    let filter = filter.map(|filter| {
        let columns = filter.column_indices();
        named(filter.expression(), |column| name(&columns[column]))
    });
    let filter = filter.transpose()?;
    Ok(groups.zip(args).map(|(groups, args)| Says { groups, args, on, filter }))
}

/// A join of rows with those of a batch, which leaves none of the rows out.
struct NewSide<'a> {
    join: &'a HashJoinExec,
    rows: &'a Arc<dyn ExecutionPlan>,
    side: JoinSide,
    table: &'a str,
    batch: SchemaRef,
}

impl<'a> NewSide<'a> {
    fn of(join: &'a HashJoinExec) -> Option<NewSide<'a>> {
        let (rows, batch, side) = match join.join_type() {
            JoinType::Left => (join.left(), join.right(), JoinSide::Left),
            JoinType::Right => (join.right(), join.left(), JoinSide::Right),
            _ => return None,
        };
        let Slot::Batch(table) = &slot_below(batch)?.slot else { return None };
        is_plain(join).then(|| NewSide { join, rows: plain(rows), side, table, batch: batch.schema() })
    }

    fn says(&self, aggregate: &AggregateExec, projection: &ProjectionExec) -> Result<Option<Says>> {
        let of_batch = |expr: &PhysicalExprRef| named(expr, |column| self.batch.field(column).name().clone());
        let on = self.join.on().iter().map(|(left, right)| {
            let (row, batch) = if self.side == JoinSide::Left { (left, right) } else { (right, left) };
            Ok((row.to_string(), of_batch(batch)?))
        });
        says(aggregate, projection, &output(self.join), on.collect::<Result<_>>()?, self.join.filter(), |column| {
            match column.side == self.side {
                true => format!("#{}", column.index),
                false => self.batch.field(column.index).name().clone(),
            }
        })
    }
}

/// A look-up of the same rows in state.
struct HeldSide<'a> {
    lookup: &'a Lookup,
    schema: &'a SchemaRef,
}

impl HeldSide<'_> {
    fn name(&self, column: &ColumnIndex) -> String {
        match column.side == self.lookup.batch_side {
            true => format!("#{}", column.index),
            false => self.schema.field(self.lookup.state_columns[column.index]).name().clone(),
        }
    }

    fn says(&self, aggregate: &AggregateExec, projection: &ProjectionExec) -> Result<Option<Says>> {
        let Lookup { keys, filter, output, .. } = self.lookup;
        let key = |column: usize| Column::new(self.schema.field(column).name(), 0).to_string();
        let on = keys.iter().map(|(expr, column)| (expr.to_string(), key(*column))).collect();
        says(aggregate, projection, output, on, filter.as_ref(), |column| self.name(column))
    }

    /// The join and what is gathered as one.
    fn join(
        &self,
        aggregate: &AggregateExec,
        projection: &ProjectionExec,
        lookups: &KeyLookupRule,
    ) -> Result<Option<GroupLookup>> {
        let output = &self.lookup.output;
        let of_join = |expr: &PhysicalExprRef| update_expr(expr, projection.expr(), true);
        let mut group = Vec::new();
        for (expr, _) in aggregate.group_expr().expr() {
            let Some(expr) = of_join(expr)? else { return Ok(None) };
            match expr.downcast_ref::<Column>().map(|column| &output[column.index()]) {
                Some(column) if column.side == self.lookup.batch_side => group.push(column.index),
                _ => return Ok(None),
            }
        }
        let gathers = &aggregate.aggr_expr()[0];
        let told = gathers.expressions();
        let args = told.iter().take(TOLD).map(of_join).collect::<Result<Option<Vec<_>>>>()?;
        let Some(args) = args.filter(|args| args.len() == TOLD) else { return Ok(None) };
        // A row without a partner must give nothing: without a time there is no entry.
        if self.state_column(&args[0]).is_none() {
            return Ok(None);
        }
        let own = if ends_only(&told) { self.own(&args, lookups)? } else { None };
        let used: BTreeSet<usize> = args.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        let used: Vec<usize> = used.into_iter().collect();
        let args = args.into_iter().map(|arg| among(arg, &used)).collect::<Result<_>>()?;
        let pair_schema = Arc::new(projection.input().schema().project(&used)?);
        let pair = used.iter().map(|column| output[*column].clone()).collect();
        let (lookup, aggregate) = (self.lookup.clone(), gathers.clone());
        Ok(Some(GroupLookup { lookup, group, aggregate, args, pair, pair_schema, own }))
    }

    /// The column of the table that an expression over the join is.
    fn state_column(&self, expr: &PhysicalExprRef) -> Option<usize> {
        let column = &self.lookup.output[expr.downcast_ref::<Column>()?.index()];
        (column.side != self.lookup.batch_side).then(|| self.lookup.state_columns[column.index])
    }

    /// What tells a row's own partners, where only the ends of a list count and can be looked up.
    fn own(&self, args: &[PhysicalExprRef], lookups: &KeyLookupRule) -> Result<Option<(Vec<PhysicalExprRef>, usize)>> {
        let ([time, .., own], Some(span)) = (args, &self.lookup.span) else { return Ok(None) };
        if self.state_column(time) != Some(span.column) || !span.whole {
            return Ok(None);
        }
        let (mut of_row, mut of_state) = (Vec::new(), Vec::new());
        for equal in split_conjunction(own) {
            let Some(equal) = equal.downcast_ref::<BinaryExpr>().filter(|equal| *equal.op() == Operator::Eq) else {
                return Ok(None);
            };
            let sides = [equal.left(), equal.right()];
            let row = sides.iter().find(|expr| is_of(expr, &self.lookup.output, self.lookup.batch_side));
            let state = sides.iter().find_map(|expr| self.state_column(expr));
            let (Some(row), Some(state)) = (row, state) else { return Ok(None) };
            of_row.push(below(row, &self.lookup.output)?);
            of_state.push(state);
        }
        let Lookup { table, lookup, .. } = self.lookup;
        Ok(lookups.tells_own(table, *lookup, of_state).then_some((of_row, args.len() - 1)))
    }
}
