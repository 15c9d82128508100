//! Which device was where, as the writer saw it last: `devices.seen.json` in `state_dir`.
//!
//! It names devices that are away, so that what is lost with them can be told; it tells a new and empty device from the one that
//! belongs there; and it remembers who was away while the catalog changed, so that what such a device holds is compared first.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Device, DeviceProblem};
use crate::error::StoreError;
use crate::ids::DeviceId;
use crate::state_file;

/// The file in `state_dir`.
pub const SEEN_FILE: &str = "devices.seen.json";

/// All devices that were seen, by their place.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    devices: Vec<SeenDevice>,
}

/// A device that was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenDevice {
    /// Configured path.
    pub root: PathBuf,
    /// The device.
    pub id: DeviceId,
    /// It was not here while somebody wrote, and was not compared with the catalog since.
    #[serde(default)]
    pub away: bool,
}

impl Seen {
    /// What was seen; nothing, on a new appliance. Blocks on the state disk.
    ///
    /// # Errors
    /// [`StoreError::StateFile`] or [`StoreError::Io`]: the file is there and cannot be used.
    pub fn read(state_dir: &Path) -> Result<Self, StoreError> {
        state_file::read(
            &state_dir.join(SEEN_FILE),
            "forgets which device was where; those that are here are seen again",
        )
    }

    pub(crate) fn write(&self, state_dir: &Path) -> Result<(), StoreError> {
        state_file::write(&state_dir.join(SEEN_FILE), self)
    }

    /// The device that was last seen in this place.
    pub fn at(&self, root: &Path) -> Option<DeviceId> {
        let mut there = self.devices.iter();
        there.find(|seen| is_at(seen, root)).map(|seen| seen.id)
    }

    /// Whether it was away, and was not compared since.
    pub fn is_away(&self, id: &DeviceId) -> bool {
        let mut seen = self.devices.iter();
        seen.any(|seen| seen.id == *id && seen.away)
    }

    /// Why a device that is here is not to be used: another one belongs there, or it was away. Blocks on it.
    pub fn refuse(&self, device: &Device) -> Option<DeviceProblem> {
        if self.is_away(&device.id()) {
            return Some(DeviceProblem::Returned {
                device: device.clone().into(),
            });
        }
        let expected = self.displaced_by(device)?;
        let (path, found) = (device.root().into(), device.id());
        Some(match device.holds_objects() {
            true => DeviceProblem::WrongIdentity {
                path,
                expected,
                found,
            },
            false => DeviceProblem::Empty {
                path,
                expected,
                found,
            },
        })
    }

    /// Notes where the devices are that were seen before: in the place of another one too. Before anybody is missed in a place, or refused.
    pub fn find<'a>(&mut self, found: impl Iterator<Item = &'a Device>) {
        for device in found {
            if self.devices.iter().any(|seen| seen.id == device.id()) {
                self.here(device);
            }
        }
    }

    /// Notes that this device is here, and where; one that was away stays so until it is compared. Who was seen here before is looked for
    /// where this one was.
    pub(crate) fn here(&mut self, device: &Device) {
        let at = self.devices.iter().position(|seen| seen.id == device.id());
        let before = at.map(|at| self.devices.remove(at));
        let other = self
            .devices
            .iter()
            .position(|seen| is_at(seen, device.root()));
        match (other, &before) {
            (Some(other), Some(before)) => self.devices[other].root.clone_from(&before.root),
            (Some(other), None) => drop(self.devices.remove(other)),
            (None, _) => {}
        }
        self.devices.push(SeenDevice {
            root: device.root().into(),
            id: device.id(),
            away: before.is_some_and(|before| before.away),
        });
        self.devices.sort_by(|one, other| one.root.cmp(&other.root));
    }

    /// The device that belongs in the place of one that was seen nowhere.
    fn displaced_by(&self, device: &Device) -> Option<DeviceId> {
        let is_known = self.devices.iter().any(|seen| seen.id == device.id());
        self.at(device.root()).filter(|_| !is_known)
    }

    /// Notes that the device of this place is not here.
    pub(crate) fn gone(&mut self, root: &Path) {
        let there = self.devices.iter_mut().filter(|seen| is_at(seen, root));
        there.for_each(|seen| seen.away = true);
    }

    /// It was compared with the catalog.
    pub(crate) fn compared(&mut self, id: &DeviceId) {
        let it = self.devices.iter_mut().filter(|seen| seen.id == *id);
        it.for_each(|seen| seen.away = false);
    }

    /// It will not come back.
    pub(crate) fn forget(&mut self, id: &DeviceId) {
        self.devices.retain(|seen| seen.id != *id);
    }
}

fn is_at(seen: &SeenDevice, root: &Path) -> bool {
    seen.root.components().eq(root.components())
}
