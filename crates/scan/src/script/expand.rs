//! From the script as printed to the script as run: the syntax tree with the command line's columns and parameters.
//!
//! The text of a script is its default instance: it says `video_id` where `--by` may say `country, device`, and
//! `i as impression` (as PostgreSQL and DuckDB do) where all columns of `i` are meant, whatever they are. Both are
//! resolved here, in the tree and never in the text.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetQuantifier, TableFactor, TableWithJoins, VisitMut,
    visit_expressions_mut,
};

use crate::script::relation::{Relation, identifier, named, reference};
use crate::script::rows::{as_values, held, row};

/// What the names of a script stand for in this run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Tables and views so far, by name as written (`batch.plays`, `pair`).
    pub relations: BTreeMap<String, Relation>,
    /// Columns that the command line replaces, each by others; by none leaves it out.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Expressions that names stand for.
    pub expressions: BTreeMap<String, Vec<Expr>>,
    /// The one row of `param`, and of each view that selects from it alone, as constant expressions.
    pub constants: BTreeMap<String, BTreeMap<String, Expr>>,
}

/// The view of a script's parameters.
pub(crate) const PARAM: &str = "param";

type Expanded<T> = Result<T, String>;

impl Names {
    /// The columns that a name of the script stands for; `rows` are the row columns of its relation.
    pub(crate) fn column(&self, name: &str, rows: &[String]) -> Vec<String> {
        if let Some(columns) = self.columns.get(name) {
            return columns.clone();
        }
        let in_row = rows.iter().find_map(|row| {
            let inner = name.strip_prefix(row.as_str())?.strip_prefix('_')?;
            let columns = self.columns.get(inner)?;
            Some(columns.iter().map(|column| format!("{row}_{column}")).collect())
        });
        in_row.unwrap_or_else(|| vec![name.to_owned()])
    }

    /// Whether the command line leaves out a column of the script.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.columns.get(name).is_some_and(Vec::is_empty)
    }

    /// Expands a clause's expression: the names of the relation's columns, then of parameters.
    pub(crate) fn clause(&self, expr: &mut Expr, relation: &Relation) {
        let _ = visit_expressions_mut(expr, |expr| {
            if let Expr::Identifier(ident) = expr {
                let columns = self.column(&ident.value, &relation.rows);
                match (columns.as_slice(), self.param(&ident.value)) {
                    ([column], _) if relation.columns.contains(column) => *expr = identifier(None, column),
                    (_, Some(constant)) => *expr = constant.clone(),
                    _ => {}
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }

    /// Expands a query in place and says what it selects.
    pub(crate) fn query(&self, query: &mut Query) -> Expanded<Relation> {
        self.expand(query);
        self.tree(query)
    }

    /// Expands the expressions of a query, or one alone, in place.
    pub(crate) fn expand(&self, within: &mut impl VisitMut) {
        let _ = visit_expressions_mut(within, |expr| {
            self.expression(expr);
            ControlFlow::<()>::Continue(())
        });
    }

    fn expression(&self, expr: &mut Expr) {
        match expr {
            Expr::Function(function) => {
                if let FunctionArguments::List(list) = &mut function.args {
                    let args = std::mem::take(&mut list.args);
                    list.args = args.into_iter().flat_map(|arg| self.argument(arg)).collect();
                }
            }
            Expr::Identifier(name) if let Some([one]) = self.expressions.get(&name.value).map(Vec::as_slice) => {
                *expr = Expr::Nested(Box::new(one.clone()));
            }
            Expr::Subquery(query) => {
                if let Some(constant) = self.constant(query) {
                    *expr = constant;
                }
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                if let [one] = self.listed(expr).unwrap_or_default().as_slice() {
                    *expr = one.clone();
                }
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                if let (Some(left), Some(right)) = (self.listed(left), self.listed(right)) {
                    let equal = |(left, right)| Expr::BinaryOp {
                        left: Box::new(left),
                        op: BinaryOperator::Eq,
                        right: Box::new(right),
                    };
                    let pairs = left.into_iter().zip(right).map(equal);
                    if let Some(all) = pairs.reduce(|all, pair| Expr::BinaryOp {
                        left: Box::new(all),
                        op: BinaryOperator::And,
                        right: Box::new(pair),
                    }) {
                        *expr = Expr::Nested(Box::new(all));
                    }
                }
            }
            _ => {}
        }
    }

    /// An argument, or those it stands for.
    fn argument(&self, arg: FunctionArg) -> Vec<FunctionArg> {
        let stands = match &arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => self.expressions.get(&name.value),
            _ => None,
        };
        let unnamed = |expr: &Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr.clone()));
        stands.map_or_else(|| vec![arg.clone()], |expressions| expressions.iter().map(unnamed).collect())
    }

    /// The value of a parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&Expr> {
        self.constants.get(PARAM)?.get(name)
    }

    /// The expressions of a view that selects from constants alone, with their values in them; `None` of any other view.
    ///
    /// # Errors
    /// What one row of constants does not have: other clauses, other columns, a column without a name.
    pub(crate) fn decided(&self, query: &Query) -> Expanded<Option<BTreeMap<String, Expr>>> {
        let Some((table, constants)) = only_table(query).and_then(|table| Some((table, self.constants.get(table)?)))
        else {
            return Ok(None);
        };
        let Some(items) = plain_items(query) else {
            return Err(format!(
                "a view over {table} alone is one row of constants: write select EXPRESSION as NAME, … from {table}, and no \
                 more"
            ));
        };
        let mut decided = BTreeMap::new();
        for (name, mut expr) in named_items(items)? {
            let unknown = visit_expressions_mut(&mut expr, |expr| {
                let Some((qualifier, column)) = reference(expr) else { return ControlFlow::Continue(()) };
                let constant = constants.get(column).filter(|_| qualifier.is_none_or(|qualifier| qualifier == table));
                let Some(constant) = constant else { return ControlFlow::Break(expr.to_string()) };
                *expr = Expr::Nested(Box::new(constant.clone()));
                ControlFlow::Continue(())
            });
            if let ControlFlow::Break(unknown) = unknown {
                let known: Vec<&str> = constants.keys().map(String::as_str).collect();
                return Err(format!("{table} has no {unknown}; it has {}", known.join(", ")));
            }
            decided.insert(name, Expr::Nested(Box::new(expr)));
        }
        Ok(Some(decided))
    }

    /// `(select NAME from param)`, or from a view that selects from `param` alone, as an expression.
    fn constant(&self, query: &Query) -> Option<Expr> {
        let [SelectItem::UnnamedExpr(Expr::Identifier(column))] = plain_items(query)? else { return None };
        self.constants.get(only_table(query)?)?.get(&column.value).cloned()
    }

    /// The columns a reference is replaced by, with its qualifier, where the command line replaces it.
    fn listed(&self, expr: &Expr) -> Option<Vec<Expr>> {
        let (qualifier, column) = reference(expr)?;
        let columns = self.columns.get(column)?;
        Some(columns.iter().map(|column| identifier(qualifier, column)).collect())
    }

    fn tree(&self, query: &mut Query) -> Expanded<Relation> {
        if query.limit_clause.is_some() || query.fetch.is_some() {
            return Err("limit is not for scripts: which rows it keeps depends on their order".to_owned());
        }
        let mut local = self.clone();
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            let relation = local.tree(&mut cte.query)?;
            local.relations.insert(cte.alias.name.value.clone(), relation);
        }
        local.set(&mut query.body)
    }

    fn set(&self, body: &mut SetExpr) -> Expanded<Relation> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.tree(query),
            SetExpr::SetOperation { left, right, set_quantifier, .. } => {
                let mut relation = self.set(left)?;
                let right = self.set(right)?;
                if matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName) {
                    union_by_name(&mut relation, right);
                }
                Ok(relation)
            }
            other => Err(format!("{other} is not for views of a script: write a select")),
        }
    }

    fn select(&self, select: &mut Select) -> Expanded<Relation> {
        let mut scope = Vec::new();
        for from in &mut select.from {
            self.scope(from, &mut scope)?;
        }
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            let in_row =
                |expr: &Expr| Some(row(expr, None, &scope, &[])?.1.into_iter().map(|(expr, _)| expr).collect());
            let expand = |expr: Expr| self.listed(&expr).or_else(|| in_row(&expr)).unwrap_or_else(|| vec![expr]);
            *expressions = std::mem::take(expressions).into_iter().flat_map(expand).collect();
        }
        let named = select.projection.iter().filter_map(|item| named_itself(item, &scope));
        let named: Vec<String> = named.flat_map(|name| self.column(name, &[])).collect();
        let mut selected = Relation::default();
        let mut projection = Vec::new();
        let mut items = std::mem::take(&mut select.projection);
        items.retain(|item| selected_name(item).is_none_or(|name| !self.leaves_out(&name)));
        for item in items {
            self.item(item, &scope, &named, &mut projection, &mut selected);
        }
        select.projection = each_once(projection);
        Ok(selected)
    }

    fn item(
        &self,
        item: SelectItem,
        scope: &[(String, Relation)],
        named: &[String],
        out: &mut Vec<SelectItem>,
        selected: &mut Relation,
    ) {
        match &item {
            SelectItem::Wildcard(_) => {
                for (_, relation) in scope {
                    selected.columns.extend(relation.columns.iter().cloned());
                    selected.rows.extend(relation.rows.iter().cloned());
                    selected.values.extend(relation.values.clone());
                }
                out.push(item);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let of = Expr::Identifier(Ident::new(self::named(name)));
                for (expr, column) in row(&of, None, scope, named).map(|(_, columns)| columns).unwrap_or_default() {
                    selected.columns.push(column.clone());
                    out.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', column) });
                }
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let alias = match &item {
                    SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.as_str()),
                    _ => None,
                };
                if let Some((row, columns)) = row(expr, alias, scope, named) {
                    for (expr, column) in columns {
                        let alias = Ident::with_quote('"', format!("{row}_{column}"));
                        selected.columns.push(alias.value.clone());
                        out.push(SelectItem::ExprWithAlias { expr, alias });
                    }
                    selected.rows.push(row);
                } else if let (None, Some(list)) = (alias, self.listed(expr)) {
                    for expr in list {
                        selected.columns.extend(reference(&expr).map(|(_, column)| column.to_owned()));
                        out.push(SelectItem::UnnamedExpr(expr));
                    }
                } else {
                    let (name, held) = (selected_name(&item), held(expr, scope));
                    selected.values.extend(name.clone().zip(held));
                    selected.columns.extend(name);
                    out.push(as_values(item, scope));
                }
            }
            _ => out.push(item),
        }
    }

    fn scope(&self, from: &mut TableWithJoins, scope: &mut Vec<(String, Relation)>) -> Expanded<()> {
        self.factor(&mut from.relation, scope)?;
        from.joins.iter_mut().try_for_each(|join| self.factor(&mut join.relation, scope))
    }

    fn factor(&self, factor: &mut TableFactor, scope: &mut Vec<(String, Relation)>) -> Expanded<()> {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                let table = named(name);
                if self.constants.contains_key(&table) {
                    return Err(format!(
                        "{table} is one row of constants and no table: write (select NAME from {table})"
                    ));
                }
                let relation = self.relations.get(&table).ok_or(format!(
                    "there is no table {table} here: tables are batch.*, state.*, next.* and the views before this one"
                ))?;
                let short = table.rsplit('.').next().unwrap_or(&table).to_owned();
                scope.push((alias.as_ref().map_or(short, |alias| alias.name.value.clone()), relation.clone()));
                Ok(())
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let relation = self.tree(subquery)?;
                scope.push((alias.as_ref().map_or_else(String::new, |alias| alias.name.value.clone()), relation));
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.scope(table_with_joins, scope),
            other => Err(format!("{other} is not for scripts: select from tables and views")),
        }
    }
}

/// What stands in for a column may be selected beside it: `subject, video_id` where the subject is `video_id`.
fn each_once(projection: Vec<SelectItem>) -> Vec<SelectItem> {
    let mut seen = HashSet::new();
    let first = |item: &SelectItem| {
        let SelectItem::UnnamedExpr(expr) = item else { return true };
        let Some((qualifier, column)) = reference(expr) else { return true };
        seen.insert((qualifier.map(str::to_owned), column.to_owned()))
    };
    projection.into_iter().filter(first).collect()
}

/// The table of a select from one table without a schema.
fn only_table(query: &Query) -> Option<&str> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [TableWithJoins { relation: TableFactor::Table { name, .. }, joins }] = select.from.as_slice() else {
        return None;
    };
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().filter(|_| joins.is_empty()).map(|name| name.value.as_str())
}

/// The select list of `select …` or `select … from TABLE`, and of nothing longer.
pub(crate) fn plain_items(query: &Query) -> Option<&[SelectItem]> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let items: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    let from = only_table(query).map(|table| format!(" FROM {table}")).unwrap_or_default();
    (query.to_string() == format!("SELECT {}{from}", items.join(", "))).then_some(select.projection.as_slice())
}

/// The expressions of a select list, each with its name.
pub(crate) fn named_items(items: &[SelectItem]) -> Expanded<Vec<(String, Expr)>> {
    let mut named: Vec<(String, Expr)> = Vec::new();
    for item in items {
        let (name, expr) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (&alias.value, expr),
            SelectItem::UnnamedExpr(expr @ Expr::Identifier(name)) => (&name.value, expr),
            _ => return Err(format!("{item} has no name: write {item} as NAME")),
        };
        if named.iter().any(|(other, _)| other == name) {
            return Err(format!("{name} is there twice: give each a name of its own"));
        }
        named.push((name.clone(), expr.clone()));
    }
    Ok(named)
}

fn union_by_name(left: &mut Relation, right: Relation) {
    let mut known: HashSet<String> = left.columns.iter().cloned().collect();
    left.columns.extend(right.columns.into_iter().filter(|column| known.insert(column.clone())));
    for row in right.rows {
        if !left.rows.contains(&row) {
            left.rows.push(row);
        }
    }
}

/// The column of a row that a select list names beside the row: `request_id` in `p.request_id, p as play`. What the row
/// is called is no column of it, even where the command line gives columns for that name (`t as context`).
fn named_itself<'a>(item: &'a SelectItem, scope: &[(String, Relation)]) -> Option<&'a str> {
    match item {
        SelectItem::UnnamedExpr(expr) if row(expr, None, scope, &[]).is_none() => Some(reference(expr)?.1),
        _ => None,
    }
}

fn selected_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(expr) => reference(expr).map(|(_, column)| column.to_owned()),
        _ => None,
    }
}
