//! Keeps the index in step with the catalog: looks at the catalog's generation, loads what is new, and swaps the index.
//!
//! A thread of its own, since it reads the state disk. If that disk hangs or dies, what is loaded goes on being served, and
//! `/status` says so. What falls out of the index is kept here until no worker uses it any more: a worker must never be the
//! one that closes a file or unmaps memory.

mod expected;

use std::sync::Arc;
use std::time::Instant;

use content_store::catalog::{CatalogProblem, CatalogReader};
use content_store::device::Intents;
use content_store::index::{Built, PathPage};
use content_store::{Generation, Index, Object};

use crate::limits::CATALOG_POLL;
use crate::shared::Shared;
use expected::ExpectedDemand;

/// What is known of the catalog; read by the admin thread.
#[derive(Debug, Clone)]
pub struct CatalogStatus {
    /// The generation that is served.
    pub generation: Generation,
    /// When it was loaded.
    pub loaded_at: Instant,
    /// The oldest generation that a running transfer may still use.
    pub oldest_in_use: Generation,
    /// Objects that are served.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why the catalog cannot be followed, for the operator.
    pub problem: Option<String>,
}

impl CatalogStatus {
    /// Nothing was loaded yet.
    pub fn empty() -> Self {
        Self {
            generation: Generation::default(),
            loaded_at: Instant::now(),
            oldest_in_use: Generation::default(),
            objects: 0,
            bytes: 0,
            problem: None,
        }
    }
}

/// What fell out of the index after `generation`.
struct Retired {
    generation: Generation,
    index: Option<Arc<Index>>,
    pages: Vec<Arc<PathPage>>,
    objects: Vec<Arc<Object>>,
}

impl Retired {
    /// Lets go of what nobody else holds; says whether that was all. The index goes first, since it holds the others too, then the
    /// pages, which hold objects.
    fn release(&mut self) -> bool {
        self.index.take_if(|index| Arc::strong_count(index) == 1);
        if self.index.is_none() {
            self.pages.retain(|page| Arc::strong_count(page) > 1);
            self.objects.retain(|object| Arc::strong_count(object) > 1);
        }
        self.index.is_none() && self.pages.is_empty() && self.objects.is_empty()
    }
}

/// Follows the catalog in the state directory.
pub struct CatalogWatch {
    shared: Arc<Shared>,
    /// `None` until there is a catalog: a new box has none before something is imported.
    reader: Option<CatalogReader>,
    /// Of the devices that the index was made with; `None` before the first one.
    identity_generation: Option<u64>,
    retired: Vec<Retired>,
    expected: ExpectedDemand,
}

impl CatalogWatch {
    /// Opens the catalog.
    ///
    /// # Errors
    /// A corrupt catalog or one of a newer format, with the way out.
    pub fn open(shared: Arc<Shared>) -> Result<Self, CatalogProblem> {
        let reader = open_reader(&shared)?;
        let expected = ExpectedDemand::new(&shared.config.load().appliance.state_dir);
        Ok(Self {
            expected,
            shared,
            reader,
            identity_generation: None,
            retired: Vec::new(),
        })
    }

    /// Looks until the daemon stops.
    pub fn run(mut self) {
        while !self.shared.is_stopping() {
            self.look();
            std::thread::park_timeout(CATALOG_POLL);
        }
    }

    /// One look.
    pub fn look(&mut self) {
        let intents = self.follow_intents();
        let catalog = self.follow().err().map(|error| error.to_string());
        let problem = catalog.or(intents);
        self.expected.follow(&self.shared.index.load());
        self.release_retired();
        self.publish(problem);
    }

    /// A file that cannot be read leaves what was wanted before, and is said.
    fn follow_intents(&self) -> Option<String> {
        let config = self.shared.config.load();
        match Intents::read(&config.appliance.state_dir) {
            Ok(intents) => {
                self.shared.identities.obey(intents);
                None
            }
            Err(problem) => Some(problem.to_string()),
        }
    }

    fn follow(&mut self) -> Result<(), CatalogProblem> {
        if self.reader.is_none() {
            self.reader = open_reader(&self.shared)?;
        }
        let Some(reader) = self.reader.as_mut() else {
            return Ok(());
        };
        let identity_generation = self.shared.identities.generation();
        let current = self.shared.index.load_full();
        let is_with_devices = self.identity_generation == Some(identity_generation);
        if is_with_devices && reader.generation()? == current.generation() {
            return Ok(());
        }
        let changes = if is_with_devices {
            reader.changes_since(current.generation())?
        } else {
            None
        };
        let built = match changes {
            Some(changes) => current.changed(&changes),
            None => {
                let config = self.shared.config.load();
                let devices = self.shared.identities.index_devices(&config);
                Index::build(&reader.published()?, &devices, Some(&current))?
            }
        };
        self.identity_generation = Some(identity_generation);
        self.swap(current, built);
        Ok(())
    }

    fn swap(&mut self, current: Arc<Index>, built: Built) {
        self.expected.apply(&built.fresh);
        self.shared.index.store(Arc::new(built.index));
        self.retired.push(Retired {
            generation: current.generation(),
            index: Some(current),
            pages: built.fallen_pages,
            objects: built.fallen,
        });
        self.shared.wake_workers();
    }

    fn release_retired(&mut self) {
        self.retired.retain_mut(|retired| !retired.release());
    }

    fn publish(&self, problem: Option<String>) {
        let before = self.shared.catalog.load_full();
        let index = self.shared.index.load();
        let oldest_in_use = self
            .retired
            .iter()
            .map(|retired| retired.generation)
            .min()
            .unwrap_or(index.generation());
        let loaded_at = if problem.is_none() {
            Instant::now()
        } else {
            before.loaded_at
        };
        if let Some(problem) = problem
            .as_ref()
            .filter(|problem| Some(*problem) != before.problem.as_ref())
        {
            tracing::error!("{problem}");
        }
        self.shared.catalog.store(Arc::new(CatalogStatus {
            generation: index.generation(),
            loaded_at,
            oldest_in_use,
            objects: index.object_count() as u64,
            bytes: index.bytes(),
            problem,
        }));
    }
}

fn open_reader(shared: &Shared) -> Result<Option<CatalogReader>, CatalogProblem> {
    match CatalogReader::open(&shared.config.load().appliance.state_dir) {
        Ok(reader) => Ok(Some(reader)),
        Err(CatalogProblem::Missing { .. }) => Ok(None),
        Err(problem) => Err(problem),
    }
}
