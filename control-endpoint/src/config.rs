//! The file `oca-control.toml`. Unknown keys are errors; an error names file, line, key and what is allowed.

pub mod viewers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use protocol::config::ConfigError;
use protocol::limits::{COPIES_MAX, SIGNATURES_MAX};
use protocol::manifest::Source;
use protocol::paths::Paths;
use protocol::units::{BitRate, Interval, Percent};
use serde::Deserialize;

use crate::limits::SITE_OFFSET_MAX_S;
use viewers::{Location, Operator, Terms, ViewersAt};

/// The file's place when the command line names none.
#[must_use]
pub fn default_file() -> PathBuf {
    Paths::here().config().with_file_name("oca-control.toml")
}

/// A configuration that was checked.
#[derive(Debug)]
pub struct Config {
    /// Where HTTP is answered.
    pub listen: Vec<SocketAddr>,
    /// With TLS, if this is there, and only so.
    pub tls: Option<Tls>,
    /// Database, sealed manifests, copied objects.
    pub state_dir: PathBuf,
    /// Private keys (PEM); all sign.
    pub signing_keys: Vec<PathBuf>,
    /// When manifests are built each day, civil time.
    pub build_at: Time,
    /// In this zone.
    pub timezone: TimeZone,
    /// How long a manifest is acted upon.
    pub manifest_lifetime_s: u64,
    /// Fills served at once; more are answered 429.
    pub max_fills: usize,
    /// The token of who may change objects over HTTP; `None`: nobody.
    pub operator_token_file: Option<PathBuf>,
    /// Further sources that manifests name.
    pub origins: Vec<Source>,
    /// What is said of single sites.
    pub sites: Vec<SiteTerms>,
    /// Copies of what is asked for most; `None`: one of each object.
    pub copies: Option<FurtherCopies>,
    /// How viewers are sent.
    pub steering: Terms,
    /// Whose appliances serve which viewers.
    pub operators: Vec<Operator>,
    /// Where viewers are.
    pub places: Vec<ViewersAt>,
}

/// `[tls]`: https on all addresses of `listen`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file, the chain from the leaf on.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file with authorities: only clients with a certificate of theirs are let in. Default: everybody.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// `[[site]]`: what holds for a site.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteTerms {
    /// As in `appliance add --site`.
    pub name: String,
    /// All fills of the site together; each of its registered appliances has an equal share. Default: no bound.
    #[serde(default)]
    pub rate: Option<BitRate>,
    /// By which its fill windows open and close later than configured. Default: up to 30 min, by the site's name.
    #[serde(default)]
    pub offset: Option<Interval>,
    /// A drain is refused that leaves fewer of its appliances in service. Default: 0.
    #[serde(default)]
    pub min_serving: u16,
    /// Where it is: degrees north, degrees east. Default: unknown, so distance does not count.
    #[serde(default)]
    pub location: Option<Location>,
}

/// `[copies]`: the objects asked for most per byte are wanted more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurtherCopies {
    /// Copies of such an object, the first one included: 2 to 8, and at most one per device of the tier.
    pub count: u8,
    /// The part of an appliance's tiers that those beside the first may take: 1 to 50 %.
    pub room: Percent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Where HTTP is answered; with `[tls]`, https. Default: `127.0.0.1:9590`.
    #[serde(default = "listen")]
    listen: Vec<SocketAddr>,
    /// Database, sealed manifests, copied objects. Default: `/var/lib/oca-control`, on FreeBSD `/var/db/oca-control`.
    #[serde(default = "state_dir")]
    state_dir: PathBuf,
    /// https on all addresses of `listen`. Default: none, HTTP in clear.
    #[serde(default)]
    tls: Option<Tls>,
    /// Private keys (PEM), 1 to 8; all sign. `oca-control keygen` writes one.
    signing_keys: Vec<PathBuf>,
    /// When manifests are built each day, civil time. Default: `00:30`.
    #[serde(default = "build_at")]
    build_at: String,
    /// Name in the time zone database, as in `Europe/Berlin`. Default: `UTC`.
    #[serde(default = "timezone")]
    timezone: String,
    /// How long a manifest is acted upon; after that, appliances hold what they have and fill nothing. Default: 48 h.
    #[serde(default = "manifest_lifetime")]
    manifest_lifetime: Interval,
    /// Transfers of content at once; more are answered 429. Default: 64.
    #[serde(default = "max_fills")]
    max_fills: u32,
    /// File with the token of who may change objects over HTTP. Default: nobody may.
    #[serde(default)]
    operator_token_file: Option<PathBuf>,
    /// `[[origin]]`: further sources that manifests name. Default: none.
    #[serde(default, rename = "origin")]
    origins: Vec<Origin>,
    /// `[[site]]`: what holds for a site. Default: nothing in particular.
    #[serde(default, rename = "site")]
    sites: Vec<SiteTerms>,
    /// Copies of what is asked for most. Default: one of each object.
    #[serde(default)]
    copies: Option<FurtherCopies>,
    /// How viewers are sent.
    #[serde(default)]
    steering: Terms,
    /// `[[operator]]`: whose appliances serve which viewers. Without any, nobody is sent to an appliance.
    #[serde(default, rename = "operator")]
    operators: Vec<Operator>,
    /// `[[place]]`: where viewers are. Default: unknown, so distance does not count.
    #[serde(default, rename = "place")]
    places: Vec<ViewersAt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
enum Origin {
    Http {
        /// Any but `control`, and no other origin's.
        name: String,
        /// An object is at this URL and its path.
        url: String,
    },
    S3 {
        /// Any but `control`, and no other origin's.
        name: String,
        /// URL of the service.
        endpoint: String,
        /// Its region.
        region: String,
        /// The bucket.
        bucket: String,
        /// What stands before each path, ending in `/`. Default: nothing.
        #[serde(default)]
        prefix: String,
    },
}

fn listen() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 9590))]
}

fn state_dir() -> PathBuf {
    PathBuf::from(format!("{}-control", Paths::here().state_dir))
}

fn build_at() -> String {
    "00:30".to_owned()
}

fn timezone() -> String {
    "UTC".to_owned()
}

fn manifest_lifetime() -> Interval {
    Interval::from_seconds(48 * 3600)
}

fn max_fills() -> u32 {
    64
}

/// Reads and checks the file.
///
/// # Errors
/// Everything that is wrong with it, with lines.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let written = protocol::config::load_as(file, findings)?;
    Ok(Config {
        listen: written.listen,
        tls: written.tls,
        state_dir: written.state_dir,
        signing_keys: written.signing_keys,
        build_at: time(&written.build_at).expect("`findings` has parsed it"),
        timezone: TimeZone::get(&written.timezone).expect("`findings` has found it"),
        manifest_lifetime_s: written.manifest_lifetime.duration().as_secs(),
        max_fills: written.max_fills as usize,
        operator_token_file: written.operator_token_file,
        origins: written.origins.into_iter().map(Source::from).collect(),
        sites: written.sites,
        copies: written.copies,
        steering: written.steering,
        operators: written.operators,
        places: written.places,
    })
}

/// Exactly `HH:MM`.
fn time(text: &str) -> Option<Time> {
    (text.len() == 5)
        .then(|| Time::strptime("%H:%M", text).ok())
        .flatten()
}

fn findings(written: &Written) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut wrong = |key: &str, message: String| found.push((key.to_owned(), message));
    if written.listen.is_empty() {
        wrong("listen", "is empty; allowed: at least one address".into());
    }
    if written.signing_keys.is_empty() || written.signing_keys.len() > SIGNATURES_MAX {
        wrong(
            "signing_keys",
            format!(
                "has {} files; allowed: 1 to {SIGNATURES_MAX}; `oca-control keygen` writes one",
                written.signing_keys.len()
            ),
        );
    }
    if time(&written.build_at).is_none() {
        wrong(
            "build_at",
            format!(
                "\"{}\" is no time of day; allowed: \"00:00\" to \"23:59\"",
                written.build_at
            ),
        );
    }
    if TimeZone::get(&written.timezone).is_err() {
        wrong(
            "timezone",
            format!(
                "\"{}\" is not known; allowed: a name as in \"Europe/Berlin\" or \"UTC\"",
                written.timezone
            ),
        );
    }
    let lifetime_s = written.manifest_lifetime.duration().as_secs();
    if !(60..=366 * 86_400).contains(&lifetime_s) {
        wrong(
            "manifest_lifetime",
            format!(
                "is {}; allowed: \"1 min\" to \"366 d\"",
                written.manifest_lifetime
            ),
        );
    }
    if !(1..=65_536).contains(&written.max_fills) {
        wrong(
            "max_fills",
            format!("is {}; allowed: 1 to 65536", written.max_fills),
        );
    }
    found.extend(findings_of_tables(written));
    found.extend(viewers::findings(&written.steering, &written.operators));
    found
}

fn findings_of_tables(written: &Written) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut wrong = |key: String, message: String| found.push((key, message));
    for (index, site) in written.sites.iter().enumerate() {
        if let Some((key, message)) = wrong_site(site, &written.sites[..index]) {
            wrong(format!("site.{index}.{key}"), message);
        }
    }
    if let Some((key, message)) = written.copies.and_then(wrong_copies) {
        wrong(format!("copies.{key}"), message);
    }
    for (index, origin) in written.origins.iter().enumerate() {
        if let Some((key, message)) = wrong_origin(origin, &written.origins[..index]) {
            wrong(format!("origin.{index}.{key}"), message.into());
        }
    }
    found
}

fn wrong_site(site: &SiteTerms, before: &[SiteTerms]) -> Option<(&'static str, String)> {
    if site.name.is_empty() || before.iter().any(|other| other.name == site.name) {
        return Some((
            "name",
            "is empty or there twice; allowed: another name".into(),
        ));
    }
    if site.rate.is_some_and(|rate| rate.bits_per_second() == 0) {
        return Some(("rate", "is 0; allowed: more than 0, or no such key".into()));
    }
    let offset_s = site.offset.map_or(0, |offset| offset.duration().as_secs());
    (offset_s > SITE_OFFSET_MAX_S).then(|| {
        let most = Interval::from_seconds(SITE_OFFSET_MAX_S);
        (
            "offset",
            format!("is longer than {most}; allowed: \"0 s\" to \"{most}\""),
        )
    })
}

fn wrong_copies(copies: FurtherCopies) -> Option<(&'static str, String)> {
    if !(2..=COPIES_MAX).contains(&copies.count) {
        let message = format!("is {}; allowed: 2 to {COPIES_MAX}", copies.count);
        return Some(("count", message));
    }
    (!(1..=50).contains(&copies.room.percent())).then(|| {
        let message = format!("is {}; allowed: \"1 %\" to \"50 %\"", copies.room);
        ("room", message)
    })
}

fn wrong_origin(origin: &Origin, before: &[Origin]) -> Option<(&'static str, &'static str)> {
    let (Origin::Http { name, .. } | Origin::S3 { name, .. }) = origin;
    let (key, url) = match origin {
        Origin::Http { url, .. } => ("url", url),
        Origin::S3 { endpoint, .. } => ("endpoint", endpoint),
    };
    let same = |other: &Origin| matches!(other, Origin::Http { name: n, .. } | Origin::S3 { name: n, .. } if n == name);
    if name.is_empty() || name.len() > 253 || name == "control" || before.iter().any(same) {
        return Some((
            "name",
            "is empty, too long, \"control\", or there twice; allowed: another name of 1 to 253 bytes",
        ));
    }
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return Some((
            key,
            "allowed: an address that begins with http:// or https://",
        ));
    }
    match origin {
        Origin::S3 { prefix, .. } if !prefix.is_empty() && !prefix.ends_with('/') => {
            Some(("prefix", "allowed: nothing, or a text that ends with /"))
        }
        _ => None,
    }
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Http { name, url } => Self::Http { name, url },
            Origin::S3 {
                name,
                endpoint,
                region,
                bucket,
                prefix,
            } => Self::S3 {
                name,
                endpoint,
                region,
                bucket,
                prefix,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path()).map_err(|error| {
            let name = file.path().display().to_string();
            error.to_string().replace(&name, "FILE")
        })
    }

    #[test]
    fn the_example_is_right_and_shows_the_defaults() {
        let example = include_str!("../../docs/examples/oca-control.toml");
        let config = read(example).unwrap();
        let least = read("signing_keys = [\"/etc/oca/control-1.key\"]").unwrap();
        assert_eq!(config.listen, least.listen);
        assert_eq!(config.build_at, least.build_at);
        assert_eq!(config.manifest_lifetime_s, least.manifest_lifetime_s);
        assert_eq!(config.max_fills, least.max_fills);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        let keys = "signing_keys = [\"k\"]\n";
        for (text, said) in [
            ("", "FILE:1: signing_keys: is missing; it has no default"),
            (
                "signing_keys = []",
                "FILE:1: signing_keys: has 0 files; allowed: 1 to 8; `oca-control keygen` writes one",
            ),
            (
                "max_fils = 3\nsigning_keys = [\"k\"]",
                "FILE:1: max_fils: unknown key",
            ),
            (
                &format!("{keys}max_fills = 0"),
                "FILE:2: max_fills: is 0; allowed: 1 to 65536",
            ),
            (
                &format!("{keys}build_at = \"24:00\""),
                "FILE:2: build_at: \"24:00\" is no time of day",
            ),
            (
                &format!("{keys}timezone = \"Europe/Brelin\""),
                "FILE:2: timezone: \"Europe/Brelin\" is not known",
            ),
            (
                &format!("{keys}manifest_lifetime = \"2 s\""),
                "FILE:2: manifest_lifetime: is 2 s; allowed",
            ),
            (
                &format!("{keys}listen = [\"9590\"]"),
                "FILE:2: listen: is not an address with a port; allowed: ADDRESS:PORT",
            ),
            (
                &format!("{keys}[[origin]]\nkind = \"http\"\nname = \"a\"\nurl = \"ftp://x\""),
                "FILE:5: origin.url: allowed",
            ),
            (
                &format!("{keys}[[site]]\nname = \"a\"\noffset = \"31 min\""),
                "FILE:4: site.offset: is longer than 30 min; allowed",
            ),
            (
                &format!("{keys}[[site]]\nname = \"a\"\n[[site]]\nname = \"a\""),
                "FILE:5: site.name: is empty or there twice",
            ),
            (
                &format!("{keys}[copies]\ncount = 1\nroom = \"5 %\""),
                "FILE:3: copies.count: is 1; allowed: 2 to 8",
            ),
            (
                &format!(
                    "{keys}[[origin]]\nkind = \"http\"\nname = \"a\"\nurl = \"http://x\"\nport = 1"
                ),
                "unknown key \"port\"",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{error:?} should contain {said:?}");
        }
    }
}
