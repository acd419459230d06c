//! A table without the rows on which an expression of the script fails.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};

use crate::sound::Sound;

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
        Ok(Arc::new(SoundExec::new(of, schema, columns, self.sound.clone())))
    }
}

/// The same, as the executor sees it.
#[derive(Debug)]
struct SoundExec {
    of: Arc<dyn ExecutionPlan>,
    columns: Vec<usize>,
    sound: Arc<Sound>,
    properties: Arc<PlanProperties>,
}

impl SoundExec {
    fn new(of: Arc<dyn ExecutionPlan>, schema: SchemaRef, columns: Vec<usize>, sound: Arc<Sound>) -> SoundExec {
        let given = of.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(given.partitioning.partition_count()),
            given.emission_type,
            given.boundedness,
        );
        SoundExec { of, columns, sound, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SoundExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoundExec")
    }
}

impl ExecutionPlan for SoundExec {
    fn name(&self) -> &str {
        "SoundExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.of]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let of = children.pop().ok_or_else(|| DataFusionError::Internal("SoundExec reads a table".to_owned()))?;
        Ok(Arc::new(SoundExec::new(of, self.schema(), self.columns.clone(), self.sound.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (sound, columns) = (self.sound.clone(), self.columns.clone());
        let rows = self.of.execute(partition, context)?.then(move |rows| {
            let (sound, columns) = (sound.clone(), columns.clone());
            async move { Ok(sound.split(&rows?).await?.0.project(&columns)?) }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
