//! Which devices hold an object: weighted rendezvous hashing, a pure function of names, weights and room.
//!
//! The rule, in full: let `w` be the tier's stripe width, at most the number of the object's stripe units. The
//! candidates are the tier's devices that are well, writable, and have room for the largest of the `w` columns beside
//! their reserve. If there are at least `w`, the `w` best by rendezvous score hold the object; otherwise the same is
//! tried with `w - 1`, down to one column. All of this is tried with the room up to the high watermark first, and then
//! with all room. If no device has room even so, the object is refused, with the reason of every device. The choice is
//! recorded with the copy, so a later change of devices moves nothing.
//!
//! A device's weight is its size, times its speed where the operator says one. So of two devices of one size the faster
//! one gets what is fetched first, which is what is watched most, and the slower one what comes when that is full.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ids::{DeviceId, ObjectId};
use crate::stripe::{BadLayout, StripeLayout};

/// A device that may be chosen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Candidate {
    /// Its name.
    pub device: DeviceId,
    /// Its share of the objects, relative to the others: see [`Rule::weight`]. At 0 it is never chosen.
    pub weight: u64,
    /// Bytes that an object may still use on it.
    pub room_bytes: u64,
    /// Of them, those up to its high watermark.
    pub room_below_mark_bytes: u64,
}

/// What the operator says about placing new columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// In percent of its size: beyond this a device gets columns only if no other one of the tier has room.
    pub high_watermark: u8,
    /// Speeds of devices relative to others of their tier, by configured path; those that are not named have 1.
    pub speeds: BTreeMap<PathBuf, u16>,
}

impl Default for Rule {
    /// All of a device is used, and all are equally fast.
    fn default() -> Self {
        Self {
            high_watermark: 100,
            speeds: BTreeMap::new(),
        }
    }
}

impl Rule {
    /// The weight of a device of this size, in MiB times its speed.
    pub fn weight(&self, root: &Path, total_bytes: u64) -> u64 {
        let speed = self.speeds.get(root).copied().unwrap_or(1);
        (total_bytes >> 20).max(1) * u64::from(speed)
    }

    /// What of the room lies below the watermark.
    pub(crate) fn below_mark(&self, room_bytes: u64, total_bytes: u64) -> u64 {
        let kept = 100 - self.high_watermark.min(100);
        room_bytes.saturating_sub(total_bytes / 100 * u64::from(kept))
    }
}

/// Where a new object goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// How it is cut.
    pub layout: StripeLayout,
    /// The device of each column.
    pub devices: Box<[DeviceId]>,
}

/// Why an object can go nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Size or stripe unit cannot be laid out.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// No device has room, even for the narrowest stripe that there are devices for.
    #[error("no device has room for {column_bytes} bytes")]
    Room {
        /// Bytes that one device must have room for in the widest stripe there is.
        column_bytes: u64,
    },
}

/// The `width` devices that hold `object`, best first; fewer if there are not as many. A device that is added takes
/// its share from all others and moves nothing between them.
pub fn choose_devices(
    object: &ObjectId,
    candidates: &[(DeviceId, u64)],
    width: usize,
) -> Vec<DeviceId> {
    let mut scored: Vec<(f64, DeviceId)> = candidates
        .iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|(device, weight)| (score(object, device, *weight), *device))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.truncate(width);
    scored.into_iter().map(|(_, device)| device).collect()
}

/// `-weight / ln(u)` with `u` uniform in (0, 1) from the hash of both names: the largest of these is a given device's
/// with a probability proportional to its weight (Schindelhauer, Schomaker 2005: the logarithmic method).
fn score(object: &ObjectId, device: &DeviceId, weight: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&object.0).update(&device.0);
    let hash = *hasher
        .finalize()
        .as_bytes()
        .first_chunk::<8>()
        .expect("a hash has 32 bytes");
    // 53 bits: all that a double holds; the half keeps it off 0 and 1.
    let uniform = ((u64::from_le_bytes(hash) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -(weight as f64) / uniform.ln()
}

/// Applies the rule of this module. `candidates` are the devices that are well and writable.
pub fn place(
    object: &ObjectId,
    size: u64,
    stripe_unit: u64,
    tier_width: usize,
    candidates: &[Candidate],
) -> Result<Placement, NoPlace> {
    let tier = (stripe_unit, tier_width);
    let below = |candidate: &Candidate| candidate.room_below_mark_bytes;
    place_in(object, size, tier, candidates, below).or_else(|_| {
        place_in(object, size, tier, candidates, |candidate| {
            candidate.room_bytes
        })
    })
}

fn place_in(
    object: &ObjectId,
    size: u64,
    (stripe_unit, tier_width): (u64, usize),
    candidates: &[Candidate],
    room: impl Fn(&Candidate) -> u64,
) -> Result<Placement, NoPlace> {
    let mut layout = StripeLayout::for_object(size, stripe_unit, tier_width)?;
    loop {
        let with_room: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.weight > 0 && room(candidate) >= layout.column_length(0))
            .map(|candidate| (candidate.device, candidate.weight))
            .collect();
        if with_room.len() >= layout.width() {
            let devices = choose_devices(object, &with_room, layout.width()).into();
            return Ok(Placement { layout, devices });
        }
        if layout.width() == 1 {
            return Err(NoPlace::Room {
                column_bytes: layout.column_length(0),
            });
        }
        layout = StripeLayout::for_object(size, stripe_unit, layout.width() - 1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIN_STRIPE_UNIT_BYTES as UNIT;
    use proptest::prelude::*;

    fn object(number: u64) -> ObjectId {
        ObjectId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn device(number: u8) -> DeviceId {
        DeviceId([number; 16])
    }

    fn devices(weights: &[u64]) -> Vec<(DeviceId, u64)> {
        weights
            .iter()
            .enumerate()
            .map(|(number, weight)| (device(number as u8), *weight))
            .collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let candidates = devices(&[1, 1, 2, 0]);
        let mut counts = [0_u32; 4];
        for number in 0..8000 {
            let chosen = choose_devices(&object(number), &candidates, 1);
            counts[usize::from(chosen[0].0[0])] += 1;
        }
        assert_eq!(counts[3], 0);
        for (count, expected) in counts.iter().zip([2000, 2000, 4000]) {
            assert!(count.abs_diff(expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn an_added_device_takes_its_share_and_moves_nothing_else() {
        let (before, after) = (devices(&[10; 7]), devices(&[10; 8]));
        let mut moved = 0_i32;
        for number in 0..4000 {
            let old = choose_devices(&object(number), &before, 2);
            let new = choose_devices(&object(number), &after, 2);
            if old != new {
                moved += 1;
                // what changed is the new device alone
                assert!(new.contains(&device(7)));
                assert!(
                    new.iter()
                        .all(|chosen| *chosen == device(7) || old.contains(chosen))
                );
            }
        }
        // its share of 2 places over 8 devices: a quarter of the objects
        assert!((moved - 1000).abs() < 150, "{moved}");
    }

    fn candidate(number: u8, room_bytes: u64) -> Candidate {
        Candidate {
            device: device(number),
            weight: 1,
            room_bytes,
            room_below_mark_bytes: room_bytes,
        }
    }

    #[test]
    fn a_device_above_its_watermark_comes_last() {
        let full = Candidate {
            room_below_mark_bytes: 0,
            ..candidate(0, 9 * UNIT)
        };
        let devices = |size, candidates: &[Candidate]| {
            let placed = place(&object(1), size, UNIT, 2, candidates).unwrap();
            let mut devices = placed.devices.into_vec();
            devices.sort_unstable();
            devices
        };
        let some = [full, candidate(1, 9 * UNIT)];
        assert_eq!(devices(4 * UNIT, &some), [device(1)]);
        // No other one has room: better there than nowhere.
        let little = [full, candidate(1, UNIT)];
        assert_eq!(devices(4 * UNIT, &little), [device(0)]);

        let rule = Rule {
            high_watermark: 95,
            speeds: [("/fast".into(), 4)].into(),
        };
        assert_eq!(rule.below_mark(600, 10_000), 100);
        assert_eq!(rule.below_mark(400, 10_000), 0);
        assert_eq!(rule.weight(Path::new("/fast"), 8 << 20), 32);
        assert_eq!(rule.weight(Path::new("/slow"), 8 << 20), 8);
    }

    #[test]
    fn the_stripe_narrows_before_an_object_is_refused() {
        let size = 4 * UNIT;
        let wide = [candidate(0, 2 * UNIT), candidate(1, 2 * UNIT)];
        assert_eq!(
            place(&object(1), size, UNIT, 2, &wide)
                .unwrap()
                .devices
                .len(),
            2
        );
        let uneven = [candidate(0, 0), candidate(1, 4 * UNIT)];
        let placement = place(&object(1), size, UNIT, 2, &uneven).unwrap();
        assert_eq!(
            (placement.layout.width(), &*placement.devices),
            (1, &[device(1)][..])
        );
        let full = [candidate(0, 0), candidate(1, 4 * UNIT - 1)];
        assert_eq!(
            place(&object(1), size, UNIT, 2, &full),
            Err(NoPlace::Room {
                column_bytes: 4 * UNIT
            })
        );
        assert!(matches!(
            place(&object(1), size, UNIT, 2, &[]),
            Err(NoPlace::Room { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Of the bytes of all columns; with equal columns. What moves, moves to the new device alone. With a stripe, of devices that
        /// differ by no more than a factor of two: a large one has no second column of an object, so small ones have more than their share.
        #[test]
        fn a_device_more_moves_little_more_than_its_share((weights, new, width) in prop_oneof![
            (prop::collection::vec(1..50_u64, 2..10), 1..50_u64, Just(1_usize)),
            (prop::collection::vec(4..=8_u64, 3..10), 4..=8_u64, Just(2_usize)),
        ]) {
            const OBJECTS: u64 = 4000;
            let before = devices(&weights);
            let mut after = before.clone();
            after.push((device(200), new));
            let (mut moved, mut columns) = (0, 0);
            for number in 0..OBJECTS {
                let old = choose_devices(&object(number), &before, width);
                let chosen = choose_devices(&object(number), &after, width);
                columns += chosen.len();
                let came: Vec<_> = chosen.iter().filter(|device| !old.contains(device)).collect();
                prop_assert!(came.iter().all(|came| **came == device(200)));
                moved += came.len();
            }
            let share = new as f64 / (weights.iter().sum::<u64>() + new) as f64;
            let part = moved as f64 / columns as f64;
            // Four times the deviation of that many draws is chance, not the rule.
            let chance = 4.0 * (share * (1.0 - share) / columns as f64).sqrt();
            prop_assert!(part <= 1.2 * share + chance, "{part} of the columns move, its share is {share}");
        }
    }

    proptest! {
        #[test]
        fn chosen_devices_are_distinct_and_independent_of_the_order(
            number: u64, weights in prop::collection::vec(1..1_000_u64, 1..12), width in 1..5_usize
        ) {
            let mut candidates = devices(&weights);
            let chosen = choose_devices(&object(number), &candidates, width);
            prop_assert_eq!(chosen.len(), width.min(candidates.len()));
            let distinct: std::collections::BTreeSet<_> = chosen.iter().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            candidates.reverse();
            prop_assert_eq!(choose_devices(&object(number), &candidates, width), chosen);
        }

        #[test]
        fn a_removed_device_that_was_not_chosen_changes_nothing(number: u64, count in 3..10_usize) {
            let mut candidates = devices(&vec![5; count]);
            let chosen = choose_devices(&object(number), &candidates, 2);
            candidates.retain(|(device, _)| chosen.contains(device));
            prop_assert_eq!(choose_devices(&object(number), &candidates, 2), chosen);
        }
    }
}
