//! `ocactl content import`: `Candidate -> Source -> ChunkTree -> Sealed -> Publication`, in batches.
//!
//! Each file is read twice: once to know its name (the BLAKE3 root decides on which devices it lies), once to write it.
//! A file that is not the same both times is not published. A batch is published by one commit, so a process that is killed
//! leaves whole batches and nothing else.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use content_store::chunk_tree::{self, ChunkTree};
use content_store::intake::{Candidate, Found, Skipped, Source};
use content_store::{
    Content, Fault, NewPath, ObjectId, PathEntry, Publication, Stage, Store, StoreError,
};
use protocol::config::Config;
use protocol::media_type;

use super::super::settle;
use super::{Imported, Said};
use crate::error::{Failure, Outcome};
use crate::limits::{BATCH_OBJECTS, BATCH_TIME};
use crate::store;
use crate::watched;

/// In a child: publishes the files whose paths come after this one.
pub(super) fn publish(
    config: &Config,
    tier: &str,
    found: Found,
    after: &str,
) -> Result<Outcome, Failure> {
    let published = store::snapshot_or_empty(config)?.paths;
    let published = published
        .into_iter()
        .map(|(object, entry)| (entry.path.clone(), (object, entry)));
    let mut import = Import {
        store: store::open(config)?,
        tier,
        published: published.collect(),
        after: after.to_owned(),
        batch: Batch::default(),
        report: Imported::default(),
    };
    if after.is_empty() {
        watched::say(&Said::All(found.files.iter().map(to_read).sum()))?;
        import.report.hidden = found.hidden;
        found
            .skipped
            .into_iter()
            .try_for_each(|skipped| import.skip(skipped))?;
    }
    let ended = import.all(&found.files);
    import.conclude(config, ended)
}

/// A file is read twice.
fn to_read(candidate: &Candidate) -> u64 {
    2 * candidate.length
}

struct Import<'c> {
    store: Store,
    tier: &'c str,
    published: HashMap<Box<str>, (ObjectId, PathEntry)>,
    /// The path of the last file that is done with.
    after: String,
    batch: Batch,
    /// Since it was said last.
    report: Imported,
}

/// What waits for the next commit.
#[derive(Default)]
struct Batch {
    publications: Vec<Publication>,
    objects: HashSet<ObjectId>,
    bytes: u64,
    since: Option<Instant>,
}

/// Why a file was not taken.
enum Refused {
    /// The file's fault: the next one may do.
    Skip(String),
    /// Anything else: to go on makes no sense.
    Stop(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error.fault() {
            Fault::Source => Self::Skip("has changed while it was read".to_owned()),
            Fault::Operator | Fault::Disk => Self::Stop(error),
        }
    }
}

impl Import<'_> {
    fn all(&mut self, files: &[Candidate]) -> Result<(), Failure> {
        let mut end = 0;
        for candidate in files {
            let begin = end;
            end += to_read(candidate);
            if candidate.path <= self.after {
                continue;
            }
            match self.take(candidate, begin) {
                Ok(()) => {}
                Err(Refused::Skip(reason)) => self.skip(Skipped {
                    file: candidate.file.clone(),
                    reason,
                })?,
                Err(Refused::Stop(error)) => {
                    return Err(Failure::failed(format!(
                        "{}: {error}",
                        candidate.file.display()
                    )));
                }
            }
            self.after.clone_from(&candidate.path);
            watched::say(&Said::At(end))?;
            if self.batch.is_due() {
                self.publish()?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, skipped: Skipped) -> Result<(), Failure> {
        let skipped = Skipped {
            file: watched::sayable(&skipped.file),
            ..skipped
        };
        watched::say(&Said::Skips(skipped.clone()))?;
        self.report.skipped.push(skipped);
        Ok(())
    }

    /// `begin` is the number of bytes that were to be read before.
    fn take(&mut self, candidate: &Candidate, begin: u64) -> Result<(), Refused> {
        let mut source = Source::open(&candidate.file).map_err(Refused::Skip)?;
        let tree = hash(candidate, &mut source, counter(begin))?;
        let path = new_path(candidate, &source)?;
        if self.is_published(&path, &tree)? {
            self.report.unchanged += 1;
            return Ok(());
        }
        let (object, size) = (tree.object(), tree.size());
        let content = self.content(candidate, &mut source, tree, begin + size)?;
        source.check_unchanged(size).map_err(Refused::Skip)?;
        self.batch.push(
            object,
            size,
            Publication {
                content,
                paths: vec![path],
            },
        );
        Ok(())
    }

    /// Whether the path leads to these bytes already, with the same words in its head.
    fn is_published(&self, path: &NewPath, tree: &ChunkTree) -> Result<bool, Refused> {
        let Some((object, entry)) = self.published.get(&path.path) else {
            return Ok(false);
        };
        let same = *object == tree.object()
            && entry.content_type == path.content_type
            && entry.cache_control == path.cache_control;
        Ok(same && self.store.is_stored(object)?)
    }

    fn content(
        &mut self,
        candidate: &Candidate,
        source: &mut Source,
        tree: ChunkTree,
        begin: u64,
    ) -> Result<Content, Refused> {
        if self.batch.objects.contains(&tree.object()) {
            self.report.stored_before += 1;
            return Ok(Content::Stored(tree.object()));
        }
        let mut staging = match self.store.stage_anew(tree, self.tier)? {
            Stage::Stored(object) => {
                self.report.stored_before += 1;
                return Ok(Content::Stored(object));
            }
            Stage::Write(staging) => staging,
        };
        begins("writing", candidate);
        let bytes = source
            .rewound()
            .map_err(|error| Refused::Skip(format!("cannot be read: {error}")))?;
        staging.copy_from(bytes, counter(begin))?;
        Ok(Content::Sealed(staging.seal()?))
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        if batch.publications.is_empty() {
            return Ok(());
        }
        let paths = batch.publications.len() as u64;
        let generation = self.store.publish(batch.publications)?;
        self.report.generation = Some(generation.0);
        self.report.published += paths;
        self.report.bytes += batch.bytes;
        self.say()
    }

    /// What is done with and was not said yet.
    fn say(&mut self) -> Result<(), Failure> {
        let report = std::mem::take(&mut self.report);
        watched::say(&Said::Done(self.after.clone(), report))
    }

    /// Publishes the rest, also after a failure; tells the daemon; says what was done.
    fn conclude(mut self, config: &Config, ended: Result<(), Failure>) -> Result<Outcome, Failure> {
        let ended = self.publish().and(ended);
        self.say()?;
        // Also when nothing was new: an import that was killed after its commit has left what it replaced.
        let generation = self.store.generation()?;
        let settled = settle(config, &mut self.store, generation)?;
        self.report.served = settled.served;
        self.say()?;
        if let Some(problem) = settled.problem {
            eprintln!("ocactl: the content is published, but {problem}");
            return ended.map(|()| Outcome::Partly);
        }
        ended.map(|()| Outcome::Done)
    }
}

impl Batch {
    fn push(&mut self, object: ObjectId, size: u64, publication: Publication) {
        self.publications.push(publication);
        self.objects.insert(object);
        self.bytes += size;
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.publications.len() >= BATCH_OBJECTS
            || self
                .since
                .is_some_and(|since| since.elapsed() >= BATCH_TIME)
    }
}

fn hash(
    candidate: &Candidate,
    source: &mut Source,
    progress: impl FnMut(u64),
) -> Result<ChunkTree, Refused> {
    let unreadable = |error: std::io::Error| Refused::Skip(format!("cannot be read: {error}"));
    begins("hashing", candidate);
    let tree = chunk_tree::hash_reader(source.rewound().map_err(unreadable)?, progress);
    let tree = tree.map_err(unreadable)?;
    source.check_unchanged(tree.size()).map_err(Refused::Skip)?;
    Ok(tree)
}

/// Whether anybody hears of this and of what a [`counter`] counts is found out after the file.
fn begins(step: &str, candidate: &Candidate) {
    let _ = watched::say(&Said::Begins(step.to_owned(), candidate.path.clone()));
}

/// Takes what was done since `begin`.
fn counter(begin: u64) -> impl Fn(u64) {
    move |done| drop(watched::say(&Said::At(begin + done)))
}

/// The path and what its head says, checked here so that one bad name does not refuse a whole batch.
fn new_path(candidate: &Candidate, source: &Source) -> Result<NewPath, Refused> {
    let media_type = media_type::of(&candidate.path);
    let entry = PathEntry {
        path: candidate.path.as_str().into(),
        serial: 0,
        content_type: media_type.content_type.into(),
        cache_control: media_type.cache_control.into(),
        modified_s: source.modified_s(),
    };
    entry
        .check()
        .map_err(|bad| Refused::Skip(bad.to_string()))?;
    Ok(NewPath {
        path: entry.path,
        content_type: entry.content_type,
        cache_control: entry.cache_control,
        modified_s: entry.modified_s,
    })
}
