//! The end: threads are waited for, as long as they may be.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::WorkerThread;
use crate::shared::Shared;

/// How long a worker may take to end; one that is stuck is left behind.
const WORKERS_STOP: Duration = Duration::from_secs(10);

/// How long the threads beside the workers may take to end; one that hangs on a disk is left behind.
const THREADS_STOP: Duration = Duration::from_secs(1);

/// Workers end by themselves once the service is stopping; a device that hangs must not keep the daemon.
pub(super) fn stop(
    shared: &Shared,
    workers: Vec<WorkerThread>,
    threads: Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    let mut cut = 0;
    let mut broken = None;
    await_ends(&workers, WORKERS_STOP);
    for worker in workers {
        if !worker.is_finished() {
            broken = Some(io::Error::other("it is stuck, and was left behind"));
            continue;
        }
        match worker.join() {
            Ok(Ok(transfers)) => cut += transfers,
            Ok(Err(error)) => broken = Some(error),
            Err(_) => anyhow::bail!("a worker panicked"),
        }
    }
    tracing::info!(cut_transfers = cut, "stopped serving");
    if let Some(log) = &shared.access_log {
        log.close();
    }
    if let Some(bgp) = &shared.bgp {
        bgp.end();
    }
    shared.devices.iter().for_each(|device| device.stop());
    await_ends(&threads, THREADS_STOP);
    broken.map_or(Ok(()), |error| Err(error).context("a worker broke"))
}

fn await_ends<T>(threads: &[JoinHandle<T>], bound: Duration) {
    let begun = Instant::now();
    while threads.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < bound {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
