//! What a script declares of a table beside its columns, in `comment on … is '…'`.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// The clauses of one table or view, by comma: `key (a, b), time ts, keep within, merge ids by id_set`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clauses {
    /// The columns that tell one row from another.
    pub key: Vec<String>,
    /// When a row happened: a column of a table, an expression over the columns of an output.
    pub time: Option<Expr>,
    /// How long after its time a row of state can still meet a row that is not late.
    pub keep: Option<Expr>,
    /// How far before an output row's hour the rows of this input reach that it is made of.
    pub before: Option<Expr>,
    /// How far after that hour's end.
    pub after: Option<Expr>,
    /// Of an input: why f does not take a row; null where it does.
    pub reject: Option<Expr>,
    /// Lattices of state columns: `(column, lattice)`.
    pub merge: Vec<(String, String)>,
    /// Of two output rows with one key the one stands that is greater in these columns.
    pub greatest: Vec<String>,
    /// The first columns of the key, where rows stand together: of all rows that agree in these, the greatest.
    pub group: Vec<String>,
}

impl Clauses {
    /// Parses the text of a comment.
    pub(crate) fn parse(text: &str) -> Result<Clauses, String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(|e| e.to_string())?;
        let mut clauses = Clauses::default();
        loop {
            clauses.clause(&mut parser).map_err(|e| e.to_string())?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        match parser.peek_token().token {
            Token::EOF => Ok(clauses),
            other => Err(format!("unexpected {other}: clauses are parted by commas")),
        }
    }

    fn clause(&mut self, parser: &mut Parser<'_>) -> Result<(), ParserError> {
        let word = parser.parse_identifier()?.value;
        match word.as_str() {
            "key" => self.key = columns(parser)?,
            "time" => self.time = Some(parser.parse_expr()?),
            "keep" => self.keep = Some(parser.parse_expr()?),
            "before" => self.before = Some(parser.parse_expr()?),
            "after" => self.after = Some(parser.parse_expr()?),
            "reject" => self.reject = Some(parser.parse_expr()?),
            "greatest" => self.greatest = columns(parser)?,
            "group" => self.group = columns(parser)?,
            "merge" => {
                let column = parser.parse_identifier()?.value;
                let by = parser.parse_identifier()?.value;
                if by != "by" {
                    return Err(ParserError::ParserError(format!("write merge {column} by LATTICE")));
                }
                self.merge.push((column, parser.parse_identifier()?.value));
            }
            other => {
                return Err(ParserError::ParserError(format!(
                    "{other} is no clause: key, time, keep, before, after, reject, merge, greatest, group are"
                )));
            }
        }
        Ok(())
    }
}

fn columns(parser: &mut Parser<'_>) -> Result<Vec<String>, ParserError> {
    let columns = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?;
    Ok(columns.into_iter().map(|column| column.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_read_in_any_order() {
        let clauses = Clauses::parse("time ts, key (a, b), keep interval '1 hour', merge c by id_set").unwrap();
        assert_eq!(clauses.key, ["a", "b"]);
        assert_eq!(clauses.time.unwrap().to_string(), "ts");
        assert_eq!(clauses.merge, [("c".to_owned(), "id_set".to_owned())]);
    }

    #[test]
    fn an_unknown_clause_is_named() {
        assert!(Clauses::parse("keys (a)").unwrap_err().contains("keys is no clause"));
        assert!(Clauses::parse("key (a) time ts").unwrap_err().contains("unexpected time"));
        assert!(Clauses::parse("merge a with max").is_err());
    }
}
