//! What a step gathers of a batch's rows and, again, of state's becomes one look-up in the state that has both, after the
//! merge: a union of two joins below an aggregate that gathers lists becomes a [`GroupLookupExec`]. The rows whose partners
//! are gathered are worked out before the merge, as the script says them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::projection::update_expr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExprRef, split_conjunction};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};

use crate::attribution::touches::{TOLD, TOUCHES, ends_only};
use crate::exec::group_join::group_join_rule::{among, below, is_false, is_of};
use crate::exec::lookup::group_lookup::{GroupLookup, GroupLookupExec};
use crate::exec::lookup::lookup_rule::{KeyLookupRule, is_plain, output};
use crate::exec::lookup::{KeyLookupJoinExec, Kind, Lookup};
use crate::exec::slot::{Leaf, Slot, SlotExec};

/// A plan that follows the merge, and those whose rows it needs from before it, by the slot they fill.
pub(crate) type Following = (Arc<dyn ExecutionPlan>, BTreeMap<String, Arc<dyn ExecutionPlan>>);

/// What the rule knows of a script.
pub(crate) struct GroupLookupRule<'a> {
    pub lookups: &'a KeyLookupRule,
    /// The tables of state that keep what comes in a batch, by name.
    pub kept: BTreeMap<String, Kept>,
    /// All tables of state.
    pub schemas: BTreeMap<String, SchemaRef>,
}

/// A table of state that keeps what comes in a batch.
pub(crate) struct Kept {
    pub schema: SchemaRef,
    /// The slot, and of each column of the table what it is of the slot's.
    pub of: (Slot, BTreeMap<String, String>),
}

impl Kept {
    /// Of a table without a delta of its own, the rows of the batch as they are; else what the delta's plan makes of them,
    /// where it leaves none out.
    pub(crate) fn of(name: &str, schema: &SchemaRef, delta: Option<&Arc<dyn ExecutionPlan>>) -> Result<Option<Kept>> {
        let names = schema.fields().iter().map(|field| field.name().clone());
        let of = match delta {
            None => {
                let columns = names.map(|name| (name.clone(), Column::new(&name, 0).to_string()));
                Some((Slot::Batch(name.to_owned()), columns.collect()))
            }
            Some(delta) => made_of(delta)?,
        };
        Ok(of.map(|of| Kept { schema: schema.clone(), of }))
    }
}

/// Which rows of a batch a plan gives, all of them: the slot, and of each column what it is of the slot's.
fn made_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<(Slot, BTreeMap<String, String>)>> {
    let plan = plain(plan);
    let name = |schema: &SchemaRef, column: usize| schema.field(column).name().clone();
    if let Some(leaf) = plan.downcast_ref::<SlotExec>() {
        let names = plan.schema();
        let names = names.fields().iter().map(|field| field.name());
        let columns = names.map(|name| (name.clone(), Column::new(name, 0).to_string())).collect();
        return Ok(matches!(leaf.node.slot, Slot::Batch(_)).then(|| (leaf.node.slot.clone(), columns)));
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let below = plain(projection.input());
    let Some(leaf) = below.downcast_ref::<SlotExec>().filter(|leaf| matches!(leaf.node.slot, Slot::Batch(_))) else {
        return Ok(None);
    };
    let given = below.schema();
    let made = projection.expr().iter();
    let made = made.map(|made| Ok((made.alias.clone(), named(&made.expr, |column| name(&given, column))?)));
    Ok(Some((leaf.node.slot.clone(), made.collect::<Result<_>>()?)))
}

impl GroupLookupRule<'_> {
    /// The plan of an output, where it can be one that follows the merge; else none.
    pub(crate) fn following(&self, output: &str, plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Following>> {
        let mut before = BTreeMap::new();
        let late = self.late(output, plan, &mut before)?;
        Ok(late.map(|plan| (plan, before)))
    }

    /// The same plan, with what it gathers of state alone looked up.
    pub(crate) fn in_place(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            let held = node.downcast_ref::<AggregateExec>().map(|node| self.held(node)).transpose()?.flatten();
            let Some((join, rows, schema)) = held else { return Ok(Transformed::no(node)) };
            Ok(Transformed::yes(Arc::new(GroupLookupExec::new(Arc::new(join), vec![one(rows)], schema)) as _))
        })
        .data()
    }

    /// A plan that follows the merge; none where nothing of it needs to, or what it needs from before cannot be told apart.
    fn late(
        &self,
        output: &str,
        plan: &Arc<dyn ExecutionPlan>,
        before: &mut BTreeMap<String, Arc<dyn ExecutionPlan>>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let gathered = plan.downcast_ref::<AggregateExec>().map(|node| self.gathered(node)).transpose()?.flatten();
        if let Some((join, rows, schema)) = gathered {
            let rows = match self.late(output, &rows, before)? {
                Some(rows) => one(rows),
                None => self.early(output, rows, before)?,
            };
            return Ok(Some(Arc::new(GroupLookupExec::new(Arc::new(join), vec![rows], schema))));
        }
        let inputs: Vec<_> = plan.children().into_iter().cloned().collect();
        let known: BTreeSet<String> = before.keys().cloned().collect();
        let late: Vec<_> = inputs.iter().map(|input| self.late(output, input, before)).collect::<Result<_>>()?;
        if late.iter().all(Option::is_none) || reads_state(plan) {
            // What was set apart for it would be worked out in each step, and used by none.
            before.retain(|name, _| known.contains(name));
            return Ok(None);
        }
        let mut children = Vec::new();
        for (input, late) in inputs.into_iter().zip(late) {
            children.push(match late {
                Some(late) => late,
                None if input.exists(|node| Ok(reads_state(node)))? => self.early(output, input, before)?,
                None => input,
            });
        }
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        plan.clone().replace_children(children, options).map(Some)
    }

    /// Rows from before the merge, as the slot that they fill.
    fn early(
        &self,
        output: &str,
        plan: Arc<dyn ExecutionPlan>,
        before: &mut BTreeMap<String, Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (name, schema) = (format!("{output}#{}", before.len()), plan.schema());
        before.insert(name.clone(), self.in_place(plan)?);
        let leaf = Leaf { slot: Slot::Before(name), columns: Vec::new(), standing: false };
        Ok(Arc::new(SlotExec::new(Arc::new(leaf), Vec::new(), schema)))
    }

    /// What an aggregate gathers of a batch's rows and of state's as a group look-up: of which rows, and with which schema.
    fn gathered(&self, last: &AggregateExec) -> Result<Option<Found>> {
        let Some(first) = whole(last) else { return Ok(None) };
        let Some(union) = plain(first.input()).downcast_ref::<UnionExec>() else { return Ok(None) };
        let [one, other] = union.inputs().as_slice() else { return Ok(None) };
        for (new, held) in [(one, other), (other, one)] {
            let ((new, new_join), (held, held_join)) = (projected(new), projected(held));
            let (Some(new_join), Some(held_join)) =
                (new_join.downcast_ref::<HashJoinExec>(), held_join.downcast_ref::<KeyLookupJoinExec>())
            else {
                continue;
            };
            let (lookup, Some(rows)) = (held_join.node.as_ref(), held_join.input()) else { continue };
            let Some(kept) = self.kept.get(&lookup.table) else { continue };
            let Some(new_side) = NewSide::of(new_join, kept)? else { continue };
            let held_side = HeldSide { lookup, schema: &kept.schema };
            let same = new_side.says(first, &new)? == held_side.says(first, &held)?
                && shown(new_side.rows) == shown(plain(rows))
                && lookup.kind == (Kind::Pairs { outer: false })
                && !lookup.standing;
            if same && let Some(join) = held_side.join(first, &held, &held_join.schema(), self.lookups)? {
                return Ok(Some((join, rows.clone(), last.schema())));
            }
        }
        Ok(None)
    }

    /// What an aggregate gathers of state alone, likewise.
    fn held(&self, last: &AggregateExec) -> Result<Option<Found>> {
        let Some(first) = whole(last) else { return Ok(None) };
        let (projection, below) = projected(first.input());
        let Some(join) = below.downcast_ref::<KeyLookupJoinExec>() else { return Ok(None) };
        let (lookup, Some(rows)) = (join.node.as_ref(), join.input()) else { return Ok(None) };
        let Some(schema) = self.schemas.get(&lookup.table) else { return Ok(None) };
        if lookup.kind != (Kind::Pairs { outer: true }) || lookup.standing {
            return Ok(None);
        }
        let join = HeldSide { lookup, schema }.join(first, &projection, &below.schema(), self.lookups)?;
        Ok(join.map(|join| (GroupLookup { before: true, ..join }, rows.clone(), last.schema())))
    }
}

/// A join and what is gathered as one, the rows whose partners are gathered, and the schema of what comes out.
type Found = (GroupLookup, Arc<dyn ExecutionPlan>, SchemaRef);

/// Whether a node reads state as it is before the merge.
fn reads_state(node: &Arc<dyn ExecutionPlan>) -> bool {
    let slot = node.downcast_ref::<SlotExec>().map(|leaf| &leaf.node.slot);
    matches!(slot, Some(Slot::State(_))) || node.downcast_ref::<KeyLookupJoinExec>().is_some()
}

/// The rows of a plan in one partition.
fn one(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.output_partitioning().partition_count() {
        1 => plan,
        _ => Arc::new(CoalescePartitionsExec::new(plan)),
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

/// What is projected, and below that.
fn projected(plan: &Arc<dyn ExecutionPlan>) -> (Vec<ProjectionExpr>, &Arc<dyn ExecutionPlan>) {
    let plan = plain(plan);
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return (projection.expr().to_vec(), plain(projection.input()));
    }
    let schema = plan.schema();
    let column = |(at, field): (usize, &Arc<Field>)| ProjectionExpr {
        expr: Arc::new(Column::new(field.name(), at)),
        alias: field.name().clone(),
    };
    (schema.fields().iter().enumerate().map(column).collect(), plan)
}

/// A plan as text, in which names that the optimiser makes up are numbered anew: one subquery in two places says the same.
fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    let text = displayable(plan.as_ref()).indent(false).to_string();
    let mut parts = text.split(MADE_UP);
    let (mut numbers, mut shown) = (Vec::new(), parts.next().unwrap_or_default().to_owned());
    for part in parts {
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let known = numbers.iter().position(|known| *known == number).unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        shown += &format!("{MADE_UP}{known}{rest}");
    }
    shown
}

/// Behind this the optimiser writes a number.
const MADE_UP: &str = "__datafusion_extracted_";

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
    projection: &[ProjectionExpr],
    output: &[ColumnIndex],
    on: BTreeSet<(String, String)>,
    filter: Option<&JoinFilter>,
    name: impl Fn(&ColumnIndex) -> String,
) -> Result<Option<Says>> {
    let say = |expr: &PhysicalExprRef| -> Result<Option<String>> {
        let of_join = update_expr(expr, projection, true)?;
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
    batch: SchemaRef,
}

impl<'a> NewSide<'a> {
    /// Where the rows of the batch are those that a table of state keeps, under the same names.
    fn of(join: &'a HashJoinExec, kept: &Kept) -> Result<Option<NewSide<'a>>> {
        let (rows, batch, side) = match join.join_type() {
            JoinType::Left => (join.left(), join.right(), JoinSide::Left),
            JoinType::Right => (join.right(), join.left(), JoinSide::Right),
            _ => return Ok(None),
        };
        let Some((slot, columns)) = made_of(batch)? else { return Ok(None) };
        let same = slot == kept.of.0 && columns.iter().all(|(name, made)| kept.of.1.get(name) == Some(made));
        Ok((same && is_plain(join)).then(|| NewSide { join, rows: plain(rows), side, batch: batch.schema() }))
    }

    fn says(&self, aggregate: &AggregateExec, projection: &[ProjectionExpr]) -> Result<Option<Says>> {
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

    fn says(&self, aggregate: &AggregateExec, projection: &[ProjectionExpr]) -> Result<Option<Says>> {
        let Lookup { keys, filter, output, .. } = self.lookup;
        let key = |column: usize| Column::new(self.schema.field(column).name(), 0).to_string();
        let on = keys.iter().map(|(expr, column)| (expr.to_string(), key(*column))).collect();
        says(aggregate, projection, output, on, filter.as_ref(), |column| self.name(column))
    }

    /// The join and what is gathered as one.
    fn join(
        &self,
        aggregate: &AggregateExec,
        projection: &[ProjectionExpr],
        joined: &SchemaRef,
        lookups: &KeyLookupRule,
    ) -> Result<Option<GroupLookup>> {
        let output = &self.lookup.output;
        let of_join = |expr: &PhysicalExprRef| update_expr(expr, projection, true);
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
        let ends = if ends_only(&told) { self.ends(&args, lookups)? } else { None };
        let used: BTreeSet<usize> = args.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        let used: Vec<usize> = used.into_iter().collect();
        let args = args.into_iter().map(|arg| among(arg, &used)).collect::<Result<_>>()?;
        let pair_schema = Arc::new(joined.project(&used)?);
        let pair = used.iter().map(|column| output[*column].clone()).collect();
        let (lookup, aggregate) = (self.lookup.clone(), gathers.clone());
        Ok(Some(GroupLookup { lookup, group, aggregate, args, pair, pair_schema, before: false, ends }))
    }

    /// The column of the table that an expression over the join is.
    fn state_column(&self, expr: &PhysicalExprRef) -> Option<usize> {
        let column = &self.lookup.output[expr.downcast_ref::<Column>()?.index()];
        (column.side != self.lookup.batch_side).then(|| self.lookup.state_columns[column.index])
    }

    /// What tells a row's own partners, where only the ends of a list count and can be looked up.
    fn ends(&self, args: &[PhysicalExprRef], lookups: &KeyLookupRule) -> Result<Option<Vec<PhysicalExprRef>>> {
        let ([time, .., own], Some(span)) = (args, &self.lookup.span) else { return Ok(None) };
        if self.state_column(time) != Some(span.column) || !span.whole {
            return Ok(None);
        }
        let (mut of_row, mut of_state) = (Vec::new(), Vec::new());
        for equal in split_conjunction(own).into_iter().filter(|own| !is_false(own)) {
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
        let told = of_row.is_empty() || lookups.tells_own(table, *lookup, of_state);
        Ok(told.then_some(of_row))
    }
}
