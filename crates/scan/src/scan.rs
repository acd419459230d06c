//! f in a run: planned once, stepped many times.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::Query;
use futures::StreamExt;

use crate::aggregate::functions::{id_count, id_set};
use crate::aggregate::repeated::repeats;
use crate::attribution::credits::{credits, sources};
use crate::attribution::items::items;
use crate::attribution::latest::{has_own, latest};
use crate::attribution::touches::touches;
use crate::exec::lookup::group_lookup_rule::{GroupLookupRule, Kept};
use crate::exec::lookup::lookup_rule::KeyLookupRule;
use crate::exec::slot::{Filling, Slot, SlotExec};
use crate::exec::spool::spooled;
use crate::lattice::Detail;
use crate::lattice::bottom::{bottom, bottom_edge};
use crate::lattice::texts::{text_list, text_set};
use crate::refusal::guarded::GuardedRule;
use crate::refusal::sound::Sound;
use crate::sampling::edge::edge_of;
use crate::sampling::unit::{cell, split, unit_hash};
use crate::script::bind::{Bound, Input, Output, bind};
use crate::script::binding::Binding;
use crate::script::conform::conform;
use crate::script::durations::FixedIntervals;
use crate::script::wide::{Runs, Words, run_of};
use crate::script::{Script, ScriptError};
use crate::state::State;
use crate::state::layout::{Layout, Merged};
use crate::tables::Tables;

/// What a step reads.
pub enum Batch {
    /// New rows of each input, by name; an input that is not named has none.
    Rows(BTreeMap<String, Vec<RecordBatch>>),
    /// All rows at once: f(empty, all), in parallel and with spilling.
    Tables(Tables),
}

/// What f may use of the machine when it reads tables.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads that share the work.
    pub threads: usize,
    /// Bytes before operators spill.
    pub memory: Option<usize>,
}

/// What a step made beside the new state.
pub struct Stepped {
    /// The changed rows of each output, full values by key; the last column is `_time`.
    pub outputs: BTreeMap<String, SendableRecordBatchStream>,
    /// The rows that were merged into each table of state: merging them again, in any order, makes the same state.
    pub deltas: BTreeMap<String, Vec<RecordBatch>>,
    /// The rows of each input that f refused, as they came; the last two columns are [`REASON`](crate::REASON) and
    /// `_time`.
    pub refused: BTreeMap<String, Vec<RecordBatch>>,
    /// What the merges did.
    pub merged: BTreeMap<String, Merged>,
    /// Over tables, where state stays empty: what those tables of it would be that outputs read after the merge, and
    /// that are small.
    pub next: BTreeMap<String, Vec<RecordBatch>>,
}

/// A script bound to its inputs.
pub struct Scan {
    script: Script,
    binding: Binding,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) views: Vec<(String, Query)>,
    pub(crate) layouts: BTreeMap<String, Arc<Layout>>,
    /// Runs of columns of wide inputs, which are one to the planner.
    pub(crate) runs: Runs,
    templates: BTreeMap<String, Template>,
    deltas: BTreeMap<String, Arc<dyn ExecutionPlan>>,
    /// By input, where expressions over its rows may fail.
    pub(crate) sound: BTreeMap<String, Arc<Sound>>,
    config: SessionConfig,
    /// Of all steps.
    runtime: Arc<RuntimeEnv>,
}

struct Template {
    plan: Arc<dyn ExecutionPlan>,
    /// Whether it runs after the state was merged.
    follows_merge: bool,
    /// Plans whose rows it then needs from before that, by the slot they fill.
    before: BTreeMap<String, Arc<dyn ExecutionPlan>>,
}

impl Template {
    /// A plan that reads `next.*` follows the merge, and one that can be turned to such.
    fn new(output: &str, plan: Arc<dyn ExecutionPlan>, rule: &GroupLookupRule<'_>) -> Result<Template> {
        let is_next = |node: &Arc<dyn ExecutionPlan>| {
            let slot = node.downcast_ref::<SlotExec>().map(|leaf| &leaf.node.slot);
            Ok(matches!(slot, Some(Slot::Next(_))))
        };
        if plan.exists(is_next)? {
            return Ok(Template { plan, follows_merge: true, before: BTreeMap::new() });
        }
        Ok(match rule.following(output, &plan)? {
            Some((plan, before)) => Template { plan, follows_merge: true, before },
            None => Template { plan: rule.in_place(plan)?, follows_merge: false, before: BTreeMap::new() },
        })
    }

    fn plans(&self) -> impl Iterator<Item = &Arc<dyn ExecutionPlan>> {
        self.before.values().chain([&self.plan])
    }
}

impl Scan {
    /// Checks a script against its inputs and plans it.
    ///
    /// # Errors
    /// A script that breaks its contract, with the line and the reason.
    pub async fn new(script: &Script, binding: &Binding) -> Result<Scan, ScriptError> {
        let rule = Arc::new(KeyLookupRule::default());
        let (config, runtime) = (template_config(), Arc::new(RuntimeEnv::default()));
        let context = || session(&config, vec![rule.clone()], runtime.clone(), binding.approximate, Detail::Whole);
        let (mut planner, words) = (context(), Words::of(script, binding));
        let bound = match bind(script, binding, &planner, Some(&words)).await {
            Ok(bound) if bound.pass => bound,
            // Where a script works with all columns, or an error is about one, each is one to the planner.
            _ => {
                planner = context();
                bind(script, binding, &planner, None).await?
            }
        };
        let (context, Bound { mut inputs, states, outputs, views, runs, .. }) = (planner, bound);
        inputs.iter_mut().for_each(|input| input.floats = words.floats(&input.seen));
        let failed = |e: DataFusionError| script.error(1, e.strip_backtrace());
        let (mut templates, mut deltas) = (BTreeMap::new(), BTreeMap::new());
        for name in views.iter().filter_map(|(view, _)| view.strip_prefix("delta.")) {
            deltas.insert(name.to_owned(), plan(&context, &format!("delta.{name}")).await.map_err(failed)?);
        }
        let schemas: BTreeMap<_, _> =
            states.iter().map(|(name, layout)| (name.clone(), layout.schema.clone())).collect();
        let mut kept = BTreeMap::new();
        for (name, schema) in &schemas {
            kept.extend(Kept::of(name, schema, deltas.get(name)).map_err(failed)?.map(|kept| (name.clone(), kept)));
        }
        let group_lookups = GroupLookupRule { lookups: &rule, kept, schemas };
        for output in &outputs {
            let plan = plan(&context, &format!("timed.{}", output.name)).await.map_err(failed)?;
            let template = Template::new(&output.name, plan, &group_lookups).map_err(failed)?;
            templates.insert(output.name.clone(), template);
        }
        let mut lookups = rule.lookups();
        let layout = |(name, layout): (String, Layout)| {
            let lookups = lookups.remove(&name).unwrap_or_default();
            (name, Arc::new(Layout { lookups, ..layout }))
        };
        let layouts = states.into_iter().map(layout).collect();
        let binding = Binding { inputs: BTreeMap::new(), ..binding.clone() };
        let mut sound = BTreeMap::new();
        for input in &inputs {
            let plans = templates.values().flat_map(Template::plans).chain(deltas.values());
            let of = Sound::of(input, plans, &config).map_err(failed)?;
            sound.extend(of.map(|of| (input.name.clone(), Arc::new(of))));
        }
        let script = script.clone();
        Ok(Scan { script, binding, inputs, outputs, views, layouts, runs, templates, deltas, sound, config, runtime })
    }

    /// The script that f is.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// What the command line says in the script; without the inputs.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The same, over rows of several regions: those of one key, or of one group, must say the same.
    #[must_use]
    pub fn agreeing(mut self) -> Scan {
        self.outputs.iter_mut().for_each(|output| output.agrees = true);
        self
    }

    /// The inputs, by name.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The outputs, by name.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The position of event time in rows that were merged into a state table.
    pub fn time_column(&self, table: &str) -> Option<usize> {
        let layout = self.layouts.get(table)?;
        let before = |field: &Arc<Field>| run_of(field).map_or(1, |run| run.len());
        Some(layout.schema.fields()[..layout.time].iter().map(before).sum())
    }

    /// Microseconds after its time in which a row of a state table can still meet one that is not late.
    pub fn keep(&self, table: &str) -> Option<i64> {
        self.layouts.get(table).map(|layout| layout.keep)
    }

    /// The state before the first step.
    pub fn empty(&self) -> State {
        State::new(&self.layouts)
    }

    /// The plans of the outputs and deltas of one step, as text.
    pub fn explain(&self) -> String {
        let show = |schema: &str, name: &String, plan: &Arc<dyn ExecutionPlan>| {
            format!("{schema}.{name}\n{}\n", displayable(plan.as_ref()).indent(false))
        };
        let outputs = self.templates.iter().flat_map(|(name, template)| {
            let before = template.before.iter().map(|(name, plan)| show("before", name, plan));
            before.chain([show("output", name, &template.plan)])
        });
        outputs.chain(self.deltas.iter().map(|(name, plan)| show("delta", name, plan))).collect()
    }

    /// One step of f: `(state, batch) -> (state, output)`. Over tables f starts from nothing, so state must be empty.
    ///
    /// # Errors
    /// Rows that do not fit their input's schema; what the engine reports.
    pub async fn step(&self, state: State, batch: Batch, limits: Limits) -> Result<(State, Stepped)> {
        match batch {
            Batch::Rows(rows) => self.step_rows(state, rows).await,
            Batch::Tables(tables) => Ok((state, self.step_tables(tables, limits).await?)),
        }
    }

    async fn step_rows(&self, state: State, mut rows: BTreeMap<String, Vec<RecordBatch>>) -> Result<(State, Stepped)> {
        let mut refused = BTreeMap::new();
        for input in &self.inputs {
            let batches = rows.remove(&input.name).unwrap_or_default();
            let (batches, mut aside) = self.sound_rows(input, batches).await?;
            let (batches, refused_here) = input.take(&batches)?;
            aside.extend(refused_here);
            rows.insert(input.name.clone(), batches);
            refused.insert(input.name.clone(), aside);
        }
        let filling = Arc::new(Filling { batch: rows, state, ..Filling::default() });
        let mut deltas = BTreeMap::new();
        for (name, layout) in &self.layouts {
            let rows = match self.deltas.get(name) {
                Some(plan) => self.run(plan, &filling).await?,
                None => filling.batch.get(name).cloned().unwrap_or_default(),
            };
            let rows = rows.iter().map(|rows| conform(rows, &layout.schema)).collect::<Result<_>>()?;
            deltas.insert(name.clone(), rows);
        }
        let mut outputs = self.run_outputs(&filling, false).await?;
        let mut before = BTreeMap::new();
        for (name, plan) in self.templates.values().flat_map(|template| &template.before) {
            before.insert(name.clone(), self.run(plan, &filling).await?);
        }
        let mut filling = unshare(filling).await?;
        filling.before = before;
        let merged = self.merge(&mut filling, &deltas)?;
        let filling = Arc::new(filling);
        outputs.extend(self.run_outputs(&filling, true).await?);
        for rows in deltas.values_mut().flatten() {
            *rows = self.runs.unpacked(std::mem::replace(rows, RecordBatch::new_empty(rows.schema())))?;
        }
        Ok((unshare(filling).await?.state, Stepped { outputs, deltas, refused, merged, next: BTreeMap::new() }))
    }

    /// The rows of an input on which no expression fails, and the others.
    async fn sound_rows(
        &self,
        input: &Input,
        batches: Vec<RecordBatch>,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let Some(sound) = self.sound.get(&input.name) else { return Ok((batches, Vec::new())) };
        let (mut taken, mut aside) = (Vec::new(), Vec::new());
        for rows in batches {
            let (rows, unsound) = sound.split(&rows).await?;
            taken.push(rows);
            aside.extend(unsound);
        }
        Ok((taken, aside))
    }

    async fn run(&self, plan: &Arc<dyn ExecutionPlan>, filling: &Arc<Filling>) -> Result<Vec<RecordBatch>> {
        collect(reset_plan_states(plan.clone())?, self.task(filling)).await
    }

    fn task(&self, filling: &Arc<Filling>) -> Arc<TaskContext> {
        let config = self.config.clone().with_extension(filling.clone());
        Arc::new(TaskContext::default().with_session_config(config).with_runtime(self.runtime.clone()))
    }

    async fn run_outputs(
        &self,
        filling: &Arc<Filling>,
        follows_merge: bool,
    ) -> Result<BTreeMap<String, SendableRecordBatchStream>> {
        let mut outputs: BTreeMap<String, SendableRecordBatchStream> = BTreeMap::new();
        for (name, template) in self.templates.iter().filter(|(_, template)| template.follows_merge == follows_merge) {
            let rows = execute_stream(reset_plan_states(template.plan.clone())?, self.task(filling))?;
            outputs.insert(name.clone(), self.unpacked(spooled(rows, &self.runtime).await?));
        }
        Ok(outputs)
    }

    fn unpacked(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if self.runs.is_empty() {
            return rows;
        }
        let (runs, schema) = (self.runs.clone(), self.runs.unpacked_schema(&rows.schema()));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows.map(move |rows| runs.unpacked(rows?))))
    }

    /// Merges the deltas into the state, and fills `next.*` with the keys they touched.
    fn merge(
        &self,
        filling: &mut Filling,
        deltas: &BTreeMap<String, Vec<RecordBatch>>,
    ) -> Result<BTreeMap<String, Merged>> {
        let mut merged = BTreeMap::new();
        for (name, rows) in deltas {
            let Some(table) = filling.state.table_mut(name) else { continue };
            let mut touched = Vec::new();
            let mut sum = Merged::default();
            for rows in rows {
                let Merged { new, known, retracted } = table.merge(rows, &mut touched)?;
                sum = Merged { new: sum.new + new, known: sum.known + known, retracted: sum.retracted + retracted };
            }
            if self.views.iter().any(|(view, _)| view.strip_prefix("next.") == Some(name)) {
                let found = table.find(touched);
                let columns =
                    (0..table.schema().fields().len()).map(|column| table.gather(column, &found, Detail::Summary));
                let next = RecordBatch::try_new(table.schema().clone(), columns.collect::<Result<_>>()?)?;
                filling.next.insert(name.clone(), vec![next]);
            }
            merged.insert(name.clone(), sum);
        }
        Ok(merged)
    }
}

/// How often other tasks get their turn before a plan that lives on is a bug.
const TURNS: usize = 10_000_000;

/// Takes back what a step's plans shared. A join that needs no more of one side drops the tasks that read it, and those
/// end at their next turn.
async fn unshare(mut filling: Arc<Filling>) -> Result<Filling> {
    for _ in 0..TURNS {
        match Arc::try_unwrap(filling) {
            Ok(filling) => return Ok(filling),
            Err(shared) => filling = shared,
        }
        tokio::task::yield_now().await;
    }
    Err(DataFusionError::Internal("a plan outlived its step".to_owned()))
}

/// Templates have no dynamic filters: after a reset their scans would keep the old ones and drop rows silently.
pub(crate) fn template_config() -> SessionConfig {
    let mut config =
        SessionConfig::new().with_target_partitions(1).with_coalesce_batches(false).with_collect_statistics(false);
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    config
}

pub(crate) fn session(
    config: &SessionConfig,
    rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    runtime: Arc<RuntimeEnv>,
    approximate: bool,
    detail: Detail,
) -> SessionContext {
    let builder =
        SessionStateBuilder::new().with_config(config.clone()).with_runtime_env(runtime).with_default_features();
    let builder = builder.with_optimizer_rule(Arc::new(FixedIntervals));
    let builder = rules.into_iter().fold(builder, |builder, rule| builder.with_physical_optimizer_rule(rule));
    let builder = builder.with_physical_optimizer_rule(Arc::new(GuardedRule));
    let context = SessionContext::new_with_state(builder.build());
    context.register_udaf(id_set(approximate, detail));
    context.register_udf(id_count());
    context.register_udaf(repeats());
    context.register_udaf(touches(detail));
    context.register_udf(credits());
    context.register_udf(sources());
    context.register_udaf(bottom());
    for function in [bottom_edge(), edge_of(), unit_hash(), cell(), split(), items(), latest(), has_own()] {
        context.register_udf(function);
    }
    context.register_udaf(text_set());
    context.register_udf(text_list());
    context
}

async fn plan(context: &SessionContext, view: &str) -> Result<Arc<dyn ExecutionPlan>> {
    context.table(TableReference::parse_str(view)).await?.create_physical_plan().await
}
