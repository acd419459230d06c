//! Which rows does f not see? Those that a flag filters, that a script refuses, or on which an expression fails.

pub(crate) mod apart;
pub(crate) mod door;
pub(crate) mod guarded;
pub(crate) mod may_fail;
pub(crate) mod refuse;
pub(crate) mod repeats;
pub(crate) mod sound;
pub(crate) mod sound_table;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use event_time::TIME;

use crate::refusal::guarded::guarded;
use crate::refusal::may_fail::may_fail;
use crate::script::conform::nothing;
use crate::script::contract::breach;

/// The column that says why f refused a row.
pub const REASON: &str = "_reason";

/// Why a row is refused, as an expression over the columns of its input: null where it is not.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) logical: Expr,
    pub(crate) physical: Arc<dyn PhysicalExpr>,
}

impl Refusal {
    /// Plans `reject`. An error for what would make an answer depend on the moment.
    pub(crate) fn new(context: &SessionContext, reject: &str, columns: &SchemaRef) -> Result<Refusal> {
        let schema = Arc::new(DFSchema::try_from(columns.as_ref().clone())?);
        let written = context.parse_sql_expr(reject, &schema)?;
        let told = LogicalPlanBuilder::from(nothing(columns)?).project([written.clone()])?.build()?;
        if let Some((word, why)) = breach(&told)? {
            return Err(DataFusionError::Plan(format!("{word} is not for scripts: {why}")));
        }
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(schema.clone()).build());
        let logical = simplifier.simplify(simplifier.coerce(written, &schema)?)?;
        let physical = guarded(&context.create_physical_expr(logical.clone(), &schema)?, columns);
        Ok(Refusal { logical, physical })
    }

    /// Whether it refuses a row, as a condition that statistics of files may decide: of a `case` without `else` its
    /// conditions, for each of them gives a reason.
    pub(crate) fn holds(&self) -> Expr {
        let Expr::Case(case) = &self.logical else { return self.logical.clone().is_not_null() };
        let reasons =
            case.when_then_expr.iter().all(|(_, then)| matches!(&**then, Expr::Literal(text, _) if !text.is_null()));
        match (&case.expr, &case.else_expr, reasons) {
            (None, None, true) => {
                let conditions = case.when_then_expr.iter().map(|(when, _)| when.as_ref().clone());
                conditions.reduce(Expr::or).unwrap_or_else(|| self.logical.clone().is_not_null())
            }
            _ => self.logical.clone().is_not_null(),
        }
    }

    /// Whether there may be rows on which it fails.
    pub(crate) fn may_fail(&self, columns: &SchemaRef) -> bool {
        may_fail(&self.physical, columns)
    }
}

/// Rows as they came, with [`REASON`] and their time as `f` sees it.
pub(crate) fn with_reasons(rows: &RecordBatch, reasons: &ArrayRef, times: Option<&ArrayRef>) -> Result<RecordBatch> {
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(REASON, DataType::Utf8View, true)));
    fields.push(Arc::new(Field::new("_time", TIME, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(cast(reasons, &DataType::Utf8View)?);
    columns.extend(times.cloned());
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
