//! Talks to the daemon: one line of JSON there, one back, within a bounded time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use protocol::limits::LINE_MAX_BYTES;
use protocol::operator::{self, BadLine, Generation, Refusal, Request, Response};
use protocol::status::Status;

use crate::limits::{ANSWER_TIMEOUT, SLOW_ANSWER_TIMEOUT};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// Nobody listens.
    #[error(
        "the daemon is not running: nobody listens at {}; start it with `systemctl start oca-daemon` \
         (FreeBSD: `service oca_daemon start`)",
        socket.display()
    )]
    NotRunning { socket: PathBuf },
    /// The socket is guarded by file permissions.
    #[error("no permission to talk to the daemon at {}; run this as root or as a member of the group that owns it",
        socket.display())]
    NotAllowed { socket: PathBuf },
    /// It does not answer.
    #[error("the daemon at {} has not answered within {} s; see its log: `journalctl -u oca-daemon`",
        socket.display(), timeout.as_secs())]
    Silent { socket: PathBuf, timeout: Duration },
    /// It has hung up.
    #[error("the daemon at {} has hung up: {source}; see its log: `journalctl -u oca-daemon`", socket.display())]
    HungUp { socket: PathBuf, source: io::Error },
    /// It speaks otherwise.
    #[error("the daemon at {} says what this program does not understand: {bad}", socket.display())]
    NotUnderstood { socket: PathBuf, bad: BadLine },
    /// It answers something else.
    #[error("the daemon at {} gave another answer than was asked for; install the same release of both", socket.display())]
    Unexpected { socket: PathBuf },
    /// It said no.
    #[error("the daemon refuses: {0}")]
    Refused(#[from] Refusal),
}

/// The daemon of one appliance.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// At this socket.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Result<Status, DaemonError> {
        match self.ask(Request::Status, ANSWER_TIMEOUT)? {
            Response::Status(status) => Ok(*status),
            _ => Err(self.unexpected()),
        }
    }

    /// Which states of the catalog it uses.
    pub(crate) fn generation(&self) -> Result<Generation, DaemonError> {
        match self.ask(Request::Generation, ANSWER_TIMEOUT)? {
            Response::Generation(generation) => Ok(generation),
            _ => Err(self.unexpected()),
        }
    }

    /// Makes it look at the catalog; returns when it serves what is there.
    pub(crate) fn reload(&self) -> Result<Generation, DaemonError> {
        match self.ask(Request::Reload, SLOW_ANSWER_TIMEOUT)? {
            Response::Reload(generation) => Ok(generation),
            _ => Err(self.unexpected()),
        }
    }

    /// Asks, waits, and turns a refusal into an error.
    pub(crate) fn ask(&self, request: Request, timeout: Duration) -> Result<Response, DaemonError> {
        // On a thread of its own: `connect` to a full backlog blocks, and knows no timeout.
        let (sender, receiver) = mpsc::sync_channel(1);
        let socket = self.socket.clone();
        std::thread::spawn(move || {
            // Nobody receives any more once the time is over.
            let _ = sender.send(exchange(&socket, &request, timeout));
        });
        let answer = receiver.recv_timeout(timeout);
        match answer.unwrap_or_else(|_| {
            Err(DaemonError::Silent {
                socket: self.socket.clone(),
                timeout,
            })
        })? {
            Response::Refused(refusal) => Err(refusal.into()),
            response => Ok(response),
        }
    }

    /// For an answer to another question.
    pub(crate) fn unexpected(&self) -> DaemonError {
        DaemonError::Unexpected {
            socket: self.socket.clone(),
        }
    }
}

impl DaemonError {
    /// Whether the daemon uses nothing, because there is none.
    pub(crate) fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }
}

fn exchange(socket: &Path, request: &Request, timeout: Duration) -> Result<Response, DaemonError> {
    let lost = |source: io::Error| lost(socket, source, timeout);
    let mut stream = UnixStream::connect(socket).map_err(lost)?;
    stream.set_read_timeout(Some(timeout)).map_err(lost)?;
    stream.set_write_timeout(Some(timeout)).map_err(lost)?;
    stream.write_all(&operator::encode(request)).map_err(lost)?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(LINE_MAX_BYTES as u64 + 1);
    reader.read_until(b'\n', &mut line).map_err(lost)?;
    if line.is_empty() {
        return Err(lost(io::ErrorKind::UnexpectedEof.into()));
    }
    operator::decode(&line).map_err(|bad| DaemonError::NotUnderstood {
        socket: socket.to_owned(),
        bad,
    })
}

fn lost(socket: &Path, source: io::Error, timeout: Duration) -> DaemonError {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            DaemonError::NotRunning { socket }
        }
        io::ErrorKind::PermissionDenied => DaemonError::NotAllowed { socket },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            DaemonError::Silent { socket, timeout }
        }
        _ => DaemonError::HungUp { socket, source },
    }
}
