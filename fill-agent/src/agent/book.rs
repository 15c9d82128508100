//! What the agent knows over a restart, in memory, with its files: read once, written at each change.

use std::sync::Arc;

use protocol::manifest::seal;
use protocol::manifest::{Manifest, Serial, Tombstone, Tombstones};

use crate::control::ControlEndpoint;
use crate::guard::Summary;
use crate::state::sealed::{Note, Which};
use crate::state::{Intent, Kept, Ledger, Seen, StateFolder, StateProblem};

/// A manifest that was believed.
#[derive(Debug)]
pub struct Believed {
    /// It.
    pub manifest: Manifest,
    /// What the guard compares.
    pub summary: Summary,
    /// When it was accepted or held, and why.
    pub note: Note,
}

impl Believed {
    /// With what the guard compares. Takes a while for a million objects.
    #[must_use]
    pub fn new(manifest: Manifest, note: Note) -> Arc<Self> {
        Arc::new(Self {
            summary: Summary::of(&manifest),
            manifest,
            note,
        })
    }

    /// The same with another note. A million objects are copied: a manifest is held or let through seldom.
    #[must_use]
    pub fn noted(&self, note: Note) -> Arc<Self> {
        Arc::new(Self {
            manifest: self.manifest.clone(),
            summary: self.summary.clone(),
            note,
        })
    }

    /// Its number.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.manifest.serial
    }
}

/// All of it.
pub struct Book {
    folder: StateFolder,
    /// What the operator said.
    pub intent: Intent,
    /// What was done today.
    pub ledger: Ledger,
    /// The highest serials.
    pub seen: Seen,
    /// The manifest in force.
    pub in_force: Option<Arc<Believed>>,
    /// The manifest that waits for an operator.
    pub held: Option<Arc<Believed>>,
    /// The newest tombstones.
    pub tombstones: Arc<Vec<Tombstone>>,
    /// Files that cannot be used. While there are any, nothing is fetched and nothing is evicted.
    pub damage: Vec<String>,
}

impl Book {
    /// Reads everything. Blocks on the state disk.
    #[must_use]
    pub fn read(folder: StateFolder, control: Option<&ControlEndpoint>) -> Self {
        let mut damage = Vec::new();
        let mut book = Self {
            intent: read(&folder, &mut damage),
            ledger: read(&folder, &mut damage),
            seen: read(&folder, &mut damage),
            in_force: None,
            held: None,
            tombstones: Arc::default(),
            damage,
            folder,
        };
        if let Some(control) = control {
            book.in_force = book.open_manifest(Which::Accepted, control);
            book.held = book.open_manifest(Which::Held, control);
            book.tombstones = Arc::new(book.open_tombstones(control));
        }
        book.damage
            .iter()
            .for_each(|problem| tracing::error!("{problem}"));
        book
    }

    fn open_manifest(&mut self, which: Which, control: &ControlEndpoint) -> Option<Arc<Believed>> {
        let (note, bytes) = self.open(which)?;
        match seal::open::<Manifest>(&bytes, &control.keys, control.appliance()) {
            Ok(manifest) => Some(Believed::new(manifest, note)),
            Err(bad) => self.is_damaged(which, &bad),
        }
    }

    fn open_tombstones(&mut self, control: &ControlEndpoint) -> Vec<Tombstone> {
        let Some((_, bytes)) = self.open(Which::Tombstones) else {
            return Vec::new();
        };
        match seal::open::<Tombstones>(&bytes, &control.keys, control.appliance()) {
            Ok(list) => list.tombstones,
            Err(bad) => self.is_damaged(Which::Tombstones, &bad).unwrap_or_default(),
        }
    }

    fn open(&mut self, which: Which) -> Option<(Note, Vec<u8>)> {
        match self.folder.read_sealed(which) {
            Ok(found) => found,
            Err(problem) => {
                self.damage.push(problem.to_string());
                None
            }
        }
    }

    fn is_damaged<T>(&mut self, which: Which, bad: &seal::BadSeal) -> Option<T> {
        self.damage
            .push(self.folder.damaged(which, bad.to_string()).to_string());
        None
    }

    /// Tells the daemon again what to expect of viewers, if it cannot read that. Blocks on the state disk.
    pub fn renew_expected(&self) {
        let is_there = self.folder.check_expected().unwrap_or_else(|problem| {
            tracing::warn!("{problem}");
            false
        });
        if let (Some(believed), false) = (&self.in_force, is_there) {
            write_expected(&self.folder, &believed.manifest);
        }
    }

    /// The folder, to write on a thread that may block.
    #[must_use]
    pub fn folder(&self) -> StateFolder {
        self.folder.clone()
    }

    /// The manifest that an answer to a conditional GET is compared with: the newest one that is here.
    #[must_use]
    pub fn known(&self) -> Option<Serial> {
        let here = self.in_force.iter().chain(&self.held);
        here.map(|believed| believed.serial()).max()
    }

    /// Notes what the operator said. It is on the disk when this returns.
    ///
    /// # Errors
    /// What the disk says; nothing has changed then.
    pub async fn say(&mut self, intent: Intent) -> Result<(), StateProblem> {
        let folder = self.folder.clone();
        let written = intent.clone();
        on_disk(move || folder.write(&written)).await?;
        self.intent = intent;
        Ok(())
    }

    /// Notes what is about to be done today.
    ///
    /// # Errors
    /// What the disk says; it must not be done then.
    pub async fn charge(&mut self, ledger: Ledger) -> Result<(), StateProblem> {
        let folder = self.folder.clone();
        let written = ledger.clone();
        on_disk(move || folder.write(&written)).await?;
        self.ledger = ledger;
        Ok(())
    }

    /// Puts a manifest in force. The one that was held before it is forgotten.
    ///
    /// # Errors
    /// What the disk says; the old one stays in force then.
    pub async fn accept(
        &mut self,
        new: Arc<Believed>,
        sealed: Vec<u8>,
    ) -> Result<(), StateProblem> {
        let (folder, seen) = (self.folder.clone(), self.seen_with(&new));
        let (note, expected) = (new.note.clone(), Arc::clone(&new));
        on_disk(move || {
            folder.write_sealed(Which::Accepted, &note, &sealed)?;
            folder.write(&seen)?;
            write_expected(&folder, &expected.manifest);
            folder.remove_sealed(Which::Held)
        })
        .await?;
        self.seen = seen;
        self.in_force = Some(new);
        self.held = None;
        Ok(())
    }

    /// Keeps a manifest until an operator lets it through, or a better one comes.
    ///
    /// # Errors
    /// What the disk says; it is asked for again then.
    pub async fn hold(&mut self, new: Arc<Believed>, sealed: Vec<u8>) -> Result<(), StateProblem> {
        let (folder, seen) = (self.folder.clone(), self.seen_with(&new));
        let note = new.note.clone();
        on_disk(move || {
            folder.write_sealed(Which::Held, &note, &sealed)?;
            folder.write(&seen)
        })
        .await?;
        self.seen = seen;
        self.held = Some(new);
        Ok(())
    }

    /// The bytes of the held manifest, to be put in force.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn held_bytes(&self) -> Result<Vec<u8>, StateProblem> {
        let folder = self.folder.clone();
        let found = on_disk(move || folder.read_sealed(Which::Held)).await?;
        found.map(|(_, bytes)| bytes).ok_or_else(|| {
            self.folder
                .damaged(Which::Held, "it is not there any more".to_owned())
        })
    }

    fn seen_with(&self, new: &Believed) -> Seen {
        Seen {
            manifest: self.seen.manifest.max(Some(new.serial())),
            ..self.seen
        }
    }

    /// Keeps the newest tombstones.
    ///
    /// # Errors
    /// What the disk says; they are carried out all the same.
    pub async fn bury(
        &mut self,
        list: Tombstones,
        sealed: Vec<u8>,
        now: u64,
    ) -> Result<(), StateProblem> {
        let seen = Seen {
            tombstones: Some(list.serial),
            ..self.seen
        };
        self.seen = seen;
        self.tombstones = Arc::new(list.tombstones);
        let folder = self.folder.clone();
        let note = Note {
            at: now,
            why: String::new(),
        };
        on_disk(move || {
            folder.write_sealed(Which::Tombstones, &note, &sealed)?;
            folder.write(&seen)
        })
        .await
    }
}

/// Only the order in which the daemon's memory is filled depends on it.
fn write_expected(folder: &StateFolder, manifest: &Manifest) {
    if let Err(problem) = folder.write_expected(manifest) {
        tracing::warn!("{problem}");
    }
}

fn read<T: Kept>(folder: &StateFolder, damage: &mut Vec<String>) -> T {
    folder.read().unwrap_or_else(|problem| {
        damage.push(problem.to_string());
        T::default()
    })
}

/// On a thread that may wait for the state disk.
async fn on_disk<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StateProblem> + Send + 'static,
) -> Result<T, StateProblem> {
    tokio::task::spawn_blocking(job)
        .await
        .expect("reading and writing files does not panic")
}
