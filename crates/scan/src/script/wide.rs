//! Inputs of many columns. The engine's planner looks columns up by their names, one after another, several times for each
//! table and view, so that planning takes time with the square of their number. Most columns of a wide input only pass
//! through f. So each run of neighbouring columns that nothing names is one column to the planner, a struct, and becomes
//! columns again behind it: in their places, so that names and order stay as they are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::script::Script;
use crate::script::binding::{Binding, Literal};

/// An input with fewer columns that nothing names is left as it is.
const MANY: usize = 100;

/// What is in the name of each run, between the names of its first column and its last.
const TO: &str = " … ";

/// Whether a column stands for a run of columns.
pub(crate) fn is_run(field: &Field) -> bool {
    run_of(field).is_some()
}

/// The columns that a column stands for.
pub(crate) fn run_of(field: &Field) -> Option<&Fields> {
    match field.data_type() {
        DataType::Struct(columns) if field.name().contains(TO) => Some(columns),
        _ => None,
    }
}

/// The words by which a script and what it is bound to may name columns: in lower case, also without a row's name before
/// them.
pub(crate) struct Words(HashSet<String>);

impl Words {
    /// The words of queries, clauses and expressions. What columns a table is declared with names none to be worked with.
    pub(crate) fn of(script: &Script, binding: &Binding) -> Self {
        let mut words = Self(HashSet::new());
        for stated in &script.statements {
            if !matches!(&stated.statement, Statement::CreateTable(table) if table.query.is_none()) {
                stated.tokens.iter().for_each(|token| words.take(&token.token));
            }
        }
        binding.expressions.values().flatten().for_each(|text| words.read(text));
        for literal in binding.params.values() {
            if let Literal::Text(text) = literal {
                words.read(text);
            }
        }
        let stands_for = |(word, columns): (&String, &Vec<String>)| words.has(word).then(|| columns.clone());
        let columns: Vec<String> = binding.columns.iter().filter_map(stands_for).flatten().collect();
        columns.iter().for_each(|column| words.add(column));
        words
    }

    fn read(&mut self, text: &str) {
        self.add(text);
        match Tokenizer::new(&GenericDialect {}, text).tokenize() {
            Ok(tokens) => tokens.iter().for_each(|token| self.take(token)),
            Err(_) => text.split(|c: char| !c.is_alphanumeric() && c != '_').for_each(|word| self.add(word)),
        }
    }

    fn take(&mut self, token: &Token) {
        match token {
            Token::Word(word) => self.add(&word.value),
            Token::SingleQuotedString(text) => self.read(text),
            _ => {}
        }
    }

    fn add(&mut self, word: &str) {
        let word = word.to_lowercase();
        self.0.extend(word.match_indices('_').map(|(at, _)| word[at + 1..].to_owned()));
        self.0.insert(word);
    }

    /// The columns of floats that may be named.
    pub(crate) fn floats(&self, schema: &Schema) -> HashSet<String> {
        let floats = schema.fields().iter().filter(|field| field.data_type().is_floating());
        floats.map(|field| field.name().clone()).filter(|name| self.has(name)).collect()
    }

    fn has(&self, column: &str) -> bool {
        self.0.contains(&column.to_lowercase())
    }
}

/// The runs of all inputs, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(BTreeMap<String, Fields>);

impl Runs {
    /// The columns of an input with each run as one. A natural join names all columns.
    pub(crate) fn packed(&mut self, schema: &SchemaRef, words: &Words) -> SchemaRef {
        let passes = |field: &Arc<Field>| !field.name().starts_with('_') && !words.has(field.name());
        if words.has("natural") || schema.fields().iter().filter(|field| passes(field)).count() < MANY {
            return schema.clone();
        }
        let mut fields = Vec::new();
        for run in schema.fields().chunk_by(|one, next| passes(one) && passes(next)) {
            match run {
                [first, .., last] => fields.push(self.run(&format!("{}{TO}{}", first.name(), last.name()), run)),
                other => fields.extend(other.iter().cloned()),
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Runs of the same columns have the same name, as columns of two inputs have.
    fn run(&mut self, name: &str, columns: &[Arc<Field>]) -> Arc<Field> {
        let (columns, mut name) = (Fields::from(columns), name.to_owned());
        while self.0.get(&name).is_some_and(|known| *known != columns) {
            name.push('\'');
        }
        self.0.insert(name.clone(), columns.clone());
        Arc::new(Field::new(name, DataType::Struct(columns), true))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows, or their schema, with the columns of runs in their places. A run of a row `impression` has columns of that row.
    pub(crate) fn unpacked_schema(&self, schema: &SchemaRef) -> SchemaRef {
        if self.is_empty() {
            return schema.clone();
        }
        let mut fields = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            match run_of(field) {
                Some(columns) => {
                    let row = self.row_of(field.name());
                    let named =
                        |of: &Arc<Field>| Field::new(format!("{row}{}", of.name()), of.data_type().clone(), true);
                    fields.extend(columns.iter().map(|column| Arc::new(named(column))));
                }
                None => fields.push(field.clone()),
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// What stands before the name of a run: `impression_`, or nothing.
    fn row_of<'a>(&self, name: &'a str) -> &'a str {
        self.0.keys().filter_map(|run| name.strip_suffix(run.as_str())).min_by_key(|row| row.len()).unwrap_or_default()
    }

    /// Rows with the columns of runs in their places.
    pub(crate) fn unpacked(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.is_empty() || !rows.schema_ref().fields().iter().any(|field| is_run(field)) {
            return Ok(rows);
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            if !is_run(field) {
                columns.push(column.clone());
                continue;
            }
            let run = column.as_struct();
            // An outer join, or a union by name, has no run for some rows.
            let missing =
                run.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| BooleanArray::new(!nulls.inner(), None));
            for column in run.columns() {
                columns.push(missing.as_ref().map_or_else(|| Ok(column.clone()), |missing| nullif(column, missing))?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.unpacked_schema(&rows.schema()), columns, &options)?)
    }

    /// Whether runs pass through a view as their columns would: nothing is worked out of a run, no two runs are united that
    /// differ, and the view has each column once.
    pub(crate) fn pass(&self, view: &LogicalPlan) -> Result<bool> {
        if self.is_empty() {
            return Ok(true);
        }
        let columns = self.unpacked_schema(view.schema().inner());
        let mut names = HashSet::new();
        let mut passes = columns.fields().iter().all(|field| names.insert(field.name().as_str()));
        view.apply_with_subqueries(|node| {
            passes = passes && passes_node(node)?;
            Ok(if passes { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        Ok(passes)
    }
}

fn passes_node(node: &LogicalPlan) -> Result<bool> {
    let fields = |plan: &LogicalPlan| plan.schema().inner().clone();
    match node {
        LogicalPlan::Projection(projection) => Ok(projection.expr.iter().all(|of| is_column(of) || !asks_a_run(of))),
        LogicalPlan::Distinct(_) => Ok(!fields(node).fields().iter().any(|field| is_run(field))),
        LogicalPlan::Union(union) => {
            let inputs: Vec<SchemaRef> = union.inputs.iter().map(|input| fields(input)).collect();
            let same = |(at, of): (usize, &Arc<Field>)| {
                inputs.iter().all(|input| {
                    let kind = input.field(at).data_type();
                    !(is_run(of) || is_run(input.field(at))) || kind == of.data_type() || *kind == DataType::Null
                })
            };
            Ok(fields(node).fields().iter().enumerate().all(same))
        }
        other => {
            let mut asked = false;
            other.apply_expressions(|of| {
                asked |= asks_a_run(of);
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok(!asked)
        }
    }
}

fn is_column(of: &Expr) -> bool {
    match of {
        Expr::Column(_) => true,
        Expr::Alias(alias) => is_column(&alias.expr),
        _ => false,
    }
}

fn asks_a_run(of: &Expr) -> bool {
    of.column_refs().iter().any(|column| column.name.contains(TO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lattice::Detail;
    use crate::scan::{session, template_config};
    use crate::script::bind::{Bound, bind};
    use datafusion::execution::runtime_env::RuntimeEnv;
    use event_time::TIME;

    /// Columns that scripts name, among and around many that none does.
    fn wide(kinds: &[DataType]) -> SchemaRef {
        let other = |n: usize| Field::new(format!("\"Odd\" name {n}"), kinds[n % kinds.len()].clone(), true);
        let text = |name: &str| Field::new(name, DataType::Utf8View, true);
        let mut fields: Vec<Field> = (0..500).map(other).collect();
        fields.extend([text("event_id"), Field::new("ts", TIME, true)]);
        fields.extend((500..900).map(other));
        fields.extend(["request_id", "profile_id", "video_id", "subject", "row"].map(text));
        fields.extend((900..1_000).map(other));
        Arc::new(Schema::new(fields))
    }

    async fn bound(sql: &str, inputs: &[(&str, &SchemaRef)], packed: bool) -> Bound {
        let inputs = inputs.iter().map(|(name, schema)| ((*name).to_owned(), (*schema).clone())).collect();
        let (script, binding) = (Script::parse("script", sql).unwrap(), Binding { inputs, ..Binding::default() });
        let context = session(&template_config(), vec![], Arc::new(RuntimeEnv::default()), false, Detail::Whole);
        let words = packed.then(|| Words::of(&script, &binding));
        bind(&script, &binding, &context, words.as_ref()).await.unwrap()
    }

    const KINDS: [DataType; 3] = [DataType::Int64, DataType::Utf8View, DataType::Float64];

    #[tokio::test]
    async fn a_wide_input_is_few_columns_to_the_planner_and_outputs_have_the_columns_that_they_had() {
        let (same, other) = (wide(&KINDS), wide(&[DataType::Boolean]));
        for (sql, inputs) in [
            (include_str!("../../../../sql/ingest.sql"), vec![("events", &same)]),
            (include_str!("../../../../sql/join.sql"), vec![("impressions", &same), ("plays", &same)]),
            (include_str!("../../../../sql/join.sql"), vec![("impressions", &same), ("plays", &other)]),
            (include_str!("../../../../sql/aggregate.sql"), vec![("impressions", &same), ("plays", &same)]),
            (include_str!("../../../../sql/attribute.sql"), vec![("impressions", &same), ("plays", &other)]),
        ] {
            let (packed, plain) = (bound(sql, &inputs, true).await, bound(sql, &inputs, false).await);
            assert!(packed.pass && plain.runs.is_empty());
            for input in &packed.inputs {
                assert!(input.seen.fields().len() < 20, "{}", input.seen);
                assert!(input.schema.fields().len() >= 1_000);
            }
            for (packed_output, plain_output) in packed.outputs.iter().zip(&plain.outputs) {
                assert_eq!(packed_output.schema, plain_output.schema);
                assert_eq!(packed_output.key, plain_output.key);
            }
            for (name, layout) in &packed.states {
                assert_eq!(packed.runs.unpacked_schema(&layout.schema), plain.states[name].schema, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_script_that_works_with_all_columns_is_planned_with_all() {
        let declared = "create schema batch; create schema output;
            create table batch.a (event_id text, ts timestamp); comment on table batch.a is 'time ts';
            create table batch.b (event_id text, ts timestamp); comment on table batch.b is 'time ts';";
        let (same, other) = (wide(&KINDS), wide(&[DataType::Int64]));
        for (query, b, passes) in [
            ("select * from batch.a union all select * from batch.b", &same, true),
            ("select * from batch.a union all by name select * from batch.b", &same, true),
            ("select distinct * from batch.a", &same, false),
            ("select * from batch.a intersect select * from batch.b", &same, false),
            ("select * from batch.a union all by name select * from batch.b", &other, false),
        ] {
            let comment = "comment on view output.rows is 'key (event_id, ts), time ts';";
            let sql = format!("{declared} create view output.rows as {query}; {comment}");
            let inputs = [("a", &same), ("b", b)];
            assert_eq!(bound(&sql, &inputs, true).await.pass, passes, "{query}");
        }
    }

    #[test]
    fn rows_without_a_run_have_null_in_its_columns() {
        let mut runs = Runs::default();
        let script = Script::parse("script", "select event_id, ts").unwrap();
        let schema = runs.packed(&wide(&KINDS), &Words::of(&script, &Binding::default()));
        let one = |field: &Arc<Field>| match run_of(field) {
            Some(run) => Arc::new(arrow::array::StructArray::new_null(run.clone(), 1)) as ArrayRef,
            None => arrow::array::new_null_array(field.data_type(), 1),
        };
        let columns = schema.fields().iter().map(one).collect();
        let rows = runs.unpacked(RecordBatch::try_new(schema, columns).unwrap()).unwrap();
        assert_eq!(rows.schema(), wide(&KINDS));
        assert!(rows.columns().iter().all(|column| column.is_null(0)));
    }
}
