//! Which objects an appliance shall hold, and in which tier: the most asked for per byte first, as far as there is room.

use std::cmp::Reverse;

use protocol::config::TierRole;
use protocol::units::Percent;

use super::{Copies, Object, Room};

/// Per object of the library: where it should lie, or that it is not wanted.
pub type Selection = Vec<Option<Place>>;

/// Where an object should lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In a tier of this role.
    pub tier: TierRole,
    /// So often, each time on other devices.
    pub copies: u8,
}

/// Indices of objects, the most wanted first: urgent ones, then by demand per byte. Equals are ordered by root, so that the order
/// is the same on every day and for every member.
pub(super) fn ranked(objects: &[Object], demand: &[u64]) -> Vec<usize> {
    // Demand per byte in 64 bits behind the point: exact enough, and compared without dividing again.
    let per_byte =
        |index: usize| (u128::from(demand[index]) << 64) / u128::from(objects[index].size.max(1));
    let mut keyed: Vec<_> = (0..objects.len())
        .map(|index| {
            (
                Reverse((objects[index].urgent, per_byte(index))),
                objects[index].root,
                index,
            )
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, _, index)| index).collect()
}

/// Fills `hot`, then `capacity`. An object that fits nowhere is passed over, and smaller ones behind it may still fit.
#[must_use]
pub fn select(objects: &[Object], ranked: &[usize], room: Room, copies: Copies) -> Selection {
    let mut selection = vec![None; objects.len()];
    let mut hot = Left::of(room.hot, copies.hot, copies.room_percent);
    let mut capacity = Left::of(room.capacity, copies.capacity, copies.room_percent);
    for &index in ranked {
        let size = objects[index].size;
        let (left, tier) = if size <= hot.room {
            (&mut hot, TierRole::Hot)
        } else {
            (&mut capacity, TierRole::Capacity)
        };
        if size <= left.room {
            let copies = left.take(size);
            selection[index] = Some(Place { tier, copies });
        }
    }
    selection
}

/// What is left of the tiers of a role.
struct Left {
    room: u64,
    /// The part of it that further copies may take.
    further: u64,
    copies: u8,
}

impl Left {
    fn of(room: u64, copies: u8, percent: Percent) -> Self {
        Self {
            room,
            further: percent.share(room),
            copies,
        }
    }

    /// Room for an object that fits, with further copies if these fit as well. Gives how many copies that makes.
    fn take(&mut self, size: u64) -> u8 {
        self.room -= size;
        let further = size.saturating_mul(u64::from(self.copies.saturating_sub(1)));
        if further > self.further.min(self.room) {
            return 1;
        }
        self.room -= further;
        self.further -= further;
        self.copies.max(1)
    }
}
