//! The operator socket: `ocactl` asks here, and what changes state goes through here, guarded by the file's permissions.
//!
//! Lines of JSON ([`protocol::operator`]), answered one after another. What only looks is answered on the spot; what changes
//! something is a [`Command`] to the control loop, which alone owns the state.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use command_line::log;
use protocol::config::Certificate;
use protocol::limits::ROUTES_PAGE_MAX;
use protocol::operator::{self, BadLine, Fault, Generation, Refusal, Request, Response};
use protocol::steer::DrainWish;
use steering::bgp::prefix::NotAPrefix;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::admin::Admin;
use crate::bgp;
use crate::catalog_watch::CatalogStatus;
use crate::control::Order;
use crate::limits::{
    ADMIN_ACCEPT_PAUSE, CATALOG_POLL, OPERATOR_CONNECTIONS, OPERATOR_IDLE, OPERATOR_LINE_BYTES,
    RELOAD_WAIT, STATE_DISK_WAIT,
};
use crate::report::lease;
use crate::shared::Shared;
use crate::tls;

/// Something that the control loop is to do.
#[derive(Debug)]
pub struct Command {
    /// What.
    pub wanted: Wanted,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Response>,
}

/// What an operator wants changed.
#[derive(Debug)]
pub enum Wanted {
    /// Out of service, gently.
    Drain {
        /// Who asks.
        by: String,
        /// Why.
        reason: Option<String>,
        /// How long viewers may still be sent here by answers that the control endpoint has given, in seconds.
        answers_expire_s: Option<u64>,
    },
    /// A test of everything.
    SelfTest,
    /// Another process in its place.
    Upgrade(Order),
    /// Into service again.
    Undrain {
        /// Who asks.
        by: String,
    },
}

/// Answers on `listener` until the future is dropped.
///
/// # Errors
/// When the socket cannot be waited for.
pub async fn serve(
    listener: std::os::unix::net::UnixListener,
    admin: Arc<Admin>,
    commands: mpsc::Sender<Command>,
    mut closed: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(OPERATOR_CONNECTIONS));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            sleep(ADMIN_ACCEPT_PAUSE).await;
            continue;
        };
        let answering = answer_lines(stream, Arc::clone(&admin), commands.clone(), closed.clone());
        tokio::spawn(async move {
            // A connection that breaks was its peer's to keep.
            let _ = answering.await;
            drop(place);
        });
    }
}

async fn answer_lines(
    stream: UnixStream,
    admin: Arc<Admin>,
    commands: mpsc::Sender<Command>,
    mut closed: watch::Receiver<bool>,
) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reading).take(OPERATOR_LINE_BYTES);
        let bounded = bounded.read_until(b'\n', &mut line);
        let read = tokio::select! {
            read = timeout(OPERATOR_IDLE, bounded) => read??,
            // Who asks again asks the process that answers now.
            _ = closed.wait_for(|closed| *closed) => 0,
        };
        if read == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let response = if is_whole {
            answer(&line, &admin, &commands).await
        } else {
            refused(BadLine::TooLong.into())
        };
        timeout(
            OPERATOR_IDLE,
            writing.write_all(&operator::encode(&response)),
        )
        .await??;
        if !is_whole {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], admin: &Admin, commands: &mpsc::Sender<Command>) -> Response {
    match operator::decode(line) {
        Err(bad) => refused(bad.into()),
        Ok(Request::Status) => Response::Status(Box::new(admin.status())),
        Ok(Request::Generation) => Response::Generation(generation(&admin.shared.catalog.load())),
        Ok(Request::Reload) => reload(&admin.shared).await,
        Ok(Request::BgpRoutes {
            neighbor,
            after,
            limit,
        }) => bgp_routes(&admin.shared, neighbor, after, limit).await,
        Ok(Request::TlsCheck { certificates }) => check_certificates(certificates).await,
        Ok(Request::Drain { by, reason, force }) => {
            let wish = DrainWish { by, reason, force };
            drain(commands, admin, wish).await
        }
        Ok(Request::Fill(facts)) => {
            admin
                .shared
                .fill
                .store(Some(Arc::new((Instant::now(), *facts))));
            Response::Noted
        }
        Ok(Request::Upgrade {
            by,
            previous,
            force,
            within_s,
        }) => {
            let order = Order {
                by,
                previous,
                force,
                within: Duration::from_secs(u64::from(within_s)),
            };
            command(commands, Wanted::Upgrade(order)).await
        }
        Ok(Request::SelfTest) => command(commands, Wanted::SelfTest).await,
        Ok(Request::LogLevel { by, change }) => {
            log::obey(&by, change).map_or_else(refused, Response::LogLevel)
        }
        Ok(Request::Undrain { by }) => undrain(commands, admin, by).await,
    }
}

/// Here and not in the control loop: the control endpoint may take its time.
async fn drain(commands: &mpsc::Sender<Command>, admin: &Admin, wish: DrainWish) -> Response {
    let config = admin.shared.config.load_full();
    match lease::ask(&config, &wish).await {
        Err(refusal) => refused(refusal),
        Ok(answers_expire_s) => {
            let wanted = Wanted::Drain {
                by: wish.by,
                reason: wish.reason,
                answers_expire_s,
            };
            command(commands, wanted).await
        }
    }
}

/// The box is in service whatever the control endpoint answers.
async fn undrain(commands: &mpsc::Sender<Command>, admin: &Admin, by: String) -> Response {
    let response = command(commands, Wanted::Undrain { by }).await;
    if matches!(response, Response::Undrain { .. }) {
        lease::give_back(&admin.shared.config.load_full()).await;
    }
    response
}

async fn command(commands: &mpsc::Sender<Command>, wanted: Wanted) -> Response {
    let (reply, answer) = oneshot::channel();
    let going = || {
        refused(Refusal {
            fault: Fault::State,
            message: "the daemon is stopping".to_owned(),
        })
    };
    if commands.send(Command { wanted, reply }).await.is_err() {
        return going();
    }
    answer.await.unwrap_or_else(|_| going())
}

/// Waits until the catalog was looked at once more from beginning to end. The look that is under way may have read the
/// generation already, so the second one from now counts.
async fn reload(shared: &Shared) -> Response {
    let two_looks = async {
        let mut seen = shared.catalog.load_full();
        for _ in 0..2 {
            seen = next_look(shared, &seen).await;
        }
        seen
    };
    match timeout(RELOAD_WAIT, two_looks).await {
        Ok(catalog) => match &catalog.problem {
            None => Response::Reload(generation(&catalog)),
            Some(problem) => refused(Refusal {
                fault: Fault::Disk,
                message: problem.clone(),
            }),
        },
        Err(_) => refused(Refusal {
            fault: Fault::Disk,
            message: format!(
                "the catalog was not read within {} s: the disk that holds state_dir does not answer. What was loaded is \
                 served on",
                RELOAD_WAIT.as_secs()
            ),
        }),
    }
}

/// Every look stores its result anew, so another pointer is another look.
async fn next_look(shared: &Shared, seen: &Arc<CatalogStatus>) -> Arc<CatalogStatus> {
    loop {
        let now = shared.catalog.load_full();
        if !Arc::ptr_eq(&now, seen) {
            return now;
        }
        sleep(CATALOG_POLL / 4).await;
    }
}

/// Reads the files where it may block.
async fn check_certificates(certificates: Vec<Certificate>) -> Response {
    let look = spawn_blocking(move || tls::check(certificates, SystemTime::now().into()));
    match timeout(STATE_DISK_WAIT, look).await {
        Ok(Ok(certificates)) => Response::TlsChecked { certificates },
        Ok(Err(panicked)) => refused(Refusal {
            fault: Fault::Internal,
            message: panicked.to_string(),
        }),
        Err(_) => refused(Refusal {
            fault: Fault::Disk,
            message: format!(
                "the files were not read within {} s: the disk does not answer",
                STATE_DISK_WAIT.as_secs()
            ),
        }),
    }
}

/// The speaker answers between two turns of its loop.
async fn bgp_routes(
    shared: &Shared,
    neighbor: IpAddr,
    after: Option<String>,
    limit: u32,
) -> Response {
    let unknown = |message: String| {
        refused(Refusal {
            fault: Fault::Request,
            message,
        })
    };
    let Some(bgp) = &shared.bgp else {
        return unknown("there is no [[bgp.neighbor]] in the configuration".to_owned());
    };
    let after = match after.map(|text| text.parse()).transpose() {
        Ok(after) => after,
        Err(NotAPrefix) => return unknown("`after` is not a prefix".to_owned()),
    };
    let (reply, answer) = oneshot::channel();
    let question = bgp::Question {
        neighbor,
        after,
        limit: limit.min(ROUTES_PAGE_MAX) as usize,
        reply,
    };
    // A speaker that has ended drops the question, or its reply.
    let _ = bgp.ask(question).await;
    match answer.await {
        Ok(Some(page)) => Response::BgpRoutes(page),
        Ok(None) => unknown(format!(
            "{neighbor} is not a [[bgp.neighbor]] with role = \"listen\""
        )),
        Err(_) => refused(Refusal {
            fault: Fault::State,
            message: "the daemon is stopping".to_owned(),
        }),
    }
}

fn generation(catalog: &CatalogStatus) -> Generation {
    Generation {
        current: catalog.generation.0,
        oldest_in_use: catalog.oldest_in_use.0,
    }
}

/// A refusal as an answer.
#[must_use]
pub fn refused(refusal: Refusal) -> Response {
    Response::Refused(refusal)
}
