//! A thread beside a worker that goes on with its handshakes: one costs as much as answering dozens of requests, in one piece, and the
//! worker's viewers must not wait for it. The kernel runs the thread when its core has nothing else to do, and takes the core away again
//! when the worker has.
//!
//! ```text
//!  worker ── give(token, Handshake) ──► jobs ──► advance ──► steps ──► take() ── worker, woken
//! ```
//!
//! Neither side ever waits for the other, so the queues are wait-free ones of one writer and one reader: in a queue for many, a side that
//! loses its core in the midst of a push has the other one spin, and here the one that spins is the one the core was taken for. What is
//! given out is little: the worker keeps the rest, in its order, and can go on with it by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};

use platform::cpu;
use platform::reactor::{Token, Waker};
use rtrb::{Consumer, Producer, RingBuffer};

use super::handshake::{Handshake, Progress};
use crate::limits::HANDSHAKES_BESIDE;

/// What came of going on with a handshake.
pub struct Step {
    /// Whose it is.
    pub token: Token,
    /// Where it is now.
    pub progress: Progress,
    /// What is to be sent.
    pub output: Vec<u8>,
}

impl Step {
    /// Goes on with a handshake as far as its input allows.
    pub fn of(token: Token, handshake: Handshake) -> Self {
        let mut output = Vec::new();
        let progress = handshake.advance(&mut output);
        Self {
            token,
            progress,
            output,
        }
    }
}

/// The worker's end. Dropping it ends the thread.
pub struct Beside {
    jobs: Producer<(Token, Handshake)>,
    steps: Consumer<Step>,
    is_over: Arc<AtomicBool>,
    thread: Thread,
    /// Handshakes that were given and not taken.
    out: usize,
}

/// The thread's end.
struct Shaker {
    jobs: Consumer<(Token, Handshake)>,
    steps: Producer<Step>,
    is_over: Arc<AtomicBool>,
    worker: Waker,
}

impl Beside {
    /// The thread of a worker, which may run on `cores`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(worker: usize, cores: Vec<usize>, waker: Waker) -> io::Result<Self> {
        let (give_job, jobs) = RingBuffer::new(HANDSHAKES_BESIDE);
        let (give_step, steps) = RingBuffer::new(HANDSHAKES_BESIDE);
        let is_over = Arc::new(AtomicBool::new(false));
        let shaker = Shaker {
            jobs,
            steps: give_step,
            is_over: Arc::clone(&is_over),
            worker: waker,
        };
        let named = thread::Builder::new().name(format!("oca-shake-{worker}"));
        let thread = named.spawn(move || {
            settle(&cores);
            shaker.run();
        })?;
        Ok(Self {
            jobs: give_job,
            steps,
            is_over,
            thread: thread.thread().clone(),
            out: 0,
        })
    }

    /// Whether it takes one more.
    pub fn has_room(&self) -> bool {
        self.out < HANDSHAKES_BESIDE
    }

    /// Hands a handshake over, for which it [has room](Self::has_room).
    pub fn give(&mut self, token: Token, handshake: Handshake) {
        let given = self.jobs.push((token, handshake));
        assert!(given.is_ok(), "there is a place for each that may be out");
        self.out += 1;
        self.thread.unpark();
    }

    /// The next one that came back.
    pub fn take(&mut self) -> Option<Step> {
        let step = self.steps.pop().ok()?;
        self.out -= 1;
        Some(step)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Where it may run, and when: without it the thread does its work all the same, at the cost of viewers.
fn settle(cores: &[usize]) {
    if let Err(error) = cpu::keep_to_cores(cores) {
        tracing::debug!(%error, "handshakes stay on the core of their worker");
    }
    if let Err(error) = cpu::run_when_idle() {
        tracing::debug!(%error, "handshakes are as urgent as viewers");
    }
}

impl Shaker {
    fn run(mut self) {
        while !self.is_over.load(Ordering::Acquire) {
            let Ok((token, handshake)) = self.jobs.pop() else {
                thread::park();
                continue;
            };
            // As many places as can be out: there is one.
            if self.steps.push(Step::of(token, handshake)).is_ok() {
                self.worker.wake();
            }
        }
    }
}
