//! The probe thread of a device: asks again and again whether it is still there, and tries a read before it is used again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use memmap2::MmapMut;

use super::health::{Round, Verdict};
use super::reader::read_aligned;
use super::service::Service;
use crate::disk::takes_no_writes;
use crate::file::{DIRECT_ALIGNMENT, Space, space};

pub(super) fn run(service: &Arc<Service>, mut scratch: MmapMut) {
    service.prober.get_or_init(thread::current);
    while !service.is_stopped() {
        let running = service.operations.begin(&service.operations.probe);
        let probe = (service.options.probe)();
        // What the probe does not want used is not touched.
        let trial = probe
            .as_ref()
            .ok()
            .and_then(|()| trial(service, &mut scratch));
        if probe.is_ok()
            && let Ok(space) = shared_space(&service.options.root)
        {
            service.learned_space(space);
        }
        let round = Round { probe, trial };
        drop(running);
        service.judge(|health| health.round(round));
        thread::park_timeout(service.options.deadlines.probe_every);
    }
}

/// The room of the file system, and whether it takes writes of those who fill it. This process may see it read-only all the same, as a service
/// manager has it.
fn shared_space(root: &Path) -> io::Result<Space> {
    let mut space = space(root)?;
    if space.read_only {
        space.read_only = takes_no_writes(&root.canonicalize()?)?;
    }
    Ok(space)
}

/// Memory for a trial read.
pub(super) fn scratch() -> io::Result<MmapMut> {
    MmapMut::map_anon(DIRECT_ALIGNMENT)
}

/// Reads a little of what could be read last, without the page cache. Nothing is tried on a device that is well, or when the file is gone.
fn trial(service: &Service, scratch: &mut MmapMut) -> Option<Result<(), String>> {
    if service.verdict() == Verdict::Ok {
        return None;
    }
    let trial = service.trial()?;
    let file = trial.file.upgrade()?;
    let read = service
        .files
        .open(&file)
        .and_then(|opened| read_aligned(&opened, scratch, trial.offset, DIRECT_ALIGNMENT));
    Some(read.map(drop).map_err(|error| error.to_string()))
}
