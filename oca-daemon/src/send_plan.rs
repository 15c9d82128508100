//! Where the bytes of a range lie: (object, range) in, [`Place`]s in columns of its copies out. Pure.

use std::sync::Arc;

use content_store::{Column, Object, ObjectCopy};
use platform::device::{DeviceService, Verdict};
use platform::stored_file::Locked;

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

/// The stretch of each copy that begins `range`, in the order in which copies are asked; those whose device is not here are left out.
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

/// The copy to read the beginning of `range` from: of those that are not in `tried` one that answers, with the fewest waiting, the first
/// of equals. One that does not answer is better than none: its device says why.
pub fn best<'a>(
    object: &'a Object,
    range: ByteRange,
    tried: Tried,
    view: impl Fn(usize) -> DeviceView,
) -> Option<Place<'a>> {
    places(object, range)
        .filter(|place| !tried.contains(place.copy))
        .min_by_key(|place| {
            let device = view(place.device);
            (place.of.is_bad() || !device.answers, device.backlog)
        })
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
