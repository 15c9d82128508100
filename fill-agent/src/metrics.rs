//! `/metrics` and `/healthz` at `fill.metrics`: changes nothing. A scrape asks the loop for its status and adds what was counted.

mod page;
mod text;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use protocol::fill::{Request, Response as Answer};
use protocol::manifest::Serial;
use tokio::time::sleep;

use crate::control::Document;
use crate::limits::METRICS_RETRY;
use crate::manifest::Refusal;
use crate::operator::Agent;
use crate::tls::Failures;

/// What is counted since the start, beside what the status says.
#[derive(Debug, Default)]
pub struct Counters {
    refused: [AtomicU64; Refusal::REASONS.len()],
    /// Contacts by document and success.
    contacts: [[AtomicU64; 2]; 2],
    contacted_at: [AtomicU64; 2],
    filled_at: AtomicU64,
    /// Objects that were published.
    pub published_objects: AtomicU64,
    /// Their bytes.
    pub published_bytes: AtomicU64,
    /// Copies of which columns were repaired.
    pub repaired_copies: AtomicU64,
    /// Bytes of those columns.
    pub repaired_bytes: AtomicU64,
    /// Objects that were evicted.
    pub evicted_objects: AtomicU64,
    /// Their bytes.
    pub evicted_bytes: AtomicU64,
    /// Paths that were taken down.
    pub taken_down_paths: AtomicU64,
    /// Handshakes that failed.
    pub tls_failures: Arc<Failures>,
    applied: Mutex<Option<Serial>>,
}

impl Counters {
    /// A manifest or a list of tombstones was refused, for one of [`Refusal::REASONS`].
    pub fn refused(&self, reason: &str) {
        if let Some(at) = Refusal::REASONS.iter().position(|word| *word == reason) {
            self.refused[at].fetch_add(1, Relaxed);
        }
    }

    /// The control endpoint was asked.
    pub fn contacted(&self, document: Document, worked: bool, now: u64) {
        let document = document as usize;
        self.contacts[document][usize::from(worked)].fetch_add(1, Relaxed);
        if worked {
            self.contacted_at[document].store(now, Relaxed);
        }
    }

    /// A plan was done to its end.
    pub fn filled(&self, whole: bool, now: u64) {
        if whole {
            self.filled_at.store(now, Relaxed);
        }
    }

    /// These tombstones were carried out.
    pub fn applied(&self, serial: Option<Serial>) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = serial;
    }

    /// The newest tombstones that were carried out.
    #[must_use]
    pub fn tombstones_applied(&self) -> Option<Serial> {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Asked {
    agent: Agent,
    counters: Arc<Counters>,
}

/// Where Prometheus asks.
#[derive(Debug)]
pub struct Scrapes {
    address: SocketAddr,
    /// `None` while another process listens there, as one does that was killed beside a disk that hangs, until the disk lets it go.
    listener: Option<TcpListener>,
}

impl Scrapes {
    /// Listens if nobody else does.
    ///
    /// # Errors
    /// An address that cannot be had, with the way out.
    pub fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Ok(listener) => Some(listener),
            Err(error) => {
                anyhow::bail!("cannot listen on {address}: {error}; choose another fill.metrics")
            }
        };
        Ok(Self { address, listener })
    }

    /// Answers until the future is dropped; first, as soon as the address is free.
    ///
    /// # Errors
    /// When the socket cannot be waited for.
    pub async fn serve(mut self, agent: Agent, counters: Arc<Counters>) -> anyhow::Result<()> {
        if self.listener.is_none() {
            tracing::warn!(
                address = %self.address,
                "no metrics while another process listens there: one that ends, or choose another fill.metrics"
            );
        }
        let listener = loop {
            match self.listener {
                Some(listener) => break listener,
                None => sleep(METRICS_RETRY).await,
            }
            self = Self::at(self.address)?;
        };
        tracing::info!(address = %listener.local_addr()?, "metrics");
        listener.set_nonblocking(true)?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .with_state(Asked { agent, counters });
        Ok(axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await?)
    }
}

async fn metrics(State(asked): State<Asked>) -> Response {
    let Answer::Status(status) = asked.agent.ask(Request::Status).await else {
        return silent();
    };
    let scrub = match asked.agent.ask(Request::ScrubStatus).await {
        Answer::Scrub(scrub) => Some(scrub),
        _ => None,
    };
    match text::text(&status, scrub.as_deref(), &asked.counters) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Whether the loop turns; an agent that cannot fill is alive and says why in its status.
async fn healthz(State(asked): State<Asked>) -> Response {
    match asked.agent.ask(Request::Status).await {
        Answer::Status(status) => {
            format!("{}: {}\n", status.activity.as_str(), status.why).into_response()
        }
        _ => silent(),
    }
}

fn silent() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the agent's loop does not answer\n",
    )
        .into_response()
}
