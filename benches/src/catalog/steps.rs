//! The same catalog loaded here, to see what each step costs.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use content_store::catalog::{CatalogReader, ObjectRecord};
use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::{DeviceId, Index, IndexDevice};

use super::stand::{Stand, entry};
use crate::load::Random;

/// Paths that are looked up.
const LOOKUPS: usize = 200_000;

/// Objects whose devices are those of all.
const DEVICES_LOOKED_FOR: usize = 1000;

/// Seconds, where nothing else is said.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Steps {
    /// Opening the catalog, which looks over all its pages.
    pub(super) open_s: f64,
    /// Copying all records.
    pub(super) read_s: f64,
    /// The first index: checking and decoding them.
    pub(super) build_s: f64,
    /// Reading what a commit of a full batch has changed.
    pub(super) changes_s: f64,
    /// The index that follows it.
    pub(super) follow_s: f64,
    /// Deletion of the index before.
    pub(super) drop_s: f64,
    /// To find a path somewhere in it, in nanoseconds.
    pub(super) lookup_ns: f64,
}

pub(super) fn take(stand: &Stand<'_>) -> Result<Steps> {
    let (reader, open_s) = timed(|| CatalogReader::open(&stand.state));
    let mut reader = reader?;
    let (published, read_s) = timed(|| reader.published());
    let published = published?;
    let devices = devices(&reader.objects_after(None, DEVICES_LOOKED_FOR)?.1);
    let (first, build_s) = timed(|| Index::build(&published, &devices, None));
    let first = first?.index;
    drop(published);
    let objects = first.object_count();

    stand.commit_batch()?;
    let (changes, changes_s) = timed(|| reader.changes_since(first.generation()));
    let changes = changes?.context("the log does not say what was committed")?;
    let (second, follow_s) = timed(|| first.changed(&changes));
    ensure!(second.fallen.is_empty(), "objects changed by themselves");
    let (index, drop_s) = timed(|| {
        drop(first);
        second.index
    });
    ensure!(
        index.object_count() == objects + MAX_BATCH_OBJECTS,
        "the batch is not there"
    );
    Ok(Steps {
        open_s,
        read_s,
        build_s,
        changes_s,
        follow_s,
        drop_s,
        lookup_ns: look_up(&index, objects as u32),
    })
}

fn timed<T>(step: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let done = step();
    (done, begun.elapsed().as_secs_f64())
}

/// All devices that these objects name, wherever they are: no file is opened.
fn devices(objects: &[ObjectRecord]) -> Vec<IndexDevice> {
    let copies = objects.iter().flat_map(|record| &record.copies);
    let ids: BTreeSet<_> = copies.flat_map(|copy| &copy.devices).collect();
    let device = |id: &DeviceId| IndexDevice {
        id: Some(*id),
        root: "/".into(),
    };
    ids.into_iter().map(device).collect()
}

fn look_up(index: &Index, objects: u32) -> f64 {
    let mut random = Random::new(1);
    let paths: Vec<_> = (0..LOOKUPS)
        .map(|_| entry((random.next() % u64::from(objects)) as u32).path)
        .collect();
    let begun = Instant::now();
    for path in &paths {
        black_box(
            index
                .lookup(black_box(path.as_bytes()))
                .map(|entry| entry.object().size()),
        );
    }
    begun.elapsed().as_nanos() as f64 / LOOKUPS as f64
}
