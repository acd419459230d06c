//! Rows of an input that repeat others of it, by the key of its table of state: what a stream tells by its state.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::prelude::{Expr, ident};

use crate::scan::{Limits, Scan};
use crate::script::bind::register_view;
use crate::tables::Tables;

impl Scan {
    /// The columns that tell one row from another in the table of state that an input has; none where it has none.
    pub fn state_key(&self, input: &str) -> Option<Vec<String>> {
        let layout = self.layouts.get(input)?;
        Some(layout.key.iter().map(|column| layout.schema.field(*column).name().clone()).collect())
    }

    /// Of the rows of an input those that repeat another.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn repeats(&self, input: &str, tables: Vec<Arc<dyn TableProvider>>, limits: Limits) -> Result<u64> {
        let Some(key) = self.state_key(input) else { return Ok(0) };
        let inputs = [(input.to_owned(), tables)].into();
        let (context, _) = self.over(Tables { inputs, ..Tables::default() }, limits).await?;
        for (name, query) in &self.views {
            register_view(&context, name, query).await?;
        }
        let delta = format!("delta.{input}");
        let rows = if self.views.iter().any(|(name, _)| *name == delta) { delta } else { format!("batch.{input}") };
        let rows = context.table(TableReference::parse_str(&rows)).await?;
        let key: Vec<Expr> = key.iter().map(ident).collect();
        let rows = rows.select(key)?;
        let all = rows.clone().count().await?;
        Ok((all - rows.distinct()?.count().await?) as u64)
    }
}
