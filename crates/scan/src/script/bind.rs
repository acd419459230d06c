//! From a script and its inputs to checked declarations and queries: every way to break the contract ends here, with the
//! line and the reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{CommentObject, CreateTable, Expr, Query, Statement, visit_expressions};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use event_time::TIME;

use crate::exec::slot::{Slot, SlotTable};
use crate::refusal::Refusal;
use crate::script::binding::{Binding, canonical, canonical_type};
use crate::script::clause::Clauses;
use crate::script::contract::breach;
use crate::script::declare::constant;
use crate::script::depth::too_deep_text;
use crate::script::expand::{Names, PARAM, named_items, plain_items};
use crate::script::relation::{Relation, named};
use crate::script::wide::{Runs, Words};
use crate::script::{Script, ScriptError, Stated};
use crate::state::layout::Layout;

/// The schemas that a script's names live in.
pub(crate) const SCHEMAS: [&str; 5] = ["batch", "state", "delta", "next", "output"];

/// An input of f.
#[derive(Clone, Debug)]
pub struct Input {
    /// As in `batch.NAME`.
    pub name: String,
    /// The columns that the script sees.
    pub schema: SchemaRef,
    /// The same as the planner sees them: of a wide input with runs of columns as one.
    pub(crate) seen: SchemaRef,
    /// The event time column.
    pub time: String,
    /// Microseconds by which the rows that make an hour's output reach back before the hour.
    pub before: i64,
    /// And beyond its end.
    pub after: i64,
    /// The columns of floats that the script names, and may compare.
    pub(crate) floats: HashSet<String>,
    /// Which of its rows f refuses.
    pub(crate) refusal: Option<Refusal>,
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
    /// How many of the first columns of the key make a group; of a group only the rows stand that are greatest. Where
    /// it is all of them, each row stands for itself.
    pub group: usize,
    /// The input of which it is all rows, once each, where the script says so.
    pub holds: Option<String>,
    /// Whether rows of one key, or of one group, must say the same: those of several regions.
    pub agrees: bool,
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
    /// The runs of columns that are one to the planner.
    pub runs: Runs,
    /// Whether these pass through all views as their columns would.
    pub pass: bool,
}

/// Binds a script; `context` gives the functions. Of wide inputs the columns that `words` do not name are packed in runs;
/// without words none are.
pub(crate) async fn bind(
    script: &Script,
    binding: &Binding,
    context: &SessionContext,
    words: Option<&Words>,
) -> Result<Bound, ScriptError> {
    let mut binder = Binder {
        script,
        binding,
        context,
        names: Names {
            columns: binding.columns.clone(),
            expressions: expressions(script, binding)?,
            ..Names::default()
        },
        clauses: BTreeMap::new(),
        lines: BTreeMap::new(),
        schemas: BTreeMap::new(),
        views: Vec::new(),
        words,
        whole: BTreeMap::new(),
        runs: Runs::default(),
        pass: true,
    };
    register_schemas(context).map_err(|e| script.error(1, e.to_string()))?;
    for stated in &script.statements {
        binder.statement(stated).await?;
    }
    binder.finish().await
}

/// The command line's expressions, parsed.
fn expressions(script: &Script, binding: &Binding) -> Bind<BTreeMap<String, Vec<Expr>>> {
    let parsed = |(name, texts): (&String, &Vec<String>)| {
        let parse = |text: &String| {
            if let Some(why) = too_deep_text(text) {
                return Err(script.error(1, why));
            }
            let parser = Parser::new(&GenericDialect {}).try_with_sql(text);
            let parsed = parser.and_then(|mut parser| {
                let expr = parser.parse_expr()?;
                parser.expect_token(&Token::EOF)?;
                Ok(expr)
            });
            let parsed = parsed.map_err(|e| script.error(1, format!("{text:?} is no expression: {e}")))?;
            let query = visit_expressions(&parsed, |expr| match expr {
                Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            });
            if query.is_break() {
                return Err(script.error(1, format!("{text:?} asks a query: an expression is about one row")));
            }
            Ok(parsed)
        };
        Ok((name.clone(), texts.iter().map(parse).collect::<Result<_, _>>()?))
    };
    binding.expressions.iter().map(parsed).collect()
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

/// The parameters of a script, with the command line's values in place of its own.
pub(crate) fn params(query: &Query, binding: &Binding) -> Result<BTreeMap<String, Expr>, String> {
    let Some(items) = plain_items(query) else {
        return Err("param is one row: create view param as select VALUE as NAME, …".to_owned());
    };
    let mut params = BTreeMap::new();
    for (name, expr) in named_items(items)? {
        let given = binding.params.get(&name).map(|literal| literal.expr()).transpose()?;
        params.insert(name, given.unwrap_or(expr));
    }
    match binding.params.keys().find(|name| !params.contains_key(*name)) {
        Some(name) => Err(format!("param has no {name}, which the command line sets")),
        None => Ok(params),
    }
}

pub(crate) struct Binder<'a> {
    pub(crate) script: &'a Script,
    pub(crate) binding: &'a Binding,
    pub(crate) context: &'a SessionContext,
    pub(crate) names: Names,
    pub(crate) clauses: BTreeMap<String, Clauses>,
    pub(crate) lines: BTreeMap<String, u64>,
    pub(crate) schemas: BTreeMap<String, SchemaRef>,
    pub(crate) views: Vec<(String, Query)>,
    words: Option<&'a Words>,
    /// The columns of each input, none of them packed.
    pub(crate) whole: BTreeMap<String, SchemaRef>,
    pub(crate) runs: Runs,
    pub(crate) pass: bool,
}

pub(crate) type Bind<T> = Result<T, ScriptError>;

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
            Statement::CreateView(view) if named(&view.name) == PARAM => self.param(stated, &view.query),
            Statement::CreateView(view) => {
                let decided = if view.name.0.len() == 1 { self.names.decided(&view.query) } else { Ok(None) };
                match decided.map_err(|reason| self.script.error(stated.line, reason))? {
                    Some(constants) => self.constants(stated, &named(&view.name), constants),
                    None => self.view(stated, &named(&view.name), &view.query).await,
                }
            }
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
        let params = params(query, self.binding).map_err(|reason| self.script.error(stated.line, reason))?;
        self.constants(stated, PARAM, params)
    }

    /// Makes a view of one row known, of which every column must have a value without any table.
    fn constants(&mut self, stated: &Stated, name: &str, constants: BTreeMap<String, Expr>) -> Bind<()> {
        for (column, expr) in &constants {
            let value = constant(self.context, expr);
            value.map_err(|e| self.script.error(stated.line, format!("{column} of {name} is no constant: {e}")))?;
        }
        self.names.constants.insert(name.to_owned(), constants);
        Ok(())
    }

    async fn table(&mut self, stated: &Stated, table: &CreateTable) -> Bind<()> {
        let name = named(&table.name);
        let declared = self.declared(stated, table).await?;
        let (schema, slot) = match name.split_once('.') {
            Some(("batch", input)) => {
                let whole = self.input(stated, input, &declared)?;
                let seen = self.words.map_or_else(|| whole.clone(), |words| self.runs.packed(&whole, words));
                self.whole.insert(input.to_owned(), whole);
                (seen, Slot::Batch(input.to_owned()))
            }
            Some(("state", state)) => (Arc::new(canonical(&declared)), Slot::State(state.to_owned())),
            Some(("side", _)) => {
                let reason = "a script declares no side inputs: --side NAME=URI adds their columns to its inputs";
                return Err(self.script.error(stated.line, reason));
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
        let relation = Relation { columns, rows, ..Relation::default() };
        self.names.relations.insert(name.to_owned(), relation);
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
        let (mut fields, mut known) = (Vec::new(), HashSet::new());
        let given = self.given();
        let written = |field: &&Arc<Field>| !self.names.expressions.contains_key(field.name());
        for field in canonical(input.schema().as_arrow()).fields().iter().filter(written) {
            for column in self.names.column(field.name(), &[]) {
                if known.insert(column.clone()) {
                    let kind =
                        given.get(column.as_str()).map_or_else(|| field.data_type().clone(), |of| canonical_type(of));
                    fields.push(Field::new(column, kind, true));
                }
            }
        }
        Ok(Schema::new(fields))
    }

    /// The types that inputs give columns; of two inputs with one column the first.
    fn given(&self) -> HashMap<&str, &DataType> {
        let fields = self.binding.inputs.values().rev().flat_map(|schema| schema.fields());
        fields.map(|field| (field.name().as_str(), field.data_type())).collect()
    }

    /// An input as the script sees it: all its columns, but those with `_` only where the script names them.
    fn input(&self, stated: &Stated, name: &str, declared: &Schema) -> Bind<SchemaRef> {
        let Some(given) = self.binding.inputs.get(name) else { return Ok(Arc::new(declared.clone())) };
        let given = canonical(given);
        let types: HashMap<&str, &Field> =
            given.fields().iter().map(|field| (field.name().as_str(), &**field)).collect();
        for field in declared.fields() {
            let Some(actual) = types.get(field.name().as_str()) else {
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
        self.pass &= self.runs.pass(&plan).map_err(|e| self.script.error(stated.line, e.to_string()))?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        match name.split_once('.') {
            None | Some(("delta" | "output", _)) => {
                let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
                self.names.relations.insert(name.to_owned(), Relation { columns, ..relation });
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
}
