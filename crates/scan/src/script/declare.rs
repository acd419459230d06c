//! The second half of binding: what a script declared of its tables becomes inputs, layouts of state and outputs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::SessionContext;
use datafusion::sql::sqlparser::ast::{Expr, Statement};
use event_time::TIME;

use crate::lattice::Lattice;
use crate::refusal::Refusal;
use crate::script::bind::{Bind, Binder, Bound, Input, Output, register_view};
use crate::script::clause::Clauses;
use crate::script::relation::Relation;
use crate::script::{Script, ScriptError};
use crate::state::layout::Layout;

impl Binder<'_> {
    pub(crate) async fn finish(mut self) -> Bind<Bound> {
        let (mut inputs, mut states, mut outputs) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (table, schema) in self.schemas.clone() {
            match table.split_once('.') {
                Some(("batch", name)) => inputs.push(self.finish_input(name, &table, schema)?),
                Some(("state", name)) => {
                    states.insert(name.to_owned(), self.layout(&table, schema)?);
                }
                Some(("output", name)) => outputs.push(self.output(name, &table).await?),
                Some(("delta", name)) => self.delta(name, &table)?,
                _ => {}
            }
        }
        if outputs.is_empty() {
            return Err(self.script.error(1, "a script defines at least one view output.NAME"));
        }
        Ok(Bound { inputs, states, outputs, views: self.views, runs: self.runs, pass: self.pass })
    }

    fn declare(&self, table: &str, clause: &str) -> ScriptError {
        let line = self.lines.get(table).copied().unwrap_or(1);
        let kind = if table.starts_with("output") { "view" } else { "table" };
        self.script.error(line, format!("{table} has no {clause}: write comment on {kind} {table} is '{clause} …'"))
    }

    fn clauses(&self, table: &str) -> Clauses {
        self.clauses.get(table).cloned().unwrap_or_default()
    }

    fn finish_input(&self, name: &str, table: &str, schema: SchemaRef) -> Bind<Input> {
        let clauses = self.clauses(table);
        let time = self.time_column(table, &clauses)?;
        Ok(Input {
            name: name.to_owned(),
            time: schema.field(self.position(table, &schema, &time)?).name().clone(),
            before: self.interval(table, clauses.before)?,
            after: self.interval(table, clauses.after)?,
            refusal: clauses.reject.map(|reject| self.refusal(table, reject, &schema)).transpose()?,
            schema: self.whole.get(name).cloned().unwrap_or_else(|| schema.clone()),
            seen: schema,
            floats: HashSet::new(),
        })
    }

    fn refusal(&self, table: &str, mut reject: Expr, schema: &SchemaRef) -> Bind<Refusal> {
        self.names.expand(&mut reject);
        let refusal = Refusal::new(self.context, &reject.to_string(), schema);
        refusal.map_err(|e| self.script.error(self.lines[table], format!("reject of {table}: {}", e.strip_backtrace())))
    }

    fn layout(&self, table: &str, schema: SchemaRef) -> Bind<Layout> {
        let clauses = self.clauses(table);
        if clauses.keep.is_none() {
            return Err(self.declare(table, "keep"));
        }
        let key = self.key(table, &schema, &clauses)?;
        let time = self.position(table, &schema, &self.time_column(table, &clauses)?)?;
        if !key.contains(&time) {
            return Err(self.script.error(
                self.lines[table],
                format!("the key of {table} leaves out its time: a key's rows live at one time"),
            ));
        }
        let mut lattices = Vec::new();
        for (column, lattice) in clauses.merge.iter().filter(|(column, _)| !self.names.leaves_out(column)) {
            let lattice = Lattice::named(lattice, self.binding.approximate)
                .map_err(|e| self.script.error(self.lines[table], e))?;
            lattices.push((self.position(table, &schema, column)?, lattice));
        }
        let retracted = schema.index_of("retracted").ok();
        Ok(Layout {
            key,
            time,
            keep: self.interval(table, clauses.keep)?,
            lattices,
            retracted,
            lookups: Vec::new(),
            schema,
        })
    }

    async fn output(&mut self, name: &str, view: &str) -> Bind<Output> {
        let clauses = self.clauses(view);
        let relation = self.names.relations.get(view).cloned().unwrap_or_default();
        let error = |reason: String| self.script.error(self.lines[view], reason);
        let Some(mut time) = clauses.time.clone() else { return Err(self.declare(view, "time")) };
        self.names.clause(&mut time, &relation);
        let timed = format!("select *, {time} as _time from {view}");
        let parsed = Script::parse(&self.script.name, &timed)?.statements;
        let Some(Statement::Query(query)) = parsed.into_iter().next().map(|stated| stated.statement) else {
            return Err(error(format!("{time} is no expression")));
        };
        let timed = format!("timed.{name}");
        let plan = register_view(self.context, &timed, &query).await.map_err(|e| error(e.strip_backtrace()))?;
        self.pass &= self.runs.pass(&plan).map_err(|e| error(e.strip_backtrace()))?;
        let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        if *schema.field(schema.fields().len() - 1).data_type() != TIME {
            return Err(error(format!("the time of {view}, {time}, is no timestamp")));
        }
        let key = self.key(view, &schema, &clauses)?.into_iter().map(|at| schema.field(at).name().clone());
        let key: Vec<String> = key.collect();
        let greatest = clauses.greatest.iter().flat_map(|column| self.names.column(column, &relation.rows));
        let greatest: Vec<String> = greatest.collect();
        for column in &greatest {
            self.position(view, &schema, column)?;
        }
        let group = clauses.group.iter().flat_map(|column| self.names.column(column, &relation.rows));
        let group: Vec<String> = group.collect();
        if !key.starts_with(&group) {
            return Err(error(format!("the group of {view} is not how its key begins: ({})", key.join(", "))));
        }
        let group = if group.is_empty() { key.len() } else { group.len() };
        let retracts = schema.index_of("retracted").is_ok();
        let holds = clauses.hold.into_iter().find(|hold| hold.columns.is_empty()).map(|hold| hold.input);
        if let Some(input) = holds.as_ref().filter(|input| !self.schemas.contains_key(&format!("batch.{input}"))) {
            return Err(error(format!("there is no batch.{input} that {view} could hold")));
        }
        self.views.push((timed, *query));
        let schema = self.runs.unpacked_schema(&schema);
        Ok(Output { name: name.to_owned(), schema, key, greatest, group, holds, agrees: false, retracts })
    }

    fn delta(&self, name: &str, view: &str) -> Bind<()> {
        let error = |reason: String| Err(self.script.error(self.lines[view], reason));
        let Some(state) = self.schemas.get(&format!("state.{name}")) else {
            return error(format!("there is no state.{name} for {view} to go to"));
        };
        let delta = &self.schemas[view];
        match state.fields().iter().find(|field| delta.field_with_name(field.name()).is_err()) {
            Some(missing) => error(format!("{view} has no column {}, which state.{name} has", missing.name())),
            None => Ok(()),
        }
    }

    fn key(&self, table: &str, schema: &Schema, clauses: &Clauses) -> Bind<Vec<usize>> {
        let rows = self.names.relations.get(table).map(|relation| relation.rows.clone()).unwrap_or_default();
        if clauses.key.is_empty() {
            return Err(self.declare(table, "key"));
        }
        let columns = clauses.key.iter().flat_map(|column| self.names.column(column, &rows));
        columns.map(|column| self.position(table, schema, &column)).collect()
    }

    fn time_column(&self, table: &str, clauses: &Clauses) -> Bind<String> {
        let Some(mut time) = clauses.time.clone() else { return Err(self.declare(table, "time")) };
        let relation = self.names.relations.get(table).cloned().unwrap_or_default();
        self.names.clause(&mut time, &relation);
        match time {
            Expr::Identifier(column) => Ok(column.value),
            other => Err(self.script.error(self.lines[table], format!("the time of {table} is a column, not {other}"))),
        }
    }

    fn position(&self, table: &str, schema: &Schema, column: &str) -> Bind<usize> {
        let line = self.lines.get(table).copied().unwrap_or(1);
        schema.index_of(column).map_err(|_| self.script.error(line, format!("{table} has no column {column}")))
    }

    /// The microseconds of a clause; none is zero.
    fn interval(&self, table: &str, clause: Option<Expr>) -> Bind<i64> {
        let Some(mut clause) = clause else { return Ok(0) };
        self.names.clause(&mut clause, &Relation::default());
        let line = self.lines.get(table).copied().unwrap_or(1);
        let error = |reason: String| self.script.error(line, format!("{clause}: {reason}"));
        let value = constant(self.context, &clause).map_err(error)?;
        microseconds(&value).ok_or_else(|| error(format!("{value} is no interval of days or less")))
    }
}

/// The value of an expression without columns.
pub(crate) fn constant(context: &SessionContext, expr: &Expr) -> Result<ScalarValue, String> {
    let schema = DFSchema::empty();
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &row).map_err(|e| e.to_string())?;
    let value = context
        .parse_sql_expr(&expr.to_string(), &schema)
        .and_then(|logical| context.create_physical_expr(logical, &schema))
        .and_then(|physical| physical.evaluate(&row)?.into_array(1))
        .and_then(|value| ScalarValue::try_from_array(&value, 0));
    value.map_err(|e| e.strip_backtrace())
}

/// The microseconds of an interval of days or less.
pub(crate) fn microseconds(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Some(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds.div_euclid(1_000))
        }
        _ => None,
    }
}
