//! Which archived files a question needs.

use clap::Args;
use jiff::civil::Date;

use super::App;
use super::query::parse_as_of;
use crate::catalog::Snapshot;
use crate::error::{Context, Error, Result};
use crate::model::{ArchivedFile, DataFile};
use crate::query::AsOf;
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

    fn may_match(&self, file: &DataFile) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| file.tenants.contains(tenant))
            && self.event_type.as_ref().is_none_or(|event_type| file.event_types.contains(event_type))
            && self.from.is_none_or(|from| file.dates.max >= from)
            && self.to.is_none_or(|to| file.dates.min <= to)
    }
}

/// The archived files that answering the question reads.
pub async fn archived_files(app: &App, question: &QuestionArgs) -> Result<Needed> {
    let sql = question.sql()?;
    if question.query.is_some() || question.condition.is_some() {
        return Err(
            Error::failed("--query and --where are not answered yet").hint("use --tenant, --type, --from, --to")
        );
    }
    let store = &app.context.store;
    let snapshot = match question.as_of.as_deref().map(parse_as_of).transpose()? {
        None => Snapshot::open(store).await?,
        Some(AsOf::Version(version)) => Snapshot::at_version(store, version).await?,
        Some(AsOf::Time(time)) => Snapshot::at_time(store, time).await?,
    };
    let files = snapshot.files(|_| true).await.context("find the files of the question")?;
    let archived = files.into_iter().filter(|file| file.storage_class.is_archived() && question.may_match(file));
    let files = archived
        .map(|file| ArchivedFile { path: file.path, size_bytes: file.size_bytes, storage_class: file.storage_class })
        .collect();
    Ok(Needed { version: snapshot.version(), sql, files })
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
