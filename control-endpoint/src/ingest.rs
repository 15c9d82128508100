//! `oca-control ingest`: `Candidate -> Source -> Stored -> Registration`, in batches.
//!
//! A file is registered where it lies, or copied. One that is not the same after it was read as before is not registered. A batch
//! is one commit, so a process that is killed leaves whole batches; what is registered already is not read again.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use content_store::chunk_tree::{self, ChunkTree};
use content_store::intake::{self, Candidate, Source};
use protocol::manifest::check_path;
use protocol::media_type;
use protocol::root::Root;

use crate::database::objects::Registration;
use crate::database::{Database, now};
use crate::error::Usage;
use crate::limits::{BATCH_FILES, BATCH_TIME, PIECE_BYTES, URGENT_S};
use crate::own_copy::OwnCopy;
use crate::progress::Progress;

/// What was typed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// A folder, or one file.
    pub dir: PathBuf,
    /// Put before the paths.
    pub prefix: String,
    /// What is expected of the files.
    pub expectation: Expectation,
    /// Copy instead of registering in place.
    pub copy: bool,
    /// Publish also what was taken down.
    pub lift_takedown: bool,
}

/// What is expected of something new.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// Bytes a day; `None`: one viewer a day sees all of it.
    pub demand: Option<u64>,
    /// Fetched outside the window too, for a day.
    pub urgent: bool,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Paths that were registered.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths that were registered with the same file already.
    pub unchanged: u64,
    /// Names that begin with a dot.
    pub hidden: u64,
    /// What was taken down before, and was left out.
    pub taken_down: u64,
    /// What was not registered, and was said.
    pub skipped: u64,
}

/// Bytes that were read, and where they are.
pub(crate) struct Stored {
    pub(crate) tree: ChunkTree,
    pub(crate) file: PathBuf,
    pub(crate) owned: bool,
    pub(crate) mtime_ns: i64,
    /// Of the file that was read; `None`: unknown.
    pub(crate) modified: Option<u64>,
}

/// Registers all files.
///
/// # Errors
/// When the folder cannot be read, or the database does not take them. A file that cannot be taken is said and counted.
pub async fn run(database: &Database, wanted: &Wanted) -> Result<Ingested> {
    let prefix = intake::url_prefix(&wanted.prefix).map_err(|bad| Usage(bad.to_string()))?;
    let found = intake::find(&wanted.dir, &prefix)
        .with_context(|| format!("cannot ingest {}", wanted.dir.display()))?;
    let total = found.files.iter().map(|file| file.length).sum();
    let mut ingest = Ingest {
        database,
        wanted,
        progress: Progress::new(total),
        batch: Vec::new(),
        since: Instant::now(),
        report: Ingested {
            hidden: found.hidden,
            ..Ingested::default()
        },
    };
    for skipped in &found.skipped {
        ingest.skip(&skipped.file, &skipped.reason);
    }
    let mut position = 0;
    for candidate in &found.files {
        ingest.take(candidate).await?;
        position += candidate.length;
        ingest.progress.jump_to(position);
    }
    ingest.publish().await?;
    Ok(ingest.report)
}

struct Ingest<'i> {
    database: &'i Database,
    wanted: &'i Wanted,
    progress: Progress,
    batch: Vec<Registration>,
    since: Instant,
    report: Ingested,
}

impl Ingest<'_> {
    async fn take(&mut self, candidate: &Candidate) -> Result<()> {
        let source = match check_path(&candidate.path)
            .map_err(|error| error.to_string())
            .and_then(|()| Source::open(&candidate.file))
        {
            Ok(source) => source,
            Err(reason) => {
                self.skip(&candidate.file, &reason);
                return Ok(());
            }
        };
        if self.is_unchanged(candidate, &source).await? {
            self.report.unchanged += 1;
            return Ok(());
        }
        match self.read(candidate, source)? {
            Ok(stored) if self.is_taken_down(candidate, &stored).await? => {
                let file = candidate.file.display();
                self.progress.say(&format!(
                    "left out {file}: was taken down; --lift-takedown publishes it again"
                ));
                self.report.taken_down += 1;
            }
            Ok(stored) => {
                self.report.files += 1;
                self.report.bytes += stored.tree.size();
                self.batch.push(registration(
                    candidate.path.clone(),
                    stored,
                    now(),
                    &self.wanted.expectation,
                ));
            }
            Err(reason) => self.skip(&candidate.file, &reason),
        }
        if self.batch.len() >= BATCH_FILES || self.since.elapsed() >= BATCH_TIME {
            self.publish().await?;
        }
        Ok(())
    }

    async fn is_taken_down(&self, candidate: &Candidate, stored: &Stored) -> Result<bool> {
        if self.wanted.lift_takedown {
            return Ok(false);
        }
        let root = Root(stored.tree.object().0);
        let at = self.database.taken_down_at(&candidate.path, root).await?;
        Ok(at.is_some())
    }

    /// Registered with this very file: what is expected of it may still be new.
    async fn is_unchanged(&self, candidate: &Candidate, source: &Source) -> Result<bool> {
        let (size, mtime_ns) = source.marks();
        let path = &candidate.path;
        let same = !self.wanted.copy
            && self
                .database
                .is_registered(path, &candidate.file, size, mtime_ns)
                .await?;
        let expectation = &self.wanted.expectation;
        if same && (expectation.demand.is_some() || expectation.urgent) {
            let now = now();
            self.database
                .expect_of(
                    path,
                    expectation.demand,
                    urgent_until(expectation, now),
                    now,
                )
                .await?;
        }
        Ok(same)
    }

    /// The inner error is the file's fault: the next one may do.
    fn read(&self, candidate: &Candidate, mut source: Source) -> Result<Result<Stored, String>> {
        self.progress.name(&candidate.file);
        let counter = self.progress.counter();
        let bytes = match source.rewound() {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(format!("cannot be read: {error}"))),
        };
        let (tree, copy) = if self.wanted.copy {
            let mut copy = OwnCopy::begin(self.database.state_dir())?;
            match copy_from(bytes, &mut copy, counter)? {
                Ok(()) => (None, Some(copy)),
                Err(reason) => return Ok(Err(reason)),
            }
        } else {
            match chunk_tree::hash_reader(bytes, counter) {
                Ok(tree) => (Some(tree), None),
                Err(error) => return Ok(Err(format!("cannot be read: {error}"))),
            }
        };
        let size = tree
            .as_ref()
            .map_or_else(|| copy.as_ref().map_or(0, OwnCopy::size), ChunkTree::size);
        if let Err(reason) = source.check_unchanged(size) {
            return Ok(Err(reason));
        }
        let modified = Some(source.modified_s());
        Ok(Ok(match (tree, copy) {
            (_, Some(copy)) => Stored {
                modified,
                ..copy.finish()?
            },
            (Some(tree), None) => Stored {
                tree,
                file: candidate.file.clone(),
                owned: false,
                mtime_ns: source.marks().1,
                modified,
            },
            (None, None) => return Ok(Err("was not read".to_owned())),
        }))
    }

    fn skip(&mut self, file: &Path, reason: &str) {
        self.progress
            .say(&format!("skipped {}: {reason}", file.display()));
        self.report.skipped += 1;
    }

    async fn publish(&mut self) -> Result<()> {
        self.since = Instant::now();
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.database.register(&batch).await
    }
}

/// The outer error is ours, the inner one the source's.
fn copy_from(
    mut source: impl Read,
    copy: &mut OwnCopy,
    progress: impl Fn(u64),
) -> Result<Result<(), String>> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(length) => copy.write(&buffer[..length])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(format!("cannot be read: {error}"))),
        }
        progress(copy.size());
    }
}

pub(crate) fn registration(
    path: String,
    stored: Stored,
    now: u64,
    expectation: &Expectation,
) -> Registration {
    let media_type = media_type::of(&path);
    let size = stored.tree.size();
    let groups = stored.tree.groups();
    Registration {
        root: Root(stored.tree.object().0),
        size,
        tree: if groups.len() == 1 {
            Vec::new()
        } else {
            groups.concat()
        },
        file: stored.file,
        owned: stored.owned,
        mtime_ns: stored.mtime_ns,
        content_type: media_type.content_type.to_owned(),
        cache_control: media_type.cache_control.to_owned(),
        modified: stored.modified.unwrap_or(now),
        demand: expectation.demand.unwrap_or(size),
        published: now,
        urgent_until: urgent_until(expectation, now),
        path,
    }
}

fn urgent_until(expectation: &Expectation, now: u64) -> u64 {
    if expectation.urgent {
        now + URGENT_S
    } else {
        0
    }
}

impl std::fmt::Display for Ingested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = indicatif::BinaryBytes(self.bytes);
        write!(f, "registered {}, {bytes}", count(self.files, "file"))?;
        for (words, number, thing, remark) in [
            ("unchanged ", self.unchanged, "file", ""),
            ("skipped   ", self.skipped, "file", ", named above"),
            (
                "left out  ",
                self.taken_down,
                "file",
                ", taken down before, named above",
            ),
            ("left out  ", self.hidden, "name", " with a dot in front"),
        ] {
            if number > 0 {
                write!(f, "\n{words} {}{remark}", count(number, thing))?;
            }
        }
        Ok(())
    }
}

/// "1 file", "2 files".
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
