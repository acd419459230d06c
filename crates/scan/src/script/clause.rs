//! What a script declares of a table beside its columns, in `comment on … is '…'`.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

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
    /// The inputs of which an output holds the rows.
    pub hold: Vec<Hold>,
    /// Why rows of several regions are not one output where they do not hold what f read; null where they are.
    pub divided: Option<Expr>,
    /// Where regions differ in a row or a group, that of the greatest standing stands: SQL as it is written, for outputs
    /// record it.
    pub standing: Option<String>,
    /// The first columns of the key, where rows stand together: of all rows that agree in these, the greatest.
    pub group: Vec<String>,
}

/// An input that an output holds: `hold events`, the output is its rows; or `hold plays by (request_id, play)`, whose
/// columns are these of the output: a column, all columns of a row, or the elements of a list, `requests as request_id`.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub input: String,
    /// The output's columns, each with what it is in the input.
    pub columns: Vec<(String, String)>,
    /// Whether it is held, by the parameters.
    pub when: Option<Expr>,
}

impl Clauses {
    /// Parses the text of a comment.
    pub(crate) fn parse(text: &str) -> Result<Clauses, String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(|e| e.to_string())?;
        let mut clauses = Clauses::default();
        loop {
            clauses.clause(&mut parser, text).map_err(|e| e.to_string())?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        match parser.peek_token().token {
            Token::EOF => Ok(clauses),
            other => Err(format!("unexpected {other}: clauses are parted by commas")),
        }
    }

    fn clause(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), ParserError> {
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
            "hold" => self.hold.push(hold(parser)?),
            "divided" => self.divided = Some(parser.parse_expr()?),
            "standing" => {
                let from = parser.peek_token().span.start;
                parser.parse_expr()?;
                self.standing = Some(between(text, from, parser.peek_token().span.start));
            }
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
                    "{other} is no clause: key, time, keep, before, after, reject, merge, greatest, group, hold, divided, standing \
                     are"
                )));
            }
        }
        Ok(())
    }
}

/// What a text says between two places, or to its end.
fn between(text: &str, from: Location, to: Location) -> String {
    let place = |of: Location| {
        let before = text.split_inclusive('\n').take(of.line.saturating_sub(1) as usize).map(str::len).sum::<usize>();
        let line = text[before..].char_indices().nth(of.column.saturating_sub(1) as usize);
        line.map_or(text.len(), |(at, _)| before + at)
    };
    let end = if to.line == 0 { text.len() } else { place(to) };
    text[place(from).min(end)..end].trim().to_owned()
}

fn hold(parser: &mut Parser<'_>) -> Result<Hold, ParserError> {
    let input = parser.parse_identifier()?.value;
    let mut columns = Vec::new();
    if parser.parse_keyword(Keyword::BY) {
        parser.expect_token(&Token::LParen)?;
        columns = parser.parse_comma_separated(|parser| {
            let of_output = parser.parse_identifier()?.value;
            let renamed = parser.parse_keyword(Keyword::AS);
            let of_input = if renamed { parser.parse_identifier()?.value } else { of_output.clone() };
            Ok((of_output, of_input))
        })?;
        parser.expect_token(&Token::RParen)?;
    }
    let when = parser.parse_keyword(Keyword::WHEN).then(|| parser.parse_expr()).transpose()?;
    Ok(Hold { input, columns, when })
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
    fn what_an_output_holds_is_named_by_its_columns() {
        let clauses = Clauses::parse("hold events, hold plays by (epoch as ts, play) when kind in ('a', 'b')").unwrap();
        assert!(clauses.hold[0].columns.is_empty() && clauses.hold[0].when.is_none());
        let plays = &clauses.hold[1];
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            (plays.input.as_str(), &plays.columns[..]),
            ("plays", &[pair("epoch", "ts"), pair("play", "play")][..])
        );
        assert_eq!(plays.when.as_ref().unwrap().to_string(), "kind IN ('a', 'b')");
    }

    #[test]
    fn standing_is_what_was_written() {
        for text in [
            "standing case when a is null then 0 else 1 end",
            "key (a),\n  standing case when a is null then 0 else 1 end, time ts",
        ] {
            let standing = Clauses::parse(text).unwrap().standing;
            assert_eq!(standing.as_deref(), Some("case when a is null then 0 else 1 end"), "{text}");
        }
    }

    #[test]
    fn an_unknown_clause_is_named() {
        assert!(Clauses::parse("keys (a)").unwrap_err().contains("keys is no clause"));
        assert!(Clauses::parse("key (a) time ts").unwrap_err().contains("unexpected time"));
        assert!(Clauses::parse("merge a with max").is_err());
    }
}
