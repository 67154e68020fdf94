//! Unquoted names match columns ignoring case: `userid` finds the column `userId`.
//!
//! It is done on tokens, before parsing: an unquoted word that is a column's name but for its case becomes the quoted
//! exact name. Every place of the word changes alike, aliases too, and keeps its position for error messages.

use std::collections::HashMap;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

/// Columns that SQL's folding to lower case would miss, by their folded name.
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let folded = columns.into_iter().map(|name| (name.to_lowercase(), name.to_owned()));
        Names(folded.filter(|(folded, name)| folded != name).collect())
    }

    /// Quotes the words that mean one of these columns.
    pub fn resolve(&self, tokens: &mut [TokenWithSpan]) {
        if self.0.is_empty() {
            return;
        }
        let words: Vec<usize> = (0..tokens.len()).filter(|&i| !is_blank(&tokens[i].token)).collect();
        for position in 0..words.len() {
            let around = |offset: isize| {
                let at = position.checked_add_signed(offset)?;
                words.get(at).map(|&i| &tokens[i].token)
            };
            let Some(Token::Word(word)) = around(0) else { continue };
            let Some(name) = self.0.get(&word.value.to_lowercase()).filter(|_| word.quote_style.is_none()) else {
                continue;
            };
            if names_a_column(word, [around(-2), around(-1)], around(1)) {
                let quoted = Word { value: name.clone(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
                tokens[words[position]].token = Token::Word(quoted);
            }
        }
    }
}

fn is_blank(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab)
            | Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_))
    )
}

/// Whether a word stands where a name can stand. Words that SQL knows are taken for SQL's unless it is clear: a column
/// `Select` has to be quoted.
fn names_a_column(word: &Word, before: [Option<&Token>; 2], next: Option<&Token>) -> bool {
    if matches!(next, Some(Token::LParen)) {
        return false;
    }
    if word.keyword == Keyword::NoKeyword {
        return true;
    }
    // A typed literal: `TIMESTAMP '2026-08-24'`.
    if matches!(next, Some(Token::SingleQuotedString(_))) || is_always_sql(word.keyword) {
        return false;
    }
    match before {
        // A cast's type, `x::TIMESTAMP` or `CAST(x AS TIMESTAMP)`.
        [_, Some(Token::DoubleColon)] => false,
        [_, Some(previous)] if is_keyword(previous, &[Keyword::AS]) => !matches!(next, Some(Token::RParen)),
        [Some(function), Some(Token::LParen)] => !is_keyword(function, &[Keyword::EXTRACT]),
        [_, Some(previous)] => opens_an_expression(previous),
        [_, None] => false,
    }
}

fn is_keyword(token: &Token, keywords: &[Keyword]) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && keywords.contains(&word.keyword))
}

fn is_always_sql(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        SELECT
            | FROM
            | WHERE
            | WITH
            | VALUES
            | CASE
            | NOT
            | NULL
            | TRUE
            | FALSE
            | DISTINCT
            | ALL
            | ANY
            | EXISTS
            | INTERVAL
            | CURRENT_DATE
            | CURRENT_TIME
            | CURRENT_TIMESTAMP
    )
}

fn opens_an_expression(token: &Token) -> bool {
    use Keyword::*;
    const BEFORE_EXPRESSIONS: [Keyword; 14] =
        [SELECT, DISTINCT, WHERE, AND, OR, NOT, BY, ON, HAVING, CASE, WHEN, THEN, ELSE, BETWEEN];
    match token {
        Token::Word(_) => is_keyword(token, &BEFORE_EXPRESSIONS),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket | Token::SemiColon => false,
        // A comma, a dot, an opening bracket or an operator.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn resolved(sql: &str) -> String {
        let names = Names::new(["date", "userId", "Timestamp", "Type", "Select", "Größe"]);
        let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
        names.resolve(&mut tokens);
        tokens.iter().map(|token| token.token.to_string()).collect()
    }

    #[test]
    fn unquoted_words_become_the_exact_column() {
        for (sql, expected) in [
            ("SELECT userid, USERID u FROM e", r#"SELECT "userId", "userId" u FROM e"#),
            ("SELECT e.UserId FROM e ORDER BY userid", r#"SELECT e."userId" FROM e ORDER BY "userId""#),
            ("SELECT größe FROM e", r#"SELECT "Größe" FROM e"#),
            ("SELECT type, /* a */ timestamp FROM e", r#"SELECT "Type", /* a */ "Timestamp" FROM e"#),
            ("SELECT max(timestamp) FROM e WHERE type = 'x'", r#"SELECT max("Timestamp") FROM e WHERE "Type" = 'x'"#),
            ("SELECT a AS timestamp FROM e", r#"SELECT a AS "Timestamp" FROM e"#),
        ] {
            assert_eq!(resolved(sql), expected);
        }
    }

    #[test]
    fn what_is_quoted_called_or_sql_is_left_alone() {
        for sql in [
            r#"SELECT "userid" FROM e"#,
            "SELECT 'userid' FROM e",
            "SELECT userid(1) FROM e",
            "SELECT DATE FROM e",
            "SELECT TIMESTAMP '2026-08-24' FROM e",
            "SELECT CAST(x AS TIMESTAMP), y::timestamp FROM e",
            "SELECT x FROM (SELECT 1 x)",
        ] {
            assert_eq!(resolved(sql), sql);
        }
    }
}
