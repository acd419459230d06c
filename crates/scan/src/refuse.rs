//! Rows of an input that a script refuses, by the clause `reject`: f never sees them, and says why.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use event_time::TIME;

use crate::bind::Input;
use crate::conform::{conform, conforming, nothing};
use crate::contract::breach;
use crate::guarded::guarded;
use crate::sound::may_fail;

/// The column that says why f refused a row.
pub const REASON: &str = "_reason";

/// Why a row is refused, as an expression over the columns of its input: null where it is not.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    logical: Expr,
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

    /// Whether there may be rows on which it fails.
    pub(crate) fn may_fail(&self, columns: &SchemaRef) -> bool {
        may_fail(&self.physical, columns)
    }
}

impl Input {
    /// Rows as f sees them; and those that it refuses as they came, with [`REASON`] and their time.
    pub(crate) fn take(&self, rows: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for rows in rows {
            let seen = conform(rows, &self.schema)?;
            let Some(refusal) = &self.refusal else {
                taken.push(seen);
                continue;
            };
            let reasons = refusal.physical.evaluate(&seen)?.into_array(seen.num_rows())?;
            taken.push(filter_record_batch(&seen, &is_null(&reasons)?)?);
            if reasons.null_count() < reasons.len() {
                let told = with_reasons(rows, &reasons, seen.column_by_name(&self.time))?;
                refused.push(filter_record_batch(&told, &is_not_null(&reasons)?)?);
            }
        }
        Ok((taken, refused))
    }

    /// The rows of a table that f sees.
    pub(crate) fn taken(&self, table: LogicalPlan) -> Result<LogicalPlan> {
        match &self.refusal {
            Some(refusal) => LogicalPlanBuilder::from(table).filter(refusal.logical.clone().is_null())?.build(),
            None => Ok(table),
        }
    }

    /// Those that it refuses, as [`take`](Self::take) gives them.
    pub(crate) async fn refused(
        &self,
        context: &SessionContext,
        table: Arc<dyn TableProvider>,
    ) -> Result<Vec<RecordBatch>> {
        let Some(refusal) = &self.refusal else { return Ok(Vec::new()) };
        // Where a row came from f does not see, and whoever looks for it needs.
        let given = table.schema();
        let hidden = given.fields().iter().filter(|field| self.schema.field_with_name(field.name()).is_err());
        let all = Arc::new(Schema::new(self.schema.fields().iter().chain(hidden).cloned().collect::<Vec<_>>()));
        let plan = LogicalPlanBuilder::from(conforming(context, table, &all)?);
        let plan = plan.filter(refusal.logical.clone().is_not_null())?.build()?;
        Ok(self.take(&context.execute_logical_plan(plan).await?.collect().await?)?.1)
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
