//! Rows of an input that a script refuses, by the clause `reject`: f never sees them, and says why.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, is_not_null, is_null};
use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

use crate::refusal::with_reasons;
use crate::script::bind::Input;
use crate::script::conform::conform;
use crate::script::packed_table::conforming;

impl Input {
    /// Rows as f sees them; and those that it refuses as they came, with [`REASON`](crate::REASON) and their time.
    pub(crate) fn take(&self, rows: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for rows in rows {
            let seen = self.with_one_float(&conform(rows, &self.seen)?)?;
            let Some(refusal) = &self.refusal else {
                taken.push(seen);
                continue;
            };
            let reasons = refusal.physical.evaluate(&seen)?.into_array(seen.num_rows())?;
            if reasons.null_count() == reasons.len() {
                taken.push(seen);
                continue;
            }
            taken.push(filter_record_batch(&seen, &is_null(&reasons)?)?);
            let told = with_reasons(rows, &reasons, seen.column_by_name(&self.time))?;
            refused.push(filter_record_batch(&told, &is_not_null(&reasons)?)?);
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
        let told: HashSet<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let hidden = given.fields().iter().filter(|field| !told.contains(field.name().as_str()));
        let all = Arc::new(Schema::new(self.seen.fields().iter().chain(hidden).cloned().collect::<Vec<_>>()));
        let plan = LogicalPlanBuilder::from(conforming(context, table, &all)?);
        let plan = plan.filter(refusal.holds())?.build()?;
        Ok(self.take(&context.execute_logical_plan(plan).await?.collect().await?)?.1)
    }
}
