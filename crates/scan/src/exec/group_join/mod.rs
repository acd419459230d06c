//! A left join, and what an aggregate gathers from the partners of each left row, as one operator (Moerkotte and Neumann,
//! Accelerating Queries with Group-By and Join by Groupjoin, VLDB 2011).
//!
//! A join copies the left row's keys beside each partner, only for the aggregate to hash them together again. Here both
//! sides are read, and the pairs of each group then gathered, a piece at a time: what is in memory grows with the rows of
//! both sides and not with their pairs.

pub(crate) mod group_gather;
pub(crate) mod group_join_rule;
pub(crate) mod group_left;
pub(crate) mod group_right;
pub(crate) mod group_terms;
pub(crate) mod partnered;

use std::fmt;
use std::sync::{Arc, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties,
};
use futures::TryStreamExt;
use tokio::sync::{Barrier, Mutex};

use crate::exec::group_join::group_gather::Gathering;
use crate::exec::group_join::group_left::Left;
use crate::exec::group_join::group_right::{Kept, Right};
use crate::exec::group_join::group_terms::{GroupJoin, apart, reservation};

/// A [`GroupJoin`] of two inputs. Puts out a row a group: its columns, and what was gathered. To be executed once, all
/// partitions side by side: they wait for one another.
#[derive(Debug)]
pub(crate) struct GroupJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    join: Arc<GroupJoin>,
    meeting: Arc<Meeting>,
    properties: Arc<PlanProperties>,
}

/// Where the partitions meet. What they share is worked out by the first that comes, and if that fails, it fails for all.
#[derive(Debug)]
struct Meeting {
    left: Mutex<Once<Left>>,
    /// The rows of the right side, as they are read.
    kept: std::sync::Mutex<Vec<Kept>>,
    /// Passed when all of them are.
    read: Barrier,
    right: Mutex<Once<Right>>,
    partitions: usize,
}

type Once<T> = Option<Result<Arc<T>, Arc<DataFusionError>>>;

impl GroupJoinExec {
    /// `schema`: of the group's columns and of what is gathered.
    pub(crate) fn new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        join: Arc<GroupJoin>,
        schema: SchemaRef,
    ) -> GroupJoinExec {
        let partitions = right.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let meeting = Meeting {
            left: Mutex::default(),
            kept: std::sync::Mutex::default(),
            read: Barrier::new(partitions),
            right: Mutex::default(),
            partitions,
        };
        GroupJoinExec { left, right, join, meeting: Arc::new(meeting), properties: Arc::new(properties) }
    }
}

impl DisplayAs for GroupJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<String> = self.join.on.iter().map(|(left, right)| format!("{left} = {right}")).collect();
        write!(f, "GroupJoinExec: {} on [{}]", self.join.aggregate.name(), on.join(", "))
    }
}

impl ExecutionPlan for GroupJoinExec {
    fn name(&self) -> &str {
        "GroupJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let GroupJoin { on, filter, .. } = self.join.as_ref();
        let on = on.iter().flat_map(|(left, right)| [left, right]);
        for expression in on.chain(filter.iter().map(JoinFilter::expression)).chain(&self.join.args) {
            if f(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.join.partnered.iter().map(|partnered| partnered.clone() as Arc<dyn PhysicalExpr>).collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition, Distribution::UnspecifiedDistribution])
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(right), Some(left)) = (children.pop(), children.pop()) else {
            return Err(DataFusionError::Internal("a group join has two inputs".to_owned()));
        };
        Ok(Arc::new(GroupJoinExec::new(left, right, self.join.clone(), self.schema())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (left, right, join) = (self.left.clone(), self.right.clone(), self.join.clone());
        let (meeting, schema) = (self.meeting.clone(), self.schema());
        let gathered = async move {
            let left = meeting.left(&left, &join, &context).await?;
            let held = reservation(&context);
            let mut rows = right.execute(partition, context.clone())?;
            while let Some(rows) = rows.try_next().await? {
                if let Some(kept) = Kept::of(&join, &left, &rows)? {
                    held.try_grow(kept.bytes())?;
                    meeting.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
                }
            }
            meeting.read.wait().await;
            let right = meeting.right(&left, &join, right.schema()).await?;
            let (place, piece) = ((partition, meeting.partitions), context.session_config().batch_size());
            let gathering = Gathering::new(join, left, right, schema, place, piece)?;
            Ok::<_, DataFusionError>(futures::stream::try_unfold((gathering, held), |(mut gathering, held)| async {
                let (gathering, rows) = apart(move || gathering.next().map(|rows| (gathering, rows))).await?;
                Ok(rows.map(|rows| (rows, (gathering, held))))
            }))
        };
        let rows = futures::stream::once(gathered).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

impl Meeting {
    async fn left(
        &self,
        left: &Arc<dyn ExecutionPlan>,
        join: &Arc<GroupJoin>,
        context: &Arc<TaskContext>,
    ) -> Result<Arc<Left>> {
        once(&self.left, Left::read(left, join, context)).await
    }

    /// To be asked for when all rows are kept.
    async fn right(&self, left: &Arc<Left>, join: &Arc<GroupJoin>, schema: SchemaRef) -> Result<Arc<Right>> {
        let work = async {
            let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
            let (left, join) = (left.clone(), join.clone());
            apart(move || Right::new(&join, &left, &schema, kept)).await
        };
        once(&self.right, work).await
    }
}

/// Works something out, or waits until that is done.
async fn once<T>(held: &Mutex<Once<T>>, work: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
    let mut held = held.lock().await;
    if held.is_none() {
        *held = Some(work.await.map(Arc::new).map_err(Arc::new));
    }
    match held.as_ref() {
        Some(Ok(done)) => Ok(done.clone()),
        Some(Err(error)) => Err(DataFusionError::Shared(error.clone())),
        None => Err(DataFusionError::Internal("what was worked out is there".to_owned())),
    }
}
