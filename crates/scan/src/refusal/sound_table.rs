//! A table without the rows on which an expression of the script fails.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use crate::exec::node::{Node, NodeExec};
use crate::refusal::sound::Sound;

/// The sound rows of a table.
#[derive(Debug)]
pub(crate) struct SoundTable {
    pub of: Arc<dyn TableProvider>,
    pub sound: Arc<Sound>,
}

impl SoundTable {
    /// The other rows of the table, as those that the script refuses.
    pub(crate) async fn unsound(&self, context: &SessionContext) -> Result<Vec<RecordBatch>> {
        let mut rows = context.read_table(self.of.clone())?.execute_stream().await?;
        let mut unsound = Vec::new();
        while let Some(rows) = rows.try_next().await? {
            unsound.extend(self.sound.split(&rows).await?.1);
        }
        Ok(unsound)
    }
}

#[async_trait]
impl TableProvider for SoundTable {
    fn schema(&self) -> SchemaRef {
        self.of.schema()
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
        let schema = project_schema(&self.schema(), projection)?;
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema().fields().len()).collect());
        let of = self.of.scan(session, None, &[], None).await?;
        let rows = SoundRows { columns, sound: self.sound.clone() };
        Ok(Arc::new(NodeExec::new(Arc::new(rows), vec![of], schema)))
    }
}

/// The same, as the executor sees it.
#[derive(Debug)]
struct SoundRows {
    columns: Vec<usize>,
    sound: Arc<Sound>,
}

impl Node for SoundRows {
    const NAME: &'static str = "SoundExec";

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
        let (sound, columns) = (self.sound.clone(), self.columns.clone());
        let rows = inputs[0].execute(partition, context)?.then(move |rows| {
            let (sound, columns) = (sound.clone(), columns.clone());
            async move { Ok(sound.split(&rows?).await?.0.project(&columns)?) }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)))
    }
}
