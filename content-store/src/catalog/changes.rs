//! What each of the last commits changed of what is published: who knows the generation before reads no more than that.
//!
//! The log is short and bounded ([`LOGGED_GENERATIONS`], [`MAX_LOGGED_BYTES`]). Who is further behind, or asks for a commit that
//! changed too much, reads everything.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::Path;

use heed::{AnyTls, RoTxn};

use super::environment::Environment;
use super::reader::damaged;
use super::record::{decode_path, prefix, unseal};
use super::writer::{generation_of, read_record};
use super::{CatalogProblem, CatalogReader, Edit, Key, ObjectRecord};
use crate::codec::{Decoder, Encoder, Malformed};
use crate::entry::PathEntry;
use crate::ids::{Generation, ObjectId};
use crate::limits::{LOGGED_GENERATIONS, MAX_CHANGES_READ, MAX_LOGGED_BYTES, MAX_PATH_BYTES};

/// What is published otherwise than in an earlier generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// The generation that all this is of.
    pub generation: Generation,
    /// Objects that came, changed, or went: `None`.
    pub objects: BTreeMap<ObjectId, Option<ObjectRecord>>,
    /// Paths likewise; also those that lead to one of `objects` and are as they were.
    pub paths: BTreeMap<Box<str>, Option<(ObjectId, PathEntry)>>,
}

/// What one edit has changed so far.
#[derive(Default)]
pub(super) struct Changed {
    objects: BTreeSet<ObjectId>,
    paths: BTreeSet<Box<str>>,
    /// Of the record.
    bytes: usize,
}

impl Changed {
    pub(super) fn object(&mut self, object: &ObjectId) {
        if self.fits() && self.objects.insert(*object) {
            self.bytes += object.0.len();
        }
    }

    pub(super) fn path(&mut self, path: &str) {
        if self.fits() && self.paths.insert(path.into()) {
            self.bytes += 2 + path.len();
        }
    }

    /// Whether it can be logged; otherwise it is not all that was changed.
    fn fits(&self) -> bool {
        self.bytes <= MAX_LOGGED_BYTES
    }

    fn encode(&self, out: &mut Encoder) {
        out.u32(self.objects.len() as u32);
        for object in &self.objects {
            out.bytes(&object.0);
        }
        out.u32(self.paths.len() as u32);
        for path in &self.paths {
            out.text(path);
        }
    }

    /// Adds what a record says.
    pub(super) fn decode(&mut self, from: &mut Decoder<'_>) -> Result<(), Malformed> {
        for _ in 0..from.u32()? {
            self.objects.insert(from.object()?);
        }
        for _ in 0..from.u32()? {
            self.paths.insert(from.text(MAX_PATH_BYTES)?.into());
        }
        Ok(())
    }
}

impl Edit<'_> {
    /// Logs what this edit changed as what came with `generation`, and forgets the oldest. What is too large is not logged, and what
    /// stands before a gap is of use to nobody.
    pub(super) fn log_changes(&mut self, generation: Generation) -> Result<(), CatalogProblem> {
        let changed = mem::take(&mut self.changed);
        let earlier = |by| Key::Changes(Generation(generation.0.saturating_sub(by)));
        if changed.fits() && self.read(&earlier(1), |_| Ok(()))?.is_some() {
            self.delete(&earlier(LOGGED_GENERATIONS))?;
        } else {
            for key in self.keys(&[prefix::CHANGES])? {
                self.delete(&key)?;
            }
        }
        if changed.fits() {
            self.write(&Key::Changes(generation), |out| changed.encode(out))?;
        }
        Ok(())
    }
}

impl CatalogReader {
    /// What is published otherwise than in generation `before`; `None` if the log does not say all of it: then
    /// [`published`](Self::published) does.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn changes_since(&mut self, before: Generation) -> Result<Option<Changes>, CatalogProblem> {
        self.read(|environment, folder| {
            let transaction = environment
                .env
                .read_txn()
                .map_err(|error| CatalogProblem::heed(folder, error))?;
            let log = Log {
                environment,
                transaction: &transaction,
                folder,
            };
            log.changes_since(before)
        })
    }
}

/// The catalog in one transaction.
struct Log<'a> {
    environment: &'a Environment,
    transaction: &'a RoTxn<'a, AnyTls>,
    folder: &'a Path,
}

impl Log<'_> {
    fn changes_since(&self, before: Generation) -> Result<Option<Changes>, CatalogProblem> {
        let generation = generation_of(self.environment, self.transaction, self.folder)?;
        let Some(changed) = self.changed(before, generation)? else {
            return Ok(None);
        };
        let mut changes = Changes {
            generation,
            ..Changes::default()
        };
        for path in changed.paths {
            let leads_to = self.read(&Key::Path(super::path_key(&path)), decode_path)?;
            changes.paths.insert(path, leads_to);
        }
        for object in changed.objects {
            let record = self.read(&Key::Object(object), ObjectRecord::decode)?;
            changes.objects.insert(object, record);
            for (of, entry) in self.paths_of(&object)? {
                changes.paths.insert(entry.path.clone(), Some((of, entry)));
            }
            if changes.paths.len() > MAX_CHANGES_READ {
                return Ok(None);
            }
        }
        Ok(Some(changes))
    }

    /// What the log names of the generations after `before` up to `last`; `None` if one is missing or there are too many.
    fn changed(
        &self,
        before: Generation,
        last: Generation,
    ) -> Result<Option<Changed>, CatalogProblem> {
        if before > last || last.0 - before.0 > LOGGED_GENERATIONS {
            return Ok(None);
        }
        let mut changed = Changed::default();
        for generation in before.0 + 1..=last.0 {
            let key = Key::Changes(Generation(generation));
            let logged = self.read(&key, |from| changed.decode(from))?;
            if logged.is_none() || changed.objects.len() + changed.paths.len() > MAX_CHANGES_READ {
                return Ok(None);
            }
        }
        Ok(Some(changed))
    }

    fn paths_of(&self, object: &ObjectId) -> Result<Vec<(ObjectId, PathEntry)>, CatalogProblem> {
        let problem = |error| CatalogProblem::heed(self.folder, error);
        let start = [&[prefix::REFERENCE], &object.0[..]].concat();
        let references = self.environment.database;
        let references = references.prefix_iter(self.transaction, &start);
        let mut paths = Vec::new();
        for reference in references.map_err(problem)? {
            let (key, value) = reference.map_err(problem)?;
            let parsed = unseal(key, value).ok_or(Malformed::Contradiction);
            let parsed = parsed.and_then(|_| Key::parse(key));
            if let Key::Reference(_, path) =
                parsed.map_err(|cause| damaged(self.folder, key, cause))?
            {
                paths.extend(self.read(&Key::Path(path), decode_path)?);
            }
        }
        Ok(paths)
    }

    fn read<T>(
        &self,
        key: &Key,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, CatalogProblem> {
        read_record(self.environment, self.transaction, self.folder, key, read)
    }
}
