//! The one queue of a device: requests that were taken and not yet answered.
//!
//! Two stages. Workers push into `intake`, a lock-free queue. Service threads move everything from there into the schedule, under a mutex
//! that no worker ever takes: there, requests for the same range of the same file become one job, whether it waits or is in flight. Each
//! request has its own entry in the [`Order`], so a job begins at the turn of the first of those who wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;

use super::mailbox::{Class, Pending, ReadError, Refused};
use super::order::Order;
use crate::buffer::FilledBuffer;
use crate::stored_file::{FileRef, StoredFile};

pub(super) struct Queue {
    intake: ArrayQueue<Pending>,
    schedule: Mutex<Schedule>,
    /// Taken and not yet answered: never more than the intake could hold, so a push always finds room.
    outstanding: AtomicU32,
    /// Jobs that wait, for those who only want a hint.
    jobs_waiting: AtomicU32,
    /// Requests that shared another one's read.
    merged: AtomicU64,
}

struct Schedule {
    /// Every job that waits or is in flight.
    jobs: HashMap<Range, Job>,
    /// Those who wait for a job that waits. An entry of a job that was begun is void.
    order: Order<(Range, u64)>,
    /// Entries beyond which void ones are looked for.
    order_length: usize,
    /// Jobs that wait.
    waiting: u32,
    next_id: u64,
}

/// A range of a file, known by its address: who waits for a job holds the file, so no other file can come to lie there.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
struct Range {
    file: (usize, u16),
    offset: u64,
    length: u32,
}

struct Job {
    id: u64,
    started: Option<Instant>,
    waiters: Vec<Pending>,
}

/// A read that a service thread took over.
pub(super) struct Work {
    pub(super) file: Arc<StoredFile>,
    pub(super) offset: u64,
    pub(super) length: u32,
    range: Range,
    id: u64,
}

/// Which requests to take back.
#[derive(Copy, Clone)]
pub(super) enum Which {
    /// All.
    All,
    /// Those whose read has not begun, or began at this time or before.
    WaitingOrBegunBefore(Instant),
}

impl Queue {
    pub(super) fn new(length: u32) -> Self {
        Self {
            intake: ArrayQueue::new(length as usize),
            schedule: Mutex::new(Schedule::new(length as usize)),
            outstanding: AtomicU32::new(0),
            jobs_waiting: AtomicU32::new(0),
            merged: AtomicU64::new(0),
        }
    }

    /// Reserves a place for a request. No lock.
    pub(super) fn reserve(&self) -> Result<(), Refused> {
        if (self.outstanding.fetch_add(1, Ordering::Acquire) as usize) < self.intake.capacity() {
            return Ok(());
        }
        self.cancel();
        Err(Refused::QueueFull)
    }

    /// Gives a reserved place back.
    pub(super) fn cancel(&self) {
        self.outstanding.fetch_sub(1, Ordering::Release);
    }

    /// Takes a request into its reserved place. No lock, no allocation.
    pub(super) fn push(&self, pending: Pending) {
        if self.intake.push(pending).is_err() {
            unreachable!("every request has its reserved place");
        }
    }

    /// Answers requests and frees their places.
    pub(super) fn answer(&self, waiters: Vec<Pending>, result: &Result<FilledBuffer, ReadError>) {
        for pending in waiters {
            self.cancel();
            pending.answer(result.clone());
        }
    }

    /// Requests that were taken and not yet answered.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Requests so far that shared another one's read.
    pub(super) fn merged(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    /// Whether a viewer's read waits for a thread. A hint: without the lock.
    pub(super) fn has_waiting(&self) -> bool {
        !self.intake.is_empty() || self.jobs_waiting.load(Ordering::Relaxed) > 0
    }

    /// Begins the job whose turn it is.
    pub(super) fn begin(&self) -> Option<Work> {
        let mut schedule = self.settled();
        let job = schedule.next()?;
        job.started = Some(Instant::now());
        let first = job.waiters.first().expect("somebody waits for every job");
        let work = Work {
            file: first.file.stored(),
            offset: first.offset,
            length: first.length,
            range: Range::of(&first.file, first.offset, first.length),
            id: job.id,
        };
        self.jobs_waiting.store(schedule.waiting, Ordering::Relaxed);
        Some(work)
    }

    /// Ends a job and returns who waits for it: nobody, if they were answered meanwhile.
    pub(super) fn end(&self, work: &Work) -> Vec<Pending> {
        let mut schedule = self.settled();
        match schedule.jobs.get(&work.range) {
            Some(job) if job.id == work.id => {}
            _ => return Vec::new(),
        }
        schedule
            .jobs
            .remove(&work.range)
            .map_or_else(Vec::new, |job| job.waiters)
    }

    /// Takes requests back to answer them otherwise. A read in flight goes on; its result will find nobody.
    pub(super) fn take_back(&self, which: Which) -> Vec<Pending> {
        let wanted = |job: &Job| match (which, job.started) {
            (Which::All, _) | (_, None) => true,
            (Which::WaitingOrBegunBefore(limit), Some(started)) => started <= limit,
        };
        let mut schedule = self.settled();
        schedule.order.clear();
        schedule.waiting = 0;
        self.jobs_waiting.store(0, Ordering::Relaxed);
        let taken = schedule.jobs.extract_if(|_, job| wanted(job));
        taken.flat_map(|(_, job)| job.waiters).collect()
    }

    /// The schedule with everything in it that was taken so far.
    fn settled(&self) -> MutexGuard<'_, Schedule> {
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(pending) = self.intake.pop() {
            if schedule.add(pending) == Added::Merged {
                self.merged.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.jobs_waiting.store(schedule.waiting, Ordering::Relaxed);
        schedule
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Added {
    New,
    Merged,
}

impl Schedule {
    fn new(length: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            order: Order::new(),
            order_length: 2 * length,
            waiting: 0,
            next_id: 0,
        }
    }

    fn add(&mut self, pending: Pending) -> Added {
        let range = Range::of(&pending.file, pending.offset, pending.length);
        let (class, requester) = (pending.class, pending.requester);
        if let Some(job) = self.jobs.get_mut(&range) {
            job.waiters.push(pending);
            if job.started.is_none() {
                let id = job.id;
                self.enqueue(class, requester, (range, id));
            }
            return Added::Merged;
        }
        self.next_id += 1;
        let job = Job {
            id: self.next_id,
            started: None,
            waiters: vec![pending],
        };
        self.jobs.insert(range, job);
        self.waiting += 1;
        self.enqueue(class, requester, (range, self.next_id));
        Added::New
    }

    fn enqueue(&mut self, class: Class, requester: u64, entry: (Range, u64)) {
        if self.order.len() >= self.order_length {
            let jobs = &self.jobs;
            self.order.retain(|entry| waits(jobs, entry));
        }
        self.order.push(class, requester, entry);
    }

    /// The next job of those that wait.
    fn next(&mut self) -> Option<&mut Job> {
        let jobs = &self.jobs;
        let (range, _) = self.order.pop(|entry| waits(jobs, entry))?;
        self.waiting -= 1;
        self.jobs.get_mut(&range)
    }
}

/// Whether an entry's job is still to be begun.
fn waits(jobs: &HashMap<Range, Job>, (range, id): &(Range, u64)) -> bool {
    jobs.get(range)
        .is_some_and(|job| job.id == *id && job.started.is_none())
}

impl Range {
    fn of(file: &FileRef, offset: u64, length: u32) -> Self {
        Self {
            file: file.address(),
            offset,
            length,
        }
    }
}
