//! The control loop: one thread beside the workers, with everything that takes decisions about the whole box. It looks at all
//! counters once a second, runs the health and drain machines, keeps the hint, obeys signals and operators, and talks to the
//! service manager. The admin port and the operator socket are served from the same thread.
//!
//! [`Observation`] -> `steering` (health, drain, hint) -> [`Standing`], which the admin port reads, and
//! [`Service`], which the workers read.
//!
//! Invariant: nothing on this thread waits for a disk. The state disk and the configuration file are read and written on a
//! thread of their own, with a deadline.

mod certificates;
mod drain;
mod lookout;
mod notify;
mod reload;
pub(crate) mod self_test;
pub mod signals;
mod standing;
mod upgrade;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use platform::door::Door;
use platform::inherited::Inherited;
use platform::process::Signal;
use protocol::config::Config;
use protocol::status::{Listener, ListenerPurpose, Sandbox};
use steering::UnixTime;
use steering::drain::{Bounds, Drain};
use steering::health::{Health, Thresholds};
use steering::hint::HintBook;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::admin::held::{Devices, HeldBook};
use crate::admin::observation::Observation;
use crate::admin::{self, About, Admin, server};
use crate::damage;
use crate::egress::Egress;
use crate::intent::IntentFile;
use crate::limits::{CONTROL_TICK, CUT_GRACE, OPERATOR_QUEUE, STOP_TICK};
use crate::operator::{self, Command};
use crate::shared::{Service, Shared};
use crate::succession::successor::Legacy;
use crate::succession::{Later, hear_later};
use certificates::Following;
use lookout::Lookout;
use self_test::{Testing, Trials};
use signals::Signals;
use upgrade::Upgrading;

pub use standing::Standing;
pub use upgrade::Order;

/// What people and programs connect to, bound before anything else so that it can be refused before anything runs.
pub struct Doors {
    admin: std::net::TcpListener,
    metrics: Vec<std::net::TcpListener>,
    operator: Door,
    /// Turns true when another process answers here.
    closed: watch::Sender<bool>,
}

impl Doors {
    /// Takes over or binds the addresses of `[listen]` that are not for viewers, and the operator socket.
    ///
    /// # Errors
    /// An address that cannot be had, or another daemon in the same `run_dir`; with the way out.
    pub fn open(config: &Config, inherited: &mut Inherited) -> anyhow::Result<Self> {
        let operator = Door::open(&config.daemon_socket(), "oca-daemon")?;
        Self::around(operator, config, inherited)
    }

    /// As [`Doors::open`], with the operator socket of the process that served before.
    ///
    /// # Errors
    /// An address that cannot be had; a socket that is elsewhere.
    pub fn take_over(
        config: &Config,
        inherited: &mut Inherited,
        operator: [OwnedFd; 2],
    ) -> anyhow::Result<Self> {
        let operator = Door::adopt(&config.daemon_socket(), operator)?;
        Self::around(operator, config, inherited)
    }

    fn around(operator: Door, config: &Config, inherited: &mut Inherited) -> anyhow::Result<Self> {
        let admin = server::bind("admin", config.listen.admin, inherited)?;
        let metrics = config
            .listen
            .metrics
            .iter()
            .map(|address| server::bind("metrics", *address, inherited));
        Ok(Self {
            admin,
            metrics: metrics.collect::<std::io::Result<_>>()?,
            operator,
            closed: watch::Sender::new(false),
        })
    }

    /// The sockets of the admin port and of those who may ask for metrics alone.
    pub fn sockets(&self) -> impl Iterator<Item = &std::net::TcpListener> {
        [&self.admin].into_iter().chain(&self.metrics)
    }

    fn listeners(&self, shared: &Shared) -> Vec<Listener> {
        let of = |purpose| move |address| Listener { address, purpose };
        let viewers = shared.listening.iter().cloned();
        let admin = self
            .admin
            .local_addr()
            .into_iter()
            .map(of(ListenerPurpose::Admin));
        let metrics = self
            .metrics
            .iter()
            .flat_map(std::net::TcpListener::local_addr)
            .map(of(ListenerPurpose::Metrics));
        viewers.chain(admin).chain(metrics).collect()
    }
}

/// The loop and what it owns.
pub struct Control {
    shared: Arc<Shared>,
    admin: Arc<Admin>,
    doors: Doors,
    config_path: PathBuf,
    intent: IntentFile,
    drain: Drain,
    health: Health,
    hints: HintBook,
    egress: Egress,
    held: HeldBook,
    testing: Testing,
    trials: Trials,
    lookout: Lookout,
    reload: Result<(), String>,
    /// The files of certificates, if there are any.
    certificates: Option<Following>,
    /// What a successor is given; `None` if nobody could start one.
    legacy: Option<Legacy>,
    upgrading: Option<Upgrading>,
    /// Another process serves.
    has_parted: bool,
}

impl Control {
    /// Reads what the operator wanted before the start, and obeys it: a drained box refuses viewers from its first moment.
    /// To be called when devices and catalog were looked at and before the workers start; reads the state disk.
    #[must_use]
    pub fn new(doors: Doors, shared: &Arc<Shared>, config_path: PathBuf, sandbox: Sandbox) -> Self {
        let config = shared.config.load_full();
        let intent = IntentFile::new(&config.appliance.state_dir);
        let found = intent.read(now());
        if let Some(problem) = &found.problem {
            tracing::error!("{problem}");
        }
        let about = About {
            backend_reason: shared.chosen.reason.clone(),
            sandbox,
            listeners: doors.listeners(shared),
            cores: platform::cpu::usable_cores().unwrap_or_default(),
        };
        let mut hints = hint_book(&config);
        let standing =
            ArcSwap::from_pointee(Standing::before_the_first_look(&mut hints, &config, now()));
        let mut control = Self {
            shared: Arc::clone(shared),
            admin: Arc::new(Admin {
                shared: Arc::clone(shared),
                about,
                standing,
            }),
            doors,
            config_path,
            intent,
            drain: Drain::new(bounds(&config), found.drain),
            health: Health::new(Thresholds::default()),
            hints,
            egress: Egress::default(),
            held: HeldBook::default(),
            testing: Testing::default(),
            trials: Trials::default(),
            lookout: Lookout::new(shared.workers.len(), notify::patience()),
            reload: Ok(()),
            certificates: shared.tls.as_deref().map(Following::of),
            legacy: None,
            upgrading: None,
            has_parted: false,
        };
        control.look();
        control
    }

    /// With what a successor is given.
    #[must_use]
    pub fn with_legacy(self, legacy: Option<Legacy>) -> Self {
        Self { legacy, ..self }
    }

    /// This process answers the operator now, in the place of another.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn take_door(&mut self) -> std::io::Result<()> {
        self.doors.operator.take()
    }

    /// What the admin port, the operator socket and the report read.
    #[must_use]
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// All listening sockets, with the ports that the kernel chose.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.admin.about.listeners
    }

    /// Works until the daemon has stopped serving: SIGTERM came (or a worker broke), and what ran has finished or was cut.
    ///
    /// # Errors
    /// When the system gives no thread, or no way to wait for signals.
    pub fn run(self) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let result = self.run_inside();
        // Whatever ended the loop, nobody would look after the workers any more.
        if !shared.is_stopping() {
            shared.change_service(Service::Stopping {
                until: Instant::now(),
            });
        }
        result
    }

    fn run_inside(mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let result = runtime.block_on(self.serve());
        // A thread that hangs on the state disk is left behind.
        runtime.shutdown_background();
        result
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let (sender, mut commands) = mpsc::channel(OPERATOR_QUEUE);
        self.open_doors(sender)?;
        let mut parent = self.parent()?;
        self.test_if_due().await;
        self.look();
        notify::ready();
        let mut next = tokio::time::Instant::now();
        while !self.is_over() {
            next += if self.shared.is_stopping() {
                STOP_TICK
            } else {
                CONTROL_TICK
            };
            next = next.max(tokio::time::Instant::now());
            self.serve_until(next, &mut signals, &mut commands, &mut parent)
                .await;
            self.test_if_due().await;
            self.follow_certificates().await;
            self.look();
            if self.shared.is_stopping() && !self.has_parted {
                notify::stopping();
            }
        }
        Ok(())
    }

    fn open_doors(&self, commands: mpsc::Sender<Command>) -> anyhow::Result<()> {
        tokio::spawn(server::serve(
            self.doors.admin.try_clone()?,
            admin::router(Arc::clone(&self.admin)),
            self.doors.closed.subscribe(),
        ));
        for listener in &self.doors.metrics {
            tokio::spawn(server::serve(
                listener.try_clone()?,
                admin::metrics_router(Arc::clone(&self.admin)),
                self.doors.closed.subscribe(),
            ));
        }
        tokio::spawn(damage::tell(Arc::clone(&self.shared)));
        tokio::spawn(operator::serve(
            self.doors.operator.listener()?,
            Arc::clone(&self.admin),
            commands,
            self.doors.closed.subscribe(),
        ));
        Ok(())
    }

    /// Obeys whoever speaks before `next`, one at a time.
    async fn serve_until(
        &mut self,
        next: tokio::time::Instant,
        signals: &mut Signals,
        commands: &mut mpsc::Receiver<Command>,
        parent: &mut Option<Later>,
    ) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                signal = signals.next() => match signal {
                    Signal::Stop => return self.stop(),
                    Signal::Reload => {
                        self.reopen_log();
                        self.reload_configuration().await;
                    }
                    Signal::ReopenLog => self.reopen_log(),
                },
                Some(command) = commands.recv() => self.obey(command).await,
                outcome = Self::upgraded(&mut self.upgrading) => self.end_upgrade(outcome),
                () = is_gone(parent) => {
                    tracing::warn!("the parent of this daemon is gone");
                    *parent = None;
                    return self.stop();
                }
            }
        }
    }

    /// SIGTERM: what runs may finish within `serve.stop_bound`. The second one: now.
    fn stop(&mut self) {
        let bound = self.shared.config.load().serve.stop_bound.duration();
        let bound = match self.shared.service() {
            Service::Stopping { .. } => Duration::ZERO,
            _ => bound,
        };
        tracing::info!(
            seconds = bound.as_secs(),
            "stopping; running transfers may finish"
        );
        self.shared.change_service(Service::Stopping {
            until: Instant::now() + bound,
        });
    }

    /// The end at which it is heard that nobody would look after this process any more.
    fn parent(&self) -> std::io::Result<Option<Later>> {
        let ends = self.legacy.as_ref().map(|it| it.parent.try_clone());
        ends.transpose()?.map(Later::of).transpose()
    }

    fn reopen_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.reopen();
        }
    }

    /// Whether nothing is left to look after.
    fn is_over(&self) -> bool {
        let (Service::Parting { until } | Service::Stopping { until }) = self.shared.service()
        else {
            return false;
        };
        let open: u64 = self
            .shared
            .workers
            .iter()
            .map(|worker| worker.connections.value())
            .sum();
        open == 0 || Instant::now() >= until + CUT_GRACE
    }

    /// One look at everything.
    fn look(&mut self) {
        let observed = Observation::of(&self.shared);
        self.egress.note(
            observed.now,
            observed.total(|worker| worker.body_bytes.value()),
        );
        self.count_held(&observed);
        self.step_drain();
        self.look_after_workers(&observed);
        self.update_standing(&observed);
    }

    fn count_held(&mut self, observed: &Observation) {
        let working = observed
            .devices
            .iter()
            .map(|device| device.snapshot.verdict == platform::device::Verdict::Ok);
        let devices = Devices {
            working: working.collect(),
            ids: self.shared.identities.ids(),
            found_bad: self.shared.damage.bad.load(Relaxed),
        };
        self.held.look(&self.shared.index.load(), devices);
    }
}

/// It says nothing: whatever comes is its end.
async fn is_gone(parent: &Option<Later>) {
    match parent {
        Some(parent) => _ = hear_later::<()>(parent).await,
        None => std::future::pending().await,
    }
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        hint_lifetime: config.steering.hint_lifetime.duration(),
        drain: config.steering.drain_bound.duration(),
    }
}

fn hint_book(config: &Config) -> HintBook {
    HintBook::new(
        config.appliance.id.clone(),
        config.appliance.site.clone(),
        config.steering.hint_lifetime.duration(),
    )
}
