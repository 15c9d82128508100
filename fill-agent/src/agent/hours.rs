//! Window and rate in force: from the configuration, from what the operator said, and from the manifest.

use std::time::Duration;

use jiff::Timestamp;
use protocol::config::{Config, Fill};
use protocol::fill::{self, Overridden};
use protocol::manifest::Manifest;

use crate::limits::CHANGES_SHOWN;
use crate::rate::effective_rate;
use crate::state::Intent;
use crate::window::{self, BadHours, Circumstances, Decision, Hours, Setting, decide};

/// What decides about the window, with the moment it was looked at.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Now.
    pub now: Timestamp,
    /// Whether the system says that it is synchronised.
    pub synchronised: bool,
    /// Whether it may be believed: synchronised, or it need not be.
    pub trusted: bool,
}

impl Clock {
    /// Looks at the system's clock.
    #[must_use]
    pub fn look(fill: Option<&Fill>) -> Self {
        let synchronised = platform::clock::synchronised();
        Self {
            now: Timestamp::now(),
            synchronised,
            trusted: synchronised || fill.is_some_and(|fill| !fill.require_synchronised_clock),
        }
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}

/// Hours of the configuration and of the operator, read once at each change.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    configured: Option<Setting>,
    set: Option<Setting>,
}

impl Settings {
    /// # Errors
    /// Hours or a zone that are none, in words for the operator.
    pub fn of(config: &Config, intent: &Intent) -> Result<Self, BadHours> {
        let configured = config.fill.as_ref().map(configured).transpose()?;
        let set = intent
            .set
            .as_ref()
            .map(|set| setting(&set.hours))
            .transpose()?;
        Ok(Self { configured, set })
    }

    /// Hours and rate of the configuration.
    #[must_use]
    pub fn configured(&self) -> Option<&Setting> {
        self.configured.as_ref()
    }

    /// Hours and rate in force.
    #[must_use]
    pub fn effective(&self) -> Option<&Setting> {
        let configured = self.configured.as_ref()?;
        Some(self.set.as_ref().unwrap_or(configured))
    }

    /// Open or not, and why.
    #[must_use]
    pub fn decide(&self, clock: &Clock, intent: &Intent, site_offset: Duration) -> Decision {
        decide(&Circumstances {
            now: clock.now,
            configured: self.configured.as_ref(),
            set: self.set.as_ref(),
            overridden: intent.overridden.as_ref(),
            pause: intent.pause.as_ref(),
            clock_trusted: clock.trusted,
            site_offset,
        })
    }

    /// Bits per second of this box, with its share of the site's.
    #[must_use]
    pub fn rate(&self, manifest: Option<&Manifest>) -> Option<u64> {
        let own = self.effective()?.rate?;
        let site = manifest.and_then(|manifest| manifest.site_rate);
        Some(effective_rate(own, site))
    }

    /// Bits per second for urgent objects outside the window.
    #[must_use]
    pub fn urgent_rate(&self, fill: Option<&Fill>, manifest: Option<&Manifest>) -> Option<u64> {
        let whole = self.rate(manifest)?;
        let configured = fill?.urgent_rate.map(|rate| rate.bits_per_second());
        Some(configured.unwrap_or(whole / 10).min(whole))
    }

    /// The civil day of the window's zone, as in `2026-03-29`.
    #[must_use]
    pub fn day(&self, now: Timestamp) -> String {
        let local = match self.effective() {
            Some(setting) => setting.hours.local(now),
            None => now.to_string(),
        };
        local.chars().take("2026-03-29".len()).collect()
    }

    /// The document for the operator.
    #[must_use]
    pub fn document(&self, clock: &Clock, intent: &Intent, site_offset: Duration) -> fill::Window {
        let decision = self.decide(clock, intent, site_offset);
        fill::Window {
            as_of: clock.seconds(),
            configured: self.configured.as_ref().map(hours),
            set: intent.set.clone(),
            overridden: intent.overridden.clone(),
            effective: self.effective().map(hours),
            site_offset_s: u32::try_from(site_offset.as_secs()).unwrap_or(u32::MAX),
            open: decision.open,
            why: decision.why,
            next: self.next(clock, intent.overridden.as_ref(), site_offset),
        }
    }

    /// The next changes by the hours; while an override lasts, those after it.
    fn next(
        &self,
        clock: &Clock,
        overridden: Option<&Overridden>,
        site_offset: Duration,
    ) -> Vec<fill::Change> {
        let Some(Setting { hours, .. }) = self.effective().filter(|_| clock.trusted) else {
            return Vec::new();
        };
        let from = match overridden.map(|order| order.until) {
            Some(None) => return Vec::new(),
            Some(Some(until)) => timestamp(until).unwrap_or(clock.now),
            None => clock.now,
        };
        // Where an override ends, the hours may say otherwise than it did.
        let turn = overridden.and_then(|order| {
            let opens = matches!(hours.state(from, site_offset), window::State::Open { .. });
            (opens != order.open).then_some(window::Change { at: from, opens })
        });
        let changes = turn.into_iter().chain(hours.changes(from, site_offset));
        changes
            .take(CHANGES_SHOWN)
            .map(|change| fill::Change {
                at: u64::try_from(change.at.as_second()).unwrap_or(0),
                opens: change.opens,
                local: hours.local(change.at),
            })
            .collect()
    }
}

/// The site's shift of the window: by the manifest, or by the site's name.
#[must_use]
pub fn site_offset(config: &Config, manifest: Option<&Manifest>) -> Duration {
    let said = manifest.and_then(|manifest| manifest.site_offset_s);
    said.map_or_else(
        || window::site_offset(&config.appliance.site),
        |seconds| Duration::from_secs(u64::from(seconds)),
    )
}

fn configured(fill: &Fill) -> Result<Setting, BadHours> {
    Ok(Setting {
        hours: Hours::parse(&fill.window, &fill.timezone)?,
        rate: fill.rate.map(|rate| rate.bits_per_second()),
    })
}

/// Hours as an operator set them.
///
/// # Errors
/// When they are none.
pub fn setting(hours: &fill::Hours) -> Result<Setting, BadHours> {
    Ok(Setting {
        hours: Hours::parse(&hours.window, &hours.timezone)?,
        rate: hours.rate,
    })
}

fn hours(setting: &Setting) -> fill::Hours {
    fill::Hours {
        window: setting.hours.window().to_owned(),
        timezone: setting.hours.timezone().to_owned(),
        rate: setting.rate,
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
