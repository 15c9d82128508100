//! The watch: one thread of the process that looks at every device and never touches one, so that it cannot hang with them.
//!
//! It is also the last owner of every service, so that no worker ever unmaps a pool of buffers by dropping its handle.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::limits::WATCH_EVERY;
use super::service::Service;

static WATCHED: Mutex<Vec<Arc<Service>>> = Mutex::new(Vec::new());

/// Looks after `service` until it was stopped, its threads are gone and nobody else holds it or any buffer of it.
pub(super) fn add(service: &Arc<Service>) -> io::Result<()> {
    let mut watched = watched();
    // The thread ends when there is nothing to watch, under the same lock.
    if watched.is_empty() {
        thread::Builder::new()
            .name("device-watch".into())
            .spawn(run)?;
    }
    watched.push(Arc::clone(service));
    Ok(())
}

fn run() {
    loop {
        thread::sleep(WATCH_EVERY);
        let services = watched().clone();
        let now = Instant::now();
        services.iter().for_each(|service| service.look(now));
        drop(services);
        let mut watched = watched();
        let over: Vec<_> = watched.extract_if(.., |service| is_over(service)).collect();
        let nothing_left = watched.is_empty();
        drop(watched);
        drop(over);
        if nothing_left {
            return;
        }
    }
}

fn is_over(service: &Arc<Service>) -> bool {
    service.is_stopped()
        && Arc::strong_count(service) == 1
        && service.pool.is_unused()
        && service.loads.nothing_retired()
}

fn watched() -> MutexGuard<'static, Vec<Arc<Service>>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
