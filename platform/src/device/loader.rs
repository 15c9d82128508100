//! The loader thread of a device: locks pieces into memory, unlocks them when nobody uses them any more, closes idle files.
//!
//! A load gives way to viewers between two steps of its reading, but never for longer than [`LOAD_PATIENCE`] a step.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use super::limits::{IDLE_CLOSE, LOAD_PATIENCE, MAX_LOADS, RETIRE_EVERY};
use super::mailbox::ReadError;
use super::service::Service;
use super::statistics::count;
use crate::memory::{LoadError, LockedPiece, lock_piece, unlock};
use crate::stored_file::StoredFile;

/// Called once with the outcome of a load, on a thread of the device side: it must neither block nor panic.
pub type LoadDone = Box<dyn FnOnce(Result<(), LoadError>) + Send>;

struct Load {
    file: Arc<StoredFile>,
    piece: u32,
    done: LoadDone,
}

#[derive(Default)]
pub(super) struct Loads {
    waiting: Mutex<VecDeque<Load>>,
    /// Whom the load under way owes its answer. Taken away by whoever gives it.
    current: Mutex<Option<LoadDone>>,
    /// Withdrawn from the workers, perhaps still in use by some.
    retired: Mutex<Vec<Arc<LockedPiece>>>,
    locked_bytes: Arc<AtomicU64>,
    /// The loader stands back for viewers.
    giving_way: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Loads {
    pub(super) fn add(&self, file: Arc<StoredFile>, piece: u32, done: LoadDone) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_LOADS {
            drop(waiting);
            return done(Err(LoadError::QueueFull));
        }
        waiting.push_back(Load { file, piece, done });
        drop(waiting);
        self.wake();
    }

    /// Takes a piece away from the workers; it is unlocked when the last of them has let go. False if it was not locked.
    pub(super) fn retire(&self, file: &StoredFile, piece: u32) -> bool {
        let Some(locked) = file.withdraw(piece) else {
            return false;
        };
        lock(&self.retired).push(locked);
        self.wake();
        true
    }

    pub(super) fn locked_bytes(&self) -> u64 {
        self.locked_bytes.load(Ordering::Relaxed)
    }

    /// Answers every load, the one under way too: what it still brings is thrown away.
    pub(super) fn turn_away(&self, error: ReadError) {
        let current = lock(&self.current).take();
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let waiting = waiting.into_iter().map(|load| load.done);
        current
            .into_iter()
            .chain(waiting)
            .for_each(|done| done(Err(refused(error))));
    }

    /// A reader found nothing to do: the loader need not stand back any longer.
    pub(super) fn viewers_are_served(&self) {
        if self.giving_way.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether everything that was withdrawn has been unlocked.
    pub(super) fn nothing_retired(&self) -> bool {
        lock(&self.retired).is_empty()
    }

    /// Unlocks what nobody uses. A piece that was withdrawn gets no new users, so a count of 1 is final.
    fn unlock_retired(&self) {
        let unused: Vec<_> = lock(&self.retired)
            .extract_if(.., |piece| Arc::strong_count(piece) == 1)
            .collect();
        unused
            .into_iter()
            .filter_map(Arc::into_inner)
            .for_each(unlock);
    }
}

pub(super) fn run(service: &Arc<Service>) {
    let loads = &service.loads;
    loads.thread.get_or_init(thread::current);
    let mut looked_for_idle = Instant::now();
    loop {
        loads.unlock_retired();
        if looked_for_idle.elapsed() >= IDLE_CLOSE {
            service.files.close_idle();
            looked_for_idle = Instant::now();
        }
        let next = lock(&loads.waiting).pop_front();
        match next {
            Some(load) => serve(service, load),
            None if service.is_stopped() && is_last(service) && loads.nothing_retired() => return,
            None if loads.nothing_retired() && !service.is_stopped() => {
                thread::park_timeout(IDLE_CLOSE)
            }
            None => thread::park_timeout(RETIRE_EVERY),
        }
    }
}

/// Whether only the watch and this thread are left, so that nobody can withdraw another piece.
fn is_last(service: &Arc<Service>) -> bool {
    Arc::strong_count(service) <= 2
}

fn serve(service: &Service, load: Load) {
    let Load { file, piece, done } = load;
    *lock(&service.loads.current) = Some(done);
    let outcome = if file.is_locked(piece) {
        Ok(None)
    } else {
        bring(service, &file, piece).map(Some)
    };
    if let Err(LoadError::Corrupt(block)) = &outcome {
        service.found_bad(&file, *block);
    }
    if let Err(LoadError::Read(error)) = &outcome {
        service.found_error(&file, file.piece_range(piece).start, error);
    }
    let counter = match &outcome {
        Ok(_) => &service.statistics.loads,
        Err(_) => &service.statistics.load_failures,
    };
    count(counter, 1);
    let done = lock(&service.loads.current).take();
    match (done, outcome) {
        (Some(done), Ok(locked)) => {
            if let Some(locked) = locked {
                file.publish(piece, Arc::new(locked));
            }
            done(Ok(()));
        }
        (Some(done), Err(error)) => done(Err(error)),
        // The asker was turned away: nobody would account for the memory.
        (None, outcome) => drop(outcome),
    }
}

fn bring(service: &Service, file: &Arc<StoredFile>, piece: u32) -> Result<LockedPiece, LoadError> {
    still_willing(service)?;
    let opened = {
        let _running = service.operations.begin(&service.operations.load);
        service.files.open(file).map_err(LoadError::Read)?
    };
    let mut running = None;
    lock_piece(
        file,
        &*opened.check,
        piece,
        &service.loads.locked_bytes,
        || {
            drop(running.take());
            give_way(service);
            running = Some(service.operations.begin(&service.operations.load));
            still_willing(service)
        },
    )
}

fn still_willing(service: &Service) -> Result<(), LoadError> {
    match service.refusal() {
        None => Ok(()),
        Some(error) => Err(refused(error)),
    }
}

fn refused(error: ReadError) -> LoadError {
    match error {
        ReadError::Stopped => LoadError::Stopped,
        ReadError::Stalled => LoadError::Stalled,
        _ => LoadError::DeviceFailed,
    }
}

/// Stands back while viewers' reads wait for a thread, for a while.
fn give_way(service: &Service) {
    let loads = &service.loads;
    let since = Instant::now();
    loads.giving_way.store(true, Ordering::Relaxed);
    while service.queue.has_waiting() && service.refusal().is_none() {
        match LOAD_PATIENCE.checked_sub(since.elapsed()) {
            Some(left) => thread::park_timeout(left),
            None => break,
        }
    }
    loads.giving_way.store(false, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
