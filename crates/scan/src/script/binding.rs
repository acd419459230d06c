//! What a script meets in a run: the schemas of its inputs, and what the command line says in place of its defaults.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use event_time::TIME;
use serde::{Deserialize, Serialize};

use crate::script::relation;

/// A typed flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Literal {
    /// Microseconds.
    Interval(i64),
    /// Any text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// Yes or no.
    Bool(bool),
}

impl Literal {
    pub(crate) fn expr(&self) -> Result<Expr, String> {
        let parse = |sql: &str| {
            let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(|e| e.to_string())?;
            parser.parse_expr().map_err(|e| e.to_string())
        };
        match self {
            Literal::Interval(us) => parse(&format!("interval '{us} microseconds'")),
            Literal::Text(value) => Ok(relation::text(value)),
            Literal::Integer(value) => parse(&value.to_string()),
            Literal::Bool(value) => parse(&value.to_string()),
        }
    }
}

/// What a script is bound to. Written down, it is what the command line says, whatever the inputs' columns are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// The columns of each input.
    #[serde(skip)]
    pub inputs: BTreeMap<String, SchemaRef>,
    /// Columns of the script that the command line replaces, each by others; a column replaced by none is left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<String>>,
    /// SQL over the columns of an input for which a name of the script stands: one expression, or as many arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expressions: BTreeMap<String, Vec<String>>,
    /// Values of `param` in place of the script's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Literal>,
    /// Whether sketches stand in for id sets.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
}

/// A schema as scripts see it: text as views, time in microseconds, everything nullable.
pub(crate) fn canonical(schema: &Schema) -> Schema {
    let field = |field: &std::sync::Arc<Field>| Field::new(field.name(), canonical_type(field.data_type()), true);
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
}

/// A type as scripts see it.
pub(crate) fn canonical_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Timestamp(_, _) => TIME,
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => canonical_type(value),
        other => other.clone(),
    }
}
