//! What a script may not do, found in its plans: whatever would make an answer depend on the order, the cut or the
//! moment of its input.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Volatility};

/// Aggregates whose answer depends on the order of rows.
const ORDERED: [&str; 6] = ["first_value", "last_value", "nth_value", "array_agg", "string_agg", "any_value"];

/// Aggregates that add floating-point numbers, whose sum depends on their order.
const SUMS: [&str; 10] =
    ["sum", "avg", "mean", "stddev", "stddev_pop", "stddev_samp", "var", "var_pop", "var_samp", "corr"];

/// A breach: the word that the script must not use there, and why.
pub(crate) type Breach = (String, String);

/// The first breach of a plan, if there is one.
pub(crate) fn breach(plan: &LogicalPlan) -> Result<Option<Breach>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(_) = node {
            found =
                Some(("over".to_owned(), "a window sees the rows of one batch, and not those of others".to_owned()));
        }
        if let LogicalPlan::Limit(_) = node {
            found = Some(("limit".to_owned(), "which rows it keeps depends on their order".to_owned()));
        }
        for expr in node.expressions() {
            expr.apply(|expr| {
                found = found.take().or(breach_of(expr, node)?);
                Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
        }
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn breach_of(expr: &Expr, node: &LogicalPlan) -> Result<Option<Breach>> {
    match expr {
        Expr::ScalarFunction(function) if function.func.signature().volatility != Volatility::Immutable => {
            let name = function.func.name();
            Ok(Some((name.to_owned(), "its answer changes from one call to the next".to_owned())))
        }
        Expr::AggregateFunction(function) => {
            let name = function.func.name();
            if ORDERED.contains(&name) && function.params.order_by.is_empty() {
                return Ok(Some((
                    name.to_owned(),
                    "its answer depends on the order of rows: use min or max".to_owned(),
                )));
            }
            let inputs = node.inputs();
            let floats = function.params.args.iter().any(|arg| {
                inputs.iter().any(|input| arg.get_type(input.schema()).is_ok_and(|kind| kind.is_floating()))
            });
            if SUMS.contains(&name) && floats {
                let why = "floating-point sums depend on the order of rows: cast to decimal or integer";
                return Ok(Some((name.to_owned(), why.to_owned())));
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}
