//! What is being fetched, what waits and what failed: for status. Written by the fetches, read by whoever asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::fill;

use super::Job;
use crate::limits::FAILURES_SHOWN;

/// What is going on. Counts of bytes include what was in staging before.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    transfers: Vec<Arc<Transfer>>,
    /// How many objects wait, by what for.
    waiting: BTreeMap<String, u64>,
    failures: VecDeque<fill::Failure>,
}

/// One object that is being fetched or moved.
pub struct Transfer {
    path: Box<str>,
    size: u64,
    done: AtomicU64,
    moves_to: Option<String>,
    now: Mutex<(String, String)>,
}

impl Progress {
    /// The objects that are being fetched or moved.
    pub fn transfers(&self) -> Vec<fill::Transfer> {
        self.state()
            .transfers
            .iter()
            .map(|transfer| transfer.status())
            .collect()
    }

    /// What waits, and for what, in sentences.
    pub fn waiting(&self) -> Vec<String> {
        let state = self.state();
        let sentence = |(what, count): (&String, &u64)| match count {
            1 => format!("1 object waits for {what}"),
            count => format!("{count} objects wait for {what}"),
        };
        state.waiting.iter().map(sentence).collect()
    }

    /// What failed, the newest first.
    pub fn failures(&self) -> Vec<fill::Failure> {
        self.state().failures.iter().cloned().collect()
    }

    /// Verified bytes of the objects that are being fetched.
    pub fn bytes_in_transfers(&self) -> u64 {
        let state = self.state();
        state
            .transfers
            .iter()
            .filter(|transfer| transfer.moves_to.is_none())
            .map(|transfer| transfer.done.load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn begin(&self, job: &Job) -> Transferring<'_> {
        self.show(Transfer {
            path: job.wanted.path.clone(),
            size: job.wanted.size,
            done: AtomicU64::new(0),
            moves_to: None,
            now: Mutex::default(),
        })
    }

    /// Shows an object that is moved between these tiers.
    pub fn begin_move(&self, path: &str, size: u64, tiers: (&str, &str)) -> Transferring<'_> {
        self.show(Transfer {
            path: path.into(),
            size,
            done: AtomicU64::new(0),
            moves_to: Some(tiers.1.to_owned()),
            now: Mutex::new((tiers.0.to_owned(), String::new())),
        })
    }

    fn show(&self, transfer: Transfer) -> Transferring<'_> {
        let transfer = Arc::new(transfer);
        self.state().transfers.push(transfer.clone());
        Transferring {
            progress: self,
            transfer,
        }
    }

    pub(super) fn waits(&self, what: &str) {
        *self.state().waiting.entry(what.into()).or_default() += 1;
    }

    pub(super) fn waited(&self, what: &str) {
        let mut state = self.state();
        if let Some(count) = state.waiting.get_mut(what) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(what);
            }
        }
    }

    pub(super) fn failed(&self, job: &Job, source: &str, failure: &dyn std::error::Error) {
        let mut state = self.state();
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        state.failures.push_front(fill::Failure {
            at: at.as_secs(),
            path: job.wanted.path.to_string(),
            source: source.into(),
            reason: failure.to_string(),
        });
        state.failures.truncate(FAILURES_SHOWN);
    }

    /// Nothing is going on any more; what failed stays.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.transfers.clear();
        state.waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this")
    }
}

/// A transfer as long as it is shown.
pub struct Transferring<'a> {
    progress: &'a Progress,
    transfer: Arc<Transfer>,
}

impl std::ops::Deref for Transferring<'_> {
    type Target = Transfer;

    fn deref(&self) -> &Transfer {
        &self.transfer
    }
}

impl Drop for Transferring<'_> {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state
            .transfers
            .retain(|one| !Arc::ptr_eq(one, &self.transfer));
    }
}

impl Transfer {
    pub(super) fn from(&self, source: &str) {
        self.now().0 = source.into();
    }

    /// What it waits for; empty if bytes come.
    pub fn waits_for(&self, what: &str) {
        let mut now = self.now();
        now.1.clear();
        now.1.push_str(what);
    }

    /// Bytes that are written.
    pub fn done(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    fn now(&self) -> MutexGuard<'_, (String, String)> {
        self.now.lock().expect("nothing panics while it holds this")
    }

    fn status(&self) -> fill::Transfer {
        let now = self.now();
        fill::Transfer {
            path: self.path.to_string(),
            bytes: self.size,
            bytes_done: self.done.load(Ordering::Relaxed),
            source: now.0.clone(),
            moves_to: self.moves_to.clone(),
            waits_for: now.1.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_a_sentence_each() {
        let progress = Progress::default();
        progress.waits("c002 to have them");
        progress.waits("c002 to have them");
        progress.waits("control");
        assert_eq!(
            progress.waiting(),
            [
                "2 objects wait for c002 to have them",
                "1 object waits for control"
            ]
        );
        progress.waited("c002 to have them");
        progress.waited("control");
        assert_eq!(progress.waiting(), ["1 object waits for c002 to have them"]);
    }
}
