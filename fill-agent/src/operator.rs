//! The agent's socket: `ocactl` asks here, and what changes the operator's intent goes through here, guarded by the file's
//! permissions.
//!
//! Lines of JSON ([`protocol::operator`], [`protocol::fill`]), answered one after another by the agent's loop, which alone owns
//! the state.

use std::io;
use std::sync::Arc;

use protocol::fill::{Request, Response};
use protocol::operator::{self, BadLine, Fault, Refusal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::limits::{
    ACCEPT_PAUSE, ANSWER_WAIT, OPERATOR_CONNECTIONS, OPERATOR_IDLE, OPERATOR_LINE_BYTES,
};

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Command {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Response>,
}

/// The way to the agent's loop.
#[derive(Debug, Clone)]
pub struct Agent {
    commands: mpsc::Sender<Command>,
}

impl Agent {
    /// Over this channel.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Asks, within [`ANSWER_WAIT`].
    pub async fn ask(&self, request: Request) -> Response {
        timeout(ANSWER_WAIT, self.exchange(request))
            .await
            .unwrap_or_else(|_| {
                refused(
                    Fault::Internal,
                    format!(
                        "the agent's loop has not answered within {} s; see its log",
                        ANSWER_WAIT.as_secs()
                    ),
                )
            })
    }

    async fn exchange(&self, request: Request) -> Response {
        let (reply, answer) = oneshot::channel();
        if self
            .commands
            .send(Command { request, reply })
            .await
            .is_err()
        {
            return stopping();
        }
        answer.await.unwrap_or_else(|_| stopping())
    }
}

/// Answers on `listener` until the future is dropped.
///
/// # Errors
/// When the socket cannot be waited for.
pub async fn serve(listener: std::os::unix::net::UnixListener, agent: Agent) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(OPERATOR_CONNECTIONS));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answering = answer_lines(stream, agent.clone());
        tokio::spawn(async move {
            // A connection that breaks was its peer's to keep.
            let _ = answering.await;
            drop(place);
        });
    }
}

async fn answer_lines(stream: UnixStream, agent: Agent) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reading).take(OPERATOR_LINE_BYTES);
        let bounded = bounded.read_until(b'\n', &mut line);
        if timeout(OPERATOR_IDLE, bounded).await?? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let response = match operator::decode(&line) {
            _ if !is_whole => Response::Refused(BadLine::TooLong.into()),
            Err(bad) => Response::Refused(bad.into()),
            Ok(request) => agent.ask(request).await,
        };
        let response = operator::encode(&response);
        timeout(OPERATOR_IDLE, writing.write_all(&response)).await??;
        if !is_whole {
            return Ok(());
        }
    }
}

/// A refusal as an answer.
#[must_use]
pub fn refused(fault: Fault, message: impl Into<String>) -> Response {
    Response::Refused(Refusal {
        fault,
        message: message.into(),
    })
}

fn stopping() -> Response {
    refused(Fault::State, "the agent is stopping")
}
