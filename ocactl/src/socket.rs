//! Asks a program of the appliance over its operator socket: one line of JSON there, one back, within a bounded time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use protocol::limits::LINE_MAX_BYTES;
use protocol::operator::{self, BadLine, Refusal};
use protocol::service::Service;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A program that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// As it stands in a sentence.
    pub(crate) name: &'static str,
    /// By which it is started.
    pub(crate) service: Service,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens.
    #[error(
        "the {} is not running: nobody listens at {}; start it with `{}`",
        .0.program.name, .0.path.display(), .0.program.service.start()
    )]
    NotRunning(Socket),
    /// The socket is guarded by file permissions.
    #[error("no permission to talk to the {} at {}; run this as root or as a member of the group that owns it",
        .0.program.name, .0.path.display())]
    NotAllowed(Socket),
    /// It does not answer.
    #[error("the {} at {} has not answered within {} s; see its log: `{}`",
        .0.program.name, .0.path.display(), .1.as_secs(), .0.program.service.log())]
    Silent(Socket, Duration),
    /// It has hung up.
    #[error("the {} at {} has hung up: {source}; see its log: `{}`",
        .socket.program.name, .socket.path.display(), .socket.program.service.log())]
    HungUp { socket: Socket, source: io::Error },
    /// It speaks otherwise.
    #[error("the {} at {} says what this program does not understand: {bad}", .socket.program.name, .socket.path.display())]
    NotUnderstood { socket: Socket, bad: BadLine },
    /// It answers something else.
    #[error("the {} at {} gave another answer than was asked for; install the same release of both",
        .0.program.name, .0.path.display())]
    Unexpected(Socket),
    /// It said no.
    #[error("the {program} refuses: {refusal}")]
    Refused {
        program: &'static str,
        refusal: Refusal,
    },
}

impl AskError {
    /// Whether the program uses nothing, because it does not run.
    pub(crate) fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning(_))
    }
}

/// The operator socket of a program.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    program: Program,
    path: PathBuf,
}

impl Socket {
    /// The socket of `program` at `path`.
    pub(crate) fn new(program: Program, path: PathBuf) -> Self {
        Self { program, path }
    }

    /// Asks and waits.
    pub(crate) fn ask<A: DeserializeOwned + Send + 'static>(
        &self,
        request: &impl Serialize,
        timeout: Duration,
    ) -> Result<A, AskError> {
        // On a thread of its own: `connect` to a full backlog blocks, and knows no timeout.
        let (sender, receiver) = mpsc::sync_channel(1);
        let socket = self.clone();
        let line = operator::encode(request);
        std::thread::spawn(move || {
            // Nobody receives any more once the time is over.
            let _ = sender.send(socket.exchange(&line, timeout));
        });
        let answer = receiver.recv_timeout(timeout);
        answer.unwrap_or_else(|_| Err(AskError::Silent(self.clone(), timeout)))
    }

    /// For an answer to another question.
    pub(crate) fn unexpected(&self) -> AskError {
        AskError::Unexpected(self.clone())
    }

    /// For a no.
    pub(crate) fn refused(&self, refusal: Refusal) -> AskError {
        AskError::Refused {
            program: self.program.name,
            refusal,
        }
    }

    fn exchange<A: DeserializeOwned>(&self, line: &[u8], timeout: Duration) -> Result<A, AskError> {
        let answer =
            lines(&self.path, line, timeout).map_err(|source| self.lost(source, timeout))?;
        operator::decode(&answer).map_err(|bad| AskError::NotUnderstood {
            socket: self.clone(),
            bad,
        })
    }

    fn lost(&self, source: io::Error, timeout: Duration) -> AskError {
        let socket = self.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NotRunning(socket)
            }
            io::ErrorKind::PermissionDenied => AskError::NotAllowed(socket),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                AskError::Silent(socket, timeout)
            }
            _ => AskError::HungUp { socket, source },
        }
    }
}

/// Writes a line, reads a line.
fn lines(socket: &Path, line: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(line)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream).take(LINE_MAX_BYTES as u64 + 1);
    reader.read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
