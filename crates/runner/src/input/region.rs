//! Rows of one region among those of others: where each came from says of which region too.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::datatypes::DataType;
use connector::SourceError;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions::string::expr_fn::concat;
use datafusion::logical_expr::{LogicalPlanBuilder, cast, lit};
use datafusion::prelude::{Expr, ident};

/// The column of a row's position that names its source.
const TOPIC: &str = "_topic";

/// An archive whose rows are from `REGION/TOPIC` each. Sources of two regions may have one name; an archive of both, in
/// which they are one source partition, could not be replayed.
///
/// # Errors
/// [`SourceError::Usage`] for rows that do not say where they came from.
pub(crate) fn of_region(table: Arc<dyn TableProvider>, region: &str) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    let why = format!("{region}=: the rows have no column {TOPIC}: leave the name out");
    ensure!(schema.field_with_name(TOPIC).is_ok(), SourceError::Usage(why));
    let column = |name: &String| match name.as_str() {
        TOPIC => cast(concat(vec![lit(format!("{region}/")), ident(TOPIC)]), DataType::Utf8View).alias(TOPIC),
        _ => ident(name),
    };
    let columns: Vec<Expr> = schema.fields().iter().map(|field| column(field.name())).collect();
    let plan = LogicalPlanBuilder::scan("region", provider_as_source(table), None)?.project(columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
