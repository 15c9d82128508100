//! Where a worker seals: one buffer after another connection's, so that it stays in the core's cache. A connection takes it along only if its
//! socket has no room for all of it.

use crate::limits::{RESPONSE_HEAD_BYTES, SEAL_BYTES, SEALED_BUFFERS, SEALED_BUFFERS_READY};
use crate::tls::records::PLAINTEXT_BYTES;
use crate::tls::seal::{CONTROL_BYTES, sealed_bound};

/// A head, the body's bytes behind it, and last words: so one that was taken along never grows.
const BUFFER_BYTES: usize =
    sealed_bound(RESPONSE_HEAD_BYTES) + sealed_bound(SEAL_BYTES) + 2 * CONTROL_BYTES;

/// The buffer, and others to go on with when a connection has taken it.
pub(super) struct Sealing {
    buffer: Box<[u8]>,
    spares: Vec<Box<[u8]>>,
    /// How many there are, wherever they are.
    made: usize,
    /// Connections that took something along.
    waiting: u64,
}

/// Sealed bytes of one connection that wait for room.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    is_pooled: bool,
    is_counted: bool,
}

impl Sealing {
    /// For listeners of which some speak TLS; without buffers if none does.
    pub(super) fn new(are_tls: &[bool]) -> Self {
        let ready = if are_tls.contains(&true) {
            SEALED_BUFFERS_READY
        } else {
            0
        };
        let mut spares = Vec::with_capacity(SEALED_BUFFERS);
        spares.extend((0..ready).map(|_| buffer()));
        Self {
            buffer: spares.pop().unwrap_or_default(),
            spares,
            made: ready,
            waiting: 0,
        }
    }

    /// Bytes of a body that may be sealed at once.
    pub(super) fn room(&self) -> usize {
        if self.spares.is_empty() && self.made == SEALED_BUFFERS {
            PLAINTEXT_BYTES
        } else {
            SEAL_BYTES
        }
    }

    /// Where to seal.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// What was sealed there.
    pub(super) fn sealed(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// The bytes from `from` to `to` of the buffer are taken along; it goes on with another one.
    pub(super) fn take(&mut self, from: usize, to: usize) -> Unsent {
        let other = self.spares.pop().or_else(|| {
            (self.made < SEALED_BUFFERS).then(|| {
                self.made += 1;
                buffer()
            })
        });
        self.waiting += 1;
        match other {
            Some(other) => Unsent {
                bytes: std::mem::replace(&mut self.buffer, other),
                from,
                to,
                is_pooled: true,
                is_counted: true,
            },
            None => Unsent {
                bytes: self.buffer[from..to].into(),
                from: 0,
                to: to - from,
                is_pooled: false,
                is_counted: true,
            },
        }
    }

    /// Connections whose sealed bytes wait for room.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Takes back what a connection has no use for any more.
    pub(super) fn give_back(&mut self, unsent: Unsent) {
        self.waiting -= u64::from(unsent.is_counted);
        if unsent.is_pooled {
            self.spares.push(unsent.bytes);
        }
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; BUFFER_BYTES].into()
}

impl Unsent {
    /// What is to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// The socket took so many bytes of it.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.from += bytes;
    }

    /// Adds an alert, or what a handshake says: rare, and short.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.to + bytes.len();
        match self.bytes.get_mut(self.to..end) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                let mut longer = std::mem::take(&mut self.bytes).into_vec();
                longer.truncate(self.to);
                longer.extend_from_slice(bytes);
                self.bytes = longer.into();
            }
        }
        self.to = end;
    }
}
