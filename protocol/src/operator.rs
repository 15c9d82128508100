//! The operator sockets in `run_dir`: what changes state goes through them, guarded by file permissions.
//!
//! `ocactl` connects, writes one [`Request`] as one line of JSON, reads one [`Response`] as one line, and may write the next.
//! Every line carries the version of this protocol; a daemon that does not speak it says so instead of guessing.
//!
//! ```text
//! > {"protocol":1,"request":"drain","by":"ada","reason":"new fans","force":false}
//! < {"protocol":1,"response":"drain","since":1790000000,"by":"ada",..}
//! < {"protocol":1,"response":"refused","fault":"state","message":".."}
//! ```

use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bgp::RoutePage;
use crate::config;
use crate::fill::Facts;
use crate::limits::LINE_MAX_BYTES;
use crate::log::{self, LogLevel};
use crate::status::{Certificate, Drain, SelfTestReport, State, Status};

/// The version of the lines. A new request or a new field leaves it; a changed meaning raises it.
pub const VERSION: u32 = 1;

/// The daemon's socket in `run_dir`.
pub const DAEMON_SOCKET: &str = "daemon.sock";

/// What an operator may ask of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// [`Response::Status`]: the document of `/status`.
    Status,
    /// [`Response::Drain`]: take this box out of service, gently. Asking again changes nothing but `by` and `reason`.
    Drain {
        /// Who asks: the login name.
        by: String,
        /// Why.
        reason: Option<String>,
        /// Although the site would have too few left.
        force: bool,
    },
    /// [`Response::Undrain`]: put it back into service, after the self-test.
    Undrain {
        /// Who asks.
        by: String,
    },
    /// [`Response::SelfTest`]: test everything, now. What is found of the listeners counts for health.
    SelfTest,
    /// [`Response::Upgraded`]: start the program anew, and let it serve from then on.
    Upgrade {
        /// Who asks.
        by: String,
        /// The program that was there before the last package.
        previous: bool,
        /// Whatever its check finds.
        force: bool,
        /// How long it may take until it serves, in seconds; then this one goes on.
        within_s: u32,
    },
    /// [`Response::Generation`]: which states of the catalog are in use.
    Generation,
    /// [`Response::Reload`]: look at the catalog now; answers when the newest state is served.
    Reload,
    /// [`Response::TlsChecked`]: read these files as for viewers, and show nobody.
    TlsCheck {
        /// Not necessarily those of the daemon's configuration.
        certificates: Vec<config::Certificate>,
    },
    /// [`Response::BgpRoutes`]: what was learned from a neighbour, a page at a time.
    BgpRoutes {
        /// Its address.
        neighbor: IpAddr,
        /// The last prefix of the page before; `None`: the first page.
        after: Option<String>,
        /// The most routes; at most [`crate::limits::ROUTES_PAGE_MAX`].
        limit: u32,
    },
    /// [`Response::LogLevel`]: how much is logged; and changes it.
    LogLevel {
        /// Who asks.
        by: String,
        /// `None`: it is only asked.
        change: Option<log::Change>,
    },
    /// [`Response::Noted`]: what the fill agent tells of itself, every 5 s.
    Fill(Box<Facts>),
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "response")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Drain`].
    Drain(Drain),
    /// To [`Request::Undrain`].
    Undrain {
        /// The state now.
        state: State,
    },
    /// To [`Request::SelfTest`].
    SelfTest(SelfTestReport),
    /// To [`Request::Upgrade`].
    Upgraded(Upgraded),
    /// To [`Request::Generation`].
    Generation(Generation),
    /// To [`Request::Reload`].
    Reload(Generation),
    /// To [`Request::TlsCheck`].
    TlsChecked {
        /// In the order of the question.
        certificates: Vec<CheckedCertificate>,
    },
    /// To [`Request::BgpRoutes`].
    BgpRoutes(RoutePage),
    /// To [`Request::LogLevel`].
    LogLevel(LogLevel),
    /// To [`Request::Fill`].
    Noted,
    /// It was not done.
    Refused(Refusal),
}

/// Another process serves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// Of the program that serves now.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// From the start of it until it served, in milliseconds.
    pub took_ms: u64,
    /// Transfers that the process before finishes.
    pub transfers: u64,
}

/// States of the catalog that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The one that new requests are served from.
    pub current: u64,
    /// The oldest one that a worker may still use. What was replaced before it may be unlinked.
    pub oldest_in_use: u64,
}

/// What the daemon found in the files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedCertificate {
    /// The file that was asked for.
    pub cert: PathBuf,
    /// `None`: it cannot be used.
    pub found: Option<Certificate>,
    /// What is wrong, and what to do.
    pub problem: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Refusal {
    /// Whose fault it is.
    pub fault: Fault,
    /// What happened, and the way out.
    pub message: String,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The line cannot be understood, or speaks another version.
    Request,
    /// Not now: another state is needed first.
    State,
    /// A disk.
    Disk,
    /// The daemon.
    Internal,
}

/// A line with its version.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    /// Not `version`, which is the program's in a status.
    protocol: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct OnlyVersion {
    protocol: u32,
}

/// A line that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// It has more than [`LINE_MAX_BYTES`].
    #[error("a line of more than {LINE_MAX_BYTES} bytes")]
    TooLong,
    /// The other side is older or newer.
    #[error(
        "the other side speaks version {theirs} of the operator protocol, this program {VERSION}; install the same release of both"
    )]
    Version {
        /// What it speaks.
        theirs: u32,
    },
    /// Not such a message.
    #[error("not a message of the operator protocol: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The refusal to send for a line that was not understood.
impl From<BadLine> for Refusal {
    fn from(bad: BadLine) -> Self {
        Self {
            fault: Fault::Request,
            message: bad.to_string(),
        }
    }
}

/// One line, with its newline.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let line = Versioned {
        protocol: VERSION,
        body: message,
    };
    let mut bytes =
        serde_json::to_vec(&line).expect("requests and responses have only string keys");
    bytes.push(b'\n');
    bytes
}

/// Reads one line, with or without its newline.
///
/// # Errors
/// [`BadLine`] says what is wrong; nothing in it can panic.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, BadLine> {
    if line.len() > LINE_MAX_BYTES {
        return Err(BadLine::TooLong);
    }
    let OnlyVersion { protocol } = serde_json::from_slice(line)?;
    if protocol != VERSION {
        return Err(BadLine::Version { theirs: protocol });
    }
    Ok(serde_json::from_slice::<Versioned<T>>(line)?.body)
}
