//! Which wanted object belongs in which tier, if all came at once.
//!
//! Tier by tier, hot before capacity: whoever may be in this tier is taken in the order of rank as long as it fits; who does not
//! fit competes for the next tier. What is held in this tier or in an earlier one counts as in place, and ranks higher for it. So a
//! plan that was carried out chooses the same again: what was chosen ranks higher than before, the rest lower.

use std::cmp::Reverse;

use protocol::units::Percent;

use super::wants::{Rank, Wants, tier_order};
use super::{Held, Situation, Tier};

/// For each wanted object its tier, or none.
pub(super) struct Choice {
    pub(super) tiers: Vec<Option<usize>>,
}

pub(super) fn choose(situation: &Situation<'_>, wants: &Wants) -> Choice {
    let mut choice = Choice {
        tiers: vec![None; wants.objects.len()],
    };
    let order: Vec<usize> = tier_order(situation.tiers).collect();
    let place = |tier: usize| order.iter().position(|other| *other == tier);
    for (position, tier) in order.iter().copied().enumerate() {
        let mut candidates: Vec<(Rank, usize)> = Vec::new();
        for (index, want) in wants.objects.iter().enumerate() {
            let lies = want.tier.and_then(place);
            let may = place(want.first_tier) <= Some(position) || lies == Some(position);
            if may && choice.tiers[index].is_none() {
                let in_place = lies.is_some_and(|lies| lies <= position);
                let rank = if in_place {
                    want.rank().in_place()
                } else {
                    want.rank()
                };
                candidates.push((rank, index));
            }
        }
        candidates.sort_unstable();
        let mut room = capacity(situation, tier, position > 0);
        let mut objects = copies(situation, tier) + room_objects(situation, tier);
        let largest = largest_object(situation, tier);
        for (_, index) in candidates {
            let want = &wants.objects[index];
            let bytes = situation.bytes(want.size);
            let fits_devices = bytes <= largest || want.tier == Some(tier);
            if bytes <= room && objects > 0 && fits_devices {
                room -= bytes;
                objects -= 1;
                choice.tiers[index] = Some(tier);
            }
        }
    }
    choice
}

/// Bytes that wanted objects may have in a tier: up to the high watermark, beside what is not ours. A tier below another one keeps
/// half of what is between the watermarks free of them: two full tiers could not exchange objects otherwise.
fn capacity(situation: &Situation<'_>, tier: usize, below: bool) -> i128 {
    let objects = in_room_of(situation, tier);
    let held: i128 = objects
        .map(|held| situation.bytes(held.size) * i128::from(held.copies))
        .sum();
    let swing = if below { slack(situation, tier) / 2 } else { 0 };
    held + free(situation, tier) - swing
}

/// Bytes of the largest object that the devices of a tier could take if nothing of ours lay there: whatever else left for a larger one
/// would have left for nothing.
fn largest_object(situation: &Situation<'_>, tier: usize) -> i128 {
    let Tier {
        devices,
        stripe_width,
        ..
    } = &situation.tiers[tier];
    let rooms = devices.iter().map(|device| i128::from(device.room_bytes));
    let mut rooms: Vec<i128> = rooms.collect();
    for held in in_room_of(situation, tier) {
        let bytes = situation.bytes_on_each(held);
        for (place, room) in rooms.iter_mut().enumerate() {
            *room += if held.is_on(place) { bytes } else { 0 };
        }
    }
    rooms.sort_unstable_by_key(|room| Reverse(*room));
    let widths = (1..).zip(rooms).take(usize::from(*stripe_width));
    widths.map(|(width, room)| width * room).max().unwrap_or(0)
}

/// Copies that a tier holds.
fn copies(situation: &Situation<'_>, tier: usize) -> i128 {
    let objects = in_room_of(situation, tier);
    objects.map(|held| i128::from(held.copies)).sum()
}

fn in_room_of<'a>(situation: &Situation<'a>, tier: usize) -> impl Iterator<Item = &'a Held<'a>> {
    let held = situation.held.iter();
    held.filter(move |held| held.tier == tier && held.takes_room)
}

/// Objects that a tier has files for.
pub(super) fn room_objects(situation: &Situation<'_>, tier: usize) -> i128 {
    i128::from(situation.tiers[tier].room_objects)
}

/// Bytes that may come before the high watermark is reached; negative above it.
pub(super) fn free(situation: &Situation<'_>, tier: usize) -> i128 {
    let devices = &situation.tiers[tier].devices;
    let room: i128 = devices
        .iter()
        .map(|device| i128::from(device.room_bytes))
        .sum();
    let above =
        share(situation, tier, Percent::of(100)) - share(situation, tier, situation.high_watermark);
    room - above
}

/// By how many bytes each device of a tier is above its high watermark; 0 of those that are not.
pub(super) fn excess(situation: &Situation<'_>, tier: usize) -> impl Iterator<Item = i128> {
    balance(situation, tier).map(|above| above.max(0))
}

/// The same; negative below it.
pub(super) fn balance(situation: &Situation<'_>, tier: usize) -> impl Iterator<Item = i128> {
    let high = i128::from(situation.high_watermark.percent());
    let devices = situation.tiers[tier].devices.iter();
    devices.map(move |device| {
        let total = i128::from(device.total_bytes);
        let above = total - total * high / 100;
        above - i128::from(device.room_bytes)
    })
}

/// Bytes between the watermarks.
pub(super) fn slack(situation: &Situation<'_>, tier: usize) -> i128 {
    share(situation, tier, situation.high_watermark)
        - share(situation, tier, situation.low_watermark)
}

fn share(situation: &Situation<'_>, tier: usize, percent: Percent) -> i128 {
    let devices = &situation.tiers[tier].devices;
    let total: i128 = devices
        .iter()
        .map(|device| i128::from(device.total_bytes))
        .sum();
    total * i128::from(percent.percent()) / 100
}
