//! What the threads of the daemon share. Workers only load from it; who stores is said at each field.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use content_store::Index;
use crossbeam_queue::ArrayQueue;
use platform::device::DeviceService;
use platform::reactor::{Chosen, Waker};
use protocol::config::Config;
use protocol::fill::Facts;
use protocol::status::Listener;
use tokio::sync::Notify;

use crate::access_log::AccessLog;
use crate::bgp::Desk;
use crate::catalog_watch::CatalogStatus;
use crate::counters::WorkerCounters;
use crate::damage::Damage;
use crate::demand::Demand;
use crate::devices::Identities;
use crate::fills::Fills;
use crate::interfaces::Interfaces;
use crate::limits::{ADMISSION_QUEUE, AGENT_SILENCE};
use crate::memory_tier::{Candidate, MemoryStatus};
use crate::relief::Relief;
use crate::report::ReportStatus;
use crate::tls::Tls;
use crate::wear::Worn;

/// Whether, and how, connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// As always.
    Serving,
    /// The operator drains the box: answers say `Connection: close`, idle connections are closed, new ones still served.
    Draining,
    /// As draining, and nobody is sent here any more: new connections are refused, what runs goes on.
    Drained,
    /// As drained, and the bound of the drain has passed: what still runs is cut.
    Cut,
    /// Another process accepts now: the next answer of each connection is its last, and nobody is cut before then.
    Parting {
        /// When what still runs is cut.
        until: Instant,
    },
    /// SIGTERM: what runs may finish until then.
    Stopping {
        /// When what still runs is cut.
        until: Instant,
    },
}

impl Service {
    /// Whether connections end after their present answer.
    pub fn is_closing(self) -> bool {
        !matches!(self, Self::Serving | Self::Parting { .. })
    }

    /// Whether connections end after the next answer that they are promised.
    pub fn is_parting(self) -> bool {
        matches!(self, Self::Parting { .. })
    }

    /// Whether new connections are closed at once.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Drained | Self::Cut)
    }
}

/// Shared by all threads for the life of the process.
pub struct Shared {
    /// The configuration in force. Replaced by SIGHUP, for what can change without a restart.
    pub config: ArcSwap<Config>,
    /// When the process started.
    pub started: Instant,
    /// What is published. Stored by [`crate::catalog_watch`] alone.
    pub index: ArcSwap<Index>,
    /// The devices in the order of the configuration.
    pub devices: Box<[Arc<DeviceService>]>,
    /// Who the devices say they are, and what is wanted of them.
    pub identities: Arc<Identities>,
    /// Counters of each worker, written by it alone.
    pub workers: Box<[Arc<WorkerCounters>]>,
    /// Who accepts for workers that are stuck. Assigned by [`crate::control`] alone.
    pub relief: Relief,
    /// Columns that could not be used. Filled by the devices, emptied by [`crate::damage::tell`].
    pub damage: Arc<Damage>,
    /// Transfers to appliances that fill from this one.
    pub fills: Arc<Fills>,
    /// What viewers want, for the report; `None` if there is no control endpoint to report to.
    pub demand: Option<Demand>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// How reporting goes, if there is a control endpoint. Stored by [`crate::report`] alone.
    pub report: ArcSwapOption<ReportStatus>,
    /// The state has changed: a report of it is due at once.
    pub news: Notify,
    /// What the fill agent told last, and when. Stored by [`crate::operator`] alone.
    pub fill: ArcSwapOption<(Instant, Facts)>,
    /// Pieces that viewers want; taken by [`crate::memory_tier`].
    pub candidates: ArrayQueue<Candidate>,
    /// What the memory tier holds, written by it alone.
    pub memory: Arc<MemoryStatus>,
    /// What is known of the catalog. Stored by [`crate::catalog_watch`] alone.
    pub catalog: ArcSwap<CatalogStatus>,
    /// The interfaces that serve. Stored by [`crate::interfaces::follow`] alone.
    pub interfaces: ArcSwap<Interfaces>,
    /// Disks that told of their wear. Stored by [`crate::interfaces::follow`] alone.
    pub worn: ArcSwap<Vec<Worn>>,
    /// How the kernel is asked for sockets' news, and why.
    pub chosen: Chosen,
    /// Where viewers connect, as the kernel gave it.
    pub listening: Vec<Listener>,
    /// What connections over TLS need; `None` if nobody is served with TLS.
    pub tls: Option<Arc<Tls>>,
    /// Sessions with routers; `None` if there is no neighbour.
    pub bgp: Option<Arc<Desk>>,
    mode: AtomicU8,
    is_let_in: AtomicBool,
    opened: AtomicUsize,
    stop_at: ArcSwapOption<Instant>,
    wakers: std::sync::Mutex<Vec<Waker>>,
}

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const DRAINED: u8 = 2;
const STOPPING: u8 = 3;
const CUT: u8 = 4;
const PARTING: u8 = 5;

impl Shared {
    /// What the daemon starts with.
    pub fn new(
        config: Arc<Config>,
        index: Arc<Index>,
        devices: Box<[Arc<DeviceService>]>,
        workers: usize,
        listening: Vec<Listener>,
        chosen: Chosen,
    ) -> Self {
        let counters = (0..workers)
            .map(|_| Arc::new(WorkerCounters::new(devices.len())))
            .collect();
        Self {
            damage: Arc::default(),
            fills: Arc::new(Fills::new(config.serve.max_fills)),
            access_log: config
                .log
                .access
                .clone()
                .map(|settings| Arc::new(AccessLog::new(settings, workers))),
            demand: config.control.is_some().then(Demand::default),
            report: ArcSwapOption::new(
                config
                    .control
                    .as_ref()
                    .map(|control| Arc::new(ReportStatus::new(control))),
            ),
            news: Notify::new(),
            fill: ArcSwapOption::empty(),
            config: ArcSwap::new(config),
            started: Instant::now(),
            index: ArcSwap::new(index),
            identities: Identities::new(devices.len()),
            relief: Relief::without_sockets(workers),
            devices,
            workers: counters,
            candidates: ArrayQueue::new(ADMISSION_QUEUE),
            memory: Arc::default(),
            catalog: ArcSwap::from_pointee(CatalogStatus::empty()),
            interfaces: ArcSwap::default(),
            worn: ArcSwap::default(),
            chosen,
            listening,
            tls: None,
            bgp: None,
            mode: AtomicU8::new(SERVING),
            is_let_in: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
            stop_at: ArcSwapOption::empty(),
            wakers: std::sync::Mutex::default(),
        }
    }

    /// With what connections over TLS need.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// With the speaker's desk.
    #[must_use]
    pub fn with_bgp(self, bgp: Option<Arc<Desk>>) -> Self {
        Self { bgp, ..self }
    }

    /// With what workers accept from, so that one can do it for another.
    #[must_use]
    pub fn with_relief(self, relief: Relief) -> Self {
        Self { relief, ..self }
    }

    /// With what the devices tell their damage to.
    #[must_use]
    pub fn with_damage(self, damage: Arc<Damage>) -> Self {
        Self { damage, ..self }
    }

    /// With those who tell the devices' services who is who.
    #[must_use]
    pub fn with_identities(self, identities: Arc<Identities>) -> Self {
        Self { identities, ..self }
    }

    /// How connections are served now.
    pub fn service(&self) -> Service {
        match self.mode.load(Relaxed) {
            DRAINING => Service::Draining,
            DRAINED => Service::Drained,
            CUT => Service::Cut,
            PARTING => Service::Parting {
                until: self.stop_at(),
            },
            STOPPING => Service::Stopping {
                until: self.stop_at(),
            },
            _ => Service::Serving,
        }
    }

    fn stop_at(&self) -> Instant {
        let stop_at = self.stop_at.load();
        stop_at.as_deref().copied().unwrap_or(self.started)
    }

    /// What the fill agent told, unless it has been silent since.
    pub fn fill_facts(&self) -> Option<Facts> {
        let told = self.fill.load_full()?;
        (told.0.elapsed() < AGENT_SILENCE).then(|| told.1.clone())
    }

    /// Whether the daemon is on its way out.
    pub fn is_stopping(&self) -> bool {
        matches!(self.mode.load(Relaxed), PARTING | STOPPING)
    }

    /// Changes how connections are served, and wakes the workers to see it. Nothing follows on stopping.
    pub fn change_service(&self, service: Service) {
        if let Service::Parting { until } | Service::Stopping { until } = service {
            self.stop_at.store(Some(Arc::new(until)));
        }
        let mode = match service {
            Service::Serving => SERVING,
            Service::Draining => DRAINING,
            Service::Drained => DRAINED,
            Service::Cut => CUT,
            Service::Parting { .. } => PARTING,
            Service::Stopping { .. } => STOPPING,
        };
        // A stop that is under way is not taken back by an `undrain` that arrives late; from parting there is only a stop.
        let may_follow = |now| match now {
            STOPPING => false,
            PARTING => mode == STOPPING,
            _ => true,
        };
        let _ = self
            .mode
            .fetch_update(Relaxed, Relaxed, |now| may_follow(now).then_some(mode));
        self.wake_workers();
    }

    /// The trial of the workers is over: viewers may come in.
    pub fn let_in(&self) {
        self.is_let_in.store(true, Release);
        self.wake_workers();
    }

    /// Whether viewers may come in at workers that had a trial.
    pub fn is_let_in(&self) -> bool {
        self.is_let_in.load(Acquire)
    }

    /// A worker accepts viewers after its trial.
    pub fn has_opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// How many workers accept viewers after their trial.
    pub fn opened(&self) -> usize {
        self.opened.load(Relaxed)
    }

    /// Lets [`Shared::wake_workers`] reach a worker.
    pub fn register_waker(&self, waker: Waker) {
        if let Ok(mut wakers) = self.wakers.lock() {
            wakers.push(waker);
        }
    }

    /// Wakes every worker, so that it looks at what changed.
    pub fn wake_workers(&self) {
        if let Ok(wakers) = self.wakers.lock() {
            wakers.iter().for_each(Waker::wake);
        }
    }
}
