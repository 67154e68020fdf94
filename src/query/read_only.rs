//! What may be asked: questions. Everything that would change something is refused by name.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{SetExpr, Statement as Sql};

use crate::error::{Error, Result};

/// Refuses a statement by its words, before names in it are looked up.
pub fn check_statement(statement: &Parsed) -> Result<()> {
    let allowed = match statement {
        Parsed::Statement(sql) => is_question(sql),
        Parsed::Explain(explain) => return check_statement(&explain.statement),
        Parsed::CreateExternalTable(_) | Parsed::CopyTo(_) | Parsed::Reset(_) => false,
    };
    if allowed { Ok(()) } else { Err(refused(&first_words(&statement.to_string()))) }
}

/// Refuses a plan that would change something: what `check_statement` could not see.
pub fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    let visited = plan.apply_with_subqueries(|node| {
        found = match node {
            LogicalPlan::Ddl(ddl) => Some(ddl.name().to_owned()),
            LogicalPlan::Dml(dml) => Some(dml.op.to_string()),
            LogicalPlan::Copy(_) => Some("COPY".to_owned()),
            LogicalPlan::Statement(statement) => Some(statement.name().to_owned()),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    debug_assert!(visited.is_ok(), "the visitor has no error to return");
    found.map_or(Ok(()), |what| Err(refused(&what)))
}

fn is_question(statement: &Sql) -> bool {
    match statement {
        Sql::Query(query) => {
            matches!(
                *query.body,
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_)
            )
        }
        Sql::Explain { statement, .. } => is_question(statement),
        Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. }
        | Sql::ShowFunctions { .. }
        | Sql::ShowVariable { .. } => true,
        _ => false,
    }
}

fn refused(what: &str) -> Error {
    Error::usage(format!("tier query is read-only: {what} is refused"))
        .code("read-only")
        .hint("ask with SELECT, EXPLAIN, DESCRIBE or SHOW; write an answer to a file with --output FILE")
}

/// `CREATE TABLE` of `CREATE TABLE t …`, `SET` of `SET x = 1`.
fn first_words(statement: &str) -> String {
    const KINDS: [&str; 6] = ["TABLE", "VIEW", "EXTERNAL", "SCHEMA", "DATABASE", "FUNCTION"];
    let mut words = statement.split_whitespace().map(str::to_uppercase);
    let first = words.next().unwrap_or_default();
    match words.next().filter(|word| KINDS.contains(&word.as_str())) {
        Some(second) => format!("{first} {second}"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    fn check(sql: &str) -> Result<()> {
        let statements = DFParser::parse_sql(sql).expect("the test's SQL parses");
        check_statement(&statements[0])
    }

    #[test]
    fn questions_are_allowed() {
        for sql in [
            "SELECT 1",
            "VALUES (1)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "DESCRIBE events",
            "SHOW TABLES",
            "SHOW COLUMNS FROM events",
            "SHOW ALL",
            "SELECT 1 UNION SELECT 2",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn changes_are_refused_by_name() {
        for (sql, what) in [
            ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
            ("DROP TABLE events", "DROP TABLE"),
            ("INSERT INTO events VALUES (1)", "INSERT"),
            ("DELETE FROM events", "DELETE"),
            ("UPDATE events SET x = 1", "UPDATE"),
            ("COPY (SELECT 1) TO 'x.csv'", "COPY"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("EXPLAIN DELETE FROM events", "DELETE"),
            ("BEGIN", "BEGIN"),
            ("PREPARE p AS SELECT 1", "PREPARE"),
        ] {
            let error = check(sql).expect_err(sql);
            assert_eq!(error.to_string(), format!("tier query is read-only: {what} is refused"), "{sql}");
        }
    }
}
