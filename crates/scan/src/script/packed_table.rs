//! A table of many columns as the planner sees it: runs of columns are one.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::exec::node::{Node, NodeExec};
use crate::script::conform::{conform_in_part, places_of};
use crate::script::wide::run_of;

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
