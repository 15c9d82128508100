//! Viewers that put up with what they get. Those without a pace ask again at once when they were served, and when
//! `Retry-After` says so when they were refused; those with a pace keep it whatever they get.
//!
//! `Plan` -> [`Crowd::gather`]: connected, silent -> [`Crowd::ask`] .. [`Crowd::hush`], as often as wanted -> [`Tally`].
//! One thread. A 206 that is not exactly what was asked for is an error all the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use platform::watch::Watch;

use super::connection::{Answer, Connection, Range};
use super::{Check, Object, Random, SILENCE, Target, open_all};

/// A viewer that was refused without being told when to come again, or cut, comes again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the thread looks at what it was told.
const LOOK: Duration = Duration::from_millis(10);

/// Who asks for what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) viewers: usize,
    pub(crate) objects: Vec<Object>,
    pub(crate) choice: Choice,
    /// Length of each range; offsets are multiples of it.
    pub(crate) range_bytes: u64,
    /// From one request of a viewer to its next, if it is answered by then.
    pub(crate) pace: Option<Duration>,
}

/// Which object a viewer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Another one each time.
    Any,
    /// Always the same one: the viewers are shared out evenly.
    Own,
}

/// What came of the requests, of one object or all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) cut: u64,
    /// The longest of those that were served.
    pub(crate) slowest_served: Duration,
    /// The longest of the others.
    pub(crate) slowest_failed: Duration,
}

impl Tally {
    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.cut
    }

    pub(crate) fn requests(&self) -> u64 {
        self.served + self.failed()
    }

    fn add(&mut self, answer: Answer, took: Duration) {
        match answer {
            Answer::Served => self.served += 1,
            Answer::Refused(_) => self.refused += 1,
            Answer::Cut => self.cut += 1,
        }
        let slowest = match answer {
            Answer::Served => &mut self.slowest_served,
            Answer::Refused(_) | Answer::Cut => &mut self.slowest_failed,
        };
        *slowest = took.max(*slowest);
    }

    pub(crate) fn join(mut self, other: Self) -> Self {
        self.served += other.served;
        self.refused += other.refused;
        self.cut += other.cut;
        self.slowest_served = self.slowest_served.max(other.slowest_served);
        self.slowest_failed = self.slowest_failed.max(other.slowest_failed);
        self
    }
}

/// Viewers on a thread; they leave with this value.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    asking: AtomicBool,
    leaving: AtomicBool,
    /// Requests without their whole response.
    pending: AtomicUsize,
    /// By object.
    tallies: Mutex<Vec<Tally>>,
}

impl Shared {
    fn tallies(&self) -> MutexGuard<'_, Vec<Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    /// Connects everyone; nobody asks yet.
    ///
    /// Errors: nobody listens, or an object is smaller than a range.
    pub(crate) fn gather(plan: Plan) -> Result<Self> {
        let fits = |object: &Object| object.size >= plan.range_bytes;
        ensure!(plan.objects.iter().all(fits), "an object is too small");
        let shared = Arc::new(Shared::default());
        *shared.tallies() = vec![Tally::default(); plan.objects.len()];
        let theirs = Arc::clone(&shared);
        let (ready, gathered) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut viewers = Viewers::connect(&plan, &theirs)?;
            // Who started this waits for it.
            let _ = ready.send(());
            viewers.run()
        });
        let mut crowd = Self {
            shared,
            thread: Some(thread),
        };
        match gathered.recv() {
            Ok(()) => Ok(crowd),
            Err(_) => crowd.leave().and_then(|()| bail!("nobody came")),
        }
    }

    /// Everyone asks from now on.
    pub(crate) fn ask(&self) {
        self.shared.asking.store(true, SeqCst);
    }

    /// Nobody asks any more; what is under way stays so.
    pub(crate) fn hush(&self) {
        self.shared.asking.store(false, SeqCst);
    }

    /// Requests without their whole response.
    pub(crate) fn pending(&self) -> usize {
        self.shared.pending.load(SeqCst)
    }

    /// What came of the requests since the last call, by object. Those that are not answered yet are in a later one.
    pub(crate) fn take(&self) -> Vec<Tally> {
        let mut tallies = self.shared.tallies();
        let fresh = vec![Tally::default(); tallies.len()];
        std::mem::replace(&mut tallies, fresh)
    }

    /// Errors: a viewer got something wrong.
    pub(crate) fn leave(&mut self) -> Result<()> {
        self.shared.leaving.store(true, SeqCst);
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => bail!("a viewer panicked"),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Only who asks by `leave` wants to know.
        let _ = self.leave();
    }
}

struct Viewers<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    watch: Watch,
    connections: Vec<Connection<'a>>,
    /// The object that was asked for last, by viewer.
    asked: Vec<usize>,
    /// Who asks next, and when. Every viewer is here or has a request under way.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    random: Random,
}

impl<'a> Viewers<'a> {
    fn connect(plan: &'a Plan, shared: &'a Shared) -> Result<Self> {
        let (watch, connections) = open_all(&plan.target, plan.viewers, Check::Length, SILENCE)?;
        let now = Instant::now();
        let spread =
            |viewer: usize| plan.pace.unwrap_or_default() * viewer as u32 / plan.viewers as u32;
        Ok(Self {
            plan,
            shared,
            watch,
            connections,
            asked: vec![0; plan.viewers],
            due: (0..plan.viewers)
                .map(|viewer| Reverse((now + spread(viewer), viewer)))
                .collect(),
            random: Random::new(0xC0D),
        })
    }

    fn run(&mut self) -> Result<()> {
        while !self.shared.leaving.load(SeqCst) {
            let count = self.watch.wait(self.patience())?;
            for ready in 0..count {
                let viewer = self.watch.key(ready) as usize;
                if let Some(answer) = self.connections[viewer].advance()? {
                    self.over(viewer, answer);
                }
            }
            self.ask_due()?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        let until = |Reverse((due, _)): &Reverse<(Instant, usize)>| {
            due.saturating_duration_since(Instant::now())
        };
        let next = self.due.peek().map_or(LOOK, until);
        let asking = self.shared.asking.load(SeqCst);
        if asking { next.min(LOOK) } else { LOOK }
    }

    fn ask_due(&mut self) -> Result<()> {
        let now = Instant::now();
        while self.shared.asking.load(SeqCst)
            && let Some(&Reverse((due, viewer))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.ask(viewer)?;
        }
        Ok(())
    }

    fn ask(&mut self, viewer: usize) -> Result<()> {
        let plan = self.plan;
        let number = match plan.choice {
            Choice::Any => self.random.below(plan.objects.len() as u64) as usize,
            Choice::Own => viewer % plan.objects.len(),
        };
        let object = &plan.objects[number];
        let offset = self.random.below(object.size / plan.range_bytes) * plan.range_bytes;
        if self.connections[viewer].must_reopen() {
            self.connections[viewer] = Connection::open(&plan.target, Check::Length)?;
            let socket = self.connections[viewer].socket().as_fd();
            self.watch.add(socket, viewer as u64).context("watching")?;
        }
        self.asked[viewer] = number;
        self.shared.pending.fetch_add(1, SeqCst);
        let range = Range {
            object,
            offset,
            length: plan.range_bytes,
        };
        if self.connections[viewer].request(range).is_err() {
            // The server has closed an idle connection.
            self.connections[viewer].give_up();
            self.over(viewer, Answer::Cut);
        }
        Ok(())
    }

    /// Notes what came of a request, and when the viewer comes again.
    fn over(&mut self, viewer: usize, answer: Answer) {
        let took = self.connections[viewer].took();
        self.shared.pending.fetch_sub(1, SeqCst);
        self.shared.tallies()[self.asked[viewer]].add(answer, took);
        let pause = match (self.plan.pace, answer) {
            (Some(pace), _) => pace.saturating_sub(took),
            (None, Answer::Served) => Duration::ZERO,
            (None, Answer::Refused(refusal)) => refusal.after.unwrap_or(RETRY_AFTER),
            (None, Answer::Cut) => RETRY_AFTER,
        };
        self.due.push(Reverse((Instant::now() + pause, viewer)));
    }
}
