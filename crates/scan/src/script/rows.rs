//! Whole rows in a script: `i as impression` is all columns of `i`, `group by label` those of a row, `label.*` the same
//! under their own names, and `row(i) as fact` holds them as one value: what functions give of it is such a value again,
//! and `select fact` its columns.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, SelectItem, Subscript, visit_expressions_mut,
};

use crate::script::relation::{Relation, identifier, named, reference, text};

/// Makes a row one value.
const ROW: &str = "row";

/// Functions that give rows, of one or of several.
const OF_ROWS: [&str; 3] = [ROW, "touches", "latest"];

/// The columns of the row that an expression holds.
pub(crate) fn held(expr: &Expr, scope: &[(String, Relation)]) -> Option<Vec<String>> {
    let (name, args) = called(expr).filter(|(name, _)| OF_ROWS.contains(&name.as_str()))?;
    args.into_iter().find_map(|arg| {
        let held_itself = (name == ROW || is_value(arg, scope)).then(|| row(arg, None, scope, &[])).flatten();
        let columns = held_itself.map(|(_, columns)| columns.into_iter().map(|(_, column)| column).collect());
        columns.or_else(|| held(arg, scope))
    })
}

/// The same, with each `row(…)` as the value that it is.
pub(crate) fn as_values(mut item: SelectItem, scope: &[(String, Relation)]) -> SelectItem {
    let _ = visit_expressions_mut(&mut item, |expr| {
        if let Some((name, args)) = called(expr)
            && let ([of], ROW) = (args.as_slice(), name.as_str())
            && let Some((_, columns)) = row(of, None, scope, &[])
        {
            *expr = value(columns);
        }
        ControlFlow::<()>::Continue(())
    });
    item
}

/// The function that an expression calls, and its arguments.
fn called(expr: &Expr) -> Option<(String, Vec<&Expr>)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let args = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
        _ => None,
    });
    Some((named(name), args.collect()))
}

/// Whether a column holds rows as values.
fn is_value(expr: &Expr, scope: &[(String, Relation)]) -> bool {
    reference(expr).is_some_and(|(_, name)| scope.iter().any(|(_, relation)| relation.values.contains_key(name)))
}

/// Columns as one value.
fn value(columns: Vec<(Expr, String)>) -> Expr {
    let given = columns.into_iter().flat_map(|(expr, column)| [text(&column), expr]);
    let args = given.map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(Ident::new("named_struct")),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A whole row: a table's alias, or a row column of a view. Its columns as expressions and names, without those that
/// begin with `_` (they say where a row came from) and those that the select list names itself.
pub(crate) fn row(
    expr: &Expr,
    alias: Option<&str>,
    scope: &[(String, Relation)],
    named: &[String],
) -> Option<(String, Vec<(Expr, String)>)> {
    let (qualifier, name) = reference(expr)?;
    let of = |table: &String| qualifier.is_none_or(|qualifier| qualifier == table);
    let value = scope.iter().find_map(|(table, relation)| relation.values.get(name).filter(|_| of(table)));
    if let Some(columns) = value {
        let field = |column: &String| {
            let access_chain = vec![AccessExpr::Subscript(Subscript::Index { index: text(column) })];
            (Expr::CompoundFieldAccess { root: Box::new(expr.clone()), access_chain }, column.clone())
        };
        let kept = columns.iter().filter(|column| !named.contains(column));
        return Some((alias.unwrap_or(name).to_owned(), kept.map(field).collect()));
    }
    let visible = |relation: &Relation| relation.columns.iter().any(|column| column == name);
    if scope.iter().any(|(_, relation)| visible(relation)) {
        return None;
    }
    let as_row = alias.unwrap_or(name).to_owned();
    if let Some((table, relation)) = scope.iter().find(|(table, _)| qualifier.is_none() && table == name) {
        let kept = relation.columns.iter().filter(|column| !column.starts_with('_') && !named.contains(column));
        return Some((as_row, kept.map(|column| (identifier(Some(table), column), column.clone())).collect()));
    }
    let (table, relation) =
        scope.iter().find(|(table, relation)| of(table) && relation.rows.iter().any(|row| row == name))?;
    let inner = relation.columns.iter().filter_map(|column| {
        let inner = column.strip_prefix(name)?.strip_prefix('_')?;
        Some((identifier(Some(table), column), inner.to_owned()))
    });
    Some((as_row, inner.collect()))
}
