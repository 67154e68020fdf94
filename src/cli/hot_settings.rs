//! The `[hot]` section of `tier.toml`, as typed and as meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::parse::{parse_age_days, parse_duration};
use super::policy::OneOrMany;
use super::settings::{EventsSection, nearest};
use crate::error::{Context, Error, Result};
use crate::hot::{CassandraSettings, Consistency, ExportsSettings, HotColumns, HotSettings, Login, Place, Tls};
use crate::model::IdSource;

/// The password's other place is `password_file`: a settings file is read by too many.
const PASSWORD_VARIABLE: &str = "TIER_HOT_PASSWORD";

const DEFAULT_TTL_DAYS: u32 = 90;
const DEFAULT_CLOSES_AFTER: Duration = Duration::from_secs(2 * 3600);
const DEFAULT_WARN_DAYS: u32 = 14;
const DEFAULT_PAGE_ROWS: u32 = 5_000;
const MAX_PAGE_ROWS: u32 = 100_000;
const DEFAULT_REQUESTS_IN_FLIGHT: usize = 8;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotSection {
    /// Recent exports instead of Cassandra.
    pub exports: Option<String>,
    pub contact_points: Option<OneOrMany>,
    pub datacenter: Option<String>,
    pub keyspace: Option<String>,
    pub table: Option<String>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub tls: Option<TlsSection>,
    pub id: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub tenant: Option<String>,
    pub time: Option<String>,
    pub time_unit: Option<String>,
    pub day: Option<String>,
    pub ignore: Option<Vec<String>>,
    pub ttl: Option<String>,
    pub closes_after: Option<String>,
    pub warn_before: Option<String>,
    pub consistency: Option<String>,
    pub page_size: Option<u32>,
    pub requests_in_flight: Option<usize>,
    pub rows_per_second: Option<u64>,
    pub timeout: Option<String>,
    pub speculate_after: Option<String>,
    /// Questions may read the whole hot tier.
    pub allow_scan: Option<bool>,
}

/// `tls = true`, or a table with files, whose relative paths begin at the folder of the settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum TlsSection {
    On(bool),
    Files(TlsFiles),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl HotSection {
    /// Paths of files become relative to `folder`.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        let join = |path: &mut Option<PathBuf>| {
            if let Some(path) = path {
                *path = folder.join(&*path);
            }
        };
        join(&mut self.password_file);
        if let Some(TlsSection::Files(files)) = &mut self.tls {
            [&mut files.ca, &mut files.certificate, &mut files.key].into_iter().for_each(join);
        }
        self
    }

    /// `None` where there is no hot tier. Exports mean what `[events]` says of them.
    pub fn settings(&self, events: &EventsSection) -> Result<Option<HotSettings>> {
        let place = match (&self.exports, &self.contact_points) {
            (None, None) if self.keyspace.is_none() && self.table.is_none() => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Error::usage("`[hot]` has both `exports` and `contact_points`")
                    .hint("the hot tier is one of them: leave the other out"));
            }
            (Some(address), None) => Place::Exports(Box::new(ExportsSettings {
                address: address.clone(),
                mapping: events.mapping()?,
                null_tokens: events.null.clone().unwrap_or_default(),
            })),
            (None, _) => Place::Cassandra(Box::new(self.cassandra()?)),
        };
        let days = |text: &Option<String>, default| text.as_deref().map_or(Ok(default), parse_age_days);
        let settings = HotSettings {
            place,
            ttl_days: days(&self.ttl, DEFAULT_TTL_DAYS).context("read `[hot] ttl`")?,
            closes_after: duration(&self.closes_after, DEFAULT_CLOSES_AFTER).context("read `[hot] closes_after`")?,
            warn_days: days(&self.warn_before, DEFAULT_WARN_DAYS).context("read `[hot] warn_before`")?,
        };
        if settings.ttl_days == 0 {
            return Err(Error::usage("`[hot] ttl` is not above zero").hint("write how long the table keeps rows: 90d"));
        }
        Ok(Some(settings))
    }

    fn cassandra(&self) -> Result<CassandraSettings> {
        let named = |what: &str, value: &Option<String>| {
            value.clone().filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::usage(format!("`[hot]` has no `{what}`"))
                    .hint("a hot tier in Cassandra has contact_points, keyspace and table")
            })
        };
        let contact_points = match &self.contact_points {
            Some(OneOrMany::One(point)) => vec![point.clone()],
            Some(OneOrMany::Many(points)) if !points.is_empty() => points.clone(),
            _ => return Err(named("contact_points", &None).expect_err("there are none")),
        };
        let page_rows = self.page_size.unwrap_or(DEFAULT_PAGE_ROWS);
        let requests_in_flight = self.requests_in_flight.unwrap_or(DEFAULT_REQUESTS_IN_FLIGHT);
        if !(1..=MAX_PAGE_ROWS).contains(&page_rows) || requests_in_flight == 0 || self.rows_per_second == Some(0) {
            return Err(Error::usage("`[hot]` has a limit that nothing fits in").hint(format!(
                "page_size is 1 to {MAX_PAGE_ROWS}, requests_in_flight and rows_per_second are above zero"
            )));
        }
        Ok(CassandraSettings {
            contact_points,
            datacenter: self.datacenter.clone(),
            keyspace: named("keyspace", &self.keyspace)?,
            table: named("table", &self.table)?,
            login: self.login()?,
            tls: match &self.tls {
                None | Some(TlsSection::On(false)) => None,
                Some(TlsSection::On(true)) => Some(Tls::default()),
                Some(TlsSection::Files(TlsFiles { ca, certificate, key })) => {
                    Some(Tls { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
                }
            },
            columns: self.columns()?,
            consistency: self.consistency()?,
            page_rows,
            requests_in_flight,
            rows_per_second: self.rows_per_second,
            timeout: duration(&self.timeout, DEFAULT_TIMEOUT).context("read `[hot] timeout`")?,
            speculate_after: self.speculate_after.as_deref().map(parse_duration).transpose()?,
        })
    }

    fn login(&self) -> Result<Option<Login>> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match (std::env::var(PASSWORD_VARIABLE), &self.password_file) {
            (Ok(password), _) => password,
            (Err(_), Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Error::usage("the password file cannot be read").with_source(error))
                .with_context(|| format!("read {}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            (Err(_), None) => {
                return Err(Error::usage(format!("`[hot]` names the user `{user}`, and no password"))
                    .hint(format!("set {PASSWORD_VARIABLE}, or name a `password_file`")));
            }
        };
        Ok(Some(Login { user: user.clone(), password }))
    }

    fn columns(&self) -> Result<HotColumns> {
        let mapping = EventsSection {
            id: self.id.clone(),
            event_type: self.event_type.clone(),
            tenant: self.tenant.clone(),
            time: self.time.clone(),
            time_unit: self.time_unit.clone(),
            ..EventsSection::default()
        }
        .mapping()?;
        if mapping.id == IdSource::Hash {
            return Err(Error::usage("`[hot] id` is `hash`, and a row of Cassandra has a key")
                .hint("name the columns of the event's id"));
        }
        Ok(HotColumns { mapping, day: self.day.clone(), ignore: self.ignore.clone().unwrap_or_default() })
    }

    fn consistency(&self) -> Result<Consistency> {
        let Some(text) = &self.consistency else { return Ok(Consistency::default()) };
        let wanted = text.to_uppercase();
        let found = Consistency::ALL.into_iter().find(|(_, name)| *name == wanted);
        found.map(|(consistency, _)| consistency).ok_or_else(|| {
            let names = Consistency::ALL.map(|(_, name)| name);
            let error = Error::usage(format!("`{text}` is not a consistency level to read with"));
            match nearest(&wanted, names.into_iter()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the levels are {}", names.join(", "))),
            }
        })
    }
}

fn duration(text: &Option<String>, default: Duration) -> Result<Duration> {
    text.as_deref().map_or(Ok(default), parse_duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mapping;

    fn settings(text: &str) -> Result<Option<HotSettings>> {
        toml::from_str::<HotSection>(text).unwrap().settings(&EventsSection::default())
    }

    #[test]
    fn a_hot_tier_is_what_the_section_says_and_sensible_elsewhere() {
        assert!(settings("").unwrap().is_none());
        let hot = settings("contact_points = \"c1\"\nkeyspace = \"prod\"\ntable = \"events\"\nttl = \"30d\"")
            .unwrap()
            .unwrap();
        assert_eq!((hot.ttl_days, hot.closes_after.as_secs(), hot.warn_days), (30, 7200, 14));
        let Place::Cassandra(cassandra) = hot.place else { panic!("{hot:?}") };
        assert_eq!((cassandra.contact_points, cassandra.consistency), (vec!["c1".into()], Consistency::LocalQuorum));
        assert_eq!(cassandra.columns.mapping, Mapping::default());
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_way_out() {
        let refused = |text: &str| {
            let error = settings(text).unwrap_err();
            (error.to_string(), error.hint_text().unwrap_or_default().to_owned())
        };
        let base = "contact_points = [\"c1\"]\nkeyspace = \"k\"\ntable = \"t\"\n";
        assert_eq!(refused("contact_points = [\"c1\"]\ntable = \"t\"").0, "`[hot]` has no `keyspace`");
        assert_eq!(
            refused(&format!("{base}consistency = \"local_qourum\"")),
            (
                "`local_qourum` is not a consistency level to read with".to_owned(),
                "did you mean `LOCAL_QUORUM`?".to_owned()
            )
        );
        assert_eq!(refused(&format!("{base}exports = \"x\"")).0, "`[hot]` has both `exports` and `contact_points`");
        assert!(refused(&format!("{base}page_size = 0")).1.starts_with("page_size is 1 to"));
        assert_eq!(refused(&format!("{base}ttl = \"0d\"")).0, "`[hot] ttl` is not above zero");
    }
}
