//! Why bytes did not come, by what it means for the source.

use std::time::Duration;

use trust::Fault as TlsFault;

use crate::retry::Fault;

/// A source did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It has no such object, or another one at the path.
    #[error("it does not have the object: {0}")]
    Miss(String),
    /// It asks to come back later.
    #[error("it is busy (answer {status})")]
    Busy {
        /// 429 or 503.
        status: u16,
        /// How long: its `Retry-After`.
        pause: Duration,
    },
    /// No connection, or none that answers.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The two sides do not believe each other, or do not understand each other's TLS.
    #[error("no TLS with it: {what}")]
    Tls {
        /// In a word.
        fault: TlsFault,
        /// What happened, and what to do.
        what: String,
    },
    /// It answers, and too slowly.
    #[error("it is too slow: {0}")]
    Slow(String),
    /// The answer ended early. What came before can be used.
    #[error("its answer ended after {got} of {expected} bytes")]
    Cut {
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// It refuses: 401, 403 and other statuses that say neither yes nor no.
    #[error("it refuses (answer {0})")]
    Refused(u16),
    /// The object is not the one that the first answer told of.
    #[error("the object changed there while it was fetched: {0}")]
    Changed(String),
    /// It redirects in a way that is not followed.
    #[error("it redirects {0}")]
    Redirects(String),
    /// It gave what cannot be right.
    #[error("it lies: {0}")]
    Lied(Lie),
    /// The source cannot be asked as it is configured.
    #[error("it cannot be asked: {0}")]
    Setup(String),
}

/// An answer that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// 200 and the whole object where a part was asked for.
    #[error("it sends the whole object where a range was asked for")]
    WholeForRange,
    /// `Content-Range` is missing, unreadable, or of another range.
    #[error("its Content-Range is {found:?}, asked for was {asked}")]
    Range {
        /// What it said.
        found: String,
        /// What it was asked for.
        asked: String,
    },
    /// It tells of another size.
    #[error("it says that the object has {found} bytes; the manifest says {expected}")]
    Size {
        /// What it says.
        found: u64,
        /// The manifest's.
        expected: u64,
    },
    /// More bytes than the range has.
    #[error("its answer does not end where the range ends")]
    TooLong,
    /// `Content-Length` is not that of the range.
    #[error("its Content-Length is {found}, the range has {expected} bytes")]
    Length {
        /// What it said.
        found: u64,
        /// Bytes of the range.
        expected: u64,
    },
    /// The head is longer than the bound, or no HTTP.
    #[error("its answer is no HTTP that is accepted: {0}")]
    Head(String),
    /// The bytes were compressed on the way.
    #[error("it encodes the bytes as {0:?}, though it was asked not to")]
    Encoded(String),
    /// The bytes of a group are not the object's.
    #[error("the bytes of group {0} (of 1 MiB) are not those of the object")]
    Bytes(u64),
    /// The chunk tree is not the object's.
    #[error("its chunk tree: {0}")]
    Tree(String),
}

impl SourceError {
    /// All labels of [`reason`](Self::reason), for metrics.
    pub const REASONS: [&'static str; 11] = [
        "miss",
        "busy",
        "unreachable",
        "slow",
        "cut",
        "refused",
        "changed",
        "redirect",
        "lied",
        "setup",
        "tls",
    ];

    /// Its label in metrics.
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }

    /// What follows from it for the source.
    pub fn fault(&self) -> Fault {
        match self {
            // A changed object says nothing of the others.
            Self::Miss(_) | Self::Changed(_) => Fault::Missing,
            Self::Busy { pause, .. } => Fault::Busy(*pause),
            Self::Unreachable(_) | Self::Slow(_) | Self::Cut { .. } => Fault::Unreachable,
            Self::Refused(500..) => Fault::Unreachable,
            Self::Refused(_) | Self::Setup(_) | Self::Tls { .. } => Fault::Refused,
            Self::Redirects(_) | Self::Lied(_) => Fault::Lie,
        }
    }

    /// Its place in [`REASONS`](Self::REASONS).
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Miss(_) => 0,
            Self::Busy { .. } => 1,
            Self::Unreachable(_) => 2,
            Self::Slow(_) => 3,
            Self::Cut { .. } => 4,
            Self::Refused(_) => 5,
            Self::Changed(_) => 6,
            Self::Redirects(_) => 7,
            Self::Lied(_) => 8,
            Self::Setup(_) => 9,
            Self::Tls { .. } => 10,
        }
    }
}
