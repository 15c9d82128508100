//! The body of one response on its way: a range of an object in, one [`Source`] after another out. No system call, no clock.
//!
//! Every stretch of the range is taken either from *memory* (a locked piece, sent with `sendfile`) or from the *device* (a
//! buffer of the device service). Which one is decided when the stretch is reached, by a look at the piece's slot. Reads of
//! a device go one ahead of what is being sent, so that the disk works while the network does.
//!
//! ```text
//! position ──► locked piece of any copy? ──yes──► Source::Memory
//!                   │no
//!                   ▼
//!       reads: Idle ──wanted(): the best copy──► Out ──arrived()──► Ready ──► Source::Buffer ──sent──► Idle
//!               │ ▲                               │
//!               │ └── refused, failed: the next ──┘
//!               └──── no copy is left ──► Failed ──► Source::Failed
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use content_store::Object;
use platform::device::{Class, FilledBuffer, ReadError};
use platform::stored_file::{FileRef, Locked};

use crate::limits::{
    BUFFER_DRAIN_BYTES_PER_S, BUFFER_HOLD_LEAST, BUFFER_HOLD_SHORT, QUANTUM_BYTES,
    READS_PER_TRANSFER,
};
use crate::range::ByteRange;
use crate::send_plan::{DeviceView, Tried, best, in_memory};

/// What to send next.
pub enum Source<'a> {
    /// `length` bytes of a locked piece, from `offset` of its file.
    Memory {
        /// Keeps the piece locked while it is sent.
        piece: Locked<'a>,
        /// Offset in the file.
        offset: u64,
        /// Bytes, at most a quantum.
        length: u64,
        /// The device that it was read from.
        device: usize,
    },
    /// Bytes in a buffer of the device service.
    Buffer {
        /// The bytes, at most a quantum.
        bytes: &'a [u8],
        /// The device that they were read from.
        device: usize,
    },
    /// A read is under way.
    Awaited,
    /// The piece was evicted since [`Transfer::wanted`] looked: ask that again.
    Evicted,
    /// The next bytes cannot be had.
    Failed,
    /// Everything was sent.
    Done,
}

impl Source<'_> {
    /// Bytes that can be sent now.
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory { length, .. } => *length,
            Self::Buffer { bytes, .. } => bytes.len() as u64,
            Self::Awaited | Self::Evicted | Self::Failed | Self::Done => 0,
        }
    }
}

/// A device read that should be submitted; answer with [`Transfer::submitted`] or [`Transfer::refused`].
#[derive(Debug)]
pub struct Wanted {
    /// The column's file; `None` if no copy is left to try, and the read is to be refused.
    pub file: Option<FileRef>,
    /// Offset in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
    /// What for.
    pub class: Class,
    copy: usize,
    slot: usize,
    span: ByteRange,
}

/// Names one read that is out.
pub type ReadId = u32;

#[derive(Debug, Default)]
enum Read {
    #[default]
    Idle,
    Out {
        id: ReadId,
        span: ByteRange,
        offset: u64,
        device: usize,
        copy: usize,
    },
    Ready {
        span: ByteRange,
        offset: u64,
        device: usize,
        buffer: FilledBuffer,
    },
    Failed {
        span: ByteRange,
    },
}

/// A range of an object that is being sent.
#[derive(Debug)]
pub struct Transfer {
    object: Arc<Object>,
    position: u64,
    end: u64,
    class: Class,
    /// In the order of the object; the first covers `position` unless it is `Idle`, and behind an `Idle` one all are.
    reads: [Read; READS_PER_TRANSFER],
    /// Copies that failed since bytes came last.
    tried: Tried,
    /// Since when the buffer that is being sent is held.
    held_since: Option<Instant>,
    /// It kept a buffer too long while others waited.
    is_slow: bool,
}

impl Transfer {
    /// Begins to send `range`.
    pub fn new(object: Arc<Object>, range: ByteRange) -> Self {
        Self {
            object,
            position: range.start,
            end: range.end,
            class: Class::Viewer,
            reads: Default::default(),
            tried: Tried::default(),
            held_since: None,
            is_slow: false,
        }
    }

    /// The same for another appliance, which waits behind viewers.
    pub fn for_fill(self) -> Self {
        Self {
            class: Class::FillSource,
            ..self
        }
    }

    /// Bytes that are still to be sent.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// What comes next. Call [`Transfer::wanted`] until it is `None` first.
    pub fn next(&self) -> Source<'_> {
        if self.position == self.end {
            return Source::Done;
        }
        match &self.reads[0] {
            Read::Out { .. } => Source::Awaited,
            Read::Failed { .. } => Source::Failed,
            Read::Ready {
                span,
                offset,
                device,
                buffer,
            } => {
                ready_bytes(*span, *offset, buffer, self.position).map_or(Source::Failed, |bytes| {
                    Source::Buffer {
                        bytes,
                        device: *device,
                    }
                })
            }
            Read::Idle => self.memory_source(),
        }
    }

    fn memory_source(&self) -> Source<'_> {
        match in_memory(&self.object, self.rest(self.position)) {
            None => Source::Evicted,
            Some((place, piece)) => Source::Memory {
                piece,
                offset: place.offset,
                length: place.length.min(QUANTUM_BYTES),
                device: place.device,
            },
        }
    }

    /// Notes that `bytes` of what [`Transfer::next`] gave were taken by the kernel.
    pub fn sent(&mut self, bytes: u64, now: Instant) {
        self.position += bytes;
        if self.reads[0].end().is_some_and(|end| end <= self.position) {
            self.reads.rotate_left(1);
            self.reads[READS_PER_TRANSFER - 1] = Read::Idle;
            self.held_since = Some(now);
        }
    }

    /// The next device read to submit, if one is due. `view` tells of a device.
    pub fn wanted(&self, view: impl Fn(usize) -> DeviceView) -> Option<Wanted> {
        let slot = self
            .reads
            .iter()
            .position(|read| matches!(read, Read::Idle))?;
        let start = match slot {
            0 => self.position,
            _ => self.reads[slot - 1].end()?,
        };
        // Read ahead only of a buffer that is being sent: a viewer that has not got its first byte needs just that.
        let ahead_of_nothing = slot > 0 && !self.holds_buffer();
        if start >= self.end || ahead_of_nothing {
            return None;
        }
        let rest = self.rest(start);
        if in_memory(&self.object, rest).is_some() {
            return None;
        }
        let place = best(&self.object, rest, self.tried, &view);
        let (offset, length) = place.as_ref().map_or((0, rest.length()), |place| {
            let unit = view(place.device).read_unit;
            let length = place.length.min(unit - place.offset % unit);
            (place.offset, length)
        });
        Some(Wanted {
            file: place
                .as_ref()
                .and_then(|place| self.object.file(place.copy, place.column)),
            offset,
            length: length as u32,
            class: self.class,
            copy: place.map_or(0, |place| place.copy),
            slot,
            span: ByteRange {
                start,
                end: start + length,
            },
        })
    }

    /// `wanted` was accepted by the service of `device` as `id`.
    pub fn submitted(&mut self, wanted: &Wanted, device: usize, id: ReadId) {
        self.reads[wanted.slot] = Read::Out {
            id,
            span: wanted.span,
            offset: wanted.offset,
            device,
            copy: wanted.copy,
        };
    }

    /// `wanted` was refused: the next copy is tried, if there is one.
    pub fn refused(&mut self, wanted: &Wanted) {
        match &wanted.file {
            Some(_) => self.tried.add(wanted.copy),
            None => self.reads[wanted.slot] = Read::Failed { span: wanted.span },
        }
    }

    /// The read `id` came back. Whether it is what is sent next; one whose place was given up is dropped.
    pub fn arrived(
        &mut self,
        id: ReadId,
        result: Result<FilledBuffer, ReadError>,
        now: Instant,
    ) -> bool {
        let is_it = |read: &Read| matches!(read, Read::Out { id: out, .. } if *out == id);
        let Some(slot) = self.reads.iter().position(is_it) else {
            return false;
        };
        let Read::Out {
            span,
            offset,
            device,
            copy,
            ..
        } = self.reads[slot]
        else {
            return false;
        };
        match result {
            Ok(buffer) => {
                self.reads[slot] = Read::Ready {
                    span,
                    offset,
                    device,
                    buffer,
                };
                self.tried = Tried::default();
                if slot == 0 {
                    self.held_since = Some(now);
                }
                slot == 0
            }
            Err(_) => {
                self.tried.add(copy);
                self.reads[slot..].fill_with(Read::default);
                false
            }
        }
    }

    /// Whether a buffer of the device service is waiting to be sent.
    pub fn holds_buffer(&self) -> bool {
        matches!(self.reads[0], Read::Ready { .. })
    }

    /// Whether nothing can be sent until a read comes back.
    pub fn awaits_read(&self) -> bool {
        matches!(self.reads[0], Read::Out { .. })
    }

    /// Gives the buffers back if others wait for one while this viewer drains its own more slowly than any film plays; the sooner, the
    /// more there are who wait. Who was found so slow once holds none from then on when others wait. `waiting` tells of a device how many
    /// wait for each buffer.
    pub fn give_way(&mut self, now: Instant, waiting: impl Fn(usize) -> u32) -> bool {
        let (Read::Ready { span, device, .. }, Some(since)) = (&self.reads[0], self.held_since)
        else {
            return false;
        };
        let drained = self.position.saturating_sub(span.start);
        let allowed = BUFFER_HOLD_SHORT + Duration::from_secs(drained / BUFFER_DRAIN_BYTES_PER_S);
        let held = now.saturating_duration_since(since);
        let waiting = waiting(*device);
        if waiting == 0 {
            return false;
        }
        self.is_slow |= held > allowed;
        let is_over = held > (allowed / waiting).max(BUFFER_HOLD_LEAST);
        (self.is_slow || is_over) && self.give_back()
    }

    /// Gives the buffers back of a viewer that does not take them; they are read again when it does.
    /// Returns whether there were any.
    pub fn give_back(&mut self) -> bool {
        let held = self.holds_buffer();
        // A read that is out comes back later and finds no slot: it is dropped then.
        if held {
            self.reads = Default::default();
        }
        held
    }

    fn rest(&self, position: u64) -> ByteRange {
        ByteRange {
            start: position,
            end: self.end,
        }
    }
}

impl Read {
    /// Where in the object the read ends.
    fn end(&self) -> Option<u64> {
        match self {
            Self::Idle => None,
            Self::Out { span, .. } | Self::Ready { span, .. } | Self::Failed { span } => {
                Some(span.end)
            }
        }
    }
}

/// The bytes of `buffer` from `position` of the object on; `None` if the buffer is shorter than it should be.
fn ready_bytes(
    span: ByteRange,
    offset: u64,
    buffer: &FilledBuffer,
    position: u64,
) -> Option<&[u8]> {
    let from = offset.checked_sub(buffer.offset())? + (position - span.start);
    let to = offset - buffer.offset() + span.length().min(position - span.start + QUANTUM_BYTES);
    buffer.bytes().get(from as usize..to as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::held::shelf::Shelf;

    const SIZE: u64 = 1 << 20;

    fn wanted(transfer: &Transfer) -> Wanted {
        let view = |_| DeviceView {
            read_unit: SIZE,
            answers: true,
            backlog: 0,
        };
        transfer.wanted(view).unwrap()
    }

    /// A device refuses reads when its queue is full, and a read that it took can fail.
    #[test]
    fn what_one_copy_does_not_give_is_asked_of_the_next() {
        for fails in [false, true] {
            let range = ByteRange {
                start: 0,
                end: SIZE,
            };
            let mut transfer = Transfer::new(Shelf::copied(SIZE, 3, &[]), range);
            let mut asked = Vec::new();
            for id in 0..3 {
                let wanted = wanted(&transfer);
                asked.push(wanted.file.as_ref().unwrap().device());
                if fails {
                    transfer.submitted(&wanted, asked[asked.len() - 1], id);
                    transfer.arrived(id, Err(ReadError::Stalled), Instant::now());
                } else {
                    transfer.refused(&wanted);
                }
            }
            asked.sort_unstable();
            assert_eq!(asked, [0, 1, 2]);
            let none = wanted(&transfer);
            assert!(none.file.is_none());
            transfer.refused(&none);
            assert!(matches!(transfer.next(), Source::Failed));
        }
    }
}
