//! A left join, and what an aggregate gathers from the partners of each left row, as one operator (Moerkotte and Neumann,
//! Accelerating Queries with Group-By and Join by Groupjoin, VLDB 2011).
//!
//! A join copies the left row's keys beside each partner, only for the aggregate to hash them together again. Here a pair
//! is a number, that of the left row's group, and the partner's values. All pairs are in memory until they are gathered:
//! it is not for runs whose memory is limited.

use std::fmt;
use std::sync::{Arc, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_empty_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinSide;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties,
};
use futures::TryStreamExt;
use tokio::sync::{Barrier, Mutex};

use crate::bucket::unshared_column;
use crate::index::Index;
use crate::pairs::{self, PAIRS_AT_ONCE, evaluated, verified};
use crate::partnered::Partnered;
use crate::table::{hash_rows, hash_whole};

/// What is joined, and what is gathered.
#[derive(Debug)]
pub(crate) struct GroupJoin {
    /// What is equal on both sides, and whatever else holds of a pair.
    pub on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    pub filter: Option<JoinFilter>,
    /// The filter that scans of the right side know of, where any does: true of all rows until the left side is read, and
    /// then of those with a partner, for as long as the plan lives.
    pub partnered: Option<Arc<DynamicFilterPhysicalExpr>>,
    /// The columns of the left side that name a group.
    pub group: Vec<usize>,
    /// What is gathered. A left row without a partner must give it nothing.
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// Its arguments, over the columns of a pair.
    pub args: Vec<PhysicalExprRef>,
    /// Those columns, of either side, and their schema.
    pub pair: Vec<ColumnIndex>,
    pub pair_schema: SchemaRef,
}

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

/// Where the partitions meet.
#[derive(Debug)]
struct Meeting {
    /// Until all pairs are found: who comes first reads it, and if that fails, it fails for all.
    left: Mutex<Option<Result<Arc<Left>, Arc<DataFusionError>>>>,
    /// What each partition is to gather: group g is that of partition g % n, as its number g / n. Neighbours have about
    /// as many partners, and groups far from one another have not.
    shares: Vec<std::sync::Mutex<Vec<Pairs>>>,
    /// Passed when all pairs are in their shares.
    found: Barrier,
}

/// The left side, read.
#[derive(Debug)]
struct Left {
    rows: RecordBatch,
    on: Vec<ArrayRef>,
    index: Arc<Index>,
    /// The group of each row, and the columns of each group.
    group_of: Vec<u32>,
    groups: Vec<ArrayRef>,
}

/// Arguments of the aggregate, and of each row of them the group's number within its share.
#[derive(Debug)]
struct Pairs {
    args: Vec<ArrayRef>,
    groups: Vec<usize>,
}

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
            shares: (0..partitions).map(|_| Default::default()).collect(),
            found: Barrier::new(partitions),
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
            let mut rows = right.execute(partition, context.clone())?;
            while let Some(rows) = rows.try_next().await? {
                meeting.share(&join, &left, &rows)?;
            }
            let groups = left.groups.clone();
            drop(left);
            meeting.found.wait().await;
            meeting.left.lock().await.take();
            let gathered = apart(move || meeting.gather(partition, &join, &groups, &schema)).await?;
            let piece = context.session_config().batch_size();
            let pieces = (0..gathered.num_rows()).step_by(piece);
            let pieces: Vec<_> =
                pieces.map(|from| Ok(gathered.slice(from, piece.min(gathered.num_rows() - from)))).collect();
            Ok::<_, DataFusionError>(futures::stream::iter(pieces))
        };
        let rows = futures::stream::once(gathered).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

impl Left {
    /// Reads the left side, and tells scans of the right side whom it has partners for.
    async fn read(left: &Arc<dyn ExecutionPlan>, join: &Arc<GroupJoin>, context: &Arc<TaskContext>) -> Result<Left> {
        let schema = left.schema();
        let batches: Vec<RecordBatch> = left.execute(0, context.clone())?.try_collect().await?;
        let batches = Arc::new(batches);
        let grouping = {
            let (batches, join, schema) = (batches.clone(), join.clone(), schema.clone());
            apart(move || grouped(&batches, &join, &schema))
        };
        let rows = concat_batches(&schema, batches.iter())?;
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
        let on = evaluated(&left_keys, &rows)?;
        let mut index = Index::default();
        hash_rows(&on, true)?.into_iter().for_each(|hash| index.push(hash));
        let index = Arc::new(index);
        let (group_of, groups) = grouping.await?;
        if let Some(partnered) = &join.partnered {
            partnered.update(Arc::new(Partnered::new(right_keys, index.clone())))?;
            partnered.mark_complete();
        }
        Ok(Left { rows, on, index, group_of, groups })
    }

    /// Calls `each` with the pairs of left rows with some right rows, a few at a time.
    fn pairs(
        &self,
        join: &GroupJoin,
        rows: &RecordBatch,
        mut each: impl FnMut(&UInt32Array, &UInt32Array) -> Result<()>,
    ) -> Result<()> {
        let keys = evaluated(join.on.iter().map(|(_, right)| right), rows)?;
        let (hashes, whole) = hash_whole(&keys)?;
        let mut verified = |lefts: &mut Vec<u32>, rights: &mut Vec<u32>| {
            let (lefts, rights) = (UInt32Array::from(std::mem::take(lefts)), UInt32Array::from(std::mem::take(rights)));
            let kept = self.verify(join, rows, &keys, &lefts, &rights)?;
            each(&which(&lefts, &kept)?, &which(&rights, &kept)?)
        };
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for (right, hash) in hashes.into_iter().enumerate() {
            if whole.as_ref().is_some_and(|whole| whole.is_null(right)) {
                continue;
            }
            for left in self.index.chain(hash) {
                lefts.push(left);
                rights.push(right as u32);
                if lefts.len() == PAIRS_AT_ONCE {
                    verified(&mut lefts, &mut rights)?;
                }
            }
        }
        verified(&mut lefts, &mut rights)
    }

    /// Which pairs of rows with equal hashes are pairs of the join.
    fn verify(
        &self,
        join: &GroupJoin,
        rows: &RecordBatch,
        keys: &[ArrayRef],
        lefts: &UInt32Array,
        rights: &UInt32Array,
    ) -> Result<BooleanArray> {
        let keys = self.on.iter().zip(keys);
        let keys = keys.map(|(left, right)| Ok((take(left, lefts, None)?, take(right, rights, None)?)));
        verified(lefts.len(), keys, join.filter.as_ref(), |column| self.column(column, rows, lefts, rights))
    }

    /// The aggregate's arguments of some pairs.
    fn args(
        &self,
        join: &GroupJoin,
        rows: &RecordBatch,
        lefts: &UInt32Array,
        rights: &UInt32Array,
    ) -> Result<Vec<ArrayRef>> {
        let column = |column: &ColumnIndex| self.column(column, rows, lefts, rights);
        let pairs = pairs::rows(&join.pair_schema, &join.pair, lefts.len(), column)?;
        Ok(evaluated(&join.args, &pairs)?.iter().map(unshared_column).collect())
    }

    fn column(
        &self,
        column: &ColumnIndex,
        rows: &RecordBatch,
        lefts: &UInt32Array,
        rights: &UInt32Array,
    ) -> Result<ArrayRef> {
        Ok(match column.side {
            JoinSide::Left => take(self.rows.column(column.index), lefts, None)?,
            _ => take(rows.column(column.index), rights, None)?,
        })
    }
}

/// Does some work on a thread of its own, begun at once. A task would be worked off by the thread that begot it, or woke
/// it, after its own work.
fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let working = SpawnedTask::spawn_blocking(work);
    async move { working.join_unwind().await.map_err(|e| DataFusionError::External(Box::new(e)))? }
}

/// The group of each row, and the columns of each group.
fn grouped(rows: &[RecordBatch], join: &GroupJoin, schema: &SchemaRef) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
    if rows.is_empty() {
        let columns = join.group.iter().map(|column| new_empty_array(schema.field(*column).data_type()));
        return Ok((Vec::new(), columns.collect()));
    }
    let mut values = new_group_values(Arc::new(schema.project(&join.group)?), &GroupOrdering::None)?;
    let (mut group_of, mut groups) = (Vec::new(), Vec::new());
    for rows in rows {
        values.intern(rows.project(&join.group)?.columns(), &mut groups)?;
        group_of.extend(groups.iter().map(|group| *group as u32));
    }
    Ok((group_of, values.emit(EmitTo::All)?))
}

fn which(numbers: &UInt32Array, kept: &BooleanArray) -> Result<UInt32Array> {
    Ok(filter(numbers, kept)?.as_primitive().clone())
}

impl Meeting {
    async fn left(
        &self,
        left: &Arc<dyn ExecutionPlan>,
        join: &Arc<GroupJoin>,
        context: &Arc<TaskContext>,
    ) -> Result<Arc<Left>> {
        let mut read = self.left.lock().await;
        if read.is_none() {
            *read = Some(Left::read(left, join, context).await.map(Arc::new).map_err(Arc::new));
        }
        match read.as_ref() {
            Some(Ok(left)) => Ok(left.clone()),
            Some(Err(error)) => Err(DataFusionError::Shared(error.clone())),
            None => Err(DataFusionError::Internal("the left side is there once it is read".to_owned())),
        }
    }

    /// Puts the pairs of some right rows where they will be gathered.
    fn share(&self, join: &GroupJoin, left: &Left, rows: &RecordBatch) -> Result<()> {
        let shares = self.shares.len();
        left.pairs(join, rows, |lefts, rights| {
            let groups: Vec<usize> = lefts.values().iter().map(|row| left.group_of[*row as usize] as usize).collect();
            for (partition, share) in self.shares.iter().enumerate() {
                let mine = BooleanBuffer::collect_bool(groups.len(), |pair| groups[pair] % shares == partition);
                let within: Vec<usize> = mine.set_indices().map(|pair| groups[pair] / shares).collect();
                if within.is_empty() {
                    continue;
                }
                let mine = BooleanArray::from(mine);
                let args = left.args(join, rows, &which(lefts, &mine)?, &which(rights, &mine)?)?;
                share.lock().unwrap_or_else(PoisonError::into_inner).push(Pairs { args, groups: within });
            }
            Ok(())
        })
    }

    /// What was gathered for the groups of a partition.
    fn gather(
        &self,
        partition: usize,
        join: &GroupJoin,
        groups: &[ArrayRef],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let count = groups.first().map_or(0, |column| column.len());
        let mine = UInt32Array::from_iter_values((partition as u32..count as u32).step_by(self.shares.len()));
        let mut gathered = join.aggregate.create_groups_accumulator()?;
        // Groups without a pair are told of too.
        let none = join.args.iter().map(|arg| Ok(new_empty_array(&arg.data_type(&join.pair_schema)?)));
        let none = Pairs { args: none.collect::<Result<_>>()?, groups: Vec::new() };
        let share = std::mem::take(&mut *self.shares[partition].lock().unwrap_or_else(PoisonError::into_inner));
        for pairs in std::iter::once(none).chain(share) {
            gathered.update_batch(&pairs.args, &pairs.groups, None, mine.len())?;
        }
        let columns = groups.iter().map(|column| Ok(take(column, &mine, None)?));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        columns.push(gathered.evaluate(EmitTo::All)?);
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}
