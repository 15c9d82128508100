//! What is known of an entry of the index, and whether it can be served now: decided before a head is sent.

use std::sync::Arc;

use content_store::{Column, ETag, Entry, ObjectCopy};
use platform::device::{DeviceService, Verdict};

use crate::precondition::Representation;
use crate::range::ByteRange;
use crate::send_plan::{in_memory, places};

/// What preconditions and heads need of an entry whose object has that tag.
pub fn representation<'a>(entry: &'a Entry, etag: &'a ETag) -> Representation<'a> {
    Representation {
        size: entry.object().size(),
        etag: etag.as_str(),
        content_type: entry.content_type(),
        cache_control: entry.cache_control(),
        modified: entry.modified_s(),
    }
}

/// Whether every byte of `range` can be had from some copy: what it touches lies on devices that answer, or is in memory. A `false` is
/// a 503 with `Retry-After`, never a 206 that cannot be finished.
pub fn is_available(entry: &Entry, range: ByteRange, devices: &[Arc<DeviceService>]) -> bool {
    let object = entry.object();
    let answers = |column: &Column| {
        let device = column.device().and_then(|number| devices.get(number));
        !column.is_bad() && device.is_some_and(|device| device.verdict() == Verdict::Ok)
    };
    let is_live = |copy: &ObjectCopy| copy.columns.iter().all(answers);
    if object.copies().any(is_live) {
        return true;
    }
    let mut rest = range;
    while rest.start < rest.end {
        let on_device = places(object, rest).filter(|place| answers(place.of));
        let longest = on_device.map(|place| place.length).max();
        let Some(length) = longest.or_else(|| Some(in_memory(object, rest)?.0.length)) else {
            return false;
        };
        rest.start += length;
    }
    true
}
