//! Writing the catalog: one transaction per [`Edit`], durable when it is committed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heed::{AnyTls, RoTxn, RwTxn};

use super::changes::Changed;
use super::environment::Environment;
use super::reader::damaged;
use super::record::{decode_path, encode_path, prefix, seal, unseal};
use super::{CATALOG_FORMAT, CatalogProblem, DoomedRecord, Key, ObjectRecord, path_key};
use crate::codec::{Decoder, Encoder, Malformed};
use crate::entry::PathEntry;
use crate::ids::{Generation, ObjectId};

/// The catalog as its writer has it. The writer lock is the holder's affair.
pub(crate) struct Catalog {
    folder: PathBuf,
    /// None only if it could not be opened again.
    environment: Option<Arc<Environment>>,
}

/// One transaction. Dropped without [`commit`](Self::commit), it changes nothing.
pub(crate) struct Edit<'a> {
    catalog: &'a Catalog,
    environment: &'a Environment,
    transaction: RwTxn<'a>,
    /// Of what is published, for the log.
    pub(super) changed: Changed,
    /// The generation that comes with it.
    raised: Option<Generation>,
}

impl Catalog {
    /// Opens the catalog in `folder`, which must exist.
    pub(crate) fn open(folder: &Path) -> Result<Self, CatalogProblem> {
        let environment = super::reader::open_existing(folder)?;
        Ok(Self {
            folder: folder.into(),
            environment: Some(environment),
        })
    }

    /// LMDB refuses all work once the last step of a commit has failed. Opened anew, it goes on from what the disk holds: all of that
    /// commit or nothing. Does nothing to one that works; says whether it was to be done.
    pub(crate) fn renew(&mut self) -> Result<bool, CatalogProblem> {
        let is_broken = |environment: &Arc<Environment>| {
            let begun = environment.env.write_txn();
            matches!(begun, Err(heed::Error::Mdb(heed::MdbError::Panic)))
        };
        let is_broken = self.environment.as_ref().is_none_or(is_broken);
        if is_broken {
            // A process has one at most.
            self.environment = None;
            self.environment = Some(super::reader::open_existing(&self.folder)?);
        }
        Ok(is_broken)
    }

    /// Opens the catalog in `folder`, and makes an empty one if there is none.
    pub(crate) fn open_or_create(folder: &Path, first: Generation) -> Result<Self, CatalogProblem> {
        let io = |source| CatalogProblem::io(folder, source);
        fs::create_dir_all(folder).map_err(io)?;
        let catalog = Self {
            folder: folder.into(),
            environment: Some(Environment::open(folder)?),
        };
        let mut edit = catalog.edit()?;
        match format_of(edit.environment, &edit.transaction, folder)? {
            Some(CATALOG_FORMAT) => drop(edit),
            // Every record of the format before is one of this format too.
            Some(_) => {
                edit.set_format()?;
                edit.commit()?;
            }
            None => {
                edit.set_format()?;
                edit.set_generation(first)?;
                edit.commit()?;
            }
        }
        // Whoever made it may have been killed before it did so.
        platform::file::sync_directory(folder).map_err(io)?;
        platform::file::sync_directory(folder.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        Ok(catalog)
    }

    pub(crate) fn edit(&self) -> Result<Edit<'_>, CatalogProblem> {
        let environment = self.environment.as_deref().ok_or_else(|| {
            let source = io::Error::other("after a failed commit it could not be opened again");
            CatalogProblem::io(&self.folder, source)
        })?;
        let begun = environment.env.write_txn();
        let transaction = begun.map_err(|error| self.problem(error))?;
        Ok(Edit {
            catalog: self,
            environment,
            transaction,
            changed: Changed::default(),
            raised: None,
        })
    }

    fn problem(&self, error: heed::Error) -> CatalogProblem {
        CatalogProblem::heed(&self.folder, error)
    }
}

/// The format of the catalog; none of an empty one.
pub(super) fn format_of(
    environment: &Environment,
    transaction: &RoTxn<'_, AnyTls>,
    folder: &Path,
) -> Result<Option<u32>, CatalogProblem> {
    let read = |from: &mut Decoder<'_>| from.u32();
    let Some(found) = read_record(environment, transaction, folder, &Key::Format, read)? else {
        let empty = environment
            .database
            .is_empty(transaction)
            .map_err(|error| CatalogProblem::heed(folder, error))?;
        return if empty {
            Ok(None)
        } else {
            Err(CatalogProblem::corrupt(folder, "it has no format record"))
        };
    };
    if found > CATALOG_FORMAT {
        return Err(CatalogProblem::NewerFormat {
            path: folder.into(),
            found,
        });
    }
    Ok(Some(found))
}

pub(super) fn generation_of(
    environment: &Environment,
    transaction: &RoTxn<'_, AnyTls>,
    folder: &Path,
) -> Result<Generation, CatalogProblem> {
    let read = |from: &mut Decoder<'_>| from.u64();
    read_record(environment, transaction, folder, &Key::Generation, read)?
        .map(Generation)
        .ok_or_else(|| CatalogProblem::corrupt(folder, "it has no generation record"))
}

pub(super) fn read_record<T>(
    environment: &Environment,
    transaction: &RoTxn<'_, AnyTls>,
    folder: &Path,
    key: &Key,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
) -> Result<Option<T>, CatalogProblem> {
    let key = key.bytes();
    let value = environment
        .database
        .get(transaction, &key)
        .map_err(|error| CatalogProblem::heed(folder, error))?;
    let Some(value) = value else { return Ok(None) };
    let payload =
        unseal(&key, value).ok_or_else(|| damaged(folder, &key, Malformed::Contradiction))?;
    let mut from = Decoder::new(payload);
    read(&mut from)
        .map(Some)
        .map_err(|cause| damaged(folder, &key, cause))
}

impl Edit<'_> {
    pub(super) fn read<T>(
        &self,
        key: &Key,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, CatalogProblem> {
        read_record(
            self.environment,
            &self.transaction,
            &self.catalog.folder,
            key,
            read,
        )
    }

    pub(super) fn write(
        &mut self,
        key: &Key,
        encode: impl FnOnce(&mut Encoder),
    ) -> Result<(), CatalogProblem> {
        let key = key.bytes();
        let mut payload = Encoder::default();
        encode(&mut payload);
        let value = seal(&key, payload);
        let put = self
            .environment
            .database
            .put(&mut self.transaction, &key, &value);
        put.map_err(|error| self.catalog.problem(error))
    }

    pub(super) fn delete(&mut self, key: &Key) -> Result<(), CatalogProblem> {
        let deleted = self
            .environment
            .database
            .delete(&mut self.transaction, &key.bytes());
        deleted
            .map(drop)
            .map_err(|error| self.catalog.problem(error))
    }

    /// All keys that begin like `start`.
    pub(super) fn keys(&self, start: &[u8]) -> Result<Vec<Key>, CatalogProblem> {
        let database = &self.environment.database;
        let records = database
            .prefix_iter(&self.transaction, start)
            .map_err(|error| self.catalog.problem(error))?;
        let mut keys = Vec::new();
        for record in records {
            let (key, value) = record.map_err(|error| self.catalog.problem(error))?;
            let parsed = unseal(key, value)
                .ok_or(Malformed::Contradiction)
                .and_then(|_| Key::parse(key));
            keys.push(parsed.map_err(|cause| damaged(&self.catalog.folder, key, cause))?);
        }
        Ok(keys)
    }

    fn set_format(&mut self) -> Result<(), CatalogProblem> {
        self.write(&Key::Format, |out| {
            out.u32(CATALOG_FORMAT);
        })
    }

    pub(crate) fn generation(&self) -> Result<Generation, CatalogProblem> {
        generation_of(self.environment, &self.transaction, &self.catalog.folder)
    }

    pub(crate) fn set_generation(&mut self, generation: Generation) -> Result<(), CatalogProblem> {
        self.raised = Some(generation);
        self.write(&Key::Generation, |out| {
            out.u64(generation.0);
        })
    }

    pub(crate) fn object(&self, object: &ObjectId) -> Result<Option<ObjectRecord>, CatalogProblem> {
        self.read(&Key::Object(*object), ObjectRecord::decode)
    }

    pub(crate) fn put_object(&mut self, record: &ObjectRecord) -> Result<(), CatalogProblem> {
        self.changed.object(&record.object);
        self.write(&Key::Object(record.object), |out| record.encode(out))
    }

    pub(crate) fn delete_object(&mut self, object: &ObjectId) -> Result<(), CatalogProblem> {
        self.changed.object(object);
        self.delete(&Key::Object(*object))
    }

    pub(crate) fn path(&self, path: &str) -> Result<Option<(ObjectId, PathEntry)>, CatalogProblem> {
        self.read(&Key::Path(path_key(path)), decode_path)
    }

    /// Sets a path, and takes it from the object that it led to before, which is returned.
    pub(crate) fn put_path(
        &mut self,
        object: &ObjectId,
        entry: &PathEntry,
    ) -> Result<Option<ObjectId>, CatalogProblem> {
        let before = self.delete_path(&entry.path)?;
        self.changed.path(&entry.path);
        let key = path_key(&entry.path);
        self.write(&Key::Path(key), |out| encode_path(object, entry, out))?;
        self.write(&Key::Reference(*object, key), |_| ())?;
        Ok(before)
    }

    /// The object that a path leads to.
    pub(crate) fn leads_to(&self, path: &str) -> Result<Option<ObjectId>, CatalogProblem> {
        Ok(self.path(path)?.map(|(object, _)| object))
    }

    pub(crate) fn delete_path(&mut self, path: &str) -> Result<Option<ObjectId>, CatalogProblem> {
        let Some((object, _)) = self.path(path)? else {
            return Ok(None);
        };
        self.changed.path(path);
        let key = path_key(path);
        self.delete(&Key::Path(key))?;
        self.delete(&Key::Reference(object, key))?;
        Ok(Some(object))
    }

    /// The paths that lead to an object, in order.
    pub(crate) fn paths_of(&self, object: &ObjectId) -> Result<Vec<PathEntry>, CatalogProblem> {
        let start = Encoder::default()
            .u8(prefix::REFERENCE)
            .bytes(&object.0)
            .0
            .clone();
        let mut paths = Vec::new();
        for key in self.keys(&start)? {
            let Key::Reference(_, path) = key else {
                continue;
            };
            let found = self.read(&Key::Path(path), decode_path)?;
            let (_, entry) = found.filter(|(of, _)| of == object).ok_or_else(|| {
                CatalogProblem::corrupt(
                    &self.catalog.folder,
                    format!("a path of object {object} is missing"),
                )
            })?;
            paths.push(entry);
        }
        paths.sort_unstable();
        Ok(paths)
    }

    pub(crate) fn put_doomed(&mut self, doomed: &DoomedRecord) -> Result<(), CatalogProblem> {
        for copy in &doomed.record.copies {
            self.write(&Key::Doomed(doomed.record.object, copy.placed), |out| {
                doomed.encode(out)
            })?;
        }
        Ok(())
    }

    pub(crate) fn delete_doomed(
        &mut self,
        object: &ObjectId,
        placed: u64,
    ) -> Result<(), CatalogProblem> {
        self.delete(&Key::Doomed(*object, placed))
    }

    pub(crate) fn doomed(&self) -> Result<Vec<DoomedRecord>, CatalogProblem> {
        self.doomed_at(&[prefix::DOOMED])
    }

    pub(crate) fn doomed_of(&self, object: &ObjectId) -> Result<Vec<DoomedRecord>, CatalogProblem> {
        self.doomed_at(&Encoder::default().u8(prefix::DOOMED).bytes(&object.0).0)
    }

    fn doomed_at(&self, start: &[u8]) -> Result<Vec<DoomedRecord>, CatalogProblem> {
        let keys = self.keys(start)?;
        let records = keys.iter().map(|key| self.read(key, DoomedRecord::decode));
        records.filter_map(Result::transpose).collect()
    }

    pub(crate) fn set_pending(&mut self, object: &ObjectId) -> Result<(), CatalogProblem> {
        self.write(&Key::Pending(*object), |_| ())
    }

    pub(crate) fn clear_pending(&mut self, object: &ObjectId) -> Result<(), CatalogProblem> {
        self.delete(&Key::Pending(*object))
    }

    pub(crate) fn pending(&self) -> Result<Vec<ObjectId>, CatalogProblem> {
        let keys = self.keys(&[prefix::PENDING])?;
        Ok(keys
            .into_iter()
            .filter_map(|key| {
                if let Key::Pending(object) = key {
                    Some(object)
                } else {
                    None
                }
            })
            .collect())
    }

    /// Makes it durable. What changes what is published raises the generation, unless nobody reads this catalog yet.
    pub(crate) fn commit(mut self) -> Result<(), CatalogProblem> {
        if let Some(generation) = self.raised {
            self.log_changes(generation)?;
        }
        self.transaction
            .commit()
            .map_err(|error| self.catalog.problem(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_format(folder: &Path, format: u32) {
        let catalog = Catalog::open_or_create(folder, Generation(1)).unwrap();
        let mut edit = catalog.edit().unwrap();
        edit.write(&Key::Format, |out| {
            out.u32(format);
        })
        .unwrap();
        edit.commit().unwrap();
    }

    fn format(catalog: &Catalog) -> Option<u32> {
        let edit = catalog.edit().unwrap();
        format_of(edit.environment, &edit.transaction, &catalog.folder).unwrap()
    }

    #[test]
    fn the_format_before_is_read_and_becomes_this_one_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        with_format(folder.path(), CATALOG_FORMAT - 1);
        let read = Catalog::open(folder.path()).unwrap();
        assert_eq!(format(&read), Some(CATALOG_FORMAT - 1));
        let written = Catalog::open_or_create(folder.path(), Generation(1)).unwrap();
        assert_eq!(format(&written), Some(CATALOG_FORMAT));
        assert_eq!(written.edit().unwrap().generation().unwrap(), Generation(1));
    }

    #[test]
    fn a_newer_format_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        with_format(folder.path(), CATALOG_FORMAT + 1);
        for refused in [
            Catalog::open(folder.path()).err().unwrap(),
            Catalog::open_or_create(folder.path(), Generation(1))
                .err()
                .unwrap(),
        ] {
            assert!(matches!(refused, CatalogProblem::NewerFormat { .. }));
            assert!(refused.to_string().contains("`ocactl catalog rebuild`"));
        }
    }
}
