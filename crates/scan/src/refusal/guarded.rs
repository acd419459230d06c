//! Expressions that guard a part that may fail: `a <> 'x' and cast(a as int) > 3`. The engine evaluates the guarded part
//! on all rows of a batch where the guard is true of many. A row on its own never meets it where the guard is false.
//! What an expression says of a row must not depend on the rows beside it: where it fails on rows together, each has the
//! value that it has by itself.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::refusal::apart::is_of_values;
use crate::refusal::may_fail::may_fail;

/// An expression that has of each row the value that it has of that row alone.
#[derive(Debug)]
struct Guarded(Arc<dyn PhysicalExpr>);

/// The expression as one that no other row of a batch makes fail; itself where it guards nothing that may fail.
pub(crate) fn guarded(expression: &Arc<dyn PhysicalExpr>, columns: &Schema) -> Arc<dyn PhysicalExpr> {
    let guards = |part: &Arc<dyn PhysicalExpr>| {
        let joins = |binary: &BinaryExpr| matches!(binary.op(), Operator::And | Operator::Or);
        Ok(part.downcast_ref::<CaseExpr>().is_some() || part.downcast_ref::<BinaryExpr>().is_some_and(joins))
    };
    let whole = expression.downcast_ref::<Guarded>().is_some();
    if !whole && may_fail(expression, columns) && expression.exists(guards).unwrap_or(true) {
        return Arc::new(Guarded(expression.clone()));
    }
    expression.clone()
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Guarded) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, columns: &Schema) -> Result<DataType> {
        self.0.data_type(columns)
    }

    fn nullable(&self, columns: &Schema) -> Result<bool> {
        self.0.nullable(columns)
    }

    fn return_field(&self, columns: &Schema) -> Result<FieldRef> {
        self.0.return_field(columns)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        match self.0.evaluate(rows) {
            Err(error) if rows.num_rows() > 1 && is_of_values(&error) => {
                let middle = rows.num_rows() / 2;
                let half = |at: usize, count: usize| self.evaluate(&rows.slice(at, count))?.into_array(count);
                let halves = [half(0, middle)?, half(middle, rows.num_rows() - middle)?];
                Ok(ColumnarValue::Array(concat(&[&halves[0], &halves[1]])?))
            }
            evaluated => evaluated,
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let of = children.pop().ok_or_else(|| DataFusionError::Internal("Guarded is of an expression".to_owned()))?;
        Ok(Arc::new(Guarded(of)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// Guards the expressions of a plan. To be run last: other rules look at what expressions are.
#[derive(Debug)]
pub(crate) struct GuardedRule;

impl PhysicalOptimizerRule for GuardedRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(match with_guards(&node)? {
                Some(guarded) => Transformed::yes(guarded),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "guarded"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The operator over guarded expressions, where any of its own guards a part that may fail.
fn with_guards(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let [input] = plan.children()[..] else { return Ok(None) };
    let (columns, mut changed) = (input.schema(), false);
    let mut guard = |expression: &Arc<dyn PhysicalExpr>| {
        let guarded = guarded(expression, &columns);
        changed |= !Arc::ptr_eq(&guarded, expression);
        guarded
    };
    let guarded: Arc<dyn ExecutionPlan> = if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let predicate = guard(filter.predicate());
        Arc::new(FilterExecBuilder::from(filter).with_predicate(predicate).build()?)
    } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let of = |of: &ProjectionExpr| ProjectionExpr { expr: guard(&of.expr), alias: of.alias.clone() };
        let expressions: Vec<ProjectionExpr> = projection.expr().iter().map(of).collect();
        Arc::new(ProjectionExec::try_new(expressions, input.clone())?)
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let Some(aggregate) = aggregating(aggregate, &mut guard)? else { return Ok(None) };
        Arc::new(aggregate)
    } else {
        return Ok(None);
    };
    Ok(changed.then_some(guarded))
}

/// The phase of an aggregation that reads rows, over guarded expressions.
fn aggregating(
    aggregate: &AggregateExec,
    mut guard: impl FnMut(&Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr>,
) -> Result<Option<AggregateExec>> {
    let reads_rows =
        matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single | AggregateMode::SinglePartitioned);
    if !reads_rows {
        return Ok(None);
    }
    let given = aggregate.group_expr();
    let group = given.expr().iter().map(|(expr, name)| (guard(expr), name.clone())).collect();
    let group =
        PhysicalGroupBy::new(group, given.null_expr().to_vec(), given.groups().to_vec(), given.has_grouping_set());
    let mut gathers = Vec::new();
    for of in aggregate.aggr_expr() {
        let args = of.expressions().iter().map(&mut guard).collect();
        let order = of.order_bys().iter().map(|by| by.expr.clone()).collect();
        gathers.push(of.with_new_expressions(args, order).map_or_else(|| of.clone(), Arc::new));
    }
    let filters = aggregate.filter_expr().iter().map(|filter| filter.as_ref().map(&mut guard)).collect();
    let (mode, limit) = (*aggregate.mode(), aggregate.limit_options());
    let built =
        AggregateExec::try_new(mode, group, gathers, filters, aggregate.input().clone(), aggregate.input_schema())?;
    Ok(Some(built.with_limit_options(limit)))
}
