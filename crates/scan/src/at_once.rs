//! f(empty, all): every row of the inputs at once, over tables of any size.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use datafusion::physical_expr::expressions::col as column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, collect, execute_stream};
use datafusion::prelude::{DataFrame, SessionConfig};
use futures::StreamExt;

use crate::exec::gather::GatherOnce;
use crate::exec::group_join::group_join_rule::GroupJoinRule;
use crate::exec::reading::Reading;
use crate::lattice::{Detail, Lattice};
use crate::refusal::sound_table::SoundTable;
use crate::scan::{Limits, Scan, Stepped, session};
use crate::script::bind::{Input, register_schemas, register_view};
use crate::script::conform::{conform, nothing, owned_text};
use crate::script::packed_table::conforming;
use crate::tables::Tables;

/// The rows of each input that f refuses.
type Refused = BTreeMap<String, Vec<RecordBatch>>;

impl Scan {
    /// f(empty, all): planned afresh, so that the optimiser sees the tables themselves.
    pub(crate) async fn step_tables(&self, tables: Tables, limits: Limits) -> Result<Stepped> {
        let (within, sorted, reading) = (tables.within.clone(), tables.sorted, tables.reading.clone());
        let (context, refused) = self.over(tables, limits).await?;
        let mut next = BTreeMap::new();
        for (name, query) in &self.views {
            register_view(&context, name, query).await?;
            if let Some(table) = name.strip_prefix("next.").filter(|table| self.is_small(table)) {
                // Read by several plans, and worked out once.
                let name = TableReference::parse_str(name);
                let rows = worked_out(context.table(name.clone()).await?, &reading).await?;
                let schema = rows.first().map_or_else(|| self.layouts[table].schema.clone(), RecordBatch::schema);
                context.deregister_table(name.clone())?;
                context.register_table(name, Arc::new(MemTable::try_new(schema, vec![rows.clone()])?))?;
                next.insert(table.to_owned(), rows);
            }
        }
        let mut outputs = BTreeMap::new();
        for output in &self.outputs {
            let rows = context.table(TableReference::parse_str(&format!("timed.{}", output.name))).await?;
            let rows = match &within {
                Some(within) => rows.filter(ident("_time").between(time(within.start), time(within.end - 1)))?,
                None => rows,
            };
            let plan = rows.create_physical_plan().await?;
            let plan = if sorted { in_order(plan, &output.key)? } else { plan };
            reading.watch(&plan);
            let schema = output.schema.clone();
            let runs = self.runs.clone();
            let rows = execute_stream(plan, context.task_ctx())?;
            let rows = rows.map(move |rows| conform(&runs.unpacked(rows?)?, &schema));
            let rows = RecordBatchStreamAdapter::new(output.schema.clone(), rows);
            outputs.insert(output.name.clone(), Box::pin(rows) as SendableRecordBatchStream);
        }
        Ok(Stepped { outputs, deltas: BTreeMap::new(), refused, merged: BTreeMap::new(), next })
    }

    /// A session in which the inputs are these tables and state is empty; and the rows that f refuses.
    pub(crate) async fn over(&self, tables: Tables, limits: Limits) -> Result<(SessionContext, Refused)> {
        let Tables { inputs: mut tables, sorted, .. } = tables;
        let config = if sorted { spilling_config(limits) } else { table_config(limits.parts()) };
        let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(GatherOnce)];
        // What a group join holds of its inputs it cannot spill.
        if !sorted {
            rules.push(Arc::new(GroupJoinRule));
        }
        let context = session(&config, rules, runtime(limits.memory)?, self.binding().approximate, Detail::Summary);
        register_schemas(&context)?;
        let mut refused = BTreeMap::new();
        let typed = |schema: &SchemaRef| if sorted { owned_text(schema) } else { schema.clone() };
        for input in &self.inputs {
            let tables = tables.remove(&input.name).unwrap_or_default();
            let schema = typed(&input.seen);
            let mut plans = Vec::new();
            let aside: &mut Vec<RecordBatch> = refused.entry(input.name.clone()).or_default();
            for table in tables {
                let table = self.sound_rows_of(input, table, &context, aside).await?;
                let refused = input.refused(&context, table.clone()).await?;
                let rows = input.over_one_float(conforming(&context, table, &schema)?)?;
                plans.push(if refused.is_empty() { rows } else { input.taken(rows)? });
                for rows in refused {
                    aside.push(self.runs.unpacked(rows)?);
                }
            }
            let union = |all, plan| LogicalPlanBuilder::from(all).union(plan)?.build();
            let mut plans = plans.into_iter();
            let plan = match plans.next() {
                Some(first) => plans.try_fold(first, union)?,
                None => nothing(&schema)?,
            };
            register(&context, &format!("batch.{}", input.name), plan)?;
        }
        for (name, layout) in &self.layouts {
            register(&context, &format!("state.{name}"), nothing(&typed(&layout.schema))?)?;
        }
        Ok((context, refused))
    }

    /// The rows of a table on which no expression fails; the others go aside.
    async fn sound_rows_of(
        &self,
        input: &Input,
        of: Arc<dyn TableProvider>,
        context: &SessionContext,
        aside: &mut Vec<RecordBatch>,
    ) -> Result<Arc<dyn TableProvider>> {
        let Some(sound) = self.sound.get(&input.name).cloned() else { return Ok(of) };
        let table = SoundTable { of, sound };
        aside.extend(table.unsound(context).await?);
        Ok(Arc::new(table))
    }

    /// Whether a table of state is small by what it holds: the k least of some cells, and counts.
    fn is_small(&self, table: &str) -> bool {
        self.layouts
            .get(table)
            .is_some_and(|layout| layout.lattices.iter().any(|(_, lattice)| *lattice == Lattice::Bottom))
    }
}

/// The rows of a table of few groups with much in each: to shuffle groups by their keys would copy all that is in them.
async fn worked_out(table: DataFrame, reading: &Reading) -> Result<Vec<RecordBatch>> {
    let (mut state, plan) = table.into_parts();
    state.config_mut().options_mut().optimizer.repartition_aggregations = false;
    let table = DataFrame::new(state, plan);
    let context = Arc::new(table.task_ctx());
    let plan = table.create_physical_plan().await?;
    reading.watch(&plan);
    collect(plan, context).await
}

/// Up to this a join's smaller side is built by one thread, for all.
const BUILD_BYTES: usize = 256 << 20;
const BUILD_ROWS: usize = 1 << 20;

pub(crate) fn table_config(parts: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(parts);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // One table of the smaller side for all threads: to shuffle both sides costs more than to build it in one.
    options.optimizer.hash_join_single_partition_threshold = BUILD_BYTES;
    options.optimizer.hash_join_single_partition_threshold_rows = BUILD_ROWS;
    config
}

/// Sort-merge joins spill, and the build side of a hash join does not. How much operators hold at once and reserve is
/// cut down to the memory there is; with less than two partitions the planner takes hash joins all the same.
fn spilling_config(limits: Limits) -> SessionConfig {
    let memory = limits.memory.unwrap_or(usize::MAX);
    let mut config = table_config(2).with_batch_size((memory / BYTES_A_ROW).clamp(SPILLING_ROWS.0, SPILLING_ROWS.1));
    config.options_mut().optimizer.prefer_hash_join = false;
    config.options_mut().execution.sort_spill_reservation_bytes = memory.min(1 << 26) / 64;
    // To join a sorter's batches to one takes more than they do, which fails where it has just no more to take.
    config.options_mut().execution.sort_in_place_threshold_bytes = 0;
    config
}

/// The least and the most rows of a batch where memory is short: each operator holds some batches in any case.
const SPILLING_ROWS: (usize, usize) = (32, 8192);

/// Memory for each row of a batch: some tens of operators, a few batches of some hundred bytes a row in each.
const BYTES_A_ROW: usize = 1 << 18;

/// Sorts what a plan puts out by some columns, ascending and nulls first: one sort for all of its partitions, so that
/// it has all the memory that they leave.
fn in_order(plan: Arc<dyn ExecutionPlan>, columns: &[String]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let ascending = SortOptions { descending: false, nulls_first: true };
    let sort = |name: &String| Ok(PhysicalSortExpr::new(column(name, &schema)?, ascending));
    let order = columns.iter().map(sort).collect::<Result<Vec<_>>>()?;
    let Some(order) = LexOrdering::new(order) else { return Ok(plan) };
    Ok(Arc::new(SortExec::new(order, Arc::new(CoalescePartitionsExec::new(plan)))))
}

impl Limits {
    /// In how many parts rows are worked on. With more of them than threads, threads are idle for less time at the end;
    /// but what operators may hold is then in smaller parts too.
    fn parts(&self) -> usize {
        if self.threads > 1 && self.memory.is_none() { 2 * self.threads } else { self.threads }
    }
}

fn time(us: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(us), None))
}

fn runtime(memory: Option<usize>) -> Result<Arc<RuntimeEnv>> {
    let builder = RuntimeEnvBuilder::new();
    let builder = match memory {
        Some(bytes) => builder.with_memory_pool(Arc::new(FairSpillPool::new(bytes))),
        None => builder,
    };
    builder.build_arc()
}

fn register(context: &SessionContext, name: &str, plan: LogicalPlan) -> Result<()> {
    context.register_table(TableReference::parse_str(name), Arc::new(ViewTable::new(plan, None))).map(|_| ())
}
