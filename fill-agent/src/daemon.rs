//! Talks to the daemon of this box, through `daemon.sock`: one line of JSON there, one back. A daemon that is not there or says
//! nothing is no reason to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use content_store::Generation;
use protocol::limits::LINE_MAX_BYTES;
use protocol::operator::{self, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::limits::DAEMON_WAIT;

/// The daemon of this box.
#[derive(Debug, Clone)]
pub struct Daemon {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nobody listens: nothing is served, so nothing is in use.
    #[error("the daemon is not running")]
    NotRunning,
    /// It listens, and gives no answer that helps.
    #[error("the daemon at {} {cause}", socket.display())]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        cause: String,
    },
}

impl Daemon {
    /// At its socket.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Makes it look at the catalog; returns when it serves what is there.
    ///
    /// # Errors
    /// [`DaemonError`].
    pub async fn reload(&self) -> Result<(), DaemonError> {
        match self.ask(&Request::Reload).await? {
            Response::Reload(_) => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The oldest generation of the catalog that it uses: what was replaced before it may be unlinked. Without a daemon, all.
    ///
    /// # Errors
    /// When it is there and does not say.
    pub async fn oldest_in_use(&self) -> Result<Generation, DaemonError> {
        match self.ask(&Request::Generation).await {
            Ok(Response::Generation(generation)) => Ok(Generation(generation.oldest_in_use)),
            Ok(other) => Err(self.unexpected(&other)),
            Err(DaemonError::NotRunning) => Ok(Generation(u64::MAX)),
            Err(error) => Err(error),
        }
    }

    /// Asks, within [`DAEMON_WAIT`].
    ///
    /// # Errors
    /// [`DaemonError`].
    pub async fn ask(&self, request: &Request) -> Result<Response, DaemonError> {
        let silent = |cause: String| DaemonError::Silent {
            socket: self.socket.clone(),
            cause,
        };
        let line = match timeout(DAEMON_WAIT, self.exchange(request)).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) if is_nobody(&error) => return Err(DaemonError::NotRunning),
            Ok(Err(error)) => return Err(silent(format!("has hung up: {error}"))),
            Err(_) => return Err(silent(has_not_answered(DAEMON_WAIT))),
        };
        operator::decode(&line).map_err(|bad| silent(format!("is not understood: {bad}")))
    }

    async fn exchange(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(&operator::encode(request)).await?;
        let mut line = Vec::new();
        let mut reader = BufReader::new(stream).take(LINE_MAX_BYTES as u64 + 1);
        match reader.read_until(b'\n', &mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    fn unexpected(&self, response: &Response) -> DaemonError {
        DaemonError::Silent {
            socket: self.socket.clone(),
            cause: match response {
                Response::Refused(refusal) => format!("refuses: {refusal}"),
                _ => "gave another answer than was asked for; install the same release of both"
                    .to_owned(),
            },
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn has_not_answered(waited: Duration) -> String {
    format!("has not answered within {} s", waited.as_secs())
}
