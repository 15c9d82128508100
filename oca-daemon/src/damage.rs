//! Columns that could not be used, on their way to the fill agent, which alone writes the catalog.
//!
//! ```text
//! device service finds it -> Damage::found -> queue -> tell -> the agent's socket, until it has answered
//! ```
//! What is certainly bad is not read any more from the moment on that it was found, whatever the agent does. A read that the device
//! refused is the agent's to judge: it looks at the column itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use content_store::{Index, ObjectId};
use crossbeam_queue::ArrayQueue;
use platform::stored_file::StoredFile;
use protocol::fill::{DamagedColumn, Request, Response};
use protocol::limits::{DAMAGED_MAX, LINE_MAX_BYTES};
use protocol::operator;
use protocol::root::Root;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::limits::{AGENT_WAIT, DAMAGE_EVERY, DAMAGE_QUEUE, DAMAGE_WAITING};
use crate::shared::Shared;

/// What was found and nobody has taken yet.
#[derive(Debug)]
pub struct Damage {
    queue: ArrayQueue<Found>,
    /// The queue was full: what is bad is looked for in the index.
    overflowed: AtomicBool,
    /// Files that were found bad since the start.
    pub bad: AtomicU64,
    /// Of them and of refused reads, what the agent has answered.
    pub told: AtomicU64,
}

#[derive(Debug)]
struct Found {
    column: Place,
    certain: bool,
}

/// A column: its object, and the number of its device.
type Place = (ObjectId, usize);

impl Default for Damage {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(DAMAGE_QUEUE),
            overflowed: AtomicBool::new(false),
            bad: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }
}

impl Damage {
    /// A block is not what was written; the file is not read any more. For service threads: blocks for nothing.
    pub fn found_bad(&self, file: &StoredFile) {
        self.bad.fetch_add(1, Relaxed);
        self.found(file, true);
    }

    /// A file could not be opened, or not be read. If its checksums are not what was written, it is not read any more.
    pub fn found_error(&self, file: &StoredFile, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::InvalidData => {
                if file.mark_bad() {
                    tracing::error!(file = %file.path().display(), %error, "its sidecar cannot be used; the file is no longer used");
                    self.found_bad(file);
                }
            }
            _ => self.found(file, false),
        }
    }

    fn found(&self, file: &StoredFile, certain: bool) {
        let Some(object) = object_of(file.path()) else {
            return;
        };
        let column = (object, file.device());
        if self.queue.push(Found { column, certain }).is_err() && certain {
            self.overflowed.store(true, Relaxed);
        }
    }

    /// Takes what was found into `waiting`: whether it is certain, by column.
    fn take(&self, waiting: &mut BTreeMap<Place, bool>, index: &Index) {
        while let Some(Found { column, certain }) = self.queue.pop() {
            *waiting.entry(column).or_default() |= certain;
        }
        if self.overflowed.swap(false, Relaxed) {
            waiting.extend(bad_columns(index).map(|column| (column, true)));
        }
        while waiting.len() > DAMAGE_WAITING {
            waiting.pop_last();
            self.overflowed.store(true, Relaxed);
        }
    }
}

fn object_of(column: &Path) -> Option<ObjectId> {
    column.file_stem()?.to_str()?.parse().ok()
}

/// The columns of the index that are not read any more. About 50 ns for each object.
fn bad_columns(index: &Index) -> impl Iterator<Item = Place> {
    index.objects().flat_map(|object| {
        let bad = object.columns().filter(|column| column.is_bad());
        bad.filter_map(|column| Some((object.id, column.device()?)))
    })
}

/// Tells the agent until the future is dropped.
pub async fn tell(shared: Arc<Shared>) {
    let mut waiting = BTreeMap::new();
    let mut every = interval(DAMAGE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let index = shared.index.load_full();
        shared.damage.take(&mut waiting, &index);
        waiting.retain(|place, certain| is_news(&index, *place, *certain));
        let told: Vec<Place> = waiting.keys().take(DAMAGED_MAX).copied().collect();
        if told.is_empty() {
            continue;
        }
        let columns = told.iter().filter_map(|place| {
            let device = shared.identities.id(place.1)?;
            Some(DamagedColumn {
                object: Root(place.0.0),
                device: device.to_string(),
                seen: index.generation().0,
                certain: waiting[place],
            })
        });
        let socket = shared.config.load().fill_socket();
        match timeout(AGENT_WAIT, ask(&socket, columns.collect())).await {
            Ok(Ok(())) => {
                shared.damage.told.fetch_add(told.len() as u64, Relaxed);
                waiting.retain(|place, _| !told.contains(place));
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, columns = told.len(), "the agent was not told of damage")
            }
            Err(_) => tracing::debug!("the agent does not answer"),
        }
    }
}

/// Whether the column is still served, as the file that was found.
fn is_news(index: &Index, (object, number): Place, certain: bool) -> bool {
    let Some(object) = index.object(&object) else {
        return false;
    };
    let mut columns = object.columns();
    columns.any(|column| column.device() == Some(number) && (column.is_bad() || !certain))
}

async fn ask(socket: &Path, columns: Vec<DamagedColumn>) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = Request::Damaged { columns };
    stream.write_all(&operator::encode(&request)).await?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(LINE_MAX_BYTES as u64);
    reader.read_until(b'\n', &mut line).await?;
    match operator::decode(&line).map_err(io::Error::other)? {
        Response::Noted => Ok(()),
        Response::Refused(refusal) => Err(io::Error::other(refusal)),
        _ => Err(io::Error::other("another answer than was asked for")),
    }
}
