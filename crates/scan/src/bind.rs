//! From a script and its inputs to checked declarations and queries: every way to break the contract ends here, with the
//! line and the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::ScalarValue;
use datafusion::common::TableReference;
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{CommentObject, CreateTable, Expr, Query, SelectItem, SetExpr, Statement};

use crate::binding::{Binding, TIME, canonical};
use crate::clause::Clauses;
use crate::contract::breach;
use crate::expand::{Names, Relation, named};
use crate::lattice::Lattice;
use crate::script::{Script, ScriptError, Stated};
use crate::slot::{Slot, SlotTable};
use crate::table::Layout;

/// The schemas that a script's names live in.
pub(crate) const SCHEMAS: [&str; 5] = ["batch", "state", "delta", "next", "output"];

/// An input of f.
#[derive(Clone, Debug)]
pub struct Input {
    /// As in `batch.NAME`.
    pub name: String,
    /// The columns that the script sees.
    pub schema: SchemaRef,
    /// The event time column.
    pub time: String,
    /// Microseconds by which the rows that make an hour's output reach back before the hour.
    pub before: i64,
    /// And beyond its end.
    pub after: i64,
}

/// An output of f.
#[derive(Clone, Debug)]
pub struct Output {
    /// As in `output.NAME`.
    pub name: String,
    /// Its columns, then `_time`: the event time that says in which hour the row lives.
    pub schema: SchemaRef,
    /// The columns that tell one row from another.
    pub key: Vec<String>,
    /// Of two rows with one key the one stands that is greater in these; where empty, the lesser in all columns.
    pub greatest: Vec<String>,
    /// Whether it has the boolean column `retracted`: true wins, and such a row does not stand.
    pub retracts: bool,
}

/// A script that kept its contract.
pub(crate) struct Bound {
    pub inputs: Vec<Input>,
    pub states: BTreeMap<String, Layout>,
    pub outputs: Vec<Output>,
    /// The views in order, with what they select from `output.NAME` and its time as `output.NAME` and `timed.NAME`.
    pub views: Vec<(String, Query)>,
}

/// Binds a script; `context` gives the functions.
pub(crate) async fn bind(script: &Script, binding: &Binding, context: &SessionContext) -> Result<Bound, ScriptError> {
    let mut binder = Binder {
        script,
        binding,
        context,
        names: Names { columns: binding.columns.clone(), ..Names::default() },
        clauses: BTreeMap::new(),
        lines: BTreeMap::new(),
        schemas: BTreeMap::new(),
        views: Vec::new(),
    };
    register_schemas(context).map_err(|e| script.error(1, e.to_string()))?;
    for stated in &script.statements {
        binder.statement(stated).await?;
    }
    binder.finish().await
}

/// Makes the schemas of scripts known to a session.
pub(crate) fn register_schemas(context: &SessionContext) -> datafusion::error::Result<()> {
    for schema in SCHEMAS.iter().chain(["timed"].iter()) {
        for catalog in context.catalog_names() {
            if let Some(catalog) = context.catalog(&catalog) {
                catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
            }
        }
    }
    Ok(())
}

/// Plans a query and makes it known as a view.
pub(crate) async fn register_view(
    context: &SessionContext,
    name: &str,
    query: &Query,
) -> datafusion::error::Result<LogicalPlan> {
    let statement = PlannerStatement::Statement(Box::new(Statement::Query(Box::new(query.clone()))));
    let plan = context.state().statement_to_plan(statement).await?;
    let reference = TableReference::parse_str(name);
    context.register_table(reference, Arc::new(ViewTable::new(plan.clone(), None)))?;
    Ok(plan)
}

struct Binder<'a> {
    script: &'a Script,
    binding: &'a Binding,
    context: &'a SessionContext,
    names: Names,
    clauses: BTreeMap<String, Clauses>,
    lines: BTreeMap<String, u64>,
    schemas: BTreeMap<String, SchemaRef>,
    views: Vec<(String, Query)>,
}

type Bind<T> = Result<T, ScriptError>;

impl Binder<'_> {
    async fn statement(&mut self, stated: &Stated) -> Bind<()> {
        match &stated.statement {
            Statement::CreateSchema { schema_name, .. } => {
                let name = schema_name.to_string();
                let known = SCHEMAS.contains(&name.as_str()) || name == "side";
                if known {
                    Ok(())
                } else {
                    Err(self
                        .script
                        .error(stated.line, format!("{name} is no schema of scripts: {} are", SCHEMAS.join(", "))))
                }
            }
            Statement::CreateTable(table) => self.table(stated, table).await,
            Statement::CreateView(view) if named(&view.name) == "param" => self.param(stated, &view.query),
            Statement::CreateView(view) => self.view(stated, &named(&view.name), &view.query).await,
            Statement::Comment {
                object_type: CommentObject::Table | CommentObject::View,
                object_name,
                comment,
                ..
            } => {
                let text = comment.clone().unwrap_or_default();
                let clauses = Clauses::parse(&text).map_err(|e| self.script.error(stated.line, e))?;
                self.clauses.insert(named(object_name), clauses);
                Ok(())
            }
            other => {
                let words: Vec<String> = other.to_string().split(' ').take(2).map(str::to_lowercase).collect();
                let reason = format!(
                    "{} is not for scripts: create schema, table or view, and comment on them",
                    words.join(" ")
                );
                Err(self.script.error(stated.line, reason))
            }
        }
    }

    fn param(&mut self, stated: &Stated, query: &Query) -> Bind<()> {
        let error = |reason: String| self.script.error(stated.line, reason);
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(error("param is one row: create view param as select VALUE as NAME, …".to_owned()));
        };
        for item in &select.projection {
            let SelectItem::ExprWithAlias { expr, alias } = item else {
                return Err(error(format!("{item} has no name: write {item} as NAME")));
            };
            let given =
                self.binding.params.get(&alias.value).map(|literal| literal.expr()).transpose().map_err(error)?;
            self.names.params.insert(alias.value.clone(), given.unwrap_or_else(|| expr.clone()));
        }
        match self.binding.params.keys().find(|name| !self.names.params.contains_key(*name)) {
            Some(name) => Err(error(format!("param has no {name}, which the command line sets"))),
            None => Ok(()),
        }
    }

    async fn table(&mut self, stated: &Stated, table: &CreateTable) -> Bind<()> {
        let name = named(&table.name);
        let declared = self.declared(stated, table).await?;
        let (schema, slot) = match name.split_once('.') {
            Some(("batch", input)) => (self.input(stated, input, &declared)?, Slot::Batch(input.to_owned())),
            Some(("state", state)) => (Arc::new(canonical(&declared)), Slot::State(state.to_owned())),
            Some(("side", _)) => {
                return Err(self.script.error(stated.line, "side inputs are not here yet: join them before ingest"));
            }
            _ => {
                return Err(self
                    .script
                    .error(stated.line, format!("{name} is in no schema: write batch.{name} or state.{name}")));
            }
        };
        self.know(stated, &name, schema, Vec::new(), Arc::new(slot)).await
    }

    async fn know(
        &mut self,
        stated: &Stated,
        name: &str,
        schema: SchemaRef,
        rows: Vec<String>,
        slot: Arc<Slot>,
    ) -> Bind<()> {
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let provider = Arc::new(SlotTable { slot: slot.as_ref().clone(), schema: schema.clone() });
        let registered = self.context.register_table(TableReference::parse_str(name), provider);
        registered.map_err(|e| self.script.error(stated.line, e.to_string()))?;
        self.names.relations.insert(name.to_owned(), Relation { columns, rows });
        self.lines.insert(name.to_owned(), stated.line);
        self.schemas.insert(name.to_owned(), schema);
        Ok(())
    }

    /// The columns a table is declared with, the command line's in place of the script's.
    async fn declared(&self, stated: &Stated, table: &CreateTable) -> Bind<Schema> {
        let error = |e: String| self.script.error(stated.line, e);
        if let Some(query) = &table.query {
            let mut query = query.as_ref().clone();
            self.names.query(&mut query).map_err(error)?;
            let statement = PlannerStatement::Statement(Box::new(Statement::Query(Box::new(query))));
            let plan =
                self.context.state().statement_to_plan(statement).await.map_err(|e| error(e.strip_backtrace()))?;
            return Ok(plan.schema().as_arrow().clone());
        }
        let plain = Statement::CreateTable(CreateTable { or_replace: true, ..table.clone() });
        let plan = self.context.state().statement_to_plan(PlannerStatement::Statement(Box::new(plain))).await;
        let plan = plan.map_err(|e| error(e.strip_backtrace()))?;
        let Some(input) = plan.inputs().first().copied() else { return Err(error("a table needs columns".to_owned())) };
        let mut fields = Vec::new();
        for field in canonical(input.schema().as_arrow()).fields() {
            for column in self.names.column(field.name(), &[]) {
                fields.push(Field::new(&column, self.type_of(&column).unwrap_or(field.data_type().clone()), true));
            }
        }
        Ok(Schema::new(fields))
    }

    /// The type that an input gives a column.
    fn type_of(&self, column: &str) -> Option<DataType> {
        let schemas = self.binding.inputs.values();
        schemas
            .filter_map(|schema| schema.field_with_name(column).ok())
            .map(|field| canonical(&Schema::new(vec![field.clone()])))
            .next()
            .map(|schema| schema.field(0).data_type().clone())
    }

    /// An input as the script sees it: all its columns, but those with `_` only where the script names them.
    fn input(&self, stated: &Stated, name: &str, declared: &Schema) -> Bind<SchemaRef> {
        let Some(given) = self.binding.inputs.get(name) else { return Ok(Arc::new(declared.clone())) };
        let given = canonical(given);
        for field in declared.fields() {
            let Ok(actual) = given.field_with_name(field.name()) else {
                if field.name().starts_with('_') {
                    continue;
                }
                let has: Vec<&str> = given.fields().iter().map(|field| field.name().as_str()).collect();
                let reason = format!("input {name} has no column {}; it has {}", field.name(), has.join(", "));
                return Err(self.script.error(stated.line, reason));
            };
            if *field.data_type() == TIME && *actual.data_type() != TIME {
                let reason =
                    format!("column {} of input {name} is {}, and not a timestamp", field.name(), actual.data_type());
                return Err(self.script.error(stated.line, reason));
            }
        }
        let mut fields: Vec<Arc<Field>> =
            given.fields().iter().filter(|field| !field.name().starts_with('_')).cloned().collect();
        fields.extend(declared.fields().iter().filter(|field| field.name().starts_with('_')).cloned());
        Ok(Arc::new(Schema::new(fields)))
    }

    async fn view(&mut self, stated: &Stated, name: &str, query: &Query) -> Bind<()> {
        let mut query = query.clone();
        let relation = self.names.query(&mut query).map_err(|e| self.script.error(stated.line, e))?;
        let planned = register_view(self.context, name, &query).await;
        let plan = planned.map_err(|e| self.script.error(stated.line, e.strip_backtrace()))?;
        if let Some((word, why)) = breach(&plan).map_err(|e| self.script.error(stated.line, e.to_string()))? {
            return Err(self.script.error(stated.line_of(&word), format!("{word} is not for scripts: {why}")));
        }
        let schema = Arc::new(plan.schema().as_arrow().clone());
        match name.split_once('.') {
            None | Some(("delta" | "output", _)) => {
                let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
                self.names.relations.insert(name.to_owned(), Relation { columns, rows: relation.rows });
            }
            Some(("next", table)) => {
                let Some(state) = self.schemas.get(&format!("state.{table}")).cloned() else {
                    return Err(self
                        .script
                        .error(stated.line, format!("there is no state.{table} that next.{table} could be of")));
                };
                // In a step it is what the merge touched, and no view.
                let reference = TableReference::parse_str(name);
                self.context.deregister_table(reference).map_err(|e| self.script.error(stated.line, e.to_string()))?;
                self.know(stated, name, state, relation.rows, Arc::new(Slot::Next(table.to_owned()))).await?;
            }
            Some((schema, _)) => {
                return Err(self.script.error(stated.line, format!("a view is no {schema}: write create table")));
            }
        }
        self.lines.insert(name.to_owned(), stated.line);
        self.schemas.insert(name.to_owned(), schema);
        self.views.push((name.to_owned(), query));
        Ok(())
    }

    async fn finish(mut self) -> Bind<Bound> {
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
        Ok(Bound { inputs, states, outputs, views: self.views })
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
            schema,
        })
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
        for (column, lattice) in &clauses.merge {
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
        let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        if *schema.field(schema.fields().len() - 1).data_type() != TIME {
            return Err(error(format!("the time of {view}, {time}, is no timestamp")));
        }
        let key = self.key(view, &schema, &clauses)?.into_iter().map(|at| schema.field(at).name().clone()).collect();
        let greatest = clauses.greatest.iter().flat_map(|column| self.names.column(column, &relation.rows));
        let greatest: Vec<String> = greatest.collect();
        for column in &greatest {
            self.position(view, &schema, column)?;
        }
        let retracts = schema.index_of("retracted").is_ok();
        self.views.push((timed, *query));
        Ok(Output { name: name.to_owned(), schema, key, greatest, retracts })
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
        let schema = datafusion::common::DFSchema::empty();
        let logical =
            self.context.parse_sql_expr(&clause.to_string(), &schema).map_err(|e| error(e.strip_backtrace()))?;
        let physical = self.context.create_physical_expr(logical, &schema).map_err(|e| error(e.strip_backtrace()))?;
        let row = arrow::array::RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
        );
        let row = row.map_err(|e| error(e.to_string()))?;
        let value = physical
            .evaluate(&row)
            .and_then(|value| value.into_array(1))
            .and_then(|value| ScalarValue::try_from_array(&value, 0));
        match value.map_err(|e| error(e.strip_backtrace()))? {
            ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
                Ok(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds.div_euclid(1_000))
            }
            other => Err(error(format!("{other} is no interval of days or less"))),
        }
    }
}
