//! The thread of one device.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use content_store::catalog::{CatalogProblem, CatalogReader, ObjectRecord};
use content_store::scrub::{NotGood, check_column};
use content_store::{BadColumn, Device, Generation, ObjectId, device};
use protocol::root::Root;

use super::{News, Place, Shared};
use crate::limits::{SCRUB_AGAIN, SCRUB_LIST, SCRUB_NOTE};

pub(super) struct Reader {
    shared: Arc<Shared>,
    number: usize,
    root: PathBuf,
    catalog: Option<CatalogReader>,
    /// What the rate has allowed so far ends here.
    paid: Instant,
    noted: Instant,
    /// When it was last seen that the device is to be used.
    looked: Instant,
    /// A suspect is being read, which nothing but a pause ends.
    on_suspect: bool,
}

/// Why a pass does not go on now.
enum Halt {
    /// Somebody wants something else, or it is paused.
    Asked,
    /// The device or the catalog cannot be read.
    Problem(String),
}

impl From<CatalogProblem> for Halt {
    fn from(problem: CatalogProblem) -> Self {
        Self::Problem(problem.to_string())
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, number: usize, root: &Path) -> Self {
        let now = Instant::now();
        Self {
            shared,
            number,
            root: root.to_owned(),
            catalog: None,
            paid: now,
            noted: now,
            looked: now,
            on_suspect: false,
        }
    }

    pub(super) fn run(mut self) {
        while !self.shared.news.is_closed() {
            let halted = self.turn();
            let problem = match halted {
                Ok(()) | Err(Halt::Asked) => String::new(),
                Err(Halt::Problem(problem)) => problem,
            };
            let changed = {
                let shown = &mut self.shared.known().devices[self.number];
                let changed = shown.problem != problem;
                shown.problem.clone_from(&problem);
                changed
            };
            if changed && !problem.is_empty() {
                tracing::warn!(device = %self.root.display(), "the scrub waits: {problem}");
            }
            self.shared.wait(SCRUB_AGAIN);
        }
    }

    /// Suspects, then the pass that is due; until there is nothing to do, or it cannot go on.
    fn turn(&mut self) -> Result<(), Halt> {
        let device = self.open()?;
        let start = {
            let shown = &mut self.shared.known().devices[self.number];
            shown.id = Some(device.id());
            std::mem::take(&mut shown.start)
        };
        self.look_at_suspects(&device)?;
        let mut place = self.shared.known().places.of(device.id());
        let due = place.next(self.shared.every_s.load(Relaxed), now());
        if self.is_paused() || !start && due.is_some_and(|due| due > now()) {
            return Ok(());
        }
        if start || due.is_some() {
            place.begin(now());
        }
        self.pass(&device, place)
    }

    /// The device, unless an operator took it out of use.
    fn open(&self) -> Result<Device, Halt> {
        let state_dir = &self.shared.config.appliance.state_dir;
        let opened = device::open_for_use(&self.root, state_dir);
        opened.map_err(|problem| Halt::Problem(problem.to_string()))
    }

    fn look_at_suspects(&mut self, device: &Device) -> Result<(), Halt> {
        while !self.is_paused() {
            let suspect = self.shared.known().devices[self.number]
                .suspects
                .pop_front();
            let Some(suspect) = suspect else { break };
            let (generation, records) = self.list(before(suspect.object), 1)?;
            let record = records.iter().find(|one| one.object == suspect.object);
            if let Some(record) = record {
                self.on_suspect = true;
                let looked = self.look_at(device, record, generation, &mut Place::default());
                self.on_suspect = false;
                looked?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, device: &Device, mut place: Place) -> Result<(), Halt> {
        self.note(device, &place);
        loop {
            let after = place.after.map(|root| ObjectId(root.0));
            let (generation, records) = self.list(after, SCRUB_LIST)?;
            self.open()?;
            let Some(last) = records.last().map(|record| record.object) else {
                place.end(now());
                self.note(device, &place);
                tracing::info!(device = %self.root.display(), columns = place.columns, bytes = place.bytes, bad = place.bad, "all of the device was read back");
                return Ok(());
            };
            for record in &records {
                let looked = self.look_at(device, record, generation, &mut place);
                if let Err(halt) = looked {
                    self.note(device, &place);
                    return Err(halt);
                }
                place.after = Some(Root(record.object.0));
                self.note_now_and_then(device, &place);
            }
            place.after = Some(Root(last.0));
        }
    }

    /// Reads back what the device holds of an object.
    fn look_at(
        &mut self,
        device: &Device,
        record: &ObjectRecord,
        generation: Generation,
        place: &mut Place,
    ) -> Result<(), Halt> {
        for copy in &record.copies {
            let column = copy.devices.iter().position(|id| *id == device.id());
            let Some(column) = column.filter(|column| !copy.bad.contains(*column)) else {
                continue;
            };
            let checked = check_column(device, record, copy, column, |bytes| self.pace(bytes));
            let cause = match checked {
                Ok(bytes) => {
                    place.columns += 1;
                    place.bytes += bytes;
                    continue;
                }
                Err(NotGood::Stopped) => return Err(Halt::Asked),
                Err(NotGood::Newer(cause)) => return Err(Halt::Problem(cause)),
                Err(NotGood::Bad(cause)) => cause,
                Err(NotGood::Unreadable(error)) => error.to_string(),
            };
            // A device that is gone holds no bad columns.
            device
                .probe()
                .map_err(|problem| Halt::Problem(problem.to_string()))?;
            place.columns += 1;
            place.bad += 1;
            let bad = BadColumn {
                object: record.object,
                device: device.id(),
                seen: generation,
            };
            let news = News::Bad(bad, cause);
            if self.shared.news.blocking_send(news).is_err() {
                return Err(Halt::Asked);
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<(Generation, Vec<ObjectRecord>), Halt> {
        if self.catalog.is_none() {
            match CatalogReader::open(&self.shared.config.appliance.state_dir) {
                Ok(reader) => self.catalog = Some(reader),
                // A new appliance.
                Err(CatalogProblem::Missing { .. }) => return Ok(Default::default()),
                Err(problem) => return Err(problem.into()),
            }
        }
        let reader = self.catalog.as_mut().expect("it was opened above");
        Ok(reader.objects_after(after, limit)?)
    }

    /// Waits as long as the rate asks for; whether this goes on. Now and then it looks whether the device is still to be used.
    fn pace(&mut self, bytes: u64) -> bool {
        let rate = self.shared.rate.load(Relaxed).max(1);
        let now = Instant::now();
        let cost = Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        self.paid = self.paid.max(now) + cost;
        loop {
            if self.looked.elapsed() >= SCRUB_AGAIN {
                self.looked = Instant::now();
                if self.open().is_err() {
                    return false;
                }
            }
            let is_asked = {
                let shown = &self.shared.known().devices[self.number];
                !self.on_suspect && (shown.start || !shown.suspects.is_empty())
            };
            if self.is_paused() || is_asked || self.shared.news.is_closed() {
                return false;
            }
            let left = self.paid.saturating_duration_since(Instant::now());
            if left <= cost {
                return true;
            }
            self.shared.wait((left - cost).min(SCRUB_AGAIN));
        }
    }

    fn is_paused(&self) -> bool {
        self.shared.paused.load(Relaxed)
    }

    fn note_now_and_then(&mut self, device: &Device, place: &Place) {
        if self.noted.elapsed() >= SCRUB_NOTE {
            self.note(device, place);
        } else {
            self.shared.known().places.set(device.id(), place.clone());
        }
    }

    /// Keeps where it is. If the state disk does not take it, a restart reads some columns again.
    fn note(&mut self, device: &Device, place: &Place) {
        self.noted = Instant::now();
        // One file for all devices.
        let _writing = self.shared.writing.lock();
        let places = {
            let mut known = self.shared.known();
            known.places.set(device.id(), place.clone());
            known.places.clone()
        };
        if let Err(problem) = self.shared.folder.write(&places) {
            tracing::warn!("{problem}");
        }
    }
}

/// The name before that of an object: what comes after it is the object.
fn before(object: ObjectId) -> Option<ObjectId> {
    let mut name = object.0;
    for byte in name.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            return Some(ObjectId(name));
        }
    }
    None
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
