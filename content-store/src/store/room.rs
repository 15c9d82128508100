//! Where there is room for an object.

use std::collections::BTreeSet;

use super::{DeviceSlot, Store};
use crate::config::TierConfig;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::placement::{self, Candidate, NoPlace, Placement, Rule};
use crate::space::room_bytes;

/// A device, and what may be placed on it, or why nothing.
pub(crate) type Looked<'a> = (&'a DeviceSlot, Result<Candidate, String>);

impl Store {
    /// Applies the rule of [`placement`] to the tier's devices as they are now.
    pub(super) fn place(
        &self,
        object: &ObjectId,
        size: u64,
        tier: usize,
    ) -> Result<Placement, StoreError> {
        let TierConfig {
            stripe_unit,
            stripe_width,
            ..
        } = &self.config.tiers[tier];
        let looked = self.candidates(tier, &self.taken(object)?);
        let candidates: Vec<_> = looked
            .iter()
            .filter_map(|(_, looked)| looked.as_ref().ok().copied())
            .collect();
        placement::place(
            object,
            size,
            *stripe_unit,
            usize::from(*stripe_width),
            &candidates,
        )
        .map_err(|none| match none {
            NoPlace::Layout(bad) => bad.into(),
            NoPlace::Room { column_bytes } => self.no_room(tier, object, column_bytes, &looked),
        })
    }

    /// The devices of a tier as they are now, but for those that are `taken`.
    pub(crate) fn candidates(&self, tier: usize, taken: &BTreeSet<DeviceId>) -> Vec<Looked<'_>> {
        let slots = self.slots.iter().filter(|slot| slot.tier == tier);
        let looked = |slot| (slot, candidate(slot, taken, &self.rule));
        slots.map(looked).collect()
    }

    /// None of a tier's devices has room for a column.
    pub(crate) fn no_room(
        &self,
        tier: usize,
        object: &ObjectId,
        column_bytes: u64,
        looked: &[Looked<'_>],
    ) -> StoreError {
        let devices = looked.iter().map(|(slot, looked)| describe(slot, looked));
        StoreError::NoRoom {
            tier: self.config.tiers[tier].name.clone(),
            object: *object,
            column_bytes,
            devices: devices.collect::<Vec<_>>().join("; "),
        }
    }
}

fn candidate(
    slot: &DeviceSlot,
    taken: &BTreeSet<DeviceId>,
    rule: &Rule,
) -> Result<Candidate, String> {
    let device = slot.device.as_ref().map_err(ToString::to_string)?;
    if slot.is_evacuating {
        return Err(format!("device {} is being evacuated", slot.root.display()));
    }
    if taken.contains(&device.id()) {
        return Err(format!(
            "device {} holds another copy of it, or one that waits to be unlinked",
            slot.root.display()
        ));
    }
    let space = device
        .check_writable()
        .map_err(|problem| problem.to_string())?;
    let room_bytes = room_bytes(&space);
    Ok(Candidate {
        device: device.id(),
        weight: rule.weight(&slot.root, space.total_bytes),
        room_bytes,
        room_below_mark_bytes: rule.below_mark(room_bytes, space.total_bytes),
    })
}

fn describe(slot: &DeviceSlot, looked: &Result<Candidate, String>) -> String {
    match looked {
        Ok(candidate) => format!(
            "device {} has room for {} bytes",
            slot.root.display(),
            candidate.room_bytes
        ),
        Err(problem) => problem.clone(),
    }
}
