//! What does a script say? Its text is parsed and checked against the contract, the flags are put in, and its tables
//! become inputs, state and outputs.

pub(crate) mod bind;
pub(crate) mod binding;
pub(crate) mod clause;
pub(crate) mod conform;
pub(crate) mod contract;
pub(crate) mod declare;
pub(crate) mod depth;
pub(crate) mod durations;
pub(crate) mod expand;
pub(crate) mod holds;
pub(crate) mod one_float;
pub(crate) mod packed_table;
pub(crate) mod relation;
pub(crate) mod rows;
pub(crate) mod wide;

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use thiserror::Error;

use crate::script::depth::too_deep;

/// A script breaks its contract: where, and how.
#[derive(Debug, Error)]
#[error("{script}, line {line}: {reason}")]
pub struct ScriptError {
    /// The script's name, as the user knows it.
    pub script: String,
    /// Counted from 1.
    pub line: u64,
    /// What is wrong and what to write instead.
    pub reason: String,
}

/// SQL text that was parsed, and not yet checked against any input.
#[derive(Clone, Debug)]
pub struct Script {
    /// What errors call it: `join`, or the path of a user's file.
    pub name: String,
    /// The text, to the letter.
    pub text: String,
    pub(crate) statements: Vec<Stated>,
}

/// A statement and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Stated {
    pub line: u64,
    pub statement: Statement,
    tokens: Vec<TokenWithSpan>,
}

impl Stated {
    /// The line of the first mention of a word in the statement, else the statement's own.
    pub(crate) fn line_of(&self, word: &str) -> u64 {
        let mentions =
            |token: &&TokenWithSpan| matches!(&token.token, Token::Word(w) if w.value.eq_ignore_ascii_case(word));
        self.tokens.iter().find(mentions).map_or(self.line, |token| token.span.start.line)
    }
}

/// What a script may not say, because an answer that depends on it could not be repeated.
const FORBIDDEN: [(&str, &str); 8] = [
    ("now", "the clock: event time comes with the rows"),
    ("current_timestamp", "the clock: event time comes with the rows"),
    ("current_date", "the clock: event time comes with the rows"),
    ("current_time", "the clock: event time comes with the rows"),
    ("today", "the clock: event time comes with the rows"),
    ("random", "randomness: hash a column instead"),
    ("uuid", "randomness: hash a column instead"),
    ("location", "a path: a script sees only tables, the command line says where they are"),
];

impl Script {
    /// Parses a script. What its statements may be is checked when it meets its inputs.
    ///
    /// # Errors
    /// Text that is no SQL, and words for the clock, randomness and places, with their line.
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let error = |line, reason: String| ScriptError { script: name.to_owned(), line, reason };
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, text)
            .tokenize_with_location()
            .map_err(|e| error(e.location.line, format!("not SQL: {}", e.message)))?;
        for token in &tokens {
            if let Some((word, why)) = forbidden(&token.token) {
                return Err(error(token.span.start.line, format!("{word} is not for scripts: it brings in {why}")));
            }
        }
        let mut statements = Vec::new();
        for tokens in tokens.split(|token| token.token == Token::SemiColon) {
            let Some(first) = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_))) else {
                continue;
            };
            let line = first.span.start.line;
            if let Some(why) = too_deep(tokens.iter().map(|token| &token.token)) {
                return Err(error(line, why));
            }
            let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens.to_vec());
            let statement = parser.parse_statement().map_err(|e| error(line, format!("not SQL: {e}")))?;
            if parser.peek_token().token != Token::EOF {
                let rest = parser.peek_token();
                return Err(error(rest.span.start.line, format!("not SQL: unexpected {}", rest.token)));
            }
            statements.push(Stated { line, statement, tokens: tokens.to_vec() });
        }
        Ok(Script { name: name.to_owned(), text: text.to_owned(), statements })
    }

    /// An error about a line of this script.
    pub(crate) fn error(&self, line: u64, reason: impl Into<String>) -> ScriptError {
        ScriptError { script: self.name.clone(), line, reason: reason.into() }
    }
}

fn forbidden(token: &Token) -> Option<(&'static str, &'static str)> {
    let Token::Word(word) = token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    FORBIDDEN.into_iter().find(|(forbidden, _)| word.value.eq_ignore_ascii_case(forbidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_knows_its_lines() {
        let script =
            Script::parse("mine", "-- head\ncreate schema batch;\n\ncreate view a as\nselect 1 as one;").unwrap();
        assert_eq!(script.statements.iter().map(|s| s.line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(script.statements[1].line_of("one"), 5);
    }

    #[test]
    fn the_clock_and_places_are_refused_with_their_line() {
        for (text, line, word) in [
            ("create view a as\nselect now() as t", 2, "now"),
            ("create view a as select random() as t", 1, "random"),
            ("create external table t (a int) stored as csv\nlocation 'x'", 2, "location"),
            ("create view a as\n\nselect current_timestamp as t", 3, "current_timestamp"),
        ] {
            let error = Script::parse("mine.sql", text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.reason.starts_with(word), "{error}");
        }
    }

    #[test]
    fn text_that_is_no_sql_says_where() {
        let error = Script::parse("mine.sql", "create schema batch;\ncreate view as select").unwrap_err();
        assert_eq!(error.line, 2);
        let error = Script::parse("mine.sql", "create schema batch; select 'open").unwrap_err();
        assert!(error.to_string().starts_with("mine.sql, line 1: not SQL"), "{error}");
    }
}
