//! Sums of a time and an interval of fixed length, as sums of integers: the engine adds intervals by the calendar, row by
//! row, which took a fourteenth of the user time of an attribution.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use event_time::TIME;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Puts a duration in the place of an interval of days and less that is added to a [`TIME`], or taken from it. Times are
/// UTC, so that days have one length.
#[derive(Debug)]
pub(crate) struct FixedIntervals;

impl OptimizerRule for FixedIntervals {
    fn name(&self) -> &'static str {
        "fixed_intervals"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
            _ => merge_schema(&plan.inputs()),
        };
        // What is above knows a column by the words of its expression.
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let fixed = expr.transform_up(|expr| Ok(fixed(expr, &schema)))?;
            Ok(fixed.update_data(|expr| name.restore(expr)))
        })
    }
}

fn fixed(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) = expr else {
        return Transformed::no(expr);
    };
    let duration = microseconds(&right).filter(|_| left.get_type(schema).is_ok_and(|kind| kind == TIME));
    let (right, changed) = match duration {
        Some(us) => (Box::new(Expr::Literal(ScalarValue::DurationMicrosecond(Some(us)), None)), true),
        None => (right, false),
    };
    let sum = Expr::BinaryExpr(BinaryExpr { left, op, right });
    if changed { Transformed::yes(sum) } else { Transformed::no(sum) }
}

/// The length of a literal interval, where it has one.
fn microseconds(expr: &Expr) -> Option<i64> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = expr else { return None };
    let exact = interval.months == 0 && interval.nanoseconds % 1_000 == 0;
    exact.then(|| i64::from(interval.days).checked_mul(DAY_US)?.checked_add(interval.nanoseconds / 1_000)).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::execution::runtime_env::RuntimeEnv;
    use datafusion::prelude::SessionContext;

    use crate::lattice::Detail;
    use crate::scan::{session, template_config};

    /// The sum of a time of a table and something else, its plan beside it.
    async fn sum(context: &SessionContext, with: &str) -> (String, String) {
        let times = "(select column1::timestamp(6) as ts from (values ('2016-02-28T23:00:00'), (null)))";
        let rows = context.sql(&format!("select ts {with} as sum from {times}")).await.unwrap();
        let plan = rows.clone().into_optimized_plan().unwrap().display_indent().to_string();
        (format!("{:?}", rows.collect().await.unwrap()), plan)
    }

    #[tokio::test]
    async fn sums_are_those_of_the_calendar() {
        let ours = session(&template_config(), Vec::new(), Arc::new(RuntimeEnv::default()), false, Detail::Whole);
        let usual = SessionContext::new_with_config(template_config());
        for (with, fixed) in [
            ("+ interval '2 hours'", true),
            ("- interval '36 days 1 microsecond'", true),
            ("+ interval '-5 minutes'", true),
            ("+ interval '1 month'", false),
            ("+ interval '1 nanosecond'", false),
        ] {
            let ((found, plan), (expected, _)) = (sum(&ours, with).await, sum(&usual, with).await);
            assert_eq!(found, expected, "{with}");
            assert_eq!(plan.contains("DurationMicrosecond"), fixed, "{with}: {plan}");
        }
    }
    #[tokio::test]
    async fn sums_without_a_name_keep_theirs() {
        let ours = session(&template_config(), Vec::new(), Arc::new(RuntimeEnv::default()), false, Detail::Whole);
        let usual = SessionContext::new_with_config(template_config());
        for select in [
            "date_trunc('hour', ts + interval '30 minutes'), count(*) from times group by date_trunc('hour', ts + interval '30 minutes')",
            "distinct ts + interval '1 hour' from times",
            "ts - interval '1 hour' from times order by ts - interval '1 hour'",
            "sum(1) over (partition by ts + interval '1 hour') from times",
            "max(ts + interval '1 hour') from times having max(ts + interval '1 hour') > '2016-01-01'",
        ] {
            let sql = format!(
                "with times as (select column1::timestamp(6) as ts from (values ('2016-02-28T23:00:00'))) select {select}"
            );
            let [found, expected] = [&ours, &usual].map(async |context: &SessionContext| {
                let rows = context.sql(&sql).await.unwrap().collect().await.unwrap();
                format!("{rows:?}")
            });
            assert_eq!(found.await, expected.await, "{select}");
        }
    }
}
