//! The index: what the daemon serves, immutable, made from one catalog snapshot and the devices that are configured.
//!
//! A lookup takes no lock and allocates nothing. A new index takes over the objects of the one before it as they are,
//! with their open files and their pieces in memory; only what changed is new. What a new index no longer has is given
//! to the builder ([`Built::fallen`]): its files may be in use, and who drops the last reference closes them, so that
//! must never be a worker.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::quality::RandomState;
use platform::stored_file::StoredFile;

use crate::catalog::{CopyRecord, ObjectRecord, Snapshot};
use crate::column::ColumnSource;
use crate::entry::PathEntry;
use crate::ids::{DeviceId, ETag, Generation, ObjectId};
use crate::store::DeviceSlot;
use crate::stripe::StripeLayout;

mod served;

pub use served::Served;

/// A configured device, at the place in the list that is its number everywhere in the daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexDevice {
    /// Its name; none if it is not here. Its columns are then [`Column::Absent`].
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
#[derive(Default)]
pub struct Index {
    generation: Generation,
    entries: HashSet<ByPath, RandomState>,
    objects: HashSet<ById, RandomState>,
    bytes: u64,
    devices: Box<[IndexDevice]>,
}

/// A path: the object, and what the response head says about it.
#[derive(Debug)]
pub struct Entry {
    /// The path, percent-decoded.
    pub path: Box<str>,
    /// What it leads to.
    pub object: Arc<Object>,
    /// Value of `Content-Type`; one allocation for all equal ones.
    pub content_type: Arc<str>,
    /// Value of `Cache-Control`; likewise.
    pub cache_control: Arc<str>,
    /// Seconds since 1970 for `Last-Modified`.
    pub modified_s: u64,
}

/// An object with its columns.
///
/// `repr(C)`: what every response writes, `served` and the counts of the `Arc` around all this, lies together in memory.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    /// What viewers got of it. An object that is placed anew begins at nothing; what was counted of the one before is
    /// found in that one.
    pub served: Served,
    /// Its name.
    pub id: ObjectId,
    /// Bytes.
    pub size: u64,
    /// Its entity tag, with quotes.
    pub etag: ETag,
    /// The copy that is asked first.
    pub first: ObjectCopy,
    /// Further copies, in the order in which they are asked; none, of most objects.
    pub others: Box<[ObjectCopy]>,
}

/// One copy of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectCopy {
    /// How it is cut into `columns`.
    pub layout: StripeLayout,
    /// One for each column of the layout.
    pub columns: Box<[Column]>,
    /// Generation in which the columns were written.
    placed: u64,
    /// Generation in which one of them was repaired.
    repaired: u64,
}

/// One column of an object.
#[derive(Clone, Debug)]
pub enum Column {
    /// On a device that is here.
    Here {
        /// Number of the device.
        device: usize,
        /// The file.
        file: Arc<StoredFile>,
    },
    /// On a device that is not here: a range that needs it is answered 503, not 404.
    Absent {
        /// The device.
        device: DeviceId,
    },
}

/// A new index, and what it no longer has.
pub struct Built {
    /// The index.
    pub index: Index,
    /// Objects of the previous index that this one does not have. Keep each until its strong count is 1; the previous
    /// index holds them too, and is itself too large for a worker to drop.
    pub fallen: Vec<Arc<Object>>,
}

impl Index {
    /// Makes an index of a snapshot. `devices` are the configured ones, at their numbers. Touches no disk.
    pub fn build(snapshot: Snapshot, devices: &[IndexDevice], previous: Option<&Index>) -> Built {
        let empty = Index::default();
        let previous = previous.unwrap_or(&empty);
        let places = Places::new(devices, &previous.devices);
        let mut index = Index {
            generation: snapshot.generation,
            devices: devices.into(),
            ..Index::default()
        };
        index.objects.reserve(snapshot.objects.len());
        for record in snapshot.objects {
            let before = previous.object(&record.object);
            let Some(object) = places.object(&record, before) else {
                continue;
            };
            index.bytes += object.size;
            index.objects.insert(ById(object));
        }
        let mut words = HashSet::with_hasher(RandomState::default());
        index.entries.reserve(snapshot.paths.len());
        for (id, entry) in snapshot.paths {
            // A path whose object is missing from the snapshot cannot come out of one transaction.
            let Some(object) = index.object(&id) else {
                continue;
            };
            let before = previous.entries.get(entry.path.as_bytes());
            index
                .entries
                .insert(ByPath(entry_of(entry, object, before, &mut words)));
        }
        let is_gone = |object: &&Arc<Object>| {
            !index
                .object(&object.id)
                .is_some_and(|now| Arc::ptr_eq(now, object))
        };
        let fallen = previous.objects().filter(is_gone).cloned().collect();
        Built { index, fallen }
    }

    /// What a path leads to. The path is percent-decoded, without query. No allocation, no lock.
    pub fn lookup(&self, path: &[u8]) -> Option<&Arc<Entry>> {
        self.entries.get(path).map(|ByPath(entry)| entry)
    }

    /// A published object by its name.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(id).map(|ById(object)| object)
    }

    /// The generation of the catalog that this was made from.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// All paths, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().map(|ByPath(entry)| entry)
    }

    /// All objects, in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter().map(|ById(object)| object)
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of objects.
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Object {
    /// All copies, in the order in which they are asked.
    pub fn copies(&self) -> impl Iterator<Item = &ObjectCopy> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The copy with this place in [`copies`](Self::copies).
    pub fn copy(&self, number: usize) -> Option<&ObjectCopy> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(other),
        }
    }

    /// Whether one of its copies is.
    pub fn is_whole(&self) -> bool {
        self.copies().any(ObjectCopy::is_whole)
    }
}

impl ObjectCopy {
    /// Whether every column is on a device that is here and no block of it was found bad.
    pub fn is_whole(&self) -> bool {
        self.columns.iter().all(|column| match column {
            Column::Here { file, .. } => !file.is_bad(),
            Column::Absent { .. } => false,
        })
    }
}

/// An entry that is found by its path.
struct ByPath(Arc<Entry>);

impl Borrow<[u8]> for ByPath {
    fn borrow(&self) -> &[u8] {
        self.0.path.as_bytes()
    }
}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let path: &[u8] = self.borrow();
        path.hash(state);
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}

/// An object that is found by its name.
struct ById(Arc<Object>);

impl Borrow<ObjectId> for ById {
    fn borrow(&self) -> &ObjectId {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

/// The devices that are here: a handful, so a list.
struct Places(Vec<Place>);

struct Place {
    id: DeviceId,
    number: usize,
    root: Arc<Path>,
    /// The previous index had the same device at the same number and root.
    is_as_before: bool,
}

impl Places {
    fn new(devices: &[IndexDevice], before: &[IndexDevice]) -> Self {
        let place = |(number, device): (usize, &IndexDevice)| {
            let is_as_before = before.get(number) == Some(device);
            Some(Place {
                id: device.id?,
                number,
                root: device.root.as_path().into(),
                is_as_before,
            })
        };
        Self(devices.iter().enumerate().filter_map(place).collect())
    }

    /// The object of a record: the one before, if nothing about it changed.
    fn object(&self, record: &ObjectRecord, before: Option<&Arc<Object>>) -> Option<Arc<Object>> {
        let copy_of = |copy| self.copy(record.object, copy, before);
        let mut copies = record.copies.iter().map(copy_of);
        let first = copies.next()?;
        let others: Box<[ObjectCopy]> = copies.collect();
        let is_same = |before: &&Arc<Object>| before.first == first && before.others == others;
        if let Some(before) = before.filter(is_same) {
            return Some(Arc::clone(before));
        }
        let ObjectRecord {
            object: id, size, ..
        } = *record;
        Some(Arc::new(Object {
            served: Served::default(),
            id,
            size,
            etag: id.etag(),
            first,
            others,
        }))
    }

    /// A copy, with what it shares with the same one of before.
    fn copy(
        &self,
        object: ObjectId,
        copy: &CopyRecord,
        before: Option<&Arc<Object>>,
    ) -> ObjectCopy {
        let mut copies = before.into_iter().flat_map(|before| before.copies());
        // After a repair nothing is shared: what the file of before has open may be the bad one.
        let before = copies.find(|before| {
            let (before, of_before) = ((before.placed, before.repaired), before.layout);
            before == (copy.placed, copy.repaired) && of_before == copy.layout
        });
        let column = |column| {
            let before = before.and_then(|before| before.columns.get(column));
            self.column(object, copy, column, before)
        };
        ObjectCopy {
            layout: copy.layout,
            columns: (0..copy.layout.width()).map(column).collect(),
            placed: copy.placed,
            repaired: copy.repaired,
        }
    }

    /// A column; of one that is known to be bad the device reads nothing, only what is in memory already is of use.
    fn column(
        &self,
        object: ObjectId,
        copy: &CopyRecord,
        column: usize,
        before: Option<&Column>,
    ) -> Column {
        let found = self.file(object, copy, column, before);
        if let Column::Here { file, .. } = &found
            && copy.bad.contains(column)
        {
            file.mark_bad();
        }
        found
    }

    /// The file of the one before, if it is where it was.
    fn file(
        &self,
        object: ObjectId,
        copy: &CopyRecord,
        column: usize,
        before: Option<&Column>,
    ) -> Column {
        let name = copy.devices[column];
        let Some(place) = self.0.iter().find(|place| place.id == name) else {
            return Column::Absent { device: name };
        };
        let device = place.number;
        if let Some(Column::Here {
            device: number,
            file,
        }) = before
            && *number == device
            && place.is_as_before
        {
            return Column::Here {
                device,
                file: Arc::clone(file),
            };
        }
        let source = ColumnSource::new(Arc::clone(&place.root), object, column as u8, copy.layout);
        Column::Here {
            device,
            file: StoredFile::new(device, Box::new(source)),
        }
    }
}

impl PartialEq for Column {
    /// The same file, not an equal one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here { file, .. }, Self::Here { file: other, .. }) => Arc::ptr_eq(file, other),
            (Self::Absent { device }, Self::Absent { device: other }) => device == other,
            _ => false,
        }
    }
}

/// Equal header values share one allocation.
type Words = HashSet<Arc<str>, RandomState>;

fn entry_of(
    entry: PathEntry,
    object: &Arc<Object>,
    before: Option<&ByPath>,
    words: &mut Words,
) -> Arc<Entry> {
    let is_same = |before: &Entry| {
        Arc::ptr_eq(&before.object, object)
            && *before.content_type == *entry.content_type
            && *before.cache_control == *entry.cache_control
            && before.modified_s == entry.modified_s
    };
    if let Some(ByPath(before)) = before.filter(|before| is_same(&before.0)) {
        return Arc::clone(before);
    }
    Arc::new(Entry {
        object: Arc::clone(object),
        content_type: shared(words, &entry.content_type),
        cache_control: shared(words, &entry.cache_control),
        modified_s: entry.modified_s,
        path: entry.path,
    })
}

fn shared(words: &mut Words, word: &str) -> Arc<str> {
    if let Some(known) = words.get(word) {
        return Arc::clone(known);
    }
    let word: Arc<str> = word.into();
    words.insert(Arc::clone(&word));
    word
}
