//! What goes between a worker and a device service: a [`ReadRequest`] one way, a [`ReadDone`] in the worker's [`Mailbox`] the other way.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::buffer::FilledBuffer;
use crate::stored_file::FileRef;

/// What a read is for: the better class is served first, a worse one keeps a small share (see [`super::limits::LOWER_CLASS_EVERY`]).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody waits for the bytes.
    #[default]
    Viewer = 0,
    /// Another appliance fills from here.
    FillSource = 1,
    /// Repair and scrub.
    Repair = 2,
}

impl Class {
    /// All, the best first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::FillSource, Self::Repair];
}

/// Bytes that a worker wants from a device.
#[derive(Debug)]
pub struct ReadRequest {
    /// The file.
    pub file: FileRef,
    /// The first byte wanted.
    pub offset: u64,
    /// Bytes wanted, at least 1. Widened to whole checksum blocks they must fit the device's `read_unit`.
    pub length: u32,
    /// What it is for.
    pub class: Class,
    /// Who wants it: of equal class, the reads of one requester take turns with those of every other. Any number.
    pub requester: u64,
    /// The worker's own mark, given back with the answer.
    pub token: u64,
    /// Where the answer goes.
    pub reply: Arc<Mailbox>,
}

/// The one answer to a request.
#[derive(Debug)]
pub struct ReadDone {
    /// The mark of the request.
    pub token: u64,
    /// The bytes: they begin at or before the wanted offset and hold all that was wanted.
    pub result: Result<FilledBuffer, ReadError>,
}

/// Why a read has no bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The device has failed.
    #[error("the device has failed")]
    DeviceFailed,
    /// The device does not answer at the moment.
    #[error("the device does not answer")]
    Stalled,
    /// A block is not what was written, or the file is shorter than it was. The file is marked bad.
    #[error("the block at byte {offset} is not what was written")]
    Corrupt {
        /// Where the block begins in the file, in bytes.
        offset: u64,
    },
    /// The system refused the open or the read.
    #[error("cannot read: {kind}")]
    Io {
        /// What kind of refusal.
        kind: io::ErrorKind,
        /// Its number, if it came from the system.
        code: Option<i32>,
    },
    /// Too many requests wait on the device.
    #[error("too many requests wait on the device")]
    QueueFull,
    /// The device service was stopped.
    #[error("the device service was stopped")]
    Stopped,
}

impl From<&io::Error> for ReadError {
    fn from(error: &io::Error) -> Self {
        Self::Io {
            kind: error.kind(),
            code: error.raw_os_error(),
        }
    }
}

/// Why a request was not taken. No answer will come.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The device's queue is full.
    #[error("too many requests wait on the device")]
    QueueFull,
    /// The worker's mailbox has no room for one more answer.
    #[error("the mailbox has no room for one more answer")]
    MailboxFull,
    /// The device does not answer at the moment.
    #[error("the device does not answer")]
    Stalled,
    /// The device has failed.
    #[error("the device has failed")]
    DeviceFailed,
    /// The file was found bad earlier.
    #[error("the file is bad")]
    BadFile,
    /// No bytes, bytes past the end, or more than `read_unit` when widened to whole blocks.
    #[error("the range is empty, past the end, or longer than a read unit")]
    OutOfRange,
    /// The device service was stopped.
    #[error("the device service was stopped")]
    Stopped,
}

/// Where the answers for one worker arrive.
///
/// It never overflows: a place is reserved when a request is taken and freed when its answer is.
pub struct Mailbox {
    done: ArrayQueue<ReadDone>,
    /// Answers that are here or will come.
    promised: AtomicUsize,
    waker: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// Room for `capacity` requests out at a time, at least 1. `waker` is called on service threads after each answer; it must neither
    /// block nor panic.
    #[must_use]
    pub fn new(capacity: usize, waker: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            done: ArrayQueue::new(capacity.max(1)),
            promised: AtomicUsize::new(0),
            waker,
        })
    }

    /// Takes the next answer, if one is here. No lock, no allocation.
    pub fn pop(&self) -> Option<ReadDone> {
        let done = self.done.pop()?;
        self.promised.fetch_sub(1, Ordering::Release);
        Some(done)
    }

    /// Requests whose answers were not taken yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.promised.load(Ordering::Relaxed)
    }

    fn promise(&self) -> Result<(), Refused> {
        if self.promised.fetch_add(1, Ordering::Acquire) < self.done.capacity() {
            return Ok(());
        }
        self.promised.fetch_sub(1, Ordering::Release);
        Err(Refused::MailboxFull)
    }

    fn put(&self, done: ReadDone) {
        self.done
            .push(done)
            .expect("every answer has its reserved place");
        (self.waker)();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("capacity", &self.done.capacity())
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}

/// A request that was taken and owes its worker exactly one answer: [`answer`](Self::answer) consumes it, and one that is dropped
/// without it answers [`ReadError::Stopped`].
pub(super) struct Pending {
    pub(super) file: FileRef,
    /// What will be read: the wanted range, widened to whole blocks.
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) class: Class,
    pub(super) requester: u64,
    debt: Debt,
}

struct Debt {
    token: u64,
    reply: Arc<Mailbox>,
    paid: bool,
}

impl Pending {
    pub(super) fn new(request: ReadRequest, offset: u64, length: u32) -> Result<Self, Refused> {
        request.reply.promise()?;
        Ok(Self {
            file: request.file,
            offset,
            length,
            class: request.class,
            requester: request.requester,
            debt: Debt {
                token: request.token,
                reply: request.reply,
                paid: false,
            },
        })
    }

    pub(super) fn answer(mut self, result: Result<FilledBuffer, ReadError>) {
        self.debt.pay(result);
    }
}

impl Debt {
    fn pay(&mut self, result: Result<FilledBuffer, ReadError>) {
        self.paid = true;
        self.reply.put(ReadDone {
            token: self.token,
            result,
        });
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if !self.paid {
            self.pay(Err(ReadError::Stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored_file::{BlockCheck, Source, StoredFile};
    use std::path::Path;

    struct Nowhere;

    impl Source for Nowhere {
        fn path(&self) -> &Path {
            Path::new("/nowhere")
        }
        fn length(&self) -> u64 {
            1
        }
        fn load_check(&self) -> io::Result<Box<dyn BlockCheck>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn pending(reply: &Arc<Mailbox>, token: u64) -> Option<Pending> {
        let request = ReadRequest {
            file: StoredFile::new(0, Box::new(Nowhere)).into(),
            offset: 0,
            length: 1,
            class: Class::Viewer,
            requester: 0,
            token,
            reply: Arc::clone(reply),
        };
        Pending::new(request, 0, 1).ok()
    }

    #[test]
    fn every_request_has_a_reserved_place_and_one_answer() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let mailbox = Mailbox::new(2, Box::new(count));
        let first = pending(&mailbox, 1).unwrap();
        let second = pending(&mailbox, 2).unwrap();
        assert!(pending(&mailbox, 3).is_none());

        first.answer(Err(ReadError::Stalled));
        drop(second);
        let answers = [mailbox.pop().unwrap(), mailbox.pop().unwrap()];
        assert_eq!(answers[0].result.as_ref().unwrap_err(), &ReadError::Stalled);
        assert_eq!(answers[1].result.as_ref().unwrap_err(), &ReadError::Stopped);
        assert_eq!((answers[0].token, answers[1].token), (1, 2));
        assert!(mailbox.pop().is_none());
        assert_eq!(mailbox.outstanding(), 0);
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }
}
