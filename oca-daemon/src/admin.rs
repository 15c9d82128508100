//! The admin port: what programs and people ask, and never what changes anything. That goes through [`crate::operator`].
//!
//! | path | answers |
//! |---|---|
//! | `/` | the status page, for people |
//! | `/metrics` | Prometheus text |
//! | `/healthz` | 503 only if the box cannot serve |
//! | `/readyz` | 200 only if new viewers may be sent here |
//! | `/status` | [`protocol::status`] as JSON |
//! | `/steering` | [`steering::hint`] as JSON |
//!
//! A question is answered from an [`Observation`] made on the spot and the [`Standing`] that [`crate::control`] keeps. Both lie
//! in memory: a disk that hangs cannot hold up an answer.

pub mod health;
pub mod held;
pub mod metrics;
pub mod observation;
pub mod server;
pub mod status;
pub mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use protocol::status::{Listener, Sandbox, Status};

use crate::control::Standing;
use crate::shared::Shared;
use observation::Observation;
use server::Peer;

/// What does not change while the daemon runs, and is found nowhere else.
pub struct About {
    /// Why the reactor's backend is this one.
    pub backend_reason: String,
    /// Which files may be reached.
    pub sandbox: Sandbox,
    /// All listening sockets.
    pub listeners: Vec<Listener>,
    /// The cores that workers are pinned to, in turn.
    pub cores: Vec<usize>,
}

/// All that answers need.
pub struct Admin {
    /// What the threads share.
    pub shared: Arc<Shared>,
    /// What does not change.
    pub about: About,
    /// How the box is. Stored by [`crate::control`] alone.
    pub standing: ArcSwap<Standing>,
}

impl Admin {
    /// The document of `/status`.
    #[must_use]
    pub fn status(&self) -> Status {
        status::document(
            &Observation::of(&self.shared),
            &self.standing.load(),
            &self.about,
        )
    }
}

/// Everything, for `listen.admin`.
pub fn router(admin: Arc<Admin>) -> Router {
    questions()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/steering", get(steering))
        .with_state(admin)
}

/// What `listen.metrics` answers, to those whom `listen.metrics_allow` names.
pub fn metrics_router(admin: Arc<Admin>) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&admin), only_allowed);
    questions().layer(guard).with_state(admin)
}

fn questions() -> Router<Arc<Admin>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match metrics::text(&Observation::of(&admin.shared), &admin.standing.load()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn healthz(State(admin): State<Arc<Admin>>) -> Response {
    yes_or_unavailable(health::is_alive(&admin.standing.load()))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    yes_or_unavailable(health::is_ready(&admin.standing.load()))
}

fn yes_or_unavailable((yes, told): (bool, String)) -> Response {
    let status = if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, told).into_response()
}

/// Self-contained: the page asks this port for `/status`, and the browser keeps it from asking anybody else.
async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, include_str!("admin/page.html")).into_response()
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    axum::Json(admin.status()).into_response()
}

async fn steering(State(admin): State<Arc<Admin>>) -> Response {
    axum::Json(&admin.standing.load().hint).into_response()
}

/// The list is read at each question, so that a reload of the configuration takes effect at once.
async fn only_allowed(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if is_allowed(&admin.shared, peer) {
        return next.run(request).await;
    }
    let told = format!(
        "{} is not in listen.metrics_allow\n",
        peer.ip().to_canonical()
    );
    (StatusCode::FORBIDDEN, [(header::CONNECTION, "close")], told).into_response()
}

fn is_allowed(shared: &Shared, peer: SocketAddr) -> bool {
    shared
        .config
        .load()
        .listen
        .metrics_allow
        .iter()
        .any(|prefix| prefix.contains(peer.ip()))
}
