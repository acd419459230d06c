//! A table as a script sees it: its columns, in its types; of many columns that nothing names, runs are one to the planner.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ScalarValue, project_schema};
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType, cast, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::exec::node::{Node, NodeExec};
use crate::script::conform::{conform_in_part, places_of};
use crate::script::wide::{is_run, run_of};

/// A table as the script sees it: its columns, in its types, of a wide input with runs of columns as one.
pub(crate) fn conforming(
    context: &SessionContext,
    table: Arc<dyn TableProvider>,
    schema: &SchemaRef,
) -> Result<LogicalPlan> {
    if schema.fields().iter().any(|field| is_run(field)) {
        let packed = PackedTable { of: table, schema: schema.clone() };
        return Ok(context.read_table(Arc::new(packed))?.into_unoptimized_plan());
    }
    let given = table.schema();
    let scan = context.read_table(table)?.into_unoptimized_plan();
    let places = places_of(&given);
    let columns = schema.fields().iter().map(|field| {
        let column = col(datafusion::common::Column::from_name(field.name()));
        let (name, kind) = (field.name(), field.data_type());
        match places.get(name.as_str()).map(|place| given.field(*place)) {
            Some(given) if given.data_type() == kind => column,
            Some(_) => cast(column, kind.clone()).alias(name),
            // What no file of the table has is null.
            None => cast(lit(ScalarValue::Null), kind.clone()).alias(name),
        }
    });
    LogicalPlanBuilder::from(scan).project(columns)?.build()
}

/// A table with the columns of `schema`, in their types; a column that it does not have is null.
#[derive(Debug)]
pub(crate) struct PackedTable {
    pub of: Arc<dyn TableProvider>,
    pub schema: SchemaRef,
}

#[async_trait]
impl TableProvider for PackedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        self.of.table_type()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, given) = (project_schema(&self.schema, projection)?, self.of.schema());
        let places = places_of(&given);
        let mut columns = Vec::new();
        for field in schema.fields() {
            let names =
                run_of(field).map_or_else(|| vec![field.name()], |run| run.iter().map(|of| of.name()).collect());
            columns.extend(names.into_iter().filter_map(|name| places.get(name.as_str()).copied()));
        }
        let of = self.of.scan(session, Some(&columns), &[], None).await?;
        Ok(Arc::new(NodeExec::new(Arc::new(Packed), vec![of], schema)))
    }
}

/// The same, as the executor sees it.
#[derive(Debug)]
struct Packed;

impl Node for Packed {
    const NAME: &'static str = "PackedExec";

    fn detail(&self, _: &SchemaRef) -> String {
        String::new()
    }

    fn execute(
        self: &Arc<Self>,
        inputs: &[Arc<dyn ExecutionPlan>],
        schema: &SchemaRef,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let packed = schema.clone();
        let rows = inputs[0].execute(partition, context)?.map(move |rows| conform_in_part(&rows?, &packed));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)))
    }
}
