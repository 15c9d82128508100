//! What is known of an entry of the index, and whether it can be served now: decided before a head is sent.

use std::sync::Arc;

use content_store::{Column, Entry};
use platform::device::{DeviceService, Verdict};
use platform::stored_file::StoredFile;

use crate::precondition::Representation;
use crate::range::ByteRange;
use crate::send_plan::{Place, file_of, places};

/// What preconditions and heads need of an entry.
pub fn representation(entry: &Entry) -> Representation<'_> {
    Representation {
        size: entry.object.size,
        etag: entry.object.etag.as_str(),
        content_type: &entry.content_type,
        cache_control: &entry.cache_control,
        modified: entry.modified_s,
    }
}

/// Whether every byte of `range` can be had: each column that it touches lies on a device that answers, or the pieces
/// that are needed are in memory. A `false` is a 503 with `Retry-After`, never a 206 that cannot be finished.
pub fn is_available(entry: &Entry, range: ByteRange, devices: &[Arc<DeviceService>]) -> bool {
    let object = &entry.object;
    let answers = |file: &Arc<StoredFile>| {
        let device = devices.get(file.device());
        !file.is_bad() && device.is_some_and(|device| device.verdict() == Verdict::Ok)
    };
    let is_well = |column: &Column| file_of(column).is_some_and(answers);
    if object.columns.iter().all(is_well) {
        return true;
    }
    places(object, range).all(|place| place.file.is_some_and(answers) || is_locked(&place))
}

/// Whether a place, which may reach over several pieces, is in memory as a whole.
fn is_locked(place: &Place<'_>) -> bool {
    let Some(file) = place.file else { return false };
    let end = place.offset + place.length;
    let mut offset = place.offset;
    while offset < end {
        let Some(piece) = file.locked(offset) else {
            return false;
        };
        offset = piece.range().end;
    }
    true
}
