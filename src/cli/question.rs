//! Which archived files a question needs.

use clap::Args;
use jiff::civil::Date;

use super::App;
use super::query::parse_as_of;
use crate::error::{Error, Result};
use crate::query::{Engine, QuerySettings};
use crate::restore::Needed;

/// A question: as SQL, or as what the events have in common.
#[derive(Debug, Default, Args)]
pub struct QuestionArgs {
    /// The question whose files are meant
    #[arg(long, value_name = "SQL", conflicts_with_all = ["condition", "tenant", "event_type", "from", "to"])]
    pub query: Option<String>,

    /// Events for which this SQL condition holds
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,

    /// Events of this tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,

    /// Events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,

    /// Events of this date or later
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,

    /// Events of this date or earlier
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,

    /// Of an older version: its number, or a time at which it was the newest
    #[arg(long, value_name = "VERSION|TIME")]
    pub as_of: Option<String>,
}

impl QuestionArgs {
    /// The question as SQL.
    pub fn sql(&self) -> Result<String> {
        if let Some(sql) = &self.query {
            return Ok(sql.trim().trim_end_matches(';').to_owned());
        }
        let text = |value: &str| format!("'{}'", value.replace('\'', "''"));
        let conditions: Vec<String> = [
            self.tenant.as_deref().map(|tenant| format!("tenant_id = {}", text(tenant))),
            self.event_type.as_deref().map(|event_type| format!("event_type = {}", text(event_type))),
            self.from.map(|date| format!("date >= '{date}'")),
            self.to.map(|date| format!("date <= '{date}'")),
            self.condition.as_deref().map(|condition| format!("({condition})")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if conditions.is_empty() {
            return Err(Error::usage("restore what?")
                .hint("name a question with --query SQL, or events with --tenant, --type, --from, --to, --where"));
        }
        Ok(format!("SELECT * FROM events WHERE {}", conditions.join(" AND ")))
    }
}

/// The archived files that answering the question reads.
pub async fn archived_files(app: &App, question: &QuestionArgs) -> Result<Needed> {
    let sql = question.sql()?;
    let as_of = question.as_of.as_deref().map(parse_as_of).transpose()?;
    let engine = Engine::open(&app.context, &QuerySettings { as_of, ..QuerySettings::default() }).await?;
    let files = engine.needs(&sql).await?;
    Ok(Needed { version: engine.snapshot().version(), sql, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_question_too() {
        let args = QuestionArgs {
            tenant: Some("O'Hara".into()),
            from: Some("2024-01-01".parse().unwrap()),
            condition: Some("a OR b".into()),
            ..QuestionArgs::default()
        };
        assert_eq!(
            args.sql().unwrap(),
            "SELECT * FROM events WHERE tenant_id = 'O''Hara' AND date >= '2024-01-01' AND (a OR b)"
        );
        let query = QuestionArgs { query: Some(" SELECT 1; ".into()), ..QuestionArgs::default() };
        assert_eq!(query.sql().unwrap(), "SELECT 1");
        assert!(QuestionArgs::default().sql().is_err());
    }
}
