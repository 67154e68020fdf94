//! Shows a place in an SQL text: the line, and carets under the part that is meant.

/// Where in a text; lines and columns count characters from 1, and the end is the first column after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// On the same line; `None` for one character.
    pub end: Option<usize>,
}

impl Place {
    /// Reads ` at Line: 1, Column: 8`, by which parse errors say their place.
    pub fn in_message(message: &str) -> Option<Self> {
        let (_, place) = message.rsplit_once("Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let column: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some(Place { line: line.parse().ok()?, column: column.parse().ok()?, end: None })
    }
}

/// Two lines, or `None` where the text has no such place.
pub fn draw(sql: &str, place: Place) -> Option<String> {
    let line = sql.lines().nth(place.line.checked_sub(1)?)?;
    let length = line.chars().count();
    let start = place.column.checked_sub(1)?.min(length);
    let end = place.end.map_or(start + 1, |end| end.saturating_sub(1).min(length)).max(start + 1);
    // A tab stays a tab, so that the carets stand below the text whatever its width.
    let indent: String = line.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    Some(format!("  {number} | {line}\n  {margin} | {indent}{}", "^".repeat(end - start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_place() {
        let sql = "SELECT\n\ttenent, größe\nFROM events";
        let draw = |line, column, end| draw(sql, Place { line, column, end });
        assert_eq!(draw(2, 2, Some(8)).unwrap(), "  2 | \ttenent, größe\n    | \t^^^^^^");
        assert_eq!(draw(2, 10, Some(15)).unwrap(), "  2 | \ttenent, größe\n    | \t        ^^^^^");
        assert_eq!(draw(1, 7, None).unwrap(), "  1 | SELECT\n    |       ^");
        assert_eq!(draw(9, 1, None), None);
        assert_eq!(draw(0, 0, None), None);
    }

    #[test]
    fn the_place_of_a_parse_error_is_read_from_its_message() {
        let place = Place::in_message("Expected: an expression, found: FROM at Line: 1, Column: 8");
        assert_eq!(place, Some(Place { line: 1, column: 8, end: None }));
        assert_eq!(Place::in_message("recursion limit exceeded"), None);
    }
}
