//! How one daemon takes the place of another, and no viewer is lost: `ocactl upgrade`, docs/decisions/0008-upgrade.md.
//!
//! ```text
//! ocactl ── upgrade ─► daemon ── Start, an end of the channel ─► parent ── starts ─► successor
//!                        │ ◄─ Begin (its check has passed) ──────────────────────────── │
//!                        │ ── Sockets.., Estate: door, parent ────────────────────────► │ binds, opens devices, tries its workers
//!                        │ ◄─ Ready ──────────────────────────────────────────────────── │
//!                        │ ── Go ─────────────────────────────────────────────────────► │ lets viewers in
//!                        │ ◄─ Serving ────────────────────────────────────────────────── │ ── Serving ─► parent
//!                parts: no new ones, the rest finishes;
//!                speakers end, then its end of the channel ───────────────────────────► │ its speakers begin
//! ```
//! Whatever ends before *Serving*, or takes longer than the operator allows, leaves the daemon that serves as it was.
//!
//! [`parent`] stays for as long as the service runs, and is its main process; [`successor`] is the new one's side, and
//! [`crate::control`] the old one's.

pub mod parent;
pub mod successor;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net;

use platform::messages::Messages;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::tls::TicketKey;

/// Rises when the words between two daemons change: neither may be older than the other by more than the words are.
pub const VERSION: u32 = 1;

/// What the daemon that serves tells its parent. A newer daemon speaks to an older parent, so words may only be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToParent {
    /// Start a successor, with the descriptor of this message as its channel.
    Start {
        /// The program before the last package.
        previous: bool,
        /// Whatever its check finds.
        force: bool,
    },
    /// End the successor, which has not come to serve.
    Abandon,
    /// From a successor: it serves from now on.
    Serving {
        /// Its process.
        process: u32,
    },
}

/// What a successor tells the daemon that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfSuccessor {
    /// Its check has found nothing wrong; it wants what it takes over.
    Begin {
        /// [`VERSION`]
        version: u32,
        /// It knows [`OfPredecessor::Tickets`].
        #[serde(default)]
        tickets: bool,
    },
    /// It does not become one, and why; also from the parent, which knows how it ended.
    Failed {
        /// In the words of its error.
        why: String,
    },
    /// All is in place, its workers have answered their trial.
    Ready,
    /// Viewers are let in.
    Serving {
        /// Of its program.
        version: String,
        /// Its process.
        process: u32,
    },
}

/// What the daemon that serves tells its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfPredecessor {
    /// The descriptors are listening sockets.
    Sockets,
    /// The keys by which viewers' tickets are read. Only to a successor that has said it knows this word.
    Tickets(Vec<TicketKey>),
    /// The last message before the trial: socket and lock of the operator's door, and the end that leads to the parent.
    Estate,
    /// Let viewers in.
    Go,
}

/// Sends one of these.
///
/// # Errors
/// What the kernel says, as when the other side is gone.
pub fn tell(
    to: &Messages,
    words: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    to.send(&serde_json::to_vec(words)?, descriptors)
}

/// The next one, with what came with it.
///
/// # Errors
/// `UnexpectedEof` when the other side is gone; `InvalidData` for words that this program does not know; what the kernel says.
pub fn hear<T: DeserializeOwned>(from: &Messages) -> io::Result<(T, Vec<OwnedFd>)> {
    let (message, descriptors) = from.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((serde_json::from_slice(&message)?, descriptors))
}

/// As [`hear`], for an end that does not block.
///
/// # Errors
/// As of [`hear`].
pub async fn hear_later<T: DeserializeOwned>(from: &Later) -> io::Result<(T, Vec<OwnedFd>)> {
    let next = || hear(&from.end);
    from.readiness.async_io(Interest::READABLE, next).await
}

/// An end that does not block.
#[derive(Debug)]
pub struct Later {
    /// To speak to.
    pub end: Messages,
    /// The same end, as the runtime waits for it.
    readiness: UnixStream,
}

impl Later {
    /// Within a runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(end: Messages) -> io::Result<Self> {
        end.set_nonblocking(true)?;
        let readiness = net::UnixStream::from(OwnedFd::from(end.try_clone()?));
        let readiness = UnixStream::from_std(readiness)?;
        Ok(Self { end, readiness })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_of_an_earlier_release_knows_no_tickets() {
        let heard: OfSuccessor = serde_json::from_str(r#"{"begin":{"version":1}}"#).unwrap();
        let begin = OfSuccessor::Begin {
            version: 1,
            tickets: false,
        };
        assert_eq!(heard, begin);
    }

    #[test]
    fn words_go_through_and_others_are_refused() {
        let (one, other) = Messages::pair().unwrap();
        let begin = OfSuccessor::Begin {
            version: VERSION,
            tickets: true,
        };
        tell(&one, &begin, &[]).unwrap();
        let (heard, _) = hear::<OfSuccessor>(&other).unwrap();
        assert_eq!(heard, begin);
        tell(&one, &OfPredecessor::Go, &[]).unwrap();
        let strange = hear::<ToParent>(&other).unwrap_err();
        assert_eq!(strange.kind(), io::ErrorKind::InvalidData);
        drop(one);
        let end = hear::<ToParent>(&other).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
