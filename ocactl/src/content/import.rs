//! `ocactl content import`: `Candidate -> Source -> ChunkTree -> Sealed -> Publication`, in batches.
//!
//! Each file is read twice: once to know its name (the BLAKE3 root decides on which devices it lies), once to write it.
//! A file that is not the same both times is not published. A batch is published by one commit, so a process that is killed
//! leaves whole batches and nothing else.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use content_store::chunk_tree::{self, ChunkTree};
use content_store::intake::{self, Candidate, Skipped, Source};
use content_store::{
    Content, Fault, Generation, NewPath, ObjectId, PathEntry, Publication, Stage, Store, StoreError,
};
use protocol::config::{Config, Tier, TierRole};
use protocol::media_type;
use serde::Serialize;

use super::settle;
use crate::device::named_tier;
use crate::error::{Failure, Outcome};
use crate::limits::{BATCH_OBJECTS, BATCH_TIME};
use crate::output::{self, Format, Report, bytes, count};
use crate::progress::Progress;
use crate::store;

/// What was typed.
pub(super) struct Wanted {
    pub(super) dir: PathBuf,
    pub(super) prefix: String,
    pub(super) tier: Option<String>,
}

/// Publishes all files.
pub(super) fn run(config: &Config, format: Format, wanted: &Wanted) -> Result<Outcome, Failure> {
    let prefix = intake::url_prefix(&wanted.prefix).map_err(Failure::usage)?;
    let tier = match &wanted.tier {
        Some(name) => named_tier(config, name)?,
        None => first_tier(config),
    };
    let found = intake::find(&wanted.dir, &prefix).map_err(|error| {
        Failure::failed(format!("{}: cannot import: {error}", wanted.dir.display()))
    })?;
    let published = store::snapshot_or_empty(config)?.paths;
    let published = published
        .into_iter()
        .map(|(object, entry)| (entry.path.clone(), (object, entry)));
    let total: u64 = found.files.iter().map(|file| 2 * file.length).sum();
    let mut import = Import {
        store: store::open(config)?,
        tier: &tier.name,
        published: published.collect(),
        progress: Progress::new(total),
        batch: Batch::default(),
        report: Imported {
            hidden: found.hidden,
            ..Imported::default()
        },
    };
    found
        .skipped
        .into_iter()
        .for_each(|skipped| import.skip(skipped));
    let ended = import.all(&found.files);
    import.conclude(config, format, ended)
}

/// The first tier of role `hot`, else the first one.
fn first_tier(config: &Config) -> &Tier {
    let hot = config.tiers.iter().find(|tier| tier.role == TierRole::Hot);
    hot.unwrap_or_else(|| {
        config
            .tiers
            .first()
            .expect("a configuration has at least one tier")
    })
}

struct Import<'c> {
    store: Store,
    tier: &'c str,
    published: HashMap<Box<str>, (ObjectId, PathEntry)>,
    progress: Progress,
    batch: Batch,
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

#[derive(Default, Serialize)]
struct Imported {
    /// The catalog's state with all of it; `None` if nothing was new.
    generation: Option<u64>,
    /// Paths that were set.
    published: u64,
    /// Their bytes.
    bytes: u64,
    /// How many of them have bytes that were stored before, wherever that is.
    stored_before: u64,
    /// Paths that led to the same bytes already.
    unchanged: u64,
    /// Names that begin with a dot.
    hidden: u64,
    /// What was not published.
    skipped: Vec<Skipped>,
    /// Whether the daemon serves it now.
    served: bool,
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
        let mut position = 0;
        for candidate in files {
            position += 2 * candidate.length;
            match self.take(candidate) {
                Ok(()) => {}
                Err(Refused::Skip(reason)) => self.skip(Skipped {
                    file: candidate.file.clone(),
                    reason,
                }),
                Err(Refused::Stop(error)) => {
                    return Err(Failure::failed(format!(
                        "{}: {error}",
                        candidate.file.display()
                    )));
                }
            }
            self.progress.jump_to(position);
            if self.batch.is_due() {
                self.publish()?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, skipped: Skipped) {
        let (file, reason) = (skipped.file.display(), &skipped.reason);
        self.progress.say(&format!("skipped {file}: {reason}"));
        self.report.skipped.push(skipped);
    }

    fn take(&mut self, candidate: &Candidate) -> Result<(), Refused> {
        let mut source = Source::open(&candidate.file).map_err(Refused::Skip)?;
        let tree = self.hash(candidate, &mut source)?;
        let path = new_path(candidate, &source)?;
        if self.is_published(&path, &tree)? {
            self.report.unchanged += 1;
            return Ok(());
        }
        let (object, size) = (tree.object(), tree.size());
        let content = self.content(candidate, &mut source, tree)?;
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

    fn hash(&self, candidate: &Candidate, source: &mut Source) -> Result<ChunkTree, Refused> {
        let unreadable = |error: std::io::Error| Refused::Skip(format!("cannot be read: {error}"));
        self.progress.name("hashing", &candidate.file);
        let tree = chunk_tree::hash_reader(
            source.rewound().map_err(unreadable)?,
            self.progress.counter(),
        );
        let tree = tree.map_err(unreadable)?;
        source.check_unchanged(tree.size()).map_err(Refused::Skip)?;
        Ok(tree)
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
        self.progress.name("writing", &candidate.file);
        let bytes = source
            .rewound()
            .map_err(|error| Refused::Skip(format!("cannot be read: {error}")))?;
        staging.copy_from(bytes, self.progress.counter())?;
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
        Ok(())
    }

    /// Publishes the rest, also after a failure; tells the daemon; says what was done.
    fn conclude(
        mut self,
        config: &Config,
        format: Format,
        ended: Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let ended = self.publish().and(ended);
        drop(self.progress);
        // Also when nothing was new: an import that was killed after its commit has left what it replaced.
        let generation = match self.report.generation {
            Some(generation) => Generation(generation),
            None => self.store.generation()?,
        };
        let settled = settle(config, &mut self.store, generation)?;
        self.report.served = settled.served;
        output::print(format, &self.report)?;
        if let Some(problem) = settled.problem {
            eprintln!("ocactl: the content is published, but {problem}");
            return ended.map(|()| Outcome::Partly);
        }
        ended.map(|()| {
            if self.report.skipped.is_empty() {
                Outcome::Done
            } else {
                Outcome::Partly
            }
        })
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

impl Report for Imported {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "published {}, {}",
            count(self.published, "file"),
            bytes(self.bytes)
        )];
        if self.stored_before > 0 {
            lines.push(format!(
                "          {} of them with bytes that are stored already",
                self.stored_before
            ));
        }
        if self.unchanged > 0 {
            lines.push(format!("unchanged {}", count(self.unchanged, "file")));
        }
        if !self.skipped.is_empty() {
            lines.push(format!(
                "skipped   {}, named above",
                count(self.skipped.len() as u64, "file")
            ));
        }
        if self.hidden > 0 {
            lines.push(format!(
                "left out  {} with a dot in front",
                count(self.hidden, "name")
            ));
        }
        if self.generation.is_some() && !self.served {
            lines.push("The daemon is not running: it will serve this when it starts.".to_owned());
        }
        lines.join("\n")
    }
}
