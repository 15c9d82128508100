//! Which objects an appliance shall hold, and in which tier: the most asked for per byte first, as far as there is room.

use std::cmp::Reverse;

use protocol::config::TierRole;

use super::{Object, Room};

/// Per object of the library: where it should lie, or that it is not wanted.
pub type Selection = Vec<Option<TierRole>>;

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
pub fn select(objects: &[Object], ranked: &[usize], room: Room) -> Selection {
    let mut selection = vec![None; objects.len()];
    let Room {
        mut hot,
        mut capacity,
    } = room;
    for &index in ranked {
        let size = objects[index].size;
        let (left, tier) = if size <= hot {
            (&mut hot, TierRole::Hot)
        } else {
            (&mut capacity, TierRole::Capacity)
        };
        if size <= *left {
            *left -= size;
            selection[index] = Some(tier);
        }
    }
    selection
}
