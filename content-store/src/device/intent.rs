//! What an operator wants of devices, kept in `state_dir` so that it survives restarts: `devices.json`.
//!
//! Written by `ocactl` alone, one at a time; read by whoever uses devices. A device is meant by its name, and while it is offline by its
//! place as well: nothing that is mounted there is looked at until it is online again.

use std::io;
use std::path::{Path, PathBuf};

use platform::file::lock_file;
use serde::{Deserialize, Serialize};

use super::{Device, DeviceProblem};
use crate::error::StoreError;
use crate::ids::DeviceId;
use crate::state_file;

/// The file in `state_dir`.
pub const INTENT_FILE: &str = "devices.json";
const LOCK_FILE: &str = "devices.lock";

/// What an operator wants of all devices.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Intents {
    devices: Vec<Intent>,
}

/// What an operator wants of one device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Where it was configured at that time.
    pub root: PathBuf,
    /// The device; none if nobody knew.
    pub id: Option<DeviceId>,
    /// What.
    pub wanted: Wanted,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// Who.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What is wanted of a device that is not simply to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Neither read nor written until further notice. What it holds still counts as held.
    Offline,
    /// Read, and given nothing new; what it alone holds is copied to others.
    Evacuating,
    /// Never used again; what it holds counts as lost.
    Removed,
}

impl Intents {
    /// What is wanted now; nothing, if nobody said anything. Blocks on the state disk.
    ///
    /// # Errors
    /// [`StoreError::StateFile`] or [`StoreError::Io`]: the file is there and cannot be used.
    pub fn read(state_dir: &Path) -> Result<Self, StoreError> {
        state_file::read(
            &state_dir.join(INTENT_FILE),
            "forgets which devices are offline, being evacuated or removed",
        )
    }

    /// Changes it. It is on the disk when this returns. Blocks on the state disk.
    ///
    /// # Errors
    /// As of [`read`](Self::read); and when somebody else is changing it.
    pub fn change(state_dir: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, StoreError> {
        let path = state_dir.join(LOCK_FILE);
        let lock = lock_file(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("another ocactl is at it: try again"),
            _ => error,
        });
        let _lock = lock.map_err(StoreError::io("lock", &path))?;
        state_file::give_to_owner_of(state_dir, &path)
            .map_err(StoreError::io("give away", &path))?;
        let mut intents = Self::read(state_dir)?;
        change(&mut intents);
        state_file::write(&state_dir.join(INTENT_FILE), &intents)?;
        Ok(intents)
    }

    /// Notes it in the place of what was wanted of that device, or of that place.
    pub fn want(&mut self, intent: Intent) {
        self.forget(&intent.root, intent.id);
        if intent.id.is_none_or(|id| !self.is_removed(&id)) {
            self.devices.push(intent);
        }
    }

    /// The device is to be used again. What was removed for good stays removed.
    pub fn forget(&mut self, root: &Path, id: Option<DeviceId>) {
        self.devices.retain(|other| {
            let is_meant = is_at(other, root) || (id.is_some() && other.id == id);
            other.wanted == Wanted::Removed || !is_meant
        });
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Intent> {
        self.devices.iter()
    }

    /// What is wanted of the device in this place, as far as it is not removed.
    pub fn at(&self, root: &Path) -> Option<&Intent> {
        let mut there = self.devices.iter();
        there.find(|intent| intent.wanted != Wanted::Removed && is_at(intent, root))
    }

    /// What is wanted of a device.
    pub fn of(&self, id: &DeviceId) -> Option<&Intent> {
        self.devices.iter().find(|intent| intent.id == Some(*id))
    }

    /// Whether it was removed for good.
    pub fn is_removed(&self, id: &DeviceId) -> bool {
        self.removed().any(|removed| removed == *id)
    }

    /// Whether nothing new is to be written to it.
    pub fn is_evacuating(&self, id: &DeviceId) -> bool {
        self.of(id)
            .is_some_and(|intent| intent.wanted == Wanted::Evacuating)
    }

    /// Devices that were removed for good.
    pub fn removed(&self) -> impl Iterator<Item = DeviceId> {
        self.ids(Wanted::Removed)
    }

    /// Devices that are offline: what they hold is not lost.
    pub fn offline(&self) -> impl Iterator<Item = DeviceId> {
        self.ids(Wanted::Offline)
    }

    fn ids(&self, wanted: Wanted) -> impl Iterator<Item = DeviceId> {
        let these = self.devices.iter();
        these
            .filter(move |intent| intent.wanted == wanted)
            .filter_map(|intent| intent.id)
    }

    /// Why whatever is mounted there is not to be looked at.
    pub fn refuse_root(&self, root: &Path) -> Option<DeviceProblem> {
        let intent = self.at(root)?;
        (intent.wanted == Wanted::Offline).then(|| offline(root, intent))
    }

    /// Why a device that is here is not to be used.
    pub fn refuse(&self, device: &Device) -> Option<DeviceProblem> {
        let intent = self.of(&device.id())?;
        match intent.wanted {
            Wanted::Evacuating => None,
            Wanted::Offline => Some(offline(device.root(), intent)),
            Wanted::Removed => Some(DeviceProblem::Removed {
                path: device.root().into(),
                id: device.id(),
                by: intent.by.clone(),
            }),
        }
    }
}

fn is_at(intent: &Intent, root: &Path) -> bool {
    intent.root.components().eq(root.components())
}

fn offline(root: &Path, intent: &Intent) -> DeviceProblem {
    DeviceProblem::Offline {
        path: root.into(),
        by: intent.by.clone(),
        reason: intent.reason.clone(),
    }
}
