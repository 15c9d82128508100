//! Which wanted objects leave a device that is above its high watermark for others of its tier: those that are asked for least first, as few
//! as bring it down, in a plan that brings nothing else into the tier. Pure.

use std::collections::HashSet;

use protocol::root::Root;

use super::choose::balance;
use super::wants::Wants;
use super::{Allowance, Plan, Relief, Situation};

/// After all else is planned.
pub(super) fn relief(situation: &Situation<'_>, wants: &Wants, plan: &Plan) -> Vec<Relief> {
    if matches!(situation.allowance, Allowance::Urgent(_)) {
        return Vec::new();
    }
    let goes = plan.evict.iter().map(|one| one.root);
    let goes: HashSet<Root> = goes.chain(plan.fewer.iter().map(|one| one.root)).collect();
    let tiers = 0..situation.tiers.len();
    let quiet = tiers.filter(|tier| {
        let fetched = plan.fetch.iter().any(|one| one.tier == *tier);
        let moved = plan
            .moves
            .iter()
            .any(|one| one.to == *tier || one.from == *tier);
        !fetched && !moved && !plan.duplicates.iter().any(|one| one.tier == *tier)
    });
    quiet
        .flat_map(|tier| of_tier(situation, wants, &goes, tier))
        .collect()
}

fn of_tier(
    situation: &Situation<'_>,
    wants: &Wants,
    goes: &HashSet<Root>,
    tier: usize,
) -> Vec<Relief> {
    let mut above: Vec<i128> = balance(situation, tier).collect();
    if above.iter().all(|bytes| *bytes <= 0) {
        return Vec::new();
    }
    // What goes has its room still.
    for held in situation
        .held
        .iter()
        .filter(|held| goes.contains(&held.root))
    {
        let devices = (0..above.len()).filter(|device| held.is_on(*device));
        let each = situation.bytes(held.size) * i128::from(held.copies);
        let each = each / i128::from(held.devices.count_ones().max(1));
        devices.for_each(|device| above[device] -= each);
    }
    let here = wants.objects.iter().filter(|want| want.tier == Some(tier));
    let here = here.filter(|want| !goes.contains(&want.root));
    let mut here: Vec<_> = here.collect();
    here.sort_unstable_by_key(|want| std::cmp::Reverse(want.rank()));
    let devices = &situation.tiers[tier].devices;
    let mut files: Vec<u64> = devices.iter().map(|device| device.room_columns).collect();
    let mut relief = Vec::new();
    for want in here {
        let Some(held) = want.held.map(|held| &situation.held[held]) else {
            continue;
        };
        let bytes = situation.bytes_on_each(held);
        let places = 0..above.len();
        let full = places
            .clone()
            .find(|device| held.is_on(*device) && above[*device] > 0);
        let fits = |device: &usize| files[*device] > 0 && above[*device] + bytes <= 0;
        let empty = places.filter(|device| !held.is_on(*device) && fits(device));
        let empty = empty.min_by_key(|device| above[*device]);
        if let (Some(from), Some(to)) = (full, empty) {
            above[from] -= bytes;
            above[to] += bytes;
            files[to] = files[to].saturating_sub(1);
            relief.push(Relief {
                root: want.root,
                size: want.size,
                bytes: u64::try_from(bytes).unwrap_or(0),
                tier,
                from,
            });
        }
    }
    relief
}
