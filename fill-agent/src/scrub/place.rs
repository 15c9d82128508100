//! How far the passes are, over a restart.

use content_store::DeviceId;
use protocol::root::Root;
use serde::{Deserialize, Serialize};

use super::ByDevice;
use crate::state::{Cost, Kept};

/// Where the passes over all devices are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    devices: ByDevice,
}

/// Where the pass over one device is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// When the pass that runs began.
    pub began: Option<u64>,
    /// The object that was looked at last.
    pub after: Option<Root>,
    /// When the last pass began.
    pub last_began: Option<u64>,
    /// When it ended.
    pub ended: Option<u64>,
    /// Columns that were read in this pass, or in the last one.
    pub columns: u64,
    /// Their bytes, with their sidecars.
    pub bytes: u64,
    /// Of them, bad ones.
    pub bad: u64,
}

impl Kept for Places {
    const FILE: &'static str = "scrub.json";
    const COST: Cost =
        Cost::Replaced("The scrub of all devices begins anew, and writes the file anew");
}

impl Places {
    /// That of a device.
    #[must_use]
    pub fn of(&self, device: DeviceId) -> Place {
        let place = self.devices.get(&device.to_string());
        place.cloned().unwrap_or_default()
    }

    /// Changes that of a device.
    pub fn set(&mut self, device: DeviceId, place: Place) {
        self.devices.insert(device.to_string(), place);
    }
}

impl Place {
    /// When the next pass begins; `None` while one runs.
    #[must_use]
    pub fn next(&self, every_s: u64, now: u64) -> Option<u64> {
        if self.began.is_some() {
            return None;
        }
        let due = self.last_began.map(|began| began.saturating_add(every_s));
        Some(due.unwrap_or(now).max(now))
    }

    /// Begins a pass.
    pub fn begin(&mut self, now: u64) {
        *self = Self {
            began: Some(now),
            last_began: Some(now),
            ended: self.ended,
            ..Self::default()
        };
    }

    /// Ends it.
    pub fn end(&mut self, now: u64) {
        self.began = None;
        self.after = None;
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_follows_the_one_before_after_its_interval_or_at_once() {
        let mut place = Place::default();
        assert_eq!(place.next(100, 5), Some(5));
        place.begin(5);
        assert_eq!(place.next(100, 6), None);
        place.columns = 3;
        place.end(20);
        assert_eq!((place.next(100, 20), place.columns), (Some(105), 3));
        // It took longer than its interval.
        assert_eq!(place.next(100, 300), Some(300));
        place.begin(300);
        assert_eq!((place.columns, place.ended), (0, Some(20)));
    }
}
