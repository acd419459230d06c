//! Rows of a table that are the rows of another, by where they came from, or by what they say.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, NullEquality};
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, ident, try_cast};

/// Where a row came from.
pub(crate) const POSITION: [&str; 3] = ["_topic", "_partition", "_offset"];

/// What the sides of a join are called.
const ROWS: &str = "rows";
const OTHERS: &str = "others";

/// Rows of a table, and the columns that tell them from all others of it.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub rows: Vec<RecordBatch>,
    pub by: Vec<String>,
    /// Whether two nulls in these are the same.
    pub nulls: NullEquality,
}

impl Rows {
    /// Rows that positions tell from others.
    pub(crate) fn by_position(rows: Vec<RecordBatch>) -> Rows {
        Rows { rows, by: POSITION.map(str::to_owned).into(), nulls: NullEquality::NullEqualsNothing }
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// The rows of a table that are those of another, in the ways in which that may be told: by position and by all that both
/// show, where both tables say positions; and by what they show alone, except columns that begin with one of `apart`. A way
/// that finds none is left out.
///
/// # Errors
/// Tables that cannot be read.
pub(crate) async fn matching(
    table: &Arc<dyn TableProvider>,
    others: &Arc<dyn TableProvider>,
    apart: &[String],
    context: &SessionContext,
) -> Result<Vec<Rows>> {
    let mut shown = shown_by_both(&table.schema(), &others.schema());
    shown.retain(|name| !apart.iter().any(|apart| name.starts_with(apart)));
    let positions = POSITION.map(str::to_owned);
    let placed = positions.iter().all(|column| has(&table.schema(), column) && has(&others.schema(), column));
    let (nulls, mut ways) = (NullEquality::NullEqualsNull, Vec::new());
    let semi = || Join { kind: JoinType::LeftSemi, nulls, filter: None };
    if placed {
        let both = [&positions[..], &shown].concat();
        ways.push(Rows::by_position(collect(semi().of(table, others, &both)?, context).await?));
    }
    if !shown.is_empty() {
        ways.push(Rows { rows: collect(semi().of(table, others, &shown)?, context).await?, by: shown, nulls });
    }
    ways.retain(|rows| rows.count() > 0);
    Ok(ways)
}

/// A table without these rows of it.
///
/// # Errors
/// Columns that are not there.
pub(crate) fn without(table: &Arc<dyn TableProvider>, rows: &Rows) -> Result<Arc<dyn TableProvider>> {
    let Some(first) = rows.rows.first() else { return Ok(table.clone()) };
    let others: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(first.schema(), vec![rows.rows.clone()])?);
    let join = Join { kind: JoinType::LeftAnti, nulls: rows.nulls, filter: None };
    Ok(view(join.of(table, &others, &rows.by)?))
}

/// How the rows of a table meet those of another.
pub(crate) struct Join {
    pub kind: JoinType,
    pub nulls: NullEquality,
    /// May speak of `rows.X` and `others.X`.
    pub filter: Option<Expr>,
}

impl Join {
    /// The rows of a table that the join with another, by these columns, lets through. What of the other has no value in
    /// the type of the table meets nothing.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(crate) fn of(
        self,
        table: &Arc<dyn TableProvider>,
        others: &Arc<dyn TableProvider>,
        by: &[String],
    ) -> Result<LogicalPlan> {
        let schema = table.schema();
        let typed = |column: &String| {
            let kind = schema.field_with_name(column).map(|field| field.data_type().clone());
            anyhow::Ok(try_cast(ident(column), kind?).alias(column))
        };
        let mut columns = by.iter().map(typed).collect::<Result<Vec<_>>>()?;
        let all = others.schema();
        let more = all.fields().iter().map(|field| field.name().clone()).filter(|name| !by.contains(name));
        columns.extend(more.map(ident));
        let others = LogicalPlanBuilder::scan(OTHERS, provider_as_source(others.clone()), None)?;
        let others = others.project(columns)?.alias(OTHERS)?.build()?;
        let of = |side: &str| by.iter().map(|column| Column::new(Some(side), column)).collect::<Vec<_>>();
        let rows = LogicalPlanBuilder::scan(ROWS, provider_as_source(table.clone()), None)?;
        let keys = (of(ROWS), of(OTHERS));
        Ok(rows.join_detailed(others, self.kind, keys, self.filter, self.nulls)?.build()?)
    }
}

/// A plan as a table.
pub(crate) fn view(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(plan, None))
}

/// The rows that a plan gives.
///
/// # Errors
/// Files that cannot be read.
pub(crate) async fn collect(plan: LogicalPlan, context: &SessionContext) -> Result<Vec<RecordBatch>> {
    Ok(context.execute_logical_plan(plan).await?.collect().await?)
}

pub(crate) fn has(schema: &Schema, column: &str) -> bool {
    schema.field_with_name(column).is_ok()
}

/// The columns that both schemas show, and that can be compared.
fn shown_by_both(schema: &Schema, other: &Schema) -> Vec<String> {
    let flat = |kind: &DataType| !kind.is_nested() || matches!(kind, DataType::Dictionary(..));
    let shown = schema.fields().iter().filter(|field| !field.name().starts_with('_') && flat(field.data_type()));
    shown.map(|field| field.name().clone()).filter(|name| has(other, name)).collect()
}
