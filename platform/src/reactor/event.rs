//! What goes into the reactor and what comes out: names of connections, events, received bytes.

use std::io;
use std::net::TcpListener;

/// Names one connection. Dead after `close`; a later connection never has an equal token, although it may
/// have the same [`Token::index`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Token {
    /// A small number, unique among the connections that are open now: for tables kept beside the reactor.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The token as one word, for queues that carry words. See [`Token::from_bits`].
    pub fn to_bits(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation)
    }

    /// The inverse of [`Token::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self {
            index: (bits >> 32) as u32,
            generation: bits as u32,
        }
    }
}

/// Names one listener, chosen by the caller, small (it indexes a table).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub u16);

/// A socket to accept from.
#[derive(Debug)]
pub enum Listening {
    /// Nobody else accepts from it.
    Own(TcpListener),
    /// Others may have it as well, in other threads and processes; among them one that was killed and cannot end.
    Shared(TcpListener),
}

impl From<TcpListener> for Listening {
    fn from(listener: TcpListener) -> Self {
        Self::Own(listener)
    }
}

/// Received bytes, lent by the reactor: read them with `Reactor::bytes`, and give the buffer back with
/// `Reactor::release`. One that is dropped instead is lost to the reactor for good.
#[must_use = "give it back with Reactor::release"]
#[derive(Debug)]
pub struct ReceiveBuffer {
    pub(crate) pool: u32,
    pub(crate) index: u16,
    pub(crate) length: u32,
}

impl ReceiveBuffer {
    /// How many bytes were received into it: at least one.
    #[expect(
        clippy::len_without_is_empty,
        reason = "the end of a stream is an event of its own, so a buffer is never empty"
    )]
    pub fn len(&self) -> usize {
        self.length as usize
    }
}

/// What has happened since the turn before.
#[derive(Debug)]
pub enum Event {
    /// A connection, non-blocking, with the options of its listener. Nothing is received before
    /// `Reactor::receive`.
    Accepted {
        /// Where it came in.
        listener: ListenerId,
        /// Its name from now on.
        token: Token,
    },
    /// Accepting has **stopped** on this listener (out of descriptors, of memory, or of connections:
    /// `QuotaExceeded`); `Reactor::resume_accept` starts it again.
    AcceptFailed {
        /// The listener that stopped.
        listener: ListenerId,
        /// Why.
        error: io::Error,
    },
    /// Bytes of the peer, in order.
    Received {
        /// Whose.
        token: Token,
        /// The bytes; to be given back.
        buffer: ReceiveBuffer,
    },
    /// The peer will send no more (it may still read). Comes once; receiving is over.
    PeerClosed {
        /// Whose peer.
        token: Token,
    },
    /// The connection is broken (reset, timed out). Comes once; receiving is over.
    ReceiveFailed {
        /// Which connection.
        token: Token,
        /// The socket's error.
        error: io::Error,
    },
    /// There is room in the socket, or an error that the next send will tell.
    Writable {
        /// Whose socket.
        token: Token,
    },
    /// Somebody called `Waker::wake` since the last one: look into the mailboxes.
    Wake,
}

impl Event {
    /// The connection it speaks of. `Accepted` has none: its token is new, so nobody can have closed it.
    pub(crate) fn token(&self) -> Option<Token> {
        match self {
            Event::Received { token, .. }
            | Event::PeerClosed { token }
            | Event::ReceiveFailed { token, .. }
            | Event::Writable { token } => Some(*token),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Wake => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_survives_the_way_through_a_word() {
        for (index, generation) in [(0, 0), (1, 0), (0, 1), (77, u32::MAX), (u32::MAX, 3)] {
            let token = Token { index, generation };
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }
}
