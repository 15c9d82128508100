//! The scrub: what is stored is read back and checked, each device by a thread of its own, at a bounded rate, past the page cache.
//!
//! ```text
//! catalog -> columns of a device, by object -> check_column --bad--> quarantine -> repaired inside the window
//! ```
//! A pass goes over the objects in the order of their names. Where it is stands in the state folder, so a restart goes on. A device that
//! cannot be read is waited for; a column is called bad only while its device is there and answers. What the daemon reports without
//! being certain is looked at first.

mod device;
mod place;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use content_store::{BadColumn, DeviceId};
use protocol::config::Config;
use protocol::fill::{Pause, ScrubDevice};
use tokio::sync::mpsc;

use crate::limits::SUSPECTS_WAITING;
use crate::state::StateFolder;

pub use place::{Place, Places};

/// The threads, and what they share with the agent's loop.
pub struct Scrub {
    shared: Arc<Shared>,
}

/// What a thread tells the loop.
#[derive(Debug)]
pub enum News {
    /// A column is bad.
    Bad(BadColumn, String),
}

struct Shared {
    config: Arc<Config>,
    folder: StateFolder,
    news: mpsc::Sender<News>,
    paused: AtomicBool,
    rate: AtomicU64,
    every_s: AtomicU64,
    known: Mutex<Known>,
    /// Held by who writes where the passes are.
    writing: Mutex<()>,
    /// Something changed that a thread may wait for.
    changed: Condvar,
}

/// By the number of the device in the configuration.
#[derive(Default)]
struct Known {
    devices: Vec<Shown>,
    places: Places,
}

/// A device as its thread sees it.
#[derive(Default)]
struct Shown {
    id: Option<DeviceId>,
    /// What is wrong, or nothing.
    problem: String,
    /// A pass is to begin now.
    start: bool,
    columns_all: u64,
    /// Columns to look at first.
    suspects: VecDeque<BadColumn>,
}

impl Scrub {
    /// Starts a thread for each device. They end with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        config: &Arc<Config>,
        folder: StateFolder,
        paused: bool,
    ) -> std::io::Result<(Self, mpsc::Receiver<News>)> {
        let (news, received) = mpsc::channel(SUSPECTS_WAITING);
        let places = folder.read::<Places>().unwrap_or_else(|problem| {
            // Where it was is worth one pass; it begins anew.
            tracing::warn!("{problem}");
            Places::default()
        });
        let devices = config.devices().map(|_| Shown::default()).collect();
        let shared = Arc::new(Shared {
            config: Arc::clone(config),
            folder,
            news,
            paused: AtomicBool::new(paused),
            rate: AtomicU64::new(config.scrub.rate.bits_per_second()),
            every_s: AtomicU64::new(config.scrub.every.duration().as_secs()),
            known: Mutex::new(Known { devices, places }),
            writing: Mutex::default(),
            changed: Condvar::new(),
        });
        for (number, (_, root)) in config.devices().enumerate() {
            let thread = std::thread::Builder::new().name(format!("scrub-{number}"));
            let reader = device::Reader::new(Arc::clone(&shared), number, root);
            thread.spawn(move || reader.run())?;
        }
        Ok((Self { shared }, received))
    }

    /// Reads nothing back until it is called with `false`.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Relaxed);
        self.shared.changed.notify_all();
    }

    /// Rate and interval of a configuration that was read again.
    pub fn set(&self, config: &Config) {
        let scrub = config.scrub;
        self.shared
            .rate
            .store(scrub.rate.bits_per_second(), Relaxed);
        self.shared
            .every_s
            .store(scrub.every.duration().as_secs(), Relaxed);
        self.shared.changed.notify_all();
    }

    /// Begins a pass now, of one device or of all. Whether there is such a device.
    pub fn begin(&self, name: Option<&str>) -> bool {
        let mut known = self.shared.known();
        let mut begun = false;
        for ((_, root), shown) in self.shared.config.devices().zip(&mut known.devices) {
            let own = root.file_name().and_then(|name| name.to_str());
            if name.is_none() || own == name {
                shown.start = true;
                begun = true;
            }
        }
        drop(known);
        self.shared.changed.notify_all();
        begun
    }

    /// Looks at columns of which the daemon is not certain, before anything else. Those of a device that is not here are passed over.
    pub fn suspect(&self, columns: impl Iterator<Item = BadColumn>) {
        let mut known = self.shared.known();
        for column in columns {
            let mut devices = known.devices.iter_mut();
            let shown = devices.find(|shown| shown.id == Some(column.device));
            if let Some(shown) = shown
                && shown.suspects.len() < SUSPECTS_WAITING
                && !shown.suspects.contains(&column)
            {
                shown.suspects.push_back(column);
            }
        }
        drop(known);
        self.shared.changed.notify_all();
    }

    /// The devices, in the order of the configuration.
    #[must_use]
    pub fn devices(&self, pause: Option<&Pause>, now: u64) -> Vec<ScrubDevice> {
        let known = self.shared.known();
        let every = self.shared.every_s.load(Relaxed);
        let configured = self.shared.config.devices().zip(&known.devices);
        configured
            .map(|((tier, root), shown)| {
                let place = shown.id.map(|id| known.places.of(id)).unwrap_or_default();
                let state = match (&*shown.problem, pause, place.began) {
                    ("", Some(_), _) => "paused",
                    ("", None, Some(_)) => "running",
                    ("", None, None) => "waiting",
                    (problem, ..) => problem,
                };
                ScrubDevice {
                    name: root
                        .file_name()
                        .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
                    tier: tier.name.clone(),
                    state: state.to_owned(),
                    began: place.began,
                    ended: place.ended,
                    next: place.next(every, now),
                    columns: place.columns,
                    columns_all: shown.columns_all,
                    bytes: place.bytes,
                    bad: place.bad,
                }
            })
            .collect()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something changes, at most so long.
    fn wait(&self, at_most: Duration) {
        let known = self.known();
        drop(self.changed.wait_timeout(known, at_most));
    }
}

/// Places by device, for the file.
type ByDevice = HashMap<String, Place>;
