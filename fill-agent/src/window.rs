//! When the agent may fill: civil hours in the zone of the appliance.
//!
//! ```text
//! Hours, site offset, now -> State (open since, until | closed, opens) and the next changes
//! Circumstances           -> Decision: open or not, until when, and why in one sentence
//! ```
//!
//! One rule makes opening and closing: both happen *at the first instant whose civil time is at or past the given one*. So a time
//! that the change of clocks skips is the end of the gap, a repeated one its first occurrence, and what lies between is one
//! interval, of 11 or 13 hours on such days. The site's offset shifts both ends by physical time.
//!
//! Knows no clock: `now` is an argument. Whether it can be trusted is an argument, too.

mod decide;

use std::time::Duration;

use jiff::civil::{self, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

pub use decide::{Circumstances, Decision, Reason, Setting, decide};

use crate::limits::SITE_OFFSET_MAX;

/// Civil hours of every day, in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    daily: Daily,
    zone: TimeZone,
    window: String,
    timezone: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daily {
    Always,
    /// From the first to the second, which is on the next day if it is not later.
    Between(civil::Time, civil::Time),
}

/// Why text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHours {
    /// Not two times.
    #[error(
        "{0:?} is not a window; allowed: HH:MM-HH:MM with two different times, as in \"02:00-14:00\"; \"00:00-24:00\" is always open"
    )]
    Window(String),
    /// Not in the time zone database.
    #[error("{0:?} is not in the time zone database; allowed: a name as in \"Europe/Berlin\"")]
    Zone(String),
}

/// Open or closed. `None` stands for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Open now.
    Open {
        /// When it opened.
        since: Option<Timestamp>,
        /// When it closes: the first instant at which it is closed.
        until: Option<Timestamp>,
    },
    /// Closed now.
    Closed {
        /// When it opens.
        opens: Option<Timestamp>,
    },
}

/// One opening or closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The first instant of the new state.
    pub at: Timestamp,
    /// Opens, or closes.
    pub opens: bool,
}

impl Hours {
    /// Hours as in `02:00-14:00`; an end that is not after the start is on the next day; `00:00-24:00` is always open.
    /// The zone is looked up in the system's database, or in the one that this program carries.
    ///
    /// # Errors
    /// [`BadHours`], in words for the operator.
    pub fn parse(window: &str, timezone: &str) -> Result<Self, BadHours> {
        let bad = || BadHours::Window(window.to_owned());
        let (start, end) = window.split_once('-').ok_or_else(bad)?;
        let start = minute_of_day(start).ok_or_else(bad)?;
        let end = minute_of_day(end).ok_or_else(bad)?;
        if start == DAY_MINUTES || start == end {
            return Err(bad());
        }
        let daily = if (start, end) == (0, DAY_MINUTES) {
            Daily::Always
        } else {
            Daily::Between(time(start), time(end))
        };
        Ok(Self {
            daily,
            zone: TimeZone::get(timezone).map_err(|_| BadHours::Zone(timezone.to_owned()))?,
            window: window.to_owned(),
            timezone: timezone.to_owned(),
        })
    }

    /// As it was written, as in `02:00-14:00`.
    #[must_use]
    pub fn window(&self) -> &str {
        &self.window
    }

    /// The zone's name.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp, site_offset: Duration) -> State {
        if self.daily == Daily::Always {
            return State::Open {
                since: None,
                until: None,
            };
        }
        let next = self.intervals(now, site_offset).next();
        match next {
            Some((since, until)) if since <= now => State::Open {
                since: Some(since),
                until: Some(until),
            },
            next => State::Closed {
                opens: next.map(|(since, _)| since),
            },
        }
    }

    /// The openings and closings after `now`, in their order, without end.
    pub fn changes(
        &self,
        now: Timestamp,
        site_offset: Duration,
    ) -> impl Iterator<Item = Change> + '_ {
        self.intervals(now, site_offset)
            .flat_map(|(at, until)| {
                [
                    Change { at, opens: true },
                    Change {
                        at: until,
                        opens: false,
                    },
                ]
            })
            .filter(move |change| change.at > now)
    }

    /// An instant in the zone, as in `2026-03-29T03:00:00+02:00`.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// The intervals that end after `now`; two that touch are one.
    fn intervals(&self, now: Timestamp, site_offset: Duration) -> Intervals<'_> {
        let shift = SignedDuration::try_from(site_offset.min(SITE_OFFSET_MAX))
            .unwrap_or(SignedDuration::ZERO);
        let civil = self.zone.to_datetime(now);
        Intervals {
            hours: self,
            shift,
            now,
            // Two days back: the window of yesterday may still be open, and a zone may skip a day.
            date: civil.date().checked_sub(2.days()).ok(),
            ahead: None,
        }
    }

    /// The interval that belongs to a day; empty if the change of clocks swallows it.
    fn of_day(&self, date: civil::Date) -> Option<(Timestamp, Timestamp)> {
        let Daily::Between(start, end) = self.daily else {
            return None;
        };
        let last_day = if end > start {
            date
        } else {
            date.tomorrow().ok()?
        };
        Some((
            first_at_or_past(&self.zone, date.to_datetime(start))?,
            first_at_or_past(&self.zone, last_day.to_datetime(end))?,
        ))
    }
}

struct Intervals<'a> {
    hours: &'a Hours,
    shift: SignedDuration,
    now: Timestamp,
    date: Option<civil::Date>,
    ahead: Option<(Timestamp, Timestamp)>,
}

impl Intervals<'_> {
    /// The next interval of a day that is not empty and not over.
    fn next_of_days(&mut self) -> Option<(Timestamp, Timestamp)> {
        loop {
            let date = self.date?;
            self.date = date.tomorrow().ok();
            let (start, end) = self.hours.of_day(date)?;
            let start = start.checked_add(self.shift).ok()?;
            let end = end.checked_add(self.shift).ok()?;
            if start < end && end > self.now {
                return Some((start, end));
            }
        }
    }
}

impl Iterator for Intervals<'_> {
    type Item = (Timestamp, Timestamp);

    fn next(&mut self) -> Option<Self::Item> {
        let (start, mut end) = self.ahead.take().or_else(|| self.next_of_days())?;
        loop {
            match self.next_of_days() {
                Some((touching, longer)) if touching <= end => end = longer,
                ahead => {
                    self.ahead = ahead;
                    return Some((start, end));
                }
            }
        }
    }
}

/// The first instant whose civil time is at or past `civil`; `None` beyond the calendar.
fn first_at_or_past(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Counted with the offset after the gap, the civil time lies before the gap: the change is what follows.
            let before_gap = after.to_timestamp(civil).ok()?;
            zone.following(before_gap)
                .map(|change| change.timestamp())
                .find(|at| zone.to_datetime(*at) >= civil)
        }
    }
}

/// Seconds by which the window of a site is shifted, if its manifest does not say: 0 to 30 min by its name.
#[must_use]
pub fn site_offset(site: &str) -> Duration {
    spread(site, SITE_OFFSET_MAX)
}

/// A whole second of `span` that belongs to `name`: the same in every process, spread evenly over names.
#[must_use]
pub fn spread(name: &str, span: Duration) -> Duration {
    let hash = blake3::hash(name.as_bytes());
    let number = hash
        .as_bytes()
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Duration::from_secs(number % span.as_secs().max(1))
}

const DAY_MINUTES: u32 = 24 * 60;

/// `HH:MM` up to `24:00`.
fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |part: &str| {
        let two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        two_digits.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY_MINUTES).then_some(minutes)
}

fn time(minutes: u32) -> civil::Time {
    let midnight = civil::Time::midnight();
    midnight.wrapping_add(i64::from(minutes).minutes())
}
