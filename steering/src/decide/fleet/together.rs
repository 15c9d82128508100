//! Whether an appliance has gone silent alone or together with others.

use std::collections::HashMap;

use super::super::limits::{
    HOLD, REPORT_COUNTS, TOGETHER, TOGETHER_OF_ALL_PERCENT, TOGETHER_OF_SITE_PERCENT,
};
use super::{Fleet, Last, Member};
use crate::time::UnixTime;

/// When the last reports of those came that are not leaving.
pub(super) struct Endings<'f> {
    now: UnixTime,
    of_all: Vec<UnixTime>,
    of_site: HashMap<&'f str, Vec<UnixTime>>,
}

impl<'f> Endings<'f> {
    pub(super) fn of(now: UnixTime, fleet: &'f Fleet) -> Self {
        let mut of_all = Vec::new();
        let mut of_site: HashMap<&str, Vec<UnixTime>> = HashMap::new();
        for member in &fleet.members {
            // Who has left may be unplugged: that is no accident.
            let staying = member.last.as_ref().filter(|last| !last.said.is_leaving());
            if let Some(last) = staying {
                of_all.push(last.received);
                of_site
                    .entry(&member.setup.site)
                    .or_default()
                    .push(last.received);
            }
        }
        of_all.sort_unstable();
        of_site.values_mut().for_each(|site| site.sort_unstable());
        Self {
            now,
            of_all,
            of_site,
        }
    }

    /// Whether the last state of a silent appliance holds.
    pub(super) fn hold(&self, member: &Member, last: &Last) -> bool {
        let site = self.of_site.get(&*member.setup.site);
        let site = site.map_or(&[][..], Vec::as_slice);
        let is_accident = self.is_accident(site, last.received, TOGETHER_OF_SITE_PERCENT)
            || self.is_accident(&self.of_all, last.received, TOGETHER_OF_ALL_PERCENT);
        is_accident && self.now < last.received + REPORT_COUNTS + HOLD
    }

    /// Whether more than `percent` of those that reported up to `ended` have ended within [`TOGETHER`] of it. One alone is none.
    fn is_accident(&self, received: &[UnixTime], ended: UnixTime, percent: usize) -> bool {
        let before = |time: UnixTime| received.partition_point(|other| *other < time);
        let begin =
            UnixTime::from_milliseconds(ended.milliseconds().saturating_sub(millis(TOGETHER)));
        // Those that are late, though their report may still count.
        let late = self
            .now
            .milliseconds()
            .saturating_sub(millis(REPORT_COUNTS - TOGETHER));
        let end = (ended + TOGETHER).min(UnixTime::from_milliseconds(late));
        let together = before(end).saturating_sub(before(begin));
        let were_there = received.len() - before(begin);
        together >= 2 && together * 100 > percent * were_there
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
