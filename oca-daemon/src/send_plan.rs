//! Where the bytes of a range lie: (object, range) in, [`Place`]s in columns of its copies out. Pure.

use std::sync::Arc;

use content_store::limits::MAX_STRIPE_WIDTH;
use content_store::{Column, Object, ObjectCopy};
use platform::device::{DeviceService, Verdict};
use platform::stored_file::{Locked, PIECE_BYTES};

use crate::limits::READ_UNIT_UNKNOWN;
use crate::range::ByteRange;

/// A stretch of an object that lies in one column, without a gap.
#[derive(Debug)]
pub struct Place<'a> {
    /// The column.
    pub of: &'a Column,
    /// Number of the column's device.
    pub device: usize,
    /// Offset of the stretch in the column's file.
    pub offset: u64,
    /// Bytes that lie there one after another, at most up to the end of the range.
    pub length: u64,
    /// Which copy of the object it belongs to.
    pub copy: usize,
    /// Which column of the copy it is.
    pub column: usize,
}

/// What is to be known of a device to choose among copies.
#[derive(Copy, Clone, Debug)]
pub struct DeviceView {
    /// Its unit of reading in bytes.
    pub read_unit: u64,
    /// Whether it answers.
    pub answers: bool,
    /// Rounds of reads that a new one would wait for.
    pub backlog: u32,
}

impl DeviceView {
    /// The device with this number, as it is now. Three loads.
    pub fn of(devices: &[Arc<DeviceService>], number: usize) -> Self {
        devices.get(number).map_or(
            Self {
                read_unit: READ_UNIT_UNKNOWN,
                answers: false,
                backlog: 0,
            },
            |device| Self {
                read_unit: u64::from(device.read_unit()),
                answers: device.verdict() == Verdict::Ok,
                backlog: device.backlog(),
            },
        )
    }
}

/// The stretch of each copy that begins `range`, in their order; those whose device is not here are left out.
/// `range` must be inside the object and not empty.
pub fn places(object: &Object, range: ByteRange) -> impl Iterator<Item = Place<'_>> {
    object
        .copies()
        .enumerate()
        .filter_map(move |(number, copy)| place(copy, number, range))
}

fn place(copy: &ObjectCopy, number: usize, range: ByteRange) -> Option<Place<'_>> {
    let piece = copy.layout.pieces(range.start..range.end).next()?;
    let column = copy.columns.get(piece.column)?;
    Some(Place {
        of: column,
        device: column.device()?,
        offset: piece.offset,
        length: piece.length,
        copy: number,
        column: piece.column,
    })
}

/// The beginning of `range` as it is in memory, if it is.
pub fn in_memory(object: &Object, range: ByteRange) -> Option<(Place<'_>, Locked<'_>)> {
    places(object, range).find_map(|mut place| {
        let piece = place.of.locked(place.offset)?;
        place.length = place.length.min(piece.range().end - place.offset);
        Some((place, piece))
    })
}

/// The copy to read the beginning of `range` from: of those that are not in `tried` one that answers, with the fewest waiting, of equals the
/// one whose turn it is. One that does not answer is better than none: its device says why.
pub fn best<'a>(
    object: &'a Object,
    range: ByteRange,
    tried: Tried,
    view: impl Fn(usize) -> DeviceView,
) -> Option<Place<'a>> {
    let count = 1 + object.others.len();
    let turn = turn(object, range.start) % count;
    places(object, range)
        .filter(|place| !tried.contains(place.copy))
        .min_by_key(|place| {
            let device = view(place.device);
            let is_away = place.of.is_bad() || !device.answers;
            (is_away, device.backlog, (place.copy + count - turn) % count)
        })
}

/// As much of an object as the pieces of memory at one place of all columns hold, so that no two copies are asked for parts of one piece.
const TURN_BYTES: u64 = PIECE_BYTES * MAX_STRIPE_WIDTH as u64;

/// Copies take turns from place to place, and from object to object; who reads the same place asks the same copy, so that one read and one
/// piece of memory do for all of them.
fn turn(object: &Object, position: u64) -> usize {
    usize::from(object.id.0[0]) + (position / TURN_BYTES) as usize
}

/// The copies of an object that were tried in vain.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(u8);

const _: () = assert!(content_store::limits::MAX_COPIES <= u8::BITS as usize);

impl Tried {
    /// Adds a copy.
    pub fn add(&mut self, copy: usize) {
        self.0 |= 1 << copy;
    }

    fn contains(self, copy: usize) -> bool {
        self.0 >> copy & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::held::shelf::Shelf;

    const UNIT: u64 = 1 << 20;
    const SIZE: u64 = 12 * TURN_BYTES;
    const IDLE: DeviceView = DeviceView {
        read_unit: UNIT,
        answers: true,
        backlog: 0,
    };

    fn at(start: u64) -> ByteRange {
        ByteRange { start, end: SIZE }
    }

    /// The device that is asked for the byte at `start`.
    fn asked(object: &Object, start: u64, view: impl Fn(usize) -> DeviceView) -> usize {
        best(object, at(start), Tried::default(), view)
            .unwrap()
            .device
    }

    #[test]
    fn equal_devices_take_turns_from_place_to_place() {
        for copies in [2, 3] {
            let object = Shelf::copied(SIZE, copies, &[]);
            let mut bytes = [0; 3];
            for start in (0..SIZE).step_by(UNIT as usize) {
                bytes[asked(&object, start, |_| IDLE)] += UNIT;
            }
            let even = SIZE / copies as u64;
            assert!(
                bytes[..copies].iter().all(|read| *read == even),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn small_objects_spread_over_the_devices() {
        let mut objects = [0; 2];
        for size in 1..=64 {
            objects[asked(&Shelf::copied(size, 2, &[]), 0, |_| IDLE)] += 1;
        }
        assert!(objects.iter().all(|count| *count > 24), "{objects:?}");
    }

    #[test]
    fn the_shortest_queue_is_asked() {
        let object = Shelf::copied(SIZE, 3, &[]);
        for start in (0..SIZE).step_by(TURN_BYTES as usize) {
            for idle in 0..3 {
                let view = |device| DeviceView {
                    backlog: u32::from(device != idle),
                    ..IDLE
                };
                assert_eq!(asked(&object, start, view), idle);
            }
        }
    }

    #[test]
    fn a_device_that_does_not_answer_is_asked_last() {
        let object = Shelf::copied(SIZE, 2, &[]);
        for start in (0..SIZE).step_by(TURN_BYTES as usize) {
            for silent in 0..2 {
                let view = |device| DeviceView {
                    answers: device != silent,
                    backlog: if device == silent { 0 } else { 9 },
                    ..IDLE
                };
                assert_eq!(asked(&object, start, view), 1 - silent);
            }
            let silent = DeviceView {
                answers: false,
                ..IDLE
            };
            asked(&object, start, |_| silent);
        }
    }

    #[test]
    fn a_bad_column_is_asked_last() {
        for bad in 0..2 {
            let object = Shelf::copied(SIZE, 2, &[bad]);
            for start in (0..SIZE).step_by(TURN_BYTES as usize) {
                let view = |device| DeviceView {
                    backlog: if device == bad { 0 } else { 9 },
                    ..IDLE
                };
                assert_eq!(asked(&object, start, view), 1 - bad);
            }
        }
    }

    #[test]
    fn each_copy_is_tried_once() {
        let object = Shelf::copied(SIZE, 3, &[]);
        let mut tried = Tried::default();
        let mut devices = Vec::new();
        while let Some(place) = best(&object, at(0), tried, |_| IDLE) {
            devices.push(place.device);
            tried.add(place.copy);
        }
        devices.sort_unstable();
        assert_eq!(devices, [0, 1, 2]);
    }
}
