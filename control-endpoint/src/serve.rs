//! `oca-control serve`: HTTP for appliances and operators, and manifests in time.
//!
//! ```text
//! request ─► authority (whose token) ─► one file for each kind of thing ─► answer, or Refusal (JSON `Problem`)
//! every second: a look at the fleet, for steering
//! schedule: build_at, something urgent, manifests that near their end ─► building
//! ```

mod appliances;
mod authority;
mod leave;
mod objects;
mod origin;
mod refusal;
mod report;
mod schedule;
mod sealed;
mod steer;
mod tls;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::serve::{IncomingStream, Listener};
use command_line::said::in_full;
use tokio::net::TcpListener;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{Semaphore, watch};

use crate::building::Terms;
use crate::config::Config;
use crate::database::Database;
use crate::database::manifests::write_durably;
use crate::limits::{LARGE_REPORTS_AT_ONCE, LOOK_AT_FLEET, STOP_TIME};
use crate::metrics::{Facts, Metrics};
use crate::steer::Steering;

use refusal::Refusal;
use tls::{Keys, TlsListener};

/// Name of the file in `state_dir` that has the addresses listened on, one a line, while `serve` runs.
pub const ADDRESS_FILE: &str = "address";

/// What every request may use.
pub(crate) struct App {
    database: Database,
    steering: Steering,
    terms: Terms,
    metrics: Metrics,
    /// BLAKE3 of the operator's token.
    operator: Option<[u8; 32]>,
    fills: Arc<Semaphore>,
    /// Places for reports of many bytes.
    large_reports: Semaphore,
    tombstones: sealed::Cache,
    /// `None`: plain HTTP.
    keys: Option<Arc<Keys>>,
}

type Shared = State<Arc<App>>;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot begin: keys, token file, database, addresses.
pub async fn run(config: Config) -> Result<()> {
    let _alone = lock(&config.state_dir)?;
    // Of one that was killed: whoever waits for the file shall not read that.
    _ = fs::remove_file(config.state_dir.join(ADDRESS_FILE));
    let (terms, operator) = (
        Terms::of(&config)?,
        authority::operator(config.operator_token_file.as_deref())?,
    );
    let database = Database::open(&config.state_dir).await?;
    let app = Arc::new(App {
        terms,
        operator,
        steering: Steering::load(&config, &database).await?,
        database,
        metrics: Metrics::default(),
        fills: Arc::new(Semaphore::new(config.max_fills)),
        large_reports: Semaphore::new(LARGE_REPORTS_AT_ONCE),
        tombstones: sealed::Cache::default(),
        keys: config.tls.map(Keys::load).transpose()?.map(Arc::new),
    });
    let listeners = listen(&config.listen).await?;
    // From here on it ends nothing.
    let hang_up = unix::signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    announce(&config.state_dir, &listeners, app.keys.is_some())?;
    let (stop, stopped) = watch::channel(false);
    let schedule = tokio::spawn(schedule::run(
        app.clone(),
        config.build_at,
        config.timezone.clone(),
        stopped.clone(),
    ));
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        let (app, stopped) = (app.clone(), stopped.clone());
        match app.keys.clone() {
            None => servers.spawn(answer(listener, app, stopped)),
            Some(keys) => {
                let listener = TlsListener::new(listener, app.clone(), keys)?;
                servers.spawn(answer(listener, app, stopped))
            }
        };
    }
    let certificates = tokio::spawn(tls::watch(app.clone(), hang_up));
    let looking = tokio::spawn(look_at_fleet(app.clone()));
    _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        signal = signal() => tracing::info!("{signal}: stopping; running answers have {} s", STOP_TIME.as_secs()),
        ended = servers.join_next() => tracing::error!("a listener has ended: {ended:?}"),
    }
    stop.send_replace(true);
    let all = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME, all).await.is_err() {
        tracing::warn!("answers still running are cut");
    }
    // A build that runs goes on in the next process: nothing of it is in force before it is on the disk.
    schedule.abort();
    certificates.abort();
    looking.abort();
    _ = fs::remove_file(config.state_dir.join(ADDRESS_FILE));
    _ = tokio::time::timeout(Duration::from_secs(5), app.database.clone().close()).await;
    Ok(())
}

async fn look_at_fleet(app: Arc<App>) {
    loop {
        tokio::time::sleep(LOOK_AT_FLEET).await;
        if let Err(error) = app.steering.refresh(&app.database).await {
            tracing::error!("looking at the fleet: {}", in_full(error.as_ref()));
        }
    }
}

/// Answers on one address until the program stops.
async fn answer<L>(
    listener: L,
    app: Arc<App>,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let stop = async move { _ = stopped.wait_for(|stopped| *stopped).await };
    let router = router(app).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
}

/// Reads what the configuration names.
///
/// # Errors
/// What is missing, or is not what it should be.
pub fn check(config: &Config) -> Result<()> {
    Terms::of(config)?;
    authority::operator(config.operator_token_file.as_deref())?;
    config.tls.as_ref().map_or(Ok(()), tls::check)
}

/// Held as long as `serve` runs; the kernel lets go of it when the process ends, however it ends.
///
/// # Errors
/// When another one runs.
pub fn lock(state_dir: &Path) -> Result<File> {
    let file = state_dir.join("serve.lock");
    fs::create_dir_all(state_dir)
        .with_context(|| format!("cannot make {}", state_dir.display()))?;
    let lock = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    lock.try_lock().with_context(|| {
        format!(
            "`oca-control serve` runs already with state_dir {}",
            state_dir.display()
        )
    })?;
    Ok(lock)
}

async fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("listen: cannot listen on {address}"))?);
    }
    Ok(listeners)
}

/// Tells other programs where and that it listens; port 0 in the configuration is the real port here.
fn announce(state_dir: &Path, listeners: &[TcpListener], is_tls: bool) -> Result<()> {
    let scheme = if is_tls { "https" } else { "http" };
    let mut text = String::new();
    for listener in listeners {
        let address = listener
            .local_addr()
            .context("a listener without an address")?;
        tracing::info!("listening on {scheme}://{address}");
        text.push_str(&format!("{address}\n"));
    }
    write_durably(&state_dir.join(ADDRESS_FILE), text.as_bytes())
}

async fn signal() -> &'static str {
    let (mut term, mut interrupt) = match (
        unix::signal(SignalKind::terminate()),
        unix::signal(SignalKind::interrupt()),
    ) {
        (Ok(term), Ok(interrupt)) => (term, interrupt),
        _ => return std::future::pending().await,
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/appliances", get(appliances::list))
        .route("/v1/appliances/{id}/manifest", get(sealed::manifest))
        .route("/v1/appliances/{id}/tombstones", get(sealed::tombstones))
        .route("/v1/appliances/{id}/report", post(report::take))
        .route(
            "/v1/appliances/{id}/drain",
            post(leave::drain).delete(leave::undrain),
        )
        .route("/v1/appliances/{id}/routes", post(leave::routes))
        .route("/v1/steer", get(steer::steer))
        .route("/v1/content-steering", get(steer::manifest))
        .route("/v1/play/{*path}", get(steer::play))
        .route("/v1/routes/unused", get(steer::unused))
        .route("/v1/routes/gaps", get(steer::gaps))
        .route("/v1/bytes/{root}", get(origin::bytes))
        .route("/v1/trees/{root}", get(origin::tree))
        .route("/v1/objects", get(objects::list))
        .route(
            "/v1/objects/{*path}",
            put(objects::publish).delete(objects::take_down),
        )
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(async || {
            Refusal::not_found("nothing is here; see the list of requests in docs/control.md")
        })
        .method_not_allowed_fallback(async || Refusal::method())
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn healthz(State(app): Shared) -> Result<&'static str, Refusal> {
    app.database.endpoint().await?;
    Ok("ok\n")
}

async fn metrics(State(app): Shared) -> Result<impl IntoResponse, Refusal> {
    let facts = Facts {
        free_fills: app.fills.available_permits(),
        not_after: app.keys.as_ref().map_or(0, |keys| keys.not_after()),
        steering: app.steering.shown(),
    };
    let text = app.metrics.text(&app.database, facts).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
