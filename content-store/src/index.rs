//! The index: what the daemon serves, immutable, made from what the catalog publishes and the devices that are configured.
//!
//! ```text
//! Index ─► pages of paths   ─► Entry ─► Object ─► columns ─► file, made when a device first reads it
//!      └─► pages of objects ───────────────┘
//! ```
//! A lookup takes no lock and allocates nothing. Paths and objects lie in pages by the first bits of a hash: an index that follows a
//! commit shares all pages but those that the commit changed, and takes over the objects of the one before as they are, with their
//! open files and their pieces in memory. What it no longer has is given to the builder ([`Built`]): its files may be in use, and
//! who drops the last reference closes them, so that must never be a worker.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::catalog::{CatalogProblem, Changes, Published};
use crate::entry::PathEntry;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::{INDEX_PAGE_BITS, INDEX_PAGES};
use crate::store::DeviceSlot;

mod object;
mod objects;
mod paths;
mod places;
mod served;

pub use object::{Column, Columns, Object, ObjectCopy};
pub use objects::ObjectPage;
use paths::{Draft, SharedWords};
pub use paths::{Entry, PathPage};
use places::Places;
pub use served::Served;

/// A configured device, at the place in the list that is its number everywhere in the daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexDevice {
    /// Its name; none if it is not here. Ranges that need a column on it are answered 503.
    pub id: Option<DeviceId>,
    /// Where it is mounted.
    pub root: PathBuf,
}

impl From<&DeviceSlot> for IndexDevice {
    fn from(slot: &DeviceSlot) -> Self {
        Self {
            id: slot.id(),
            root: slot.root.clone(),
        }
    }
}

/// Everything that is published, as of one generation.
pub struct Index {
    generation: Generation,
    keys: RandomState,
    paths: Pages<PathPage>,
    objects: Pages<ObjectPage>,
    places: Arc<Places>,
    path_count: usize,
    object_count: usize,
    bytes: u64,
}

type Pages<T> = Box<[Option<Arc<T>>]>;

/// A new index, what is new in it, and what it no longer has.
pub struct Built {
    /// The index.
    pub index: Index,
    /// Objects that the previous index did not have.
    pub fresh: Vec<Arc<Object>>,
    /// Objects of the previous index that this one does not have. Keep each until its strong count is 1; the previous
    /// index holds them too, and is itself too large for a worker to drop.
    pub fallen: Vec<Arc<Object>>,
    /// Pages of the previous index that this one does not have. Keep each likewise, before the objects: they hold them too.
    pub fallen_pages: Vec<Arc<PathPage>>,
}

/// Where something lies: its page, and what it is found by in there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    page: usize,
    tag: u32,
}

impl Spot {
    fn of(hash: u64) -> Self {
        Self {
            page: (hash >> (u64::BITS - INDEX_PAGE_BITS)) as usize,
            tag: (hash >> (u32::BITS - INDEX_PAGE_BITS)) as u32,
        }
    }

    /// In the order of names.
    fn of_object(id: &ObjectId) -> Self {
        let first = id.0.first_chunk().expect("an id has 32 bytes");
        Self::of(u64::from_be_bytes(*first))
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::empty(Arc::default(), RandomState::default())
    }
}

impl Index {
    /// Makes an index of all that is published. `devices` are the configured ones, at their numbers. Touches no disk.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn build(
        published: &Published,
        devices: &[IndexDevice],
        previous: Option<&Index>,
    ) -> Result<Built, CatalogProblem> {
        let empty = Index::default();
        let previous = previous.unwrap_or(&empty);
        let places = Arc::new(Places::new(devices));
        let mut index = Self::empty(places, previous.keys.clone());
        index.generation = published.generation()?;
        index.add_objects(published, previous)?;
        index.add_paths(published)?;
        Ok(index.after(previous))
    }

    /// Makes the index that follows this one when all that changed since its generation is `changes`. Costs what they are, not what
    /// there is. Touches no disk.
    #[must_use]
    pub fn changed(&self, changes: &Changes) -> Built {
        let mut index = Self {
            generation: changes.generation,
            keys: self.keys.clone(),
            paths: self.paths.clone(),
            objects: self.objects.clone(),
            places: Arc::clone(&self.places),
            ..*self
        };
        index.change_objects(changes);
        index.change_paths(changes);
        index.after(self)
    }

    fn empty(places: Arc<Places>, keys: RandomState) -> Self {
        Self {
            generation: Generation::default(),
            keys,
            paths: vec![None; INDEX_PAGES].into(),
            objects: vec![None; INDEX_PAGES].into(),
            places,
            path_count: 0,
            object_count: 0,
            bytes: 0,
        }
    }

    /// Objects come in the order of their names, which is that of the pages.
    fn add_objects(
        &mut self,
        published: &Published,
        previous: &Index,
    ) -> Result<(), CatalogProblem> {
        let (mut page, mut objects) = (0, Vec::new());
        published.each_object(|record| {
            let spot = Spot::of_object(&record.object);
            if spot.page != page {
                self.put_objects(page, mem::take(&mut objects));
                page = spot.page;
            }
            objects.extend(self.places.object(&record, previous.object(&record.object)));
        })?;
        self.put_objects(page, objects);
        Ok(())
    }

    fn add_paths(&mut self, published: &Published) -> Result<(), CatalogProblem> {
        let mut found = Vec::new();
        published.each_path(|path, record| found.push((self.spot(path.as_bytes()), record)))?;
        found.sort_unstable_by_key(|(spot, _)| *spot);
        let mut words = SharedWords::default();
        for page in found.chunk_by(|(one, _), (other, _)| one.page == other.page) {
            let decoded = page.iter().map(|(_, record)| record.decode());
            let entries: Vec<_> = decoded.collect::<Result<_, _>>()?;
            let drafts = page.iter().zip(&entries);
            let drafts = drafts.filter_map(|((spot, _), (object, entry))| {
                self.draft(spot.tag, object, entry, &mut words)
            });
            let drafts = drafts.collect();
            self.put_paths(page[0].0.page, drafts);
        }
        Ok(())
    }

    fn change_objects(&mut self, changes: &Changes) {
        let mut pages: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (id, record) in &changes.objects {
            let page = pages.entry(Spot::of_object(id).page).or_default();
            page.push((id, record));
        }
        for (number, changed) in pages {
            let page = self.objects[number].iter().flat_map(|page| page.objects());
            let mut objects: BTreeMap<ObjectId, Arc<Object>> =
                page.map(|object| (object.id, Arc::clone(object))).collect();
            for (id, record) in changed {
                let before = objects.remove(id);
                let object = record
                    .as_ref()
                    .and_then(|record| self.places.object(record, before.as_ref()));
                objects.extend(object.map(|object| (*id, object)));
            }
            self.put_objects(number, objects.into_values().collect());
        }
    }

    fn change_paths(&mut self, changes: &Changes) {
        let mut pages: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (path, entry) in &changes.paths {
            let spot = self.spot(path.as_bytes());
            let page = pages.entry(spot.page).or_default();
            page.extend(entry.as_ref().map(|entry| (spot.tag, entry)));
        }
        let mut words = SharedWords::default();
        for (number, changed) in pages {
            let before = self.paths[number].clone();
            let kept = before.iter().flat_map(|page| page.drafts());
            let kept = kept.filter(|draft| !changes.paths.contains_key(draft.path));
            let fresh = changed
                .into_iter()
                .filter_map(|(tag, (object, entry))| self.draft(tag, object, entry, &mut words));
            let drafts = kept.chain(fresh).collect();
            self.put_paths(number, drafts);
        }
    }

    /// None of a path whose object is missing, which cannot come out of one transaction.
    fn draft<'a>(
        &self,
        tag: u32,
        object: &ObjectId,
        entry: &'a PathEntry,
        words: &mut SharedWords,
    ) -> Option<Draft<'a>> {
        Some(Draft {
            tag,
            path: &entry.path,
            object: Arc::clone(self.object(object)?),
            words: words.words(&entry.content_type, &entry.cache_control),
            modified_s: entry.modified_s,
        })
    }

    /// `objects` in the order of their names.
    fn put_objects(&mut self, page: usize, objects: Vec<Arc<Object>>) {
        let counts = |page: &Option<Arc<ObjectPage>>| {
            page.as_ref()
                .map_or((0, 0), |page| (page.len(), page.bytes()))
        };
        let after = ObjectPage::of(objects);
        let (less, more) = (counts(&self.objects[page]), counts(&after));
        self.object_count = self.object_count - less.0 + more.0;
        self.bytes = self.bytes - less.1 + more.1;
        self.objects[page] = after;
    }

    fn put_paths(&mut self, page: usize, drafts: Vec<Draft<'_>>) {
        let after = PathPage::of(drafts);
        let count = |page: &Option<Arc<PathPage>>| page.as_ref().map_or(0, |page| page.len());
        self.path_count = self.path_count - count(&self.paths[page]) + count(&after);
        self.paths[page] = after;
    }

    /// With what is new in it and what it no longer has: looks at the pages that are not shared.
    fn after(self, previous: &Index) -> Built {
        let (mut fresh, mut fallen) = (Vec::new(), Vec::new());
        for (before, now) in previous.objects.iter().zip(&self.objects) {
            if !is_same(before, now) {
                fresh.extend(ObjectPage::missing_in(before.as_deref(), now.as_deref()));
                fallen.extend(ObjectPage::missing_in(now.as_deref(), before.as_deref()));
            }
        }
        let pages = previous.paths.iter().zip(&self.paths);
        let fallen_pages = pages.filter(|(before, now)| !is_same(before, now));
        Built {
            fresh,
            fallen,
            fallen_pages: fallen_pages
                .filter_map(|(before, _)| before.clone())
                .collect(),
            index: self,
        }
    }

    fn spot(&self, path: &[u8]) -> Spot {
        Spot::of(self.keys.hash_one(path))
    }

    /// What a path leads to. The path is percent-decoded, without query. No allocation, no lock.
    pub fn lookup(&self, path: &[u8]) -> Option<Entry> {
        let spot = self.spot(path);
        self.paths[spot.page].as_ref()?.find(spot.tag, path)
    }

    /// A published object by its name.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        let spot = Spot::of_object(id);
        self.objects[spot.page].as_ref()?.find(spot.tag, id)
    }

    /// The generation of the catalog that this was made from.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// All paths, in no particular order.
    pub fn paths(&self) -> impl Iterator<Item = Entry> {
        self.paths.iter().flatten().flat_map(|page| page.entries())
    }

    /// All objects, in the order of their names.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects
            .iter()
            .flatten()
            .flat_map(|page| page.objects())
    }

    /// The pages of all objects, each at its number, as many in every index. One that a commit did not change is the same as in the index
    /// before.
    pub fn object_pages(&self) -> impl ExactSizeIterator<Item = Option<&Arc<ObjectPage>>> {
        self.objects.iter().map(Option::as_ref)
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.path_count
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.path_count == 0
    }

    /// Number of objects.
    pub fn object_count(&self) -> usize {
        self.object_count
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn is_same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}
