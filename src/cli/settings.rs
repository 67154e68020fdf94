//! What was meant: arguments over environment over `tier.toml` over defaults, merged and validated once.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use serde::Deserialize;

use super::archive::CompactSection;
use super::args::{Global, OnArchived, OnHotError};
use super::hot_settings::HotSection;
use super::parse::{parse_bytes, parse_time};
use super::policy::{BudgetSection, LifecycleSection};
use super::publish::PublishSection;
use super::vacuum::VacuumSection;
use crate::clock::Clock;
use crate::error::{Context, Error, Result};
use crate::hot::HotSettings;
use crate::model::{Mapping, Prices};
use crate::store::{Cache, ClassTime, DEFAULT_CACHE_BYTES, Location};

const FILE_NAME: &str = "tier.toml";

/// Everything that does not belong to one verb.
#[derive(Debug, Clone)]
pub struct Settings {
    archive: Option<Location>,
    pub clock: Clock,
    pub file: FileSettings,
    pub yes: bool,
    no_cache: bool,
}

/// `tier.toml`. Every value is optional, so that a later layer can tell "not said" from any value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    #[serde(default)]
    pub archive: ArchiveSection,
    #[serde(default)]
    pub events: EventsSection,
    #[serde(default)]
    pub query: QuerySection,
    #[serde(default)]
    pub hot: HotSection,
    #[serde(default)]
    pub simulation: SimulationSection,
    #[serde(default)]
    pub prices: PricesSection,
    #[serde(default)]
    pub lifecycle: LifecycleSection,
    #[serde(default)]
    pub budget: BudgetSection,
    #[serde(default)]
    pub publish: PublishSection,
    #[serde(default)]
    pub compact: CompactSection,
    #[serde(default)]
    pub vacuum: VacuumSection,
    #[serde(default)]
    pub cache: CacheSection,
}

/// What this machine keeps of the catalogs of remote archives.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSection {
    pub folder: Option<PathBuf>,
    /// `0` keeps nothing.
    pub size: Option<String>,
}

/// Of archives whose storage classes are simulated: a local folder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationSection {
    /// How many times faster than the clock restores become ready and windows pass.
    pub speed: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSection {
    pub url: Option<String>,
    pub memory: Option<String>,
    pub settle: Option<String>,
    pub max_dead_letters: Option<String>,
    pub after_commit: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsSection {
    pub id: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub tenant: Option<String>,
    pub time: Option<String>,
    pub time_unit: Option<String>,
    pub null: Option<Vec<String>>,
    pub accept_future: Option<String>,
}

impl EventsSection {
    /// What it says of an event, over the defaults.
    pub fn mapping(&self) -> Result<Mapping> {
        let standard = Mapping::default();
        Ok(Mapping {
            id: self.id.as_deref().map_or(Ok(standard.id), str::parse)?,
            event_type: self.event_type.as_deref().map_or(Ok(standard.event_type), str::parse)?,
            tenant: self.tenant.as_deref().map_or(Ok(standard.tenant), str::parse)?,
            time: self.time.clone().unwrap_or(standard.time),
            time_unit: self.time_unit.as_deref().map(str::parse).transpose()?,
        })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySection {
    pub memory: Option<String>,
    pub on_archived: Option<OnArchived>,
    pub on_hot_error: Option<OnHotError>,
    pub tiers: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricesSection {
    /// A relative path begins at the folder of the settings file.
    pub file: Option<PathBuf>,
    pub egress: Option<Egress>,
}

/// Where the bytes of an answer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// Out of the region, which is paid by the GB. Taken where nothing is said: a quote should rather be too high.
    #[default]
    Internet,
    /// `tier` runs in the region of the bucket.
    None,
}

impl Settings {
    pub fn load(global: &Global) -> Result<Self> {
        let file = match find_file(global.config.as_deref())? {
            Some(path) => read_file(&path)?,
            None => FileSettings::default(),
        };
        let archive = global.archive.as_deref().or(file.archive.url.as_deref()).map(Location::from_str).transpose()?;
        let clock = match &global.now {
            Some(text) => Clock::Fixed(parse_time(text)?),
            None => Clock::System,
        };
        if file.simulation.speed.is_some_and(|speed| !(speed.is_finite() && speed > 0.0)) {
            return Err(
                Error::usage("`[simulation] speed` is not above zero").hint("1 is real time, 60 a minute an hour")
            );
        }
        Ok(Settings { archive, clock, file, yes: global.yes, no_cache: global.no_cache })
    }

    /// The time that simulated storage classes live in.
    pub fn class_time(&self) -> ClassTime {
        ClassTime { clock: self.clock, speed: self.file.simulation.speed.unwrap_or(1.0) }
    }

    /// The prices that quotes are made of: those of `[prices] file`, else the built-in ones.
    pub fn prices(&self) -> Result<Prices> {
        let Some(path) = &self.file.prices.file else { return Ok(Prices::built_in()) };
        let phrase = || format!("read the prices in {}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::usage("the price file cannot be read").with_source(error))
            .with_context(phrase)?;
        Prices::parse(&text).with_context(phrase)
    }

    /// The hot tier, where there is one.
    pub fn hot(&self) -> Result<Option<HotSettings>> {
        self.file.hot.settings(&self.file.events)
    }

    /// Whether bytes that are read leave the region and are paid for.
    pub fn pays_egress(&self) -> bool {
        self.file.prices.egress.unwrap_or_default() == Egress::Internet
    }

    /// The cache of remote archives' catalogs; `None` where there is to be none, or no place for it.
    pub fn cache(&self) -> Result<Option<Cache>> {
        let section = &self.file.cache;
        let size = section.size.as_deref().map_or(Ok(DEFAULT_CACHE_BYTES), parse_bytes);
        let size = size.context("read `[cache] size`")?;
        let usual = || etcetera::base_strategy::Xdg::new().ok().map(|xdg| xdg.cache_dir().join("tier").join("catalog"));
        let folder = section.folder.clone().or_else(usual).filter(|_| size > 0 && !self.no_cache);
        Ok(folder.map(|folder| Cache::new(folder, size)))
    }

    /// The archive that was named, by whatever means.
    pub fn archive(&self) -> Result<&Location> {
        self.archive.as_ref().ok_or_else(|| {
            Error::usage("no archive named")
                .code("no-archive-named")
                .hint("name it with --archive URL or TIER_ARCHIVE, or write `[archive] url = \"…\"` into a tier.toml")
                .command("tier status --archive ./archive")
        })
    }
}

/// The file that was named, else the nearest one above, else the user's.
fn find_file(named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(path) = named {
        return Ok(Some(path.to_owned()));
    }
    let here = std::env::current_dir().context("find the current folder")?;
    let above = here.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file());
    let user = || etcetera::base_strategy::Xdg::new().ok().map(|xdg| xdg.config_dir().join("tier").join(FILE_NAME));
    Ok(above.or_else(|| user().filter(|path| path.is_file())))
}

fn read_file(path: &Path) -> Result<FileSettings> {
    let phrase = || format!("read {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage("the settings file cannot be read").with_source(error))
        .with_context(phrase)?;
    // The parser's own message shows the line with a caret and the names it expected.
    let mut file: FileSettings = toml::from_str(&text)
        .map_err(|error| {
            let place = error.to_string();
            match near_name(error.message()) {
                Some(near) => Error::usage(place.trim_end()).hint(format!("did you mean `{near}`?")),
                None => Error::usage(place.trim_end()),
            }
        })
        .with_context(phrase)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    file.prices.file = file.prices.file.map(|prices| folder.join(prices));
    file.cache.folder = file.cache.folder.map(|cache| folder.join(cache));
    file.hot = file.hot.in_folder(folder);
    Ok(file)
}

/// From serde's "unknown field `x`, expected one of `a`, `b`": the expected name that is close to `x`.
fn near_name(message: &str) -> Option<&str> {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, expected) = names.split_first()?;
    nearest(wrong, expected.iter().copied())
}

/// The closest of `names`, when it is close enough to be worth saying.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const CLOSE: f64 = 0.8;
    let score = |name: &str| strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase());
    names
        .map(|name| (score(name), name))
        .filter(|(s, _)| *s >= CLOSE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_near_one() {
        let error = toml::from_str::<FileSettings>("[archive]\nurll = \"x\"\n").unwrap_err();
        assert_eq!(near_name(error.message()), Some("url"));
    }

    #[test]
    fn egress_is_paid_unless_the_file_says_otherwise() {
        for (text, is_paid) in
            [("", true), ("[prices]\negress = \"internet\"", true), ("[prices]\negress = \"none\"", false)]
        {
            let file = toml::from_str(text).unwrap();
            let settings = Settings { archive: None, clock: Clock::System, file, yes: false, no_cache: false };
            assert_eq!(settings.pays_egress(), is_paid, "{text}");
        }
        let error = toml::from_str::<FileSettings>("[prices]\negress = \"moon\"\n").unwrap_err();
        assert!(error.message().contains("`internet` or `none`"), "{error}");
    }
}
