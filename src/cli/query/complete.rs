//! What a word in the shell may become: a pure function, whatever the line editor.

const KEYWORDS: [&str; 44] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN ANALYZE",
    "FILTER",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "HAVING",
    "IN",
    "INNER JOIN",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "SELECT",
    "SHOW TABLES",
    "THEN",
    "UNION ALL",
    "WHERE",
    "WITH",
];

/// Where the word at the end of `line` starts, in bytes, and what it may become: columns first, then SQL's words.
pub fn complete(line: &str, table: &str, columns: &[String], commands: &[&str]) -> (usize, Vec<String>) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let start = line.rfind(|c| !is_word(c)).map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[start..];
    if word.is_empty() {
        return (start, Vec::new());
    }
    if line.trim_start().starts_with('.') {
        let found = commands.iter().filter(|command| command.starts_with(word)).map(|c| (*c).to_owned());
        return (start, found.collect());
    }
    // Of `e.tenant_id` only what follows the dot is completed.
    let (start, word) = word.rsplit_once('.').map_or((start, word), |(table, rest)| (start + table.len() + 1, rest));
    let lower = word.to_lowercase();
    let begins = |name: &str| name.to_lowercase().starts_with(&lower);
    let is_upper = word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
    let keywords = KEYWORDS.iter().map(|word| if is_upper { (*word).to_owned() } else { word.to_lowercase() });
    let names = columns.iter().cloned().chain([table.to_owned()]);
    (start, names.chain(keywords).filter(|name| begins(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> (usize, Vec<String>) {
        let columns = ["tenant_id", "event_type", "userId"].map(str::to_owned);
        complete(line, "events", &columns, &[".help", ".quit"])
    }

    fn texts(start: usize, texts: &[&str]) -> (usize, Vec<String>) {
        (start, texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn columns_tables_and_keywords_complete_the_last_word() {
        assert_eq!(completed("SELECT te"), texts(7, &["tenant_id"]));
        assert_eq!(completed("SELECT USERI"), texts(7, &["userId"]));
        assert_eq!(completed("SELECT e.event"), texts(9, &["event_type", "events"]));
        assert_eq!(completed("select * fro"), texts(9, &["from"]));
        assert_eq!(completed("SELECT * FRO"), texts(9, &["FROM"]));
        assert_eq!(completed("SELECT "), texts(7, &[]));
        assert_eq!(completed(".q"), texts(0, &[".quit"]));
        assert_eq!(completed("名 te"), texts(4, &["tenant_id"]));
    }
}
