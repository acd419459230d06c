//! What a script declares, told before any input is opened: what the rows of an output hold of what f read, and so how
//! those of several regions become one; and how far an input reaches back.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::execution::context::SessionContext;
use datafusion::sql::sqlparser::ast::{CommentObject, Expr, Statement};

use crate::output::held::{Held, HeldInput};
use crate::script::bind::params;
use crate::script::binding::Binding;
use crate::script::clause::{Clauses, Hold};
use crate::script::declare::{constant, microseconds};
use crate::script::expand::{Names, PARAM};
use crate::script::relation::{Relation, named};
use crate::script::{Script, ScriptError};

impl Script {
    /// What the rows of an output hold, where the command line says this.
    ///
    /// # Errors
    /// Declarations that cannot be read.
    pub fn held(&self, output: &str, binding: &Binding) -> Result<Held, ScriptError> {
        let names = self.names(binding)?;
        let clauses = self.clauses(&format!("output.{output}"))?;
        let mut inputs = Vec::new();
        for hold in &clauses.hold {
            let value = hold.when.as_ref().map(|when| self.value(when, &names)).transpose()?;
            let is_held = value.is_none_or(|value| value == ScalarValue::Boolean(Some(true)));
            if is_held && hold.columns.is_empty() {
                return Ok(Held::Input(hold.input.clone()));
            }
            inputs.extend(self.held_input(hold, &names)?.filter(|_| is_held));
        }
        if !clauses.hold.is_empty() && inputs.len() == clauses.hold.len() {
            return Ok(Held::Inputs(inputs));
        }
        let why = clauses.divided.as_ref().map(|divided| self.value(divided, &names)).transpose()?;
        match why.as_ref().and_then(|why| why.try_as_str().flatten()) {
            Some(why) => Ok(Held::Divided(why.to_owned())),
            None => Ok(Held::Rows),
        }
    }

    /// SQL over the columns of an output: where regions differ in a row or a group, that of the greatest stands; none where
    /// they may not differ.
    ///
    /// # Errors
    /// Declarations that cannot be read.
    pub fn standing(&self, output: &str) -> Result<Option<String>, ScriptError> {
        Ok(self.clauses(&format!("output.{output}"))?.standing)
    }

    /// Microseconds by which the rows of an input that make an hour's output reach back before the hour, where the command
    /// line says this.
    ///
    /// # Errors
    /// Declarations that cannot be read.
    pub fn before(&self, input: &str, binding: &Binding) -> Result<i64, ScriptError> {
        let Some(before) = self.clauses(&format!("batch.{input}"))?.before else { return Ok(0) };
        let value = self.value(&before, &self.names(binding)?)?;
        microseconds(&value).ok_or_else(|| self.error(1, format!("{before}: {value} is no interval of days or less")))
    }

    /// An input as an output holds it; none where the command line leaves a column out that it would need, or where one of
    /// its columns would be there twice: then groups are of one event each, and there is nothing to gather anew.
    fn held_input(&self, hold: &Hold, names: &Names) -> Result<Option<HeldInput>, ScriptError> {
        let mut columns = Vec::new();
        for (of_output, of_input) in &hold.columns {
            let (held, meant) = (names.column(of_output, &[]), names.column(of_input, &[]));
            // Where a name stands for other columns, it does on both sides.
            let meant = if of_output == of_input { held.clone() } else { meant };
            if held.is_empty() || held.len() != meant.len() {
                return Ok(None);
            }
            columns.extend(held.into_iter().zip(meant));
        }
        let distinct: BTreeSet<&String> = columns.iter().map(|(_, column)| column).collect();
        if distinct.len() < columns.len() {
            return Ok(None);
        }
        let Some(Expr::Identifier(time)) = self.clauses(&format!("batch.{}", hold.input))?.time else {
            return Ok(None);
        };
        Ok(Some(HeldInput { input: hold.input.clone(), columns, time: names.column(&time.value, &[]).concat() }))
    }

    /// What names stand for where no input is known.
    fn names(&self, binding: &Binding) -> Result<Names, ScriptError> {
        let mut names = Names { columns: binding.columns.clone(), ..Names::default() };
        for stated in &self.statements {
            if let Statement::CreateView(view) = &stated.statement
                && named(&view.name) == PARAM
            {
                let params = params(&view.query, binding).map_err(|reason| self.error(stated.line, reason))?;
                names.constants.insert(PARAM.to_owned(), params);
            }
        }
        Ok(names)
    }

    /// The clauses of a table or view.
    fn clauses(&self, of: &str) -> Result<Clauses, ScriptError> {
        for stated in &self.statements {
            if let Statement::Comment {
                object_type: CommentObject::Table | CommentObject::View,
                object_name,
                comment: Some(comment),
                ..
            } = &stated.statement
                && named(object_name) == of
            {
                return Clauses::parse(comment).map_err(|reason| self.error(stated.line, reason));
            }
        }
        Ok(Clauses::default())
    }

    /// The value of an expression over parameters.
    fn value(&self, expr: &Expr, names: &Names) -> Result<ScalarValue, ScriptError> {
        let mut expr = expr.clone();
        names.clause(&mut expr, &Relation::default());
        constant(&SessionContext::new(), &expr).map_err(|reason| self.error(1, format!("{expr}: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::binding::Literal;

    fn held(name: &str, output: &str, params: &[(&str, &str)], columns: &[(&str, &[&str])]) -> Held {
        let script = Script::parse(name, &testkit::scripts::script(name)).unwrap();
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), Literal::Text((*value).to_owned())));
        let columns = columns.iter().map(|(name, list)| {
            ((*name).to_owned(), list.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>())
        });
        let binding = Binding { params: params.collect(), columns: columns.collect(), ..Binding::default() };
        script.held(output, &binding).unwrap()
    }

    #[test]
    fn scripts_say_what_their_outputs_hold() {
        let join = |kind| held("join", "joined", &[("type", kind)], &[("request_id", &["a", "b"]), ("ts", &["at"])]);
        let half = |input: &str, row: &str| HeldInput {
            input: input.to_owned(),
            columns: ["a", "b", row].map(|column| (column.to_owned(), column.to_owned())).into(),
            time: "at".to_owned(),
        };
        assert_eq!(join("full"), Held::Inputs(vec![half("impressions", "impression"), half("plays", "play")]));
        assert_eq!([join("inner"), join("semi")], [Held::Rows, Held::Rows]);
        for kind in ["left", "right", "anti"] {
            assert!(
                matches!(join(kind), Held::Divided(why) if why.contains(&format!("--type {kind} leaves"))),
                "{kind}"
            );
        }
        assert!(matches!(held("aggregate", "counts", &[], &[]), Held::Inputs(inputs) if inputs.len() == 2));
        for columns in [("impression_requests", &[][..]), ("video_id", &["request_id"]), ("video_id", &["ts"])] {
            assert!(matches!(held("aggregate", "counts", &[], &[columns]), Held::Divided(_)), "{columns:?}");
        }
        assert!(matches!(held("stratify", "sample", &[], &[]), Held::Divided(_)));
        assert_eq!(held("ingest", "events", &[], &[]), Held::Input("events".to_owned()));
        assert_eq!(held("attribute", "attributed", &[], &[]), Held::Rows);
    }
}
