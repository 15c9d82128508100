//! What is done for devices whatever the window: those that are back are compared with the catalog and used again; from those that are
//! evacuated, what they alone hold is copied to others.
//!
//! Beside the loop, each device beside the others; every read and write on the thread of its device, so that one that hangs keeps nothing
//! else waiting.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use content_store::device::{Comparison, Condition};
use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::{DeviceId, StoreError, Stranded, stranded};
use protocol::config::Config;
use tokio::task::JoinSet;

use super::Agent;
use super::filling::reap;
use super::follow::Event;
use crate::daemon::Daemon;
use crate::fetch::copy_columns;
use crate::lanes::Lanes;
use crate::limits::TEND_EVERY;
use crate::publish::{NotDone, Publisher};
use crate::survey::{self, FoundDevice};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tended {
    used_store: bool,
    progressed: bool,
    problem: Option<NotDone>,
}

/// What there is to do.
#[derive(Default)]
struct Duties {
    is_back: bool,
    stranded: Vec<Stranded>,
}

impl Duties {
    /// Looks at the devices, and at the catalog if any is being evacuated. Blocks.
    fn of(config: &Config) -> Result<Self, StoreError> {
        let devices = survey::devices(config)?;
        let rooms = || {
            devices
                .iter()
                .filter_map(|device| device.found.as_ref().ok())
        };
        let of = |leaving: bool| -> HashSet<DeviceId> {
            let rooms = rooms().filter(|room| room.is_evacuating == leaving);
            rooms.map(|room| room.id).collect()
        };
        let leaving = of(true);
        let stranded = match leaving.is_empty() {
            true => Vec::new(),
            false => stranded(&survey::snapshot(config)?, &of(false), &leaving),
        };
        Ok(Self {
            is_back: devices.iter().any(is_back),
            stranded,
        })
    }
}

fn is_back(device: &FoundDevice) -> bool {
    let wrong = device.found.as_ref().err();
    wrong.is_some_and(|wrong| wrong.condition == Condition::Returned)
}

impl Agent {
    /// Begins if it is due and nobody paused the agent.
    pub(super) fn tend(&mut self) {
        let is_paused = self.book.intent.pause.is_some();
        let following = &mut self.following;
        if is_paused || following.is_tending || following.tend_at > Instant::now() {
            return;
        }
        following.is_tending = true;
        following.tend_at = Instant::now() + TEND_EVERY;
        let tending = Tending {
            config: Arc::clone(&self.config),
            publisher: self.publisher.clone(),
            lanes: Arc::clone(&self.means.lanes),
            daemon: self.daemon.clone(),
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(Event::Tended(tending.run().await)).await;
        });
    }

    /// A new plan counts on the devices as they are.
    pub(super) fn tended(&mut self, tended: Tended) {
        self.following.is_tending = false;
        self.following.store_used |= tended.used_store;
        if let Some(not_done) = tended.problem {
            tracing::warn!("what devices need is not done yet: {not_done}");
        }
        if tended.progressed {
            self.following.replan();
        }
    }
}

#[derive(Clone)]
struct Tending {
    config: Arc<Config>,
    publisher: Publisher,
    lanes: Arc<Lanes>,
    daemon: Daemon,
}

impl Tending {
    async fn run(self) -> Tended {
        let config = Arc::clone(&self.config);
        let duties = tokio::task::spawn_blocking(move || Duties::of(&config)).await;
        let mut tended = Tended::default();
        let duties = match duties.expect("looking at devices does not panic") {
            Ok(duties) => duties,
            Err(error) => {
                tended.problem = Some(error.into());
                return tended;
            }
        };
        tended.used_store = duties.is_back || !duties.stranded.is_empty();
        if tended.used_store
            && let Err(not_done) = self.do_all(duties, &mut tended).await
        {
            tended.problem = Some(not_done);
        }
        tended
    }

    async fn do_all(&self, duties: Duties, tended: &mut Tended) -> Result<(), NotDone> {
        let mut leaving: HashMap<DeviceId, Vec<Stranded>> = HashMap::new();
        for stranded in duties.stranded {
            leaving.entry(stranded.from).or_default().push(stranded);
        }
        let mut working = JoinSet::new();
        for comparison in self.publisher.returned().await? {
            let this = self.clone();
            working.spawn(async move { this.reap_after(this.take_back(comparison).await?).await });
        }
        for (device, stranded) in leaving {
            let this = self.clone();
            working.spawn(async move {
                let is_any = this.evacuate(device, &stranded).await?;
                this.reap_after(is_any).await
            });
        }
        while let Some(worked) = working.join_next().await {
            match worked.expect("work on a device does not panic") {
                Ok(progressed) => tended.progressed |= progressed,
                Err(not_done) => tended.problem = Some(not_done),
            }
        }
        Ok(())
    }

    /// Files that are not needed any more are unlinked; gives whether there was progress.
    async fn reap_after(&self, progressed: bool) -> Result<bool, NotDone> {
        if progressed {
            reap(&self.publisher, &self.daemon).await?;
        }
        Ok(progressed)
    }

    /// Whether the device was taken back.
    async fn take_back(&self, comparison: Comparison) -> Result<bool, NotDone> {
        let Some(compared) = self.compared(comparison).await else {
            return Ok(false);
        };
        let lost = self.publisher.readmit(compared).await?;
        if lost > 0 {
            tracing::warn!(columns = lost, "lost by a device that is back");
        }
        Ok(true)
    }

    /// Whether anything was moved off it.
    async fn evacuate(&self, device: DeviceId, stranded: &[Stranded]) -> Result<bool, NotDone> {
        let mut is_any = false;
        for batch in stranded.chunks(MAX_BATCH_OBJECTS) {
            if self.lanes.problem(device).is_some() {
                break;
            }
            if self.move_batch(batch).await? {
                is_any = true;
                if let Err(error) = self.daemon.reload().await {
                    tracing::debug!(%error, "the daemon was not told of moved columns");
                }
            }
        }
        Ok(is_any)
    }

    /// `None` if the device has gone again.
    async fn compared(&self, mut comparison: Comparison) -> Option<Comparison> {
        loop {
            let device = comparison.device();
            let step = move || {
                let is_done = comparison.step();
                (is_done, comparison)
            };
            let stepped = self.lanes.run(device, 0, step).await;
            let stepped = stepped.inspect_err(|late| tracing::warn!("not compared: {late}"));
            let (is_done, after) = stepped.ok()?;
            comparison = after;
            match is_done {
                Ok(true) => return Some(comparison),
                Ok(false) => {}
                Err(problem) => {
                    tracing::warn!("not compared: {problem}");
                    return None;
                }
            }
        }
    }

    /// Moves columns off devices that are being evacuated; whether any was moved.
    async fn move_batch(&self, batch: &[Stranded]) -> Result<bool, NotDone> {
        let mut moved = Vec::new();
        for stranded in batch {
            let object = stranded.object;
            let begun = match self.publisher.vacate(object, stranded.placed).await {
                Err(not_done) if not_done.is_full => {
                    tracing::warn!("not evacuated: {not_done}");
                    None
                }
                begun => begun?,
            };
            let Some(repairing) = begun else { continue };
            match copy_columns(&self.lanes, repairing, None).await {
                Ok(Some(repaired)) => moved.push(repaired),
                Ok(None) => tracing::warn!(%object, "not evacuated: it is not good here"),
                Err(failure) => tracing::warn!(%object, %failure, "not evacuated"),
            }
        }
        let is_any = !moved.is_empty();
        if is_any {
            tracing::info!(objects = moved.len(), "evacuated");
            self.publisher.moved(moved).await?;
        }
        Ok(is_any)
    }
}
