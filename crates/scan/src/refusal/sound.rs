//! Rows of an input on which an expression of a script fails. Which those are must not depend on how rows are cut, nor on
//! what else is in state: so the expressions are asked that see nothing but rows of the input, and each row by itself.
//! Of a script whose expressions cannot fail nothing is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, collect, displayable};
use datafusion::prelude::SessionConfig;

use crate::exec::slot::{Filling, Slot, SlotExec};
use crate::refusal::apart::{Apart, apart, reason};
use crate::refusal::may_fail::may_fail;
use crate::refusal::with_reasons;
use crate::script::bind::Input;
use crate::script::conform::conform;

/// The expressions that may fail on a row of an input.
#[derive(Debug)]
pub(crate) struct Sound {
    input: Input,
    config: SessionConfig,
    checks: Vec<Check>,
}

/// An expression, as a plan over rows of the input.
#[derive(Debug)]
struct Check {
    expression: String,
    plan: Arc<dyn ExecutionPlan>,
}

impl Sound {
    /// The expressions of some templates over this input; none where none can fail.
    pub(crate) fn of<'a>(
        input: &Input,
        templates: impl Iterator<Item = &'a Arc<dyn ExecutionPlan>>,
        config: &SessionConfig,
    ) -> Result<Option<Sound>> {
        let mut found = Vec::new();
        for template in templates {
            below(template, &input.name, &mut found)?;
        }
        let mut seen = BTreeSet::new();
        found.retain(|check| seen.insert(displayable(check.plan.as_ref()).indent(false).to_string()));
        let rejects = input.refusal.as_ref().is_some_and(|refusal| refusal.may_fail(&input.seen));
        let sound = Sound { input: input.clone(), config: config.clone(), checks: found };
        Ok((rejects || !sound.checks.is_empty()).then_some(sound))
    }

    /// Rows on which no expression fails; and the others, as those that the script refuses.
    pub(crate) async fn split(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let Apart { failed, .. } = apart(rows, |rows| self.checked(rows)).await?;
        if failed.is_empty() {
            return Ok((rows.clone(), None));
        }
        let mut reasons = vec![None; rows.num_rows()];
        for (row, error) in failed {
            let alone = rows.slice(row, 1);
            reasons[row] = Some(reason(&self.culprit(&alone).await, &error));
        }
        let sound = filter_record_batch(rows, &reasons.iter().map(|reason| Some(reason.is_none())).collect())?;
        let unsound = reasons.iter().map(|reason| Some(reason.is_some())).collect();
        let reasons: ArrayRef = Arc::new(StringViewArray::from_iter(reasons));
        let seen = conform(rows, &self.input.seen)?;
        let told = with_reasons(rows, &reasons, seen.column_by_name(&self.input.time))?;
        Ok((sound, Some(filter_record_batch(&told, &unsound)?)))
    }

    async fn checked(&self, rows: RecordBatch) -> Result<()> {
        let filling = self.filling(&rows)?;
        for check in &self.checks {
            self.run(check, &filling).await?;
        }
        Ok(())
    }

    /// What a script refuses by itself is no row on which an expression of it could fail.
    fn filling(&self, rows: &RecordBatch) -> Result<Arc<Filling>> {
        let (taken, _) = self.input.take(std::slice::from_ref(rows))?;
        let batch = BTreeMap::from([(self.input.name.clone(), taken)]);
        Ok(Arc::new(Filling { batch, ..Filling::default() }))
    }

    async fn run(&self, check: &Check, filling: &Arc<Filling>) -> Result<()> {
        let config = self.config.clone().with_extension(filling.clone());
        let context = Arc::new(TaskContext::default().with_session_config(config));
        collect(reset_plan_states(check.plan.clone())?, context).await.map(|_| ())
    }

    /// The expression that fails on a row.
    async fn culprit(&self, alone: &RecordBatch) -> String {
        let Ok(filling) = self.filling(alone) else { return self.culprit_of_refusal(alone) };
        for check in &self.checks {
            if self.run(check, &filling).await.is_err() {
                return check.expression.clone();
            }
        }
        String::new()
    }
}

impl Sound {
    /// The innermost part of the clause `reject` that fails on a row.
    fn culprit_of_refusal(&self, alone: &RecordBatch) -> String {
        let refusal = self.input.refusal.as_ref().map(|refusal| refusal.physical.clone());
        let Some((refusal, seen)) = refusal.zip(conform(alone, &self.input.seen).ok()) else { return String::new() };
        shown(innermost(&refusal, &seen))
    }
}

fn innermost<'a>(expression: &'a Arc<dyn PhysicalExpr>, alone: &RecordBatch) -> &'a Arc<dyn PhysicalExpr> {
    let failing = expression.children().into_iter().find(|part| part.evaluate(alone).is_err());
    failing.map_or(expression, |part| innermost(part, alone))
}

/// Adds the expressions of a plan that see only rows of an input and may fail: those that others build on come first.
/// Whether the plan as a whole sees nothing else.
fn below(plan: &Arc<dyn ExecutionPlan>, input: &str, found: &mut Vec<Check>) -> Result<bool> {
    if let Some(slot) = plan.downcast_ref::<SlotExec>() {
        return Ok(slot.node.slot == Slot::Batch(input.to_owned()));
    }
    let children = plan.children().into_iter().cloned().collect::<Vec<_>>();
    let mut alone = Vec::new();
    for child in &children {
        alone.push(below(child, input, found)?);
    }
    let ([child], [true]) = (children.as_slice(), alone.as_slice()) else { return Ok(false) };
    let (expressions, sees_rows) = if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        (vec![filter.predicate().clone()], true)
    } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        (projection.expr().iter().map(|of| of.expr.clone()).collect(), true)
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let arguments = aggregate.aggr_expr().iter().flat_map(|of| of.expressions());
        let filters = aggregate.filter_expr().iter().flatten().cloned();
        (aggregate.group_expr().input_exprs().into_iter().chain(arguments).chain(filters).collect(), false)
    } else {
        (Vec::new(), matches!(plan.name(), "CooperativeExec" | "CoalesceBatchesExec"))
    };
    // What is worked out beside the rows is not there when rows are looked at by themselves.
    if expressions.iter().any(asks_beside) {
        return Ok(false);
    }
    for expression in expressions.into_iter().filter(|expression| may_fail(expression, &child.schema())) {
        let column = ProjectionExpr { expr: expression.clone(), alias: "checked".to_owned() };
        let plan = Arc::new(ProjectionExec::try_new([column], child.clone())?);
        found.push(Check { expression: shown(&expression), plan });
    }
    Ok(sees_rows)
}

/// Whether a part of an expression is a query of its own.
fn asks_beside(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let found = expression.exists(|part| Ok(part.downcast_ref::<ScalarSubqueryExpr>().is_some()));
    found.unwrap_or(true)
}

/// As people write it: without the positions of columns.
fn shown(expression: &Arc<dyn PhysicalExpr>) -> String {
    let text = expression.to_string();
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scan;
    use crate::script::Script;
    use crate::script::binding::Binding;

    async fn bound(sql: &str, binding: Binding) -> Scan {
        Scan::new(&Script::parse("script", sql).unwrap(), &binding).await.unwrap()
    }

    /// Clean input costs nothing: of these scripts no expression is asked twice.
    #[tokio::test]
    async fn no_script_of_our_own_has_an_expression_that_fails() {
        for sql in testkit::scripts::scripts_of_commands().values() {
            let scan = bound(sql, Binding::default()).await;
            let asked: Vec<_> = scan.sound.values().flat_map(|sound| &sound.checks).map(|it| &it.expression).collect();
            assert!(scan.sound.is_empty(), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn expressions_that_may_fail_are_found_wherever_they_stand() {
        let of = |sql: &str| {
            format!(
                "create schema batch; create schema output;
            create table batch.events (event_id text, ts timestamp, a text, n bigint);
            comment on table batch.events is 'time ts';
            {sql}
            comment on view output.rows is 'key (event_id, ts), time ts';"
            )
        };
        for (sql, expression) in [
            (
                "create view output.rows as select event_id, ts, cast(a as int) as x from batch.events;",
                "CAST(a AS Int32)",
            ),
            ("create view output.rows as select event_id, ts from batch.events where 7 / n > 1;", "7 / n > 1"),
            (
                "create view v as select event_id, ts, 7 % n as x from batch.events;
              create view output.rows as select l.event_id, r.ts, l.x from v l join v r on l.x = r.x;",
                "7 % n",
            ),
            (
                "create view output.rows as select event_id, ts, max(cast(a as bigint)) as x from batch.events
              group by event_id, ts;",
                "CAST(a AS Int64)",
            ),
        ] {
            let scan = bound(&of(sql), Binding::default()).await;
            let checks = scan.sound["events"].checks.iter();
            let found: BTreeSet<&str> = checks.map(|check| check.expression.as_str()).collect();
            assert_eq!(found, BTreeSet::from([expression]), "{sql}");
        }
        let safe = "create view output.rows as select event_id, ts, n + 1 as x, n / 2.5 as y, cast(n as text) as z
            from batch.events where a like 'x%';";
        assert!(bound(&of(safe), Binding::default()).await.sound.is_empty());
    }
}
