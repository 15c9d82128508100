//! Which files of a device are open: a bounded number, opened when they are first read, closed when others need the place or when
//! nobody has read them for a while. Service threads only.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::stored_file::{FirstOpen, Opened, StoredFile};

pub(super) struct OpenFiles {
    limit: usize,
    ring: Mutex<Ring>,
}

/// A clock: a file that was used since the hand last passed stays for another round.
#[derive(Default)]
struct Ring {
    files: Vec<Weak<StoredFile>>,
    hand: usize,
}

impl OpenFiles {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ring: Mutex::default(),
        }
    }

    /// What is open of `file`; opens it if nothing is, and closes another one if there are too many. Blocks as long as the disk likes.
    pub(super) fn open(&self, file: &Arc<StoredFile>) -> io::Result<Arc<Opened>> {
        if let Some(opened) = file.opened() {
            opened.used.store(true, Ordering::Relaxed);
            return Ok(opened);
        }
        let (opened, first) = file.open()?;
        if first == FirstOpen::Yes {
            // Closed only after the lock is gone: close(2) may block.
            let closing = self.ring().enter(file, self.limit);
            drop(closing);
        }
        Ok(opened)
    }

    /// Closes what was not used since the last call.
    pub(super) fn close_idle(&self) {
        let closing = self.ring().take_idle();
        drop(closing);
    }

    pub(super) fn count(&self) -> usize {
        self.ring().files.len()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn enter(&mut self, file: &Arc<StoredFile>, limit: usize) -> Option<Arc<Opened>> {
        if self.files.len() < limit {
            self.files.push(Arc::downgrade(file));
            return None;
        }
        let hand = self.hand;
        let mut after_hand = (1..=limit).map(|step| (hand + step) % limit);
        // If all were used, the first is as good as any: its mark is gone now.
        let victim = after_hand.find(|&at| !used(&self.files[at]));
        self.hand = victim.unwrap_or((hand + 1) % limit);
        let leaving = std::mem::replace(&mut self.files[self.hand], Arc::downgrade(file));
        close(&leaving)
    }

    fn take_idle(&mut self) -> Vec<Arc<Opened>> {
        let idle = self.files.extract_if(.., |file| !used(file));
        let closing = idle.filter_map(|file| close(&file)).collect();
        self.hand = 0;
        closing
    }
}

/// Used since the last call, which is forgotten. A file that is gone is not.
fn used(file: &Weak<StoredFile>) -> bool {
    file.upgrade()
        .and_then(|file| file.opened())
        .is_some_and(|opened| opened.used.swap(false, Ordering::Relaxed))
}

fn close(file: &Weak<StoredFile>) -> Option<Arc<Opened>> {
    file.upgrade()?.close()
}
