//! A device that is back: what it holds is compared with the catalog before anything is written to it.
//!
//! ```text
//! Store::returned -> Comparison::step, again and again, on a thread that may wait for the device -> Store::readmit
//! ```
//! Columns that are gone from it, or are not the ones that the catalog means, are marked as bad, so that they are repaired. Files of objects that were removed or replaced meanwhile the catalog knows as doomed: they are unlinked by the next
//! [`Store::reap`](crate::Store::reap), and paths that were taken away are taken out of its sidecars now.

use std::fs;

use super::{Device, DeviceProblem};
use crate::catalog::Snapshot;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::COMPARE_STEP;
use crate::quarantine::BadColumn;
use crate::sidecar::Sidecar;
use crate::store::Store;
use crate::stripe::StripeLayout;

/// A device that is back, and what the catalog says that it holds.
pub struct Comparison {
    device: Device,
    generation: Generation,
    expected: Vec<Expected>,
    lost: Vec<BadColumn>,
}

struct Expected {
    object: ObjectId,
    placed: u64,
    layout: StripeLayout,
    column: usize,
}

impl Comparison {
    fn of(snapshot: &Snapshot, device: Device) -> Self {
        let mut expected = Vec::new();
        for record in &snapshot.objects {
            for copy in &record.copies {
                let at = copy.devices.iter().position(|id| *id == device.id());
                expected.extend(at.map(|column| Expected {
                    object: record.object,
                    placed: copy.placed,
                    layout: copy.layout,
                    column,
                }));
            }
        }
        Self {
            device,
            generation: snapshot.generation,
            expected,
            lost: Vec::new(),
        }
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device.id()
    }

    /// Compares some columns; says whether all are. Blocks on the device.
    ///
    /// # Errors
    /// When it is not here any more; nothing can be said then.
    pub fn step(&mut self) -> Result<bool, DeviceProblem> {
        let rest = self.expected.len().saturating_sub(COMPARE_STEP);
        for expected in self.expected.split_off(rest) {
            if !expected.is_on(&self.device) {
                self.lost.push(BadColumn {
                    object: expected.object,
                    device: self.device.id(),
                    seen: self.generation,
                });
            }
        }
        self.device.probe()?;
        Ok(self.expected.is_empty())
    }
}

impl Expected {
    fn is_on(&self, device: &Device) -> bool {
        let length = fs::metadata(device.column_path(&self.object)).map(|column| column.len());
        let wanted = self.layout.column_length(self.column);
        let sidecar = Sidecar::read(&device.sidecar_path(&self.object));
        length.is_ok_and(|length| length == wanted)
            && sidecar.is_ok_and(|sidecar| {
                (sidecar.object, sidecar.layout, sidecar.placed)
                    == (self.object, self.layout, self.placed)
                    && usize::from(sidecar.column) == self.column
            })
    }
}

impl Store {
    /// Devices that are back and not compared yet, as they are now.
    ///
    /// # Errors
    /// Of the catalog, or of the state disk.
    pub fn returned(&mut self) -> Result<Vec<Comparison>, StoreError> {
        self.look_again()?;
        let problems = self
            .slots
            .iter()
            .filter_map(|slot| slot.device.as_ref().err());
        let back: Vec<&Device> = problems
            .filter_map(|problem| match problem {
                DeviceProblem::Returned { device } => Some(&**device),
                _ => None,
            })
            .collect();
        if back.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = Snapshot::read_or_empty(&self.config.state_dir)?;
        let comparisons = back.into_iter();
        Ok(comparisons
            .map(|device| Comparison::of(&snapshot, device.clone()))
            .collect())
    }

    /// Uses a device again that was compared wholly; returns how many columns it has lost.
    ///
    /// # Errors
    /// Of the catalog, or of the state disk; then it is compared again.
    pub fn readmit(&mut self, compared: Comparison) -> Result<u64, StoreError> {
        let Comparison { device, lost, .. } = compared;
        self.quarantine(&lost)?;
        self.seen.compared(&device.id());
        self.seen.write(&self.config.state_dir)?;
        let is_it = |found: &&mut crate::store::DeviceSlot| match &found.device {
            Err(DeviceProblem::Returned { device: back }) => **back == device,
            _ => false,
        };
        if let Some(slot) = self.slots.iter_mut().find(is_it) {
            tracing::info!(device = %slot.root.display(), lost = lost.len(), "the device is used again");
            slot.device = Ok(device);
        }
        self.settle_after_commit();
        Ok(lost.len() as u64)
    }
}
