//! How deep SQL nests. A chain of operators nests as deep as it is long, and whatever walks it goes as deep on the stack.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Operators that one expression may have in a row, with those around it.
const OPERATORS_MAX: usize = 2_000;

/// Why an expression is too deep to be worked on; none where it is not. Text that is no SQL is left to the parser.
pub(crate) fn too_deep_text(text: &str) -> Option<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().ok()?;
    too_deep(tokens.iter())
}

/// The same of tokens.
pub(crate) fn too_deep<'a>(tokens: impl Iterator<Item = &'a Token>) -> Option<String> {
    // In each open bracket the operators since the last comma.
    let (mut open, mut depth) = (vec![0], 0);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => open.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => depth -= open.pop().unwrap_or(0),
            Token::Comma => depth -= open.last_mut().map_or(0, std::mem::take),
            token if nests(token) => {
                if let Some(operators) = open.last_mut() {
                    *operators += 1;
                    depth += 1;
                }
            }
            _ => {}
        }
        if depth > OPERATORS_MAX {
            let what = "an expression has more than 2,000 operators in a row: write a list, as x in (1, 2), or cut it";
            return Some(what.to_owned());
        }
    }
    None
}

/// Whether a token may hold two expressions together, or hang one on another.
fn nests(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::XOR
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
        ),
        Token::Number(..) | Token::Char(_) | Token::Whitespace(_) | Token::Period | Token::SemiColon | Token::EOF => {
            false
        }
        token => !token.to_string().starts_with(|c: char| c == '\'' || c == '"' || c == '$' || c.is_alphanumeric()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_deep_and_lists_are_not() {
        let chain = |of: &str, count: usize| vec![of; count].join(" and ");
        let list = vec!["-1"; 50_000].join(", ");
        for (text, deep) in [
            (chain("x = 1", 900), false),
            (chain("x = 1", 20_000), true),
            (chain("x in (1, 2)", 20_000), true),
            (format!("f({}, 2)", chain("x = 1", 20_000)), true),
            (format!("x in ({list})"), false),
            (vec!["x"; 20_000].join(" || "), true),
            (format!("x{}", "::text".repeat(20_000)), true),
            (vec!["select 1"; 20_000].join(" union all "), true),
            (format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)), false),
        ] {
            assert_eq!(too_deep_text(&text).is_some(), deep, "{}", &text[..60]);
        }
    }
}
