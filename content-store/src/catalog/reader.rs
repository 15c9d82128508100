//! Reading the catalog: whole snapshots, in transactions that only copy.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::lost_pages;

use super::environment::Environment;
use super::record::{decode_path, prefix, unseal};
use super::writer::{format_of, generation_of};
use super::{CatalogProblem, DoomedRecord, Key, ObjectRecord};
use crate::codec::{Decoder, Malformed};
use crate::entry::PathEntry;
use crate::ids::{Generation, ObjectId};
use crate::limits::MAX_PATH_BYTES;

/// Reads the catalog of a state folder. Holds no transaction between calls.
pub struct CatalogReader {
    folder: PathBuf,
    /// Empty only after a rebuilt catalog could not be opened; then the next call tries again.
    environment: Option<Arc<Environment>>,
}

/// What is published, as of one commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The commit.
    pub generation: Generation,
    /// All stored objects that a path leads to, by id.
    pub objects: Vec<ObjectRecord>,
    /// All paths with their objects, in no particular order.
    pub paths: Vec<(ObjectId, PathEntry)>,
    /// Files that are to be unlinked.
    pub doomed: Vec<DoomedRecord>,
}

impl Snapshot {
    /// What is published now; nothing, on a new appliance.
    ///
    /// # Errors
    /// When there is a catalog and it cannot be read.
    pub fn read_or_empty(state_dir: &Path) -> Result<Self, CatalogProblem> {
        match CatalogReader::open(state_dir) {
            Ok(mut reader) => reader.load(),
            Err(CatalogProblem::Missing { .. }) => Ok(Self::default()),
            Err(problem) => Err(problem),
        }
    }
}

impl CatalogReader {
    /// Opens the catalog below `state_dir`; looks over all its pages. Creates nothing.
    ///
    /// The program needs write permission on `catalog/lock.mdb`, where readers are counted.
    pub fn open(state_dir: &Path) -> Result<Self, CatalogProblem> {
        let folder = super::folder(state_dir);
        let environment = Some(open_existing(&folder)?);
        Ok(Self {
            folder,
            environment,
        })
    }

    /// The generation of the newest commit: cheap, for polling. After a rebuild it opens the new catalog.
    pub fn generation(&mut self) -> Result<Generation, CatalogProblem> {
        self.read(|environment, folder| {
            let transaction = environment
                .env
                .read_txn()
                .map_err(|error| CatalogProblem::heed(folder, error))?;
            generation_of(environment, &transaction, folder)
        })
    }

    /// What `read` finds. When a page could not be had, the environment is opened anew the next time: its pages are then looked over
    /// without the map.
    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&Environment, &Path) -> Result<T, CatalogProblem>,
    ) -> Result<T, CatalogProblem> {
        let before = lost_pages::count();
        let environment = self.current()?;
        let found = read(&environment, &self.folder);
        if lost_pages::count() == before {
            return found;
        }
        self.environment = None;
        let source = io::Error::other("a page of a mapped file could not be read");
        Err(CatalogProblem::io(&self.folder, source))
    }

    /// The environment, opened again if a rebuild has put another in its place. The old one is closed first: a process
    /// can have only one open at a path. A catalog whose files are gone is said to be missing, though it could still be
    /// read: nobody could write it any more.
    fn current(&mut self) -> Result<Arc<Environment>, CatalogProblem> {
        if let Some(environment) = self.environment.take() {
            match environment.check_current(&self.folder) {
                Ok(()) => return Ok(Arc::clone(self.environment.insert(environment))),
                Err(CatalogProblem::Replaced { .. }) => {}
                Err(problem) => {
                    self.environment = Some(environment);
                    return Err(self.missing_or(problem));
                }
            }
        }
        Ok(Arc::clone(
            self.environment.insert(open_existing(&self.folder)?),
        ))
    }

    fn missing_or(&self, problem: CatalogProblem) -> CatalogProblem {
        match problem {
            CatalogProblem::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                CatalogProblem::Missing {
                    path: self.folder.clone(),
                }
            }
            other => other,
        }
    }

    /// The objects after that one, in the order of their names, at most `limit`; and the generation. As [`load`](Self::load), in part.
    pub fn objects_after(
        &mut self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<(Generation, Vec<ObjectRecord>), CatalogProblem> {
        let copied = self.read(|environment, folder| {
            copy_objects(environment, after, limit)
                .map_err(|error| CatalogProblem::heed(folder, error))
        })?;
        let mut snapshot = Snapshot::default();
        for (key, value) in copied.records() {
            add(&mut snapshot, key, value).map_err(|cause| damaged(&self.folder, key, cause))?;
        }
        Ok((snapshot.generation, snapshot.objects))
    }

    /// Everything that is published, as it is stored. Inside of the transaction bytes are only copied; checks and decoding come after.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn published(&mut self) -> Result<Published, CatalogProblem> {
        Ok(Published {
            records: self.copy(&[prefix::HEAD, prefix::OBJECT, prefix::PATH])?,
            folder: self.folder.clone(),
        })
    }

    /// Everything that is published, decoded, and what is to be unlinked.
    pub fn load(&mut self) -> Result<Snapshot, CatalogProblem> {
        let copied = self.copy(&[prefix::HEAD, prefix::OBJECT, prefix::PATH, prefix::DOOMED])?;
        let mut snapshot = Snapshot::default();
        for (key, value) in copied.records() {
            add(&mut snapshot, key, value).map_err(|cause| damaged(&self.folder, key, cause))?;
        }
        Ok(snapshot)
    }

    /// The records whose keys begin like that.
    pub(super) fn copy(&mut self, prefixes: &[u8]) -> Result<Copied, CatalogProblem> {
        self.read(|environment, folder| {
            copy(environment, prefixes).map_err(|error| CatalogProblem::heed(folder, error))
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn copy(environment: &Environment, prefixes: &[u8]) -> heed::Result<Copied> {
    let transaction = environment.env.read_txn()?;
    let mut copied = Copied::default();
    for prefix in prefixes {
        for record in environment.database.prefix_iter(&transaction, &[*prefix])? {
            let (key, value) = record?;
            copied.push(key, value);
        }
    }
    Ok(copied)
}

fn copy_objects(
    environment: &Environment,
    after: Option<ObjectId>,
    limit: usize,
) -> heed::Result<Copied> {
    let transaction = environment.env.read_txn()?;
    let mut copied = Copied::default();
    let generation = Key::Generation.bytes();
    if let Some(value) = environment.database.get(&transaction, &generation)? {
        copied.push(&generation, value);
    }
    let first = after.map_or_else(|| vec![prefix::OBJECT], |after| Key::Object(after).bytes());
    let end = [prefix::OBJECT + 1];
    let range = (Bound::Excluded(&first[..]), Bound::Excluded(&end[..]));
    let records = environment.database.range(&transaction, &range)?;
    for record in records.take(limit) {
        let (key, value) = record?;
        copied.push(key, value);
    }
    Ok(copied)
}

pub(super) fn open_existing(folder: &Path) -> Result<Arc<Environment>, CatalogProblem> {
    let missing = || CatalogProblem::Missing {
        path: folder.into(),
    };
    if !folder
        .join("data.mdb")
        .try_exists()
        .map_err(|source| CatalogProblem::io(folder, source))?
    {
        return Err(missing());
    }
    let environment = Environment::open(folder)?;
    let transaction = environment
        .env
        .read_txn()
        .map_err(|error| CatalogProblem::heed(folder, error))?;
    let format = format_of(&environment, &transaction, folder)?;
    drop(transaction);
    // A writer that died before its very first commit left an empty environment.
    format.map(|_| environment).ok_or_else(missing)
}

/// What is published, as it is stored: about 310 B for each object with a path. Decoded one record at a time, by
/// [`crate::Index::build`].
pub struct Published {
    records: Copied,
    folder: PathBuf,
}

/// A path with what it leads to, as it is stored.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredPath<'a> {
    key: &'a [u8],
    payload: &'a [u8],
    folder: &'a Path,
}

impl Published {
    /// The commit.
    pub(crate) fn generation(&self) -> Result<Generation, CatalogProblem> {
        let mut generation = Generation::default();
        self.each(prefix::HEAD, |key, payload| {
            if Key::parse(key)? == Key::Generation {
                generation = Generation(Decoder::new(payload).u64()?);
            }
            Ok(())
        })?;
        Ok(generation)
    }

    /// Gives each object to `take`, in the order of their names.
    pub(crate) fn each_object(
        &self,
        mut take: impl FnMut(ObjectRecord),
    ) -> Result<(), CatalogProblem> {
        self.each(prefix::OBJECT, |key, payload| {
            take(decode_object(Key::parse(key)?, payload)?);
            Ok(())
        })
    }

    /// Gives each path to `take`.
    pub(crate) fn each_path<'a>(
        &'a self,
        mut take: impl FnMut(&'a str, StoredPath<'a>),
    ) -> Result<(), CatalogProblem> {
        self.each(prefix::PATH, |key, payload| {
            let mut from = Decoder::new(payload);
            from.object()?;
            let path = from.text(MAX_PATH_BYTES)?;
            let folder = &self.folder;
            take(
                path,
                StoredPath {
                    key,
                    payload,
                    folder,
                },
            );
            Ok(())
        })
    }

    pub(super) fn each<'a>(
        &'a self,
        prefix: u8,
        mut take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), CatalogProblem> {
        let records = self.records.records();
        for (key, value) in records.filter(|(key, _)| key.first() == Some(&prefix)) {
            unseal(key, value)
                .ok_or(Malformed::Contradiction)
                .and_then(|payload| take(key, payload))
                .map_err(|cause| damaged(&self.folder, key, cause))?;
        }
        Ok(())
    }
}

impl StoredPath<'_> {
    pub(crate) fn decode(&self) -> Result<(ObjectId, PathEntry), CatalogProblem> {
        let mut from = Decoder::new(self.payload);
        decode_path(&mut from)
            .and_then(|decoded| from.finish().map(|()| decoded))
            .map_err(|cause| damaged(self.folder, self.key, cause))
    }
}

pub(super) fn decode_object(key: Key, payload: &[u8]) -> Result<ObjectRecord, Malformed> {
    let mut from = Decoder::new(payload);
    let record = ObjectRecord::decode(&mut from)?;
    from.finish()?;
    if key == Key::Object(record.object) {
        Ok(record)
    } else {
        Err(Malformed::Contradiction)
    }
}

/// Records end to end in one allocation.
#[derive(Default)]
pub(super) struct Copied {
    bytes: Vec<u8>,
    lengths: Vec<(u16, u32)>,
}

impl Copied {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        // LMDB bounds keys at 511 bytes and values at 4 GiB.
        self.lengths.push((key.len() as u16, value.len() as u32));
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |(key, value)| {
            let (record, later) = rest.split_at(usize::from(*key) + *value as usize);
            rest = later;
            record.split_at(usize::from(*key))
        })
    }
}

fn add(snapshot: &mut Snapshot, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let payload = unseal(key, value).ok_or(Malformed::Contradiction)?;
    let mut from = Decoder::new(payload);
    match Key::parse(key)? {
        Key::Generation => snapshot.generation = Generation(from.u64()?),
        key @ Key::Object(_) => {
            snapshot.objects.push(decode_object(key, payload)?);
            return Ok(());
        }
        Key::Doomed(..) => snapshot.doomed.push(DoomedRecord::decode(&mut from)?),
        Key::Path(_) => snapshot.paths.push(decode_path(&mut from)?),
        _ => return Ok(()),
    }
    from.finish()
}

/// Names the damaged record: key in hexadecimal.
pub(super) fn damaged(folder: &Path, key: &[u8], cause: Malformed) -> CatalogProblem {
    let name: String = key
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    CatalogProblem::corrupt(
        folder,
        format!("record {name}..: checksum or content is wrong, {cause}"),
    )
}
