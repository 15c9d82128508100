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
                Err(NotGood::Stopped) => {
                    self.open()?;
                    return Err(Halt::Asked);
                }
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

    /// Waits as long as the rate asks for; whether this goes on. Only what is read is paid for.
    fn pace(&mut self, bytes: u64) -> bool {
        let rate = self.shared.rate.load(Relaxed).max(1);
        let cost = Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        let begun = self.paid.max(Instant::now());
        let goes_on = self.wait_until(begun);
        self.paid = if goes_on { begun + cost } else { begun };
        goes_on
    }

    /// Whether this goes on until then. Now and then it looks whether the device is still to be used.
    fn wait_until(&mut self, then: Instant) -> bool {
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
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.shared.wait(left.min(SCRUB_AGAIN));
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use protocol::{config, paths};
    use tokio::sync::mpsc;

    use super::*;
    use crate::scrub::{Known, Shown};
    use crate::state::StateFolder;

    /// Of a device in the folder, at so many bits a second, and who hears of it.
    fn reader(folder: &Path, rate: u64) -> (Reader, mpsc::Receiver<News>) {
        let (state_dir, root) = (folder.join("state"), folder.join("d0"));
        let text = format!(
            "[appliance]\nid = \"c001.fra001.example\"\nstate_dir = {state_dir:?}\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\ndevices = [{root:?}]\nshared_fs = true\n"
        );
        let config = config::parse(&text, Path::new("oca.toml"), &paths::LINUX).unwrap();
        std::fs::create_dir(&root).unwrap();
        device::initialise(
            &root,
            &device::InitOptions {
                shared_fs: true,
                ..Default::default()
            },
        )
        .unwrap();
        let known = Known {
            devices: vec![Shown::default()],
            ..Known::default()
        };
        let (news, heard) = mpsc::channel(1);
        let shared = Shared {
            config: Arc::new(config),
            folder: StateFolder::open(&state_dir).unwrap(),
            news,
            paused: AtomicBool::new(false),
            rate: AtomicU64::new(rate),
            every_s: AtomicU64::new(1),
            known: Mutex::new(known),
            writing: Mutex::default(),
            changed: Default::default(),
        };
        (Reader::new(Arc::new(shared), 0, &root), heard)
    }

    #[test]
    fn what_was_not_read_is_not_paid_for() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reader, _heard) = reader(folder.path(), 8);
        reader.shared.paused.store(true, Relaxed);
        for _ in 0..3 {
            assert!(!reader.pace(1 << 20));
        }
        reader.shared.paused.store(false, Relaxed);
        assert!(reader.paid <= Instant::now());
        assert!(reader.pace(3600));
        let hour = reader.paid.duration_since(Instant::now());
        assert!(hour > Duration::from_secs(3500), "{hour:?}");
    }
}
