//! `[steering]`, `[[operator]]` and `[[place]]`: where viewers are sent.

use std::time::Duration;

use protocol::units::{BitRate, Interval};
use serde::Deserialize;
use steering::bgp::Prefix;
use steering::decide::limits::{TTL_LEAVING_S, TTL_S, ttl_longest};
use steering::decide::place::Place;

use crate::limits::{OPERATORS_MAX, TTL_MOST_S};

/// `[steering]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// How viewers reach an appliance, with `{appliance}` for its id. Default: at the addresses that it reports.
    pub url: Option<String>,
    /// Where viewers find everything. Default: they are sent to appliances alone.
    pub origin: Option<String>,
    /// What the origin can send to viewers. Default: 0 bit/s.
    pub origin_capacity: BitRate,
    /// What a viewer takes, for the count of those at the origin. Default: 5 Mbit/s.
    pub viewer_rate: BitRate,
    /// Whose `X-Forwarded-For` is believed. Default: nobody's.
    pub trusted_proxies: Vec<PrefixText>,
    /// How long a viewer's player may use an answer, give or take a fifth: 10 s to 1 h. A drain waits for it. Default: 300 s.
    pub ttl: Interval,
}

impl Terms {
    /// In seconds.
    pub(crate) fn ttl_s(&self) -> u32 {
        u32::try_from(self.ttl.duration().as_secs()).unwrap_or(TTL_MOST_S)
    }

    pub(crate) fn ttl_longest(&self) -> Duration {
        ttl_longest(self.ttl_s())
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            url: None,
            origin: None,
            origin_capacity: BitRate::from_bits_per_second(0),
            viewer_rate: BitRate::from_bits_per_second(5_000_000),
            trusted_proxies: Vec::new(),
            ttl: Interval::from_seconds(TTL_S.into()),
        }
    }
}

/// `[[operator]]`: whose appliances serve which viewers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// For people.
    pub name: String,
    /// Sites of his appliances.
    pub sites: Vec<String>,
    /// The prefixes of his viewers. What routers tell beyond them is not used.
    pub prefixes: Vec<PrefixText>,
}

/// `[[place]]`: where viewers are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewersAt {
    /// Their prefixes.
    pub prefixes: Vec<PrefixText>,
    /// Degrees north, degrees east.
    pub location: Location,
}

/// A prefix in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PrefixText(pub Prefix);

impl TryFrom<String> for PrefixText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let prefix = text.parse().map(Self);
        prefix.map_err(|_| {
            format!("\"{text}\" is no prefix; allowed: as in \"192.0.2.0/24\" or \"2001:db8::/32\", no bits behind the length")
        })
    }
}

/// Degrees north and east in the file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "[f64; 2]")]
pub struct Location(pub Place);

impl TryFrom<[f64; 2]> for Location {
    type Error = String;

    fn try_from([latitude, longitude]: [f64; 2]) -> Result<Self, String> {
        let place = Place::new(latitude, longitude).map(Self);
        place.ok_or_else(|| {
            format!("[{latitude}, {longitude}] is no place; allowed: degrees north (-90 to 90), degrees east (-180 to 180)")
        })
    }
}

/// What is wrong with them: key and message.
pub(super) fn findings(terms: &Terms, operators: &[Operator]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut wrong = |key: String, message: &str| found.push((key, message.to_owned()));
    let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
    if terms
        .url
        .as_ref()
        .is_some_and(|url| !is_url(url) || !url.contains("{appliance}"))
    {
        wrong(
            "steering.url".into(),
            "allowed: an address that begins with http:// or https:// and has {appliance} in it",
        );
    }
    if terms.origin.as_ref().is_some_and(|url| !is_url(url)) {
        wrong(
            "steering.origin".into(),
            "allowed: an address that begins with http:// or https://",
        );
    }
    if terms.origin.is_some() && terms.origin_capacity.bits_per_second() == 0 {
        wrong(
            "steering.origin_capacity".into(),
            "is 0, so no viewer would be sent to the origin; allowed: more, or no `origin`",
        );
    }
    if terms.viewer_rate.bits_per_second() == 0 {
        wrong(
            "steering.viewer_rate".into(),
            "is 0; allowed: more, as in \"5 Mbit/s\"",
        );
    }
    if !(TTL_LEAVING_S..=TTL_MOST_S).contains(&terms.ttl_s()) {
        wrong(
            "steering.ttl".into(),
            "allowed: 10 s (what holds while an appliance leaves) to 1 h",
        );
    }
    if operators.len() > OPERATORS_MAX {
        wrong(
            "operator".into(),
            "are more than 1000; allowed: at most 1000",
        );
    }
    for (index, operator) in operators.iter().enumerate() {
        let before = &operators[..index];
        if operator.name.is_empty() || before.iter().any(|other| other.name == operator.name) {
            wrong(
                format!("operator.{index}.name"),
                "is empty or there twice; allowed: another name",
            );
        }
        let is_taken = |site: &String| before.iter().any(|other| other.sites.contains(site));
        if operator.sites.iter().any(is_taken) {
            wrong(
                format!("operator.{index}.sites"),
                "has a site of another operator; allowed: each site once",
            );
        }
    }
    found
}
