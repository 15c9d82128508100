//! Who accepts for a worker that is stuck: another one, from the same listening sockets, so that nobody who came there waits or is lost.
//! The control loop says who ([`Relief::assign`]), the workers do it (`worker/relieve.rs`).
//!
//! It deliberately does nothing for the viewers whom the stuck worker has accepted already: they wait for it.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use platform::reactor::Listening;

use crate::listener::ViewerSocket;

/// The listening sockets of all workers, and who accepts for whom.
#[derive(Debug)]
pub struct Relief {
    /// By worker, as far as viewers come to it.
    sockets: Box<[Vec<Spare>]>,
    /// By worker, the number of the one that accepts for it, or [`NOBODY`].
    by: Box<[AtomicUsize]>,
    /// Raised after each change of `by`.
    changes: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

/// Another name of a listening socket.
#[derive(Debug)]
struct Spare {
    socket: TcpListener,
    is_tls: bool,
}

impl Relief {
    /// For workers that nobody comes to.
    pub fn without_sockets(workers: usize) -> Self {
        Self {
            sockets: (0..workers).map(|_| Vec::new()).collect(),
            by: (0..workers).map(|_| AtomicUsize::new(NOBODY)).collect(),
            changes: AtomicUsize::new(0),
        }
    }

    /// For workers that accept from these.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn of(by_worker: &[Vec<ViewerSocket>]) -> io::Result<Self> {
        let spares = by_worker
            .iter()
            .map(|sockets| sockets.iter().map(Spare::of).collect());
        Ok(Self {
            sockets: spares.collect::<io::Result<_>>()?,
            ..Self::without_sockets(by_worker.len())
        })
    }

    /// Has each worker that is stuck relieved by the next one that is not. Says whether that changes anything.
    pub fn assign(&self, stuck: &[bool]) -> bool {
        let mut has_changed = false;
        for (number, by) in self.by.iter().enumerate() {
            let reliever = reliever(stuck, number).unwrap_or(NOBODY);
            has_changed |= by.swap(reliever, Relaxed) != reliever;
        }
        if has_changed {
            self.changes.fetch_add(1, Release);
        }
        has_changed
    }

    /// Who accepts for this worker, beside or instead of itself.
    pub fn reliever(&self, worker: usize) -> Option<usize> {
        let by = self.by[worker].load(Relaxed);
        (by != NOBODY).then_some(by)
    }

    /// Rises whenever somebody is to accept for another one, or no longer.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(Acquire)
    }

    /// What a worker accepts from, to be accepted from by another one too; with each, whether it speaks TLS.
    pub(crate) fn sockets(
        &self,
        worker: usize,
    ) -> impl Iterator<Item = (io::Result<Listening>, bool)> {
        let spares = self.sockets[worker].iter();
        spares.map(|spare| {
            (
                spare.socket.try_clone().map(Listening::Shared),
                spare.is_tls,
            )
        })
    }
}

impl Spare {
    fn of(socket: &ViewerSocket) -> io::Result<Self> {
        let (Listening::Own(listener) | Listening::Shared(listener)) = &socket.listening;
        Ok(Self {
            socket: listener.try_clone()?,
            is_tls: socket.is_tls,
        })
    }
}

/// The next worker after a stuck one that is not stuck.
fn reliever(stuck: &[bool], worker: usize) -> Option<usize> {
    let others = (worker + 1..stuck.len()).chain(0..worker);
    let mut well = others.filter(|other| !stuck[*other]);
    well.next().filter(|_| stuck[worker])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_worker_is_relieved_by_the_next_that_is_not() {
        let table: [(&[bool], &[Option<usize>]); 5] = [
            (&[false, false], &[None, None]),
            (&[false, true], &[None, Some(0)]),
            (&[true, true, false], &[Some(2), Some(2), None]),
            (&[true, true], &[None, None]),
            (&[true], &[None]),
        ];
        for (stuck, expected) in table {
            let relief = Relief::without_sockets(stuck.len());
            let is_news = expected.iter().any(Option::is_some);
            assert_eq!(relief.assign(stuck), is_news);
            let relievers = (0..stuck.len()).map(|worker| relief.reliever(worker));
            assert_eq!(relievers.collect::<Vec<_>>(), expected);
            assert!(!relief.assign(stuck), "nothing new");
            assert_eq!(relief.changes(), usize::from(is_news));
        }
    }
}
