//! The same catalog loaded here, to see what each step costs.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use content_store::catalog::CatalogReader;
use content_store::{Index, IndexDevice};

use super::stand::{Stand, entry};
use crate::load::Random;

/// Paths that are looked up.
const LOOKUPS: usize = 200_000;

/// Seconds but for the last one.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Steps {
    /// Opening the catalog, which looks over all its pages.
    pub(super) open_s: f64,
    /// Reading and checking all records.
    pub(super) read_s: f64,
    /// The first index.
    pub(super) build_s: f64,
    /// An index of the same catalog that takes over the objects of the one before.
    pub(super) swap_s: f64,
    /// Deletion of the index before.
    pub(super) drop_s: f64,
    /// To find a path somewhere in it.
    pub(super) lookup_ns: f64,
}

pub(super) fn take(stand: &Stand<'_>) -> Result<Steps> {
    let timed = |begun: Instant| begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut reader = CatalogReader::open(&stand.state)?;
    let open_s = timed(begun);
    let begun = Instant::now();
    let snapshot = reader.load()?;
    let read_s = timed(begun);
    let objects = snapshot.objects.len();
    let devices: Vec<IndexDevice> = devices(&snapshot);

    let begun = Instant::now();
    let first = Index::build(snapshot, &devices, None).index;
    let build_s = timed(begun);
    let again = reader.load()?;
    let begun = Instant::now();
    let second = Index::build(again, &devices, Some(&first));
    let swap_s = timed(begun);
    ensure!(second.fallen.is_empty(), "objects changed by themselves");
    let begun = Instant::now();
    drop(first);
    let drop_s = timed(begun);
    let lookup_ns = look_up(&second.index, objects as u32);
    Ok(Steps {
        open_s,
        read_s,
        build_s,
        swap_s,
        drop_s,
        lookup_ns,
    })
}

/// All devices that some object names, wherever they are: no file is opened.
fn devices(snapshot: &content_store::catalog::Snapshot) -> Vec<IndexDevice> {
    let copies = snapshot.objects.iter().flat_map(|record| &record.copies);
    let mut ids: Vec<_> = copies
        .flat_map(|copy| copy.devices.iter().copied())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| IndexDevice {
            id: Some(id),
            root: "/".into(),
        })
        .collect()
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
                .map(|entry| entry.object.size),
        );
    }
    begun.elapsed().as_nanos() as f64 / LOOKUPS as f64
}
