//! Rows of an input that repeat others of it, by the key of its table of state: what a stream tells by its state.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::prelude::{Expr, ident, lit};

use crate::scan::{Limits, Scan};
use crate::script::bind::register_view;
use crate::state::layout::Merged;
use crate::tables::Tables;

impl Scan {
    /// The columns that tell one row from another in the table of state that an input has; none where it has none.
    pub fn state_key(&self, input: &str) -> Option<Vec<String>> {
        let layout = self.layouts.get(input)?;
        Some(layout.key.iter().map(|column| layout.schema.field(*column).name().clone()).collect())
    }

    /// What state would make of the rows of an input: those whose key is new, and those that repeat another. The rows are
    /// counted as they are read, for footers may say something else.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn repeats(&self, input: &str, tables: Vec<Arc<dyn TableProvider>>, limits: Limits) -> Result<Merged> {
        let Some(key) = self.state_key(input) else { return Ok(Merged::default()) };
        let inputs = [(input.to_owned(), tables)].into();
        let (context, _) = self.over(Tables { inputs, ..Tables::default() }, limits).await?;
        for (name, query) in &self.views {
            register_view(&context, name, query).await?;
        }
        let delta = format!("delta.{input}");
        let rows = if self.views.iter().any(|(name, _)| *name == delta) { delta } else { format!("batch.{input}") };
        let rows = context.table(TableReference::parse_str(&rows)).await?;
        let key: Vec<Expr> = key.iter().map(ident).collect();
        let each = rows.aggregate(key, vec![count(lit(1)).alias("_rows")])?;
        let all = each.aggregate(vec![], vec![count(lit(1)), sum(ident("_rows"))])?;
        let counts = all.collect().await?;
        let values = |column: usize, counts: &RecordBatch| -> i64 {
            counts.column(column).as_primitive::<Int64Type>().iter().flatten().sum()
        };
        let [new, rows]: [i64; 2] = [0, 1].map(|column| counts.iter().map(|counts| values(column, counts)).sum());
        Ok(Merged { new: new as u64, known: (rows - new) as u64, ..Merged::default() })
    }
}
