//! What nodes of ours have in common, as the executor sees them: some inputs, a schema, and rows that come as they are made.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};

/// What a node does with its inputs.
pub(crate) trait Node: fmt::Debug + Send + Sync + 'static {
    /// What plans call it.
    const NAME: &'static str;

    /// What plans say of it behind its name.
    fn detail(&self, schema: &SchemaRef) -> String;

    /// The expressions that it evaluates over rows of its input.
    fn expressions(&self) -> Vec<&PhysicalExprRef> {
        Vec::new()
    }

    /// What the planner may know before anything is read.
    fn statistics(&self, schema: &SchemaRef) -> Statistics {
        Statistics::new_unknown(schema)
    }

    /// The rows of a partition.
    fn execute(
        self: &Arc<Self>,
        inputs: &[Arc<dyn ExecutionPlan>],
        schema: &SchemaRef,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// A node and its inputs. It has as many partitions as the first of them, or one.
#[derive(Debug)]
pub(crate) struct NodeExec<N> {
    pub node: Arc<N>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl<N: Node> NodeExec<N> {
    pub(crate) fn new(node: Arc<N>, inputs: Vec<Arc<dyn ExecutionPlan>>, schema: SchemaRef) -> NodeExec<N> {
        let partitions = inputs.first().map_or(1, |input| input.output_partitioning().partition_count());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        NodeExec { node, inputs, properties: Arc::new(properties) }
    }

    /// Its first input.
    pub(crate) fn input(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        self.inputs.first()
    }
}

impl<N: Node> DisplayAs for NodeExec<N> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.node.detail(&self.schema());
        if detail.is_empty() { f.write_str(N::NAME) } else { write!(f, "{}: {detail}", N::NAME) }
    }
}

impl<N: Node> ExecutionPlan for NodeExec<N> {
    fn name(&self) -> &str {
        N::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expression in self.node.expressions() {
            if f(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(NodeExec::new(self.node.clone(), inputs, self.schema())))
    }

    fn with_new_children(self: Arc<Self>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.node.execute(&self.inputs, &self.schema(), partition, context)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(Arc::new(self.node.statistics(&self.schema())))
    }
}
