//! DataFusion's errors as a person who wrote SQL wants them: what is wrong, where, and what was probably meant.

use std::error::Error as StdError;

use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};

use super::snippet::{self, Place};
use crate::error::{Error, Kind};
use crate::scan::EventsTable;
use crate::store;

/// Names at least this similar (Jaro-Winkler) are worth suggesting: a bad guess is worse than none.
const CLOSE: f64 = 0.8;
/// Names this much less similar than the best are not meant.
const ALMOST_AS_CLOSE: f64 = 0.05;

/// An error of parsing or planning: the SQL has to change, unless a store failed meanwhile.
pub fn of_planning(error: &DataFusionError, sql: &str) -> Error {
    if let Some(error) = of_a_layer_below(error) {
        return error;
    }
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(place_of).or_else(|| Place::in_message(&error.to_string()));
    let shown = |message: String| match place.and_then(|place| snippet::draw(sql, place)) {
        Some(drawing) => format!("{message}\n{drawing}"),
        None => message,
    };
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match &**schema {
            SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields, shown),
            _ => Error::usage(shown(schema.to_string())).code("sql"),
        },
        DataFusionError::SQL(parse, _) => {
            let message = parse.to_string().replace("sql parser error: ", "");
            Error::usage(shown(without_place(&message))).code("sql-syntax")
        }
        root => {
            let message =
                diagnostic.map_or_else(|| root.message().into_owned(), |diagnostic| diagnostic.message.clone());
            if message.starts_with("table '") && message.ends_with("' not found") {
                let name = message["table '".len()..].trim_end_matches("' not found").rsplit('.').next().unwrap_or("");
                return Error::usage(shown(format!("there is no table `{name}`")))
                    .code("unknown-table")
                    .hint(format!("the only table is `{}`", EventsTable::NAME));
            }
            let (message, candidates) = without_attempts(&message);
            let error = Error::usage(shown(without_place(&message))).code("sql");
            match hint_of(diagnostic).or(candidates) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
    }
}

/// An error while rows were flowing.
pub fn of_running(error: &DataFusionError) -> Error {
    of_a_layer_below(error).unwrap_or_else(|| Error::failed(error.find_root().message().into_owned()).code("query"))
}

/// Errors that are not about the SQL: our own, a store's, memory that ran out.
fn of_a_layer_below(error: &DataFusionError) -> Option<Error> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(own) = cause.downcast_ref::<Error>() {
            return Some(copied(own));
        }
        if let Some(error) = cause.downcast_ref::<object_store::Error>() {
            return Some(store::explain_ref(error));
        }
        if let Some(DataFusionError::ResourcesExhausted(message)) = cause.downcast_ref::<DataFusionError>() {
            return Some(
                Error::new(Kind::OverBudget, "the query needs more memory than it may use")
                    .code("out-of-memory")
                    .hint("allow more with --memory, for example --memory 2GB, or ask for fewer rows or columns")
                    .with_source(Error::failed(message.clone())),
            );
        }
        next = cause.source();
    }
    None
}

/// Errors cannot be cloned; what a person sees of one can.
fn copied(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.to_string()).code(error.stable_code());
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    copy = error.commands().iter().fold(copy, |copy, command| copy.command(command));
    match error.causes() {
        causes if causes.is_empty() => copy,
        causes => copy.with_source(Error::failed(causes.join(": "))),
    }
}

fn unknown_column(field: &Column, valid: &[Column], shown: impl Fn(String) -> String) -> Error {
    let mut names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    let error = Error::usage(shown(format!("there is no column `{}`", field.name))).code("unknown-column");
    match &nearest(&field.name, &names)[..] {
        [] if names.is_empty() => error,
        [] => error.hint(format!("the columns are {}", quoted(&names, ", "))),
        near => error.hint(format!("did you mean {}?", quoted(near, " or "))),
    }
}

/// The closest names, best first.
fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut scored: Vec<(f64, &str)> =
        names.iter().map(|name| (strsim::jaro_winkler(&wrong, &name.to_lowercase()), *name)).collect();
    scored.retain(|(score, _)| *score >= CLOSE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.into_iter().take_while(|(score, _)| best - score < ALMOST_AS_CLOSE).map(|(_, name)| name).collect()
}

fn quoted(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between)
}

fn place_of(diagnostic: &Diagnostic) -> Option<Place> {
    let span = diagnostic.span?;
    let end = (span.end.line == span.start.line).then_some(span.end.column as usize);
    Some(Place { line: span.start.line as usize, column: span.start.column as usize, end })
}

fn hint_of(diagnostic: Option<&Diagnostic>) -> Option<String> {
    let diagnostic = diagnostic?;
    let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
    let hints = notes.chain(diagnostic.helps.iter().map(|help| help.message.as_str()));
    let hints: Vec<&str> = hints.filter(|hint| !is_far_fetched(hint, &diagnostic.message)).collect();
    (!hints.is_empty()).then(|| hints.join("; "))
}

/// Whether a "Possible function 'row'" is no likely meaning of "Invalid function 'foo'".
fn is_far_fetched(hint: &str, message: &str) -> bool {
    let quoted = |text: &str| text.split('\'').nth(1).map(str::to_lowercase);
    hint.starts_with("Possible function")
        && !matches!((quoted(hint), quoted(message)), (Some(a), Some(b)) if strsim::jaro_winkler(&a, &b) >= CLOSE)
}

/// Splits off what DataFusion tried before it gave up on a call: the candidates are a hint, the attempts are noise.
fn without_attempts(message: &str) -> (String, Option<String>) {
    const VERDICT: &str = "No function matches the given name and argument types";
    let Some(at) = message.find(VERDICT) else { return (message.to_owned(), None) };
    let text = message[at..].replace("Utf8View", "VARCHAR");
    let Some((verdict, candidates)) = text.split_once("Candidate functions:") else { return (text, None) };
    let verdict = verdict.split(". ").next().unwrap_or(verdict).trim_end().to_owned();
    let candidates: Vec<&str> = candidates.split_whitespace().collect();
    (verdict, Some(format!("it takes {}", candidates.join(" "))))
}

/// Without ` at Line: 1, Column: 8`, which the drawing shows.
fn without_place(message: &str) -> String {
    match message.rsplit_once(" at Line: ") {
        Some((before, _)) => before.to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_call_that_matches_nothing_the_verdict_and_the_candidates_are_kept() {
        let message = "Internal error: tried this.,tried that.. No function matches the given name and argument types \
                       'sum(Utf8View)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tsum(Int64)";
        let (verdict, candidates) = without_attempts(message);
        assert_eq!(verdict, "No function matches the given name and argument types 'sum(VARCHAR)'");
        assert_eq!(candidates.as_deref(), Some("it takes sum(Int64)"));
        assert_eq!(without_attempts("plain"), ("plain".to_owned(), None));
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("tenent", &["date", "tenant_id", "event_id"]), ["tenant_id"]);
        assert!(nearest("zzz", &["date", "tenant_id"]).is_empty());
        assert!(is_far_fetched("Possible function 'row'", "Invalid function 'foo'"));
        assert!(!is_far_fetched("Possible function 'count'", "Invalid function 'cont'"));
    }
}
