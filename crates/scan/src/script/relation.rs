//! What does a table or view have, and how does a script refer to it?

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Value};

/// Columns of a table or view, and which of them form rows: `impression` stands for all `impression_*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relation {
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// Columns that hold a row as one value, or some such rows, each with the columns of that row.
    pub values: BTreeMap<String, Vec<String>>,
}

/// A table's name as the script writes it.
pub(crate) fn named(name: &ObjectName) -> String {
    let parts: Vec<&str> = name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
    parts.join(".")
}

pub(crate) fn reference(expr: &Expr) -> Option<(Option<&str>, &str)> {
    match expr {
        Expr::Identifier(column) => Some((None, &column.value)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] => Some((Some(&table.value), &column.value)),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn identifier(qualifier: Option<&str>, column: &str) -> Expr {
    let column = Ident::with_quote('"', column);
    match qualifier {
        Some(table) => Expr::CompoundIdentifier(vec![Ident::new(table), column]),
        None => Expr::Identifier(column),
    }
}

/// A text literal.
pub(crate) fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}
