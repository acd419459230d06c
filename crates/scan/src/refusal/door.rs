//! The door: `--where` and `--select`, applied to rows before f and before time is read off them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::prelude::{DataFrame, Expr, ident};
use datafusion::sql::sqlparser::ast::{self, SelectItem};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::exec::slot::{Filling, Slot, SlotTable};
use crate::refusal::apart::{Apart, apart, reason};
use crate::refusal::guarded::GuardedRule;
use crate::scan::template_config;
use crate::script::binding::canonical;
use crate::script::conform::conform;
use crate::script::contract::breach;
use crate::script::depth::too_deep_text;

/// A filter and a projection, planned once. Columns that begin with `_` pass by themselves.
pub struct Door {
    plan: Arc<dyn ExecutionPlan>,
    /// Of rows as the plan takes them.
    given: SchemaRef,
    schema: SchemaRef,
    /// Each expression as it is written, and a plan of it alone: to name the one that fails on a row.
    parts: Vec<(String, Arc<dyn ExecutionPlan>)>,
    /// The flags that there are: it is named where a row fails on none of their parts alone.
    named: String,
}

/// What came of rows at the door.
pub struct Passed {
    /// Those that pass, in their order.
    pub rows: RecordBatch,
    /// Those on which an expression fails, by number, and which one fails why.
    pub failed: Vec<(usize, String)>,
}

const TABLE: &str = "rows";

/// The items of a select list.
fn projection(select: &str) -> Result<Vec<String>> {
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(select)?;
    let items = parser.parse_projection()?;
    if parser.peek_token().token != Token::EOF {
        return Err(DataFusionError::Plan(format!("unexpected {} in {select}", parser.peek_token())));
    }
    Ok(items.iter().map(ToString::to_string).collect())
}

fn filtered(rows: DataFrame, filter: &str) -> Result<DataFrame> {
    let filter = of_one_row(rows.parse_sql_expr(filter)?)?;
    rows.filter(filter)
}

/// Rows come in batches, and what is said of several would depend on how they are cut.
fn of_one_row(expr: Expr) -> Result<Expr> {
    if expr.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))? {
        return Err(DataFusionError::Plan(format!("{expr} is of many rows, and this is asked of each by itself")));
    }
    Ok(expr)
}

fn selected(rows: DataFrame, select: &str) -> Result<DataFrame> {
    let column = |item: &String| of_one_row(rows.parse_sql_expr(item)?);
    let mut columns = projection(select)?.iter().map(column).collect::<Result<Vec<_>>>()?;
    let positions = rows.schema().fields().iter().filter(|field| field.name().starts_with('_'));
    columns.extend(positions.map(|field| ident(field.name())));
    rows.select(columns)
}

impl Door {
    /// Plans `select SELECT from rows where WHERE`; none of the two is everything.
    ///
    /// # Errors
    /// SQL that does not fit the rows; clocks, randomness and aggregates.
    pub async fn new(schema: &SchemaRef, select: Option<&str>, filter: Option<&str>) -> Result<Door> {
        for (flag, text) in [("--where", filter), ("--select", select)] {
            if let Some(why) = text.and_then(too_deep_text) {
                return Err(DataFusionError::Plan(format!("{flag}: {why}")));
            }
        }
        let rows = Arc::new(canonical(schema));
        let session = SessionStateBuilder::new().with_config(template_config()).with_default_features();
        let session = session.with_physical_optimizer_rule(Arc::new(GuardedRule));
        let context = SessionContext::new_with_state(session.build());
        let table = SlotTable { slot: Slot::Batch(TABLE.to_owned()), schema: rows.clone() };
        let types = rows;
        let given = context.read_table(Arc::new(table))?;
        let rows = given.clone();
        let rows = match filter {
            Some(filter) => filtered(rows, filter).map_err(|e| e.context(format!("--where {filter}")))?,
            None => rows,
        };
        let rows = match select {
            Some(select) => selected(rows, select).map_err(|e| e.context(format!("--select {select}")))?,
            None => rows,
        };
        if let Some((word, why)) = breach(rows.logical_plan())? {
            return Err(DataFusionError::Plan(format!("{word} cannot be used here: {why}")));
        }
        if asks_a_query(rows.logical_plan())? {
            return Err(DataFusionError::Plan(format!("{} asks a query: it is about one row", named(select, filter))));
        }
        let plan = rows.create_physical_plan().await.map_err(|e| unplannable(e, &named(select, filter)))?;
        let (schema, parts) = (Arc::new(canonical(&plan.schema())), parts(&given, select, filter).await?);
        Ok(Door { given: types, schema, plan, parts, named: named(select, filter) })
    }

    /// The column that a select list gives another name, such as `timestamp` of `timestamp as ts`.
    pub fn source_of(select: &str, name: &str) -> Option<String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(select).ok()?;
        parser.parse_projection().ok()?.into_iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr: ast::Expr::Identifier(column), alias } if alias.value == name => {
                Some(column.value)
            }
            _ => None,
        })
    }

    /// The schema of rows that pass.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The rows that pass, and those on which an expression fails, such as a cast.
    ///
    /// # Errors
    /// What the engine reports of anything else than a row.
    pub async fn pass(&self, rows: RecordBatch) -> Result<Passed> {
        let rows = conform(&rows, &self.given)?;
        let Apart { made, failed } = apart(&rows, |rows| run(&self.plan, rows)).await?;
        let mut reasons = Vec::new();
        for (row, error) in failed {
            reasons.push((row, reason(self.culprit(&rows.slice(row, 1)).await, &error)));
        }
        let schema: Arc<Schema> = self.plan.schema();
        let rows = conform(&concat_batches(&schema, made.iter().flatten())?, &self.schema)?;
        Ok(Passed { rows, failed: reasons })
    }

    /// The expression that fails on a row.
    async fn culprit(&self, alone: &RecordBatch) -> &str {
        for (expression, plan) in &self.parts {
            if run(plan, alone.clone()).await.is_err() {
                return expression;
            }
        }
        &self.named
    }
}

async fn run(plan: &Arc<dyn ExecutionPlan>, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
    let batch = BTreeMap::from([(TABLE.to_owned(), vec![rows])]);
    let filling = Arc::new(Filling { batch, ..Filling::default() });
    let context = TaskContext::default().with_session_config(template_config().with_extension(filling));
    datafusion::physical_plan::collect(reset_plan_states(plan.clone())?, Arc::new(context)).await
}

async fn parts(
    rows: &DataFrame,
    select: Option<&str>,
    filter: Option<&str>,
) -> Result<Vec<(String, Arc<dyn ExecutionPlan>)>> {
    let items = select.map(projection).transpose()?.unwrap_or_default();
    let items = items.iter().map(|item| ("--select", item.as_str()));
    let mut parts = Vec::new();
    for (flag, text) in filter.map(|filter| ("--where", filter)).into_iter().chain(items) {
        let plan = rows.clone().select(vec![rows.parse_sql_expr(text)?])?.create_physical_plan().await?;
        parts.push((format!("{flag} {text}"), plan));
    }
    Ok(parts)
}

/// The flags that were given, as on the command line.
fn named(select: Option<&str>, filter: Option<&str>) -> String {
    let given = [("--where", filter), ("--select", select)];
    let given = given.into_iter().filter_map(|(flag, text)| Some(format!("{flag} {}", text?)));
    given.collect::<Vec<_>>().join(", ")
}

fn asks_a_query(plan: &LogicalPlan) -> Result<bool> {
    let query = |part: &Expr| Ok(matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_)));
    plan.exists(|node| {
        node.expressions().iter().try_fold(false, |found, expression| Ok(found || expression.exists(query)?))
    })
}

/// What the engine says of an expression that it cannot plan is about the expression, of whatever kind it is to the engine.
fn unplannable(error: DataFusionError, flags: &str) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) | DataFusionError::IoError(_) => error,
        root => DataFusionError::Plan(format!("{flags}: {root}")),
    }
}
