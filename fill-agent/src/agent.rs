//! The agent's loop: one task that owns what is known and decides; everything that takes time runs beside it and reports back.
//!
//! ```text
//!            contact (manifest, tombstones) ---> believed? ---> thinking (plan, guard) ---> in force | held
//!                                                                    |
//!  clock, window, operator ---> may it fill? ---------------------> filling (evict, publish, fetch) ---> thinking again
//! ```
//! After everything that happens, `Agent::step` looks at all of it and starts what is due; it never waits for a device, the
//! network or a plan. Takedowns go their own way: whatever the window, a pause or the clock say.
//!
//! Invariants: nothing is fetched or evicted while a file of the state is damaged, the clock cannot be believed, or the manifest in
//! force is over. The writer lock is held only while something is being written.

mod allowed;
pub mod book;
mod contact;
mod damaged;
mod filling;
mod follow;
pub mod hours;
mod judging;
mod looking;
mod moving;
mod orders;
pub mod planning;
mod starting;
mod status;
mod takedowns;
mod tending;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use content_store::BadColumn;
use protocol::config::Config;
use protocol::fill::{Contact, Request};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::control::ControlEndpoint;
use crate::daemon::Daemon;
use crate::fetch::Progress;
use crate::lanes::Lanes;
use crate::limits::{EVENTS_WAITING, STOP_BOUND, TICK, WRITE_DEADLINE};
use crate::metrics::Counters;
use crate::notify;
use crate::operator::Command;
use crate::publish::Publisher;
use crate::rate::Limiter;
use crate::scrub::{News, Scrub};
use crate::signals::{Signal, Signals};
use crate::source::{Sources, Timeouts, Transport};
use crate::state::StateFolder;
use crate::survey;
use crate::tls::{Files, Tls};
use book::Book;
use contact::Contacts;
use follow::{Event, Following};
use hours::{Clock, Settings};
use planning::Planned;

/// How long the agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop.
    Service,
    /// Until all that is wanted and fits is here, or cannot come.
    Once {
        /// Whatever the hours.
        now: bool,
    },
}

/// How `once` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// All that is wanted and fits is here.
    Complete(String),
    /// Something keeps it from being complete.
    Incomplete(String),
}

/// The loop and what it owns.
pub struct Agent {
    config: Arc<Config>,
    config_path: PathBuf,
    mode: Mode,
    started: u64,
    control: Option<ControlEndpoint>,
    daemon: Daemon,
    publisher: Publisher,
    book: Book,
    settings: Settings,
    clock: Clock,
    contacts: Contacts,
    following: Following,
    planned: Option<Arc<Planned>>,
    means: Means,
    counters: Arc<Counters>,
    /// What reads back what is stored; not of an agent that works once.
    scrub: Option<Scrub>,
    scrubbed: Option<mpsc::Receiver<News>>,
    /// Bad columns that the catalog does not know of yet.
    unmarked: Vec<BadColumn>,
    events: mpsc::Sender<Event>,
    received: mpsc::Receiver<Event>,
}

/// What fetches share.
struct Means {
    limiter: Arc<Limiter>,
    lanes: Arc<Lanes>,
    progress: Arc<Progress>,
    transport: Arc<Transport>,
    sources: Option<Sources>,
}

impl Agent {
    /// Reads state and keys, and begins nothing. Blocks on the state disk.
    ///
    /// # Errors
    /// What the operator has to put right before it can start.
    pub fn new(config: Config, config_path: PathBuf, mode: Mode) -> anyhow::Result<Self> {
        let counters = Arc::<Counters>::default();
        let tls = Tls::new(&Files::of(&config), Arc::clone(&counters.tls_failures));
        let control = ControlEndpoint::of(&config, &tls).map_err(anyhow::Error::msg)?;
        let folder = StateFolder::open(&config.appliance.state_dir)?;
        let book = Book::read(folder, control.as_ref());
        book.renew_expected();
        let settings = Settings::of(&config, &book.intent).context("the window")?;
        let clock = Clock::look(config.fill.as_ref());
        let publisher = Publisher::start(survey::store_config(&config), survey::placing(&config))?;
        let (events, received) = mpsc::channel(EVENTS_WAITING);
        let config = Arc::new(config);
        let is_paused = book.intent.scrub_pause.is_some();
        let (scrub, scrubbed) = match mode {
            Mode::Once { .. } => (None, None),
            Mode::Service => {
                let (scrub, found) = Scrub::start(&config, book.folder(), is_paused)?;
                (Some(scrub), Some(found))
            }
        };
        Ok(Self {
            scrub,
            scrubbed,
            unmarked: Vec::new(),
            mode,
            started: clock.seconds(),
            daemon: Daemon::at(&config.daemon_socket()),
            contacts: Contacts::default(),
            following: Following::default(),
            planned: None,
            means: Means {
                limiter: Arc::new(Limiter::new(0)),
                lanes: Arc::new(Lanes::new(WRITE_DEADLINE)),
                progress: Arc::default(),
                transport: Arc::new(Transport::new(Timeouts::default(), tls)),
                sources: None,
            },
            counters,
            config,
            config_path,
            control,
            publisher,
            book,
            settings,
            clock,
            events,
            received,
        })
    }

    /// What the metrics show beside the status.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Works until it is told to stop, or `once` is done. What was fetched whole is published before it returns.
    ///
    /// # Errors
    /// When the system gives no way to wait for signals.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> anyhow::Result<Ended> {
        let mut signals = Signals::listen()?;
        notify::ready();
        let mut tick = tokio::time::Instant::now();
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => break Ended::Stopped,
                    Signal::Reload => self.reload().await,
                },
                Some(command) = commands.recv() => self.obey_command(command).await,
                Some(news) = next_of(&mut self.scrubbed) => self.scrub_found(news),
                Some(event) = self.received.recv() => self.follow(event).await,
                () = sleep_until(tick) => {
                    tick = tokio::time::Instant::now() + TICK;
                    self.tick().await;
                }
            }
            self.step().await;
            if let Some(ended) = self.conclusion() {
                break ended;
            }
        };
        self.stop().await;
        Ok(ended)
    }

    async fn obey_command(&mut self, command: Command) {
        match command.request {
            Request::Damaged { columns } => self.daemon_reports(columns, command.reply),
            request => {
                let response = self.answer(request).await;
                let _ = command.reply.send(response);
            }
        }
    }

    /// Once a second: what time alone changes.
    async fn tick(&mut self) {
        self.clock = Clock::look(self.config.fill.as_ref());
        let mut intent = self.book.intent.clone();
        if self.clock.trusted && intent.expire(self.clock.seconds()) {
            self.say(intent).await;
            self.pause_scrub();
        }
        self.mark();
        notify::watchdog(&self.activity().1);
    }

    /// As the operator said.
    fn pause_scrub(&self) {
        if let Some(scrub) = &self.scrub {
            scrub.pause(self.book.intent.scrub_pause.is_some());
        }
    }

    async fn say(&mut self, intent: crate::state::Intent) {
        if let Err(problem) = self.book.say(intent).await {
            tracing::error!("{problem}");
        }
    }

    /// Publishes what is whole, unless that takes too long: a device may hang.
    async fn stop(&mut self) {
        tracing::info!("stopping; what is whole is published");
        let finished = tokio::time::timeout(STOP_BOUND, self.finish());
        tokio::pin!(finished);
        loop {
            notify::stopping();
            tokio::select! {
                in_time = &mut finished => {
                    if in_time.is_err() {
                        tracing::warn!("stopping without what a device has not taken");
                    }
                    return;
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Stops fetching, publishes what is whole, and lets go of the store.
    async fn finish(&mut self) {
        self.following.cancel();
        while self.following.is_filling() {
            match self.received.recv().await {
                Some(event) => self.follow(event).await,
                None => break,
            }
        }
        self.publisher.closed().await;
    }

    /// SIGHUP: hours, rates, limits and keys are read again; what needs a restart is said by name.
    async fn reload(&mut self) {
        notify::reloading();
        let path = self.config_path.clone();
        let failures = Arc::clone(&self.counters.tls_failures);
        let read = tokio::task::spawn_blocking(move || {
            let config = protocol::config::load(&path).map_err(|error| error.to_string())?;
            let tls = Tls::new(&Files::of(&config), failures);
            let control = ControlEndpoint::of(&config, &tls)?;
            Ok::<_, String>((config, control, tls))
        });
        let taken = match read.await {
            Ok(Ok((config, control, tls))) => self.take_over(config, control, tls).await,
            Ok(Err(why)) => Err(why),
            Err(panicked) => Err(panicked.to_string()),
        };
        match taken {
            Ok(()) => tracing::info!("the configuration was reloaded"),
            Err(why) => tracing::error!(
                "the configuration was not reloaded, the old one stays in force: {why}"
            ),
        }
        notify::ready();
    }

    async fn take_over(
        &mut self,
        read: Config,
        control: Option<ControlEndpoint>,
        tls: Tls,
    ) -> Result<(), String> {
        for section in needing_restart(&self.config, &read) {
            tracing::warn!(
                "{section} has changed, which takes a restart; the old value stays in force"
            );
        }
        let merged = Config {
            control: read.control,
            fill: read.fill,
            scrub: read.scrub,
            ..(*self.config).clone()
        };
        let settings = Settings::of(&merged, &self.book.intent).map_err(|bad| bad.to_string())?;
        if !self.book.damage.is_empty() {
            let folder = self.book.folder();
            let again = control.clone();
            let reading = tokio::task::spawn_blocking(move || Book::read(folder, again.as_ref()));
            self.book = reading.await.map_err(|panicked| panicked.to_string())?;
        }
        if Files::of(&merged) != Files::of(&self.config) {
            self.means.transport = Arc::new(Transport::new(Timeouts::default(), tls));
            // Those that are known would go on with the old one.
            self.means.sources = None;
        }
        if let Some(scrub) = &self.scrub {
            scrub.set(&merged);
        }
        self.config = Arc::new(merged);
        self.control = control;
        self.settings = settings;
        self.contacts.soon();
        self.following.replan();
        Ok(())
    }
}

/// What comes next; never, without a channel.
async fn next_of<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

/// The sections of `read` that differ from `old` and are looked at only at start.
fn needing_restart(old: &Config, read: &Config) -> Vec<&'static str> {
    let metrics = |config: &Config| config.fill.as_ref().map(|fill| fill.metrics);
    let changed = [
        ("[appliance]", old.appliance != read.appliance),
        ("[[tier]]", old.tiers != read.tiers),
        ("[fill] metrics", metrics(old) != metrics(read)),
    ];
    let changed = changed.into_iter().filter(|(_, differs)| *differs);
    changed.map(|(section, _)| section).collect()
}

/// A moment that a random number chooses, so that many boxes do not come together.
fn jittered(span: Duration) -> Instant {
    Instant::now() + span.mul_f64(rand::random::<f64>())
}

/// The last look at the control endpoint, for status.
fn note(contact: &mut Contact, now: u64, problem: Option<String>) {
    contact.tried = Some(now);
    if problem.is_none() {
        contact.succeeded = Some(now);
    }
    contact.problem = problem.unwrap_or_default();
}
