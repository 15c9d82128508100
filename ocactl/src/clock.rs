//! Times as an operator reads and writes them: in the window's zone, with the offset.

use std::time::{Duration, SystemTime};

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use protocol::fill::Window;

use crate::output::seconds;

/// From when, and in which zone, times are seen.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// Seconds since 1970-01-01 UTC.
    pub(crate) now: u64,
    pub(crate) zone: TimeZone,
}

/// A time that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTime {
    #[error(
        "--until {0:?} is not a time; allowed: 2026-11-22T06:00, or 06:00 for the next time that it is so late, \
         in the zone of the window; or with an offset, as in 2026-11-22T06:00:00+01:00"
    )]
    Form(String),
    #[error("--until {0:?} is {1}, which is past; allowed: a time to come")]
    Past(String, String),
}

impl Clock {
    /// Now, in the zone of the window; in UTC if none is known.
    pub(crate) fn of(window: &Window) -> Self {
        let hours = window.effective.as_ref().or(window.configured.as_ref());
        let zone = hours.and_then(|hours| TimeZone::get(&hours.timezone).ok());
        Self {
            now: unix_now(),
            zone: zone.unwrap_or(TimeZone::UTC),
        }
    }

    /// Now, where no zone matters.
    pub(crate) fn now_in_utc() -> Self {
        Self {
            now: unix_now(),
            zone: TimeZone::UTC,
        }
    }

    /// The same zone, now.
    pub(crate) fn again(&self) -> Self {
        Self {
            now: unix_now(),
            zone: self.zone.clone(),
        }
    }

    /// As in `2026-11-22T06:00:00+01:00`.
    pub(crate) fn at(&self, time: u64) -> String {
        let timestamp = i64::try_from(time)
            .ok()
            .and_then(|time| Timestamp::from_second(time).ok());
        match timestamp {
            Some(timestamp) => timestamp
                .to_zoned(self.zone.clone())
                .strftime("%Y-%m-%dT%H:%M:%S%:z")
                .to_string(),
            None => format!("{time} s after 1970"),
        }
    }

    /// As in `2026-11-22T06:00:00+01:00, in 3 h 2 min`.
    pub(crate) fn to_come(&self, time: u64) -> String {
        let left = seconds(time.saturating_sub(self.now));
        format!("{}, in {left}", self.at(time))
    }

    /// As in `3 min 2 s ago`.
    pub(crate) fn ago(&self, time: u64) -> String {
        format!("{} ago", seconds(self.now.saturating_sub(time)))
    }

    /// The line at the end of each answer.
    pub(crate) fn as_of(&self, time: u64) -> String {
        format!("as of {}, {}", self.at(time), self.ago(time))
    }

    /// What was typed after `--until`, in seconds since 1970.
    pub(crate) fn until(&self, text: &str) -> Result<u64, BadTime> {
        let form = || BadTime::Form(text.to_owned());
        let time = self.read(text.trim()).ok_or_else(form)?;
        let time = u64::try_from(time.as_second()).map_err(|_| form())?;
        if time <= self.now {
            return Err(BadTime::Past(text.to_owned(), self.at(time)));
        }
        Ok(time)
    }

    /// What was typed after `--for`, likewise.
    pub(crate) fn after(&self, length: Duration) -> u64 {
        self.now.saturating_add(length.as_secs())
    }

    fn read(&self, text: &str) -> Option<Timestamp> {
        if let Ok(exact) = text.parse::<Timestamp>() {
            return Some(exact);
        }
        // A date without a time of day, or text with a trailing offset, is neither.
        if let Some(time) = time_of_day(text) {
            return self.next(time);
        }
        let date_time: DateTime = text.contains([':']).then(|| text.parse().ok())??;
        let zoned = date_time.to_zoned(self.zone.clone()).ok()?;
        Some(zoned.timestamp())
    }

    /// The next time that it is so late.
    fn next(&self, time: Time) -> Option<Timestamp> {
        let now = Timestamp::from_second(i64::try_from(self.now).ok()?).ok()?;
        let today = now.to_zoned(self.zone.clone()).date();
        (0..=1).find_map(|days| {
            let date = today.checked_add(days.days()).ok()?;
            let at = date.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            (at.timestamp() > now).then(|| at.timestamp())
        })
    }
}

/// `06:00` or `06:00:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let digits = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b':');
    (digits && text.contains(':')).then(|| text.parse().ok())?
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 10:58:03 in Berlin.
    fn berlin() -> Clock {
        Clock {
            now: 1_795_255_083,
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        }
    }

    #[test]
    fn times_are_shown_with_their_offset() {
        let clock = berlin();
        assert_eq!(clock.at(clock.now), "2026-11-21T10:58:03+01:00");
        assert_eq!(
            clock.to_come(clock.now + 3723),
            "2026-11-21T12:00:06+01:00, in 1 h 2 min"
        );
        assert_eq!(clock.ago(clock.now - 61), "1 min 1 s ago");
        assert_eq!(clock.at(u64::MAX), "18446744073709551615 s after 1970");
    }

    #[test]
    fn until_is_a_time_to_come_in_the_zone() {
        let clock = berlin();
        for (text, meant) in [
            ("2026-11-22T06:00", "2026-11-22T06:00:00+01:00"),
            ("2026-11-22 06:00:30", "2026-11-22T06:00:30+01:00"),
            ("2026-11-22T06:00:00+03:00", "2026-11-22T04:00:00+01:00"),
            ("2026-11-22T06:00:00Z", "2026-11-22T07:00:00+01:00"),
            ("06:00", "2026-11-22T06:00:00+01:00"),
            ("10:58", "2026-11-22T10:58:00+01:00"),
            ("10:59", "2026-11-21T10:59:00+01:00"),
            // In the gap of spring: the same length of time after midnight.
            ("2027-03-28T02:30", "2027-03-28T03:30:00+02:00"),
        ] {
            assert_eq!(clock.at(clock.until(text).unwrap()), meant, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_to_come_is_refused() {
        let clock = berlin();
        for text in [
            "",
            "6",
            "tomorrow",
            "2026-11-22",
            "25:00",
            "24:00",
            "2026-02-30T06:00",
            ":",
        ] {
            assert!(matches!(clock.until(text), Err(BadTime::Form(_))), "{text}");
        }
        assert_eq!(
            clock.until("2026-11-21T10:00").unwrap_err().to_string(),
            "--until \"2026-11-21T10:00\" is 2026-11-21T10:00:00+01:00, which is past; allowed: a time to come"
        );
    }
}
