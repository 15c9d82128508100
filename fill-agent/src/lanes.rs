//! The agent's writes, each device on a thread of its own: a device that hangs holds up its thread and nothing else.
//!
//! ```text
//! Staging::next_device -> Lanes::run(device, job) -> the job's result, or Late
//!
//!   ok --a job is not done by its deadline--> failed --the job returns--> ok
//! ```
//! A lane takes one job at a time. Who waits for a lane keeps the job, and is told at once when the device fails. A job that is late
//! keeps what it was given until it returns. The threads are not waited for when the process ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use content_store::DeviceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;

use crate::source::Meter;

/// The lane of work on the store as a whole: what it touches cannot be told from outside.
pub const STORE: DeviceId = DeviceId([0; 16]);

/// One thread per device.
pub struct Lanes {
    lanes: Mutex<HashMap<DeviceId, Arc<Lane>>>,
    deadline: Duration,
}

struct Lane {
    jobs: mpsc::Sender<Job>,
    /// One permit: the thread is free.
    free: Arc<Semaphore>,
    /// Number of the job that the thread has, 0 for none; and of the next one.
    running: AtomicU64,
    next: AtomicU64,
    state: watch::Sender<LaneState>,
    queue: AtomicUsize,
    meter: Meter,
}

type Job = Box<dyn FnOnce() + Send>;

/// What the agent thinks of a device, by its own writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LaneState {
    /// Its writes return in time.
    #[default]
    Ok,
    /// A write has not returned in time.
    Failed {
        /// When it began.
        since: Instant,
        /// What is wrong, in words.
        cause: String,
    },
}

/// A device did not do a job in time, or had failed before it began.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Late {
    /// The device.
    pub device: DeviceId,
    /// What is wrong, in words.
    pub cause: String,
}

/// A lane as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// Its device.
    pub device: DeviceId,
    /// What the agent thinks of it.
    pub state: LaneState,
    /// Jobs that wait or run.
    pub queue: usize,
    /// Bits per second written over the last seconds.
    pub rate: u64,
}

impl Lanes {
    /// With how long one job may take. Threads start with the first job of their device.
    pub fn new(deadline: Duration) -> Self {
        Self {
            lanes: Mutex::default(),
            deadline,
        }
    }

    /// Does a job on the thread of a device. `bytes` is what it writes.
    pub async fn run<T: Send + 'static>(
        &self,
        device: DeviceId,
        bytes: u64,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let lane = self.lane(device);
        let _queued = Queued::new(lane.clone());
        let free = lane.turn().await.map_err(|cause| Late { device, cause })?;
        let result = lane.start(free, self.deadline, job);
        let result = lane.outcome(result).await;
        if result.is_ok() {
            lane.meter.add(bytes);
        }
        result.map_err(|cause| Late { device, cause })
    }

    /// Waits until no job is running, but on devices that have failed: at most one deadline.
    pub async fn idle(&self) {
        let lanes: Vec<Arc<Lane>> = self
            .lanes
            .lock()
            .expect("nothing panics while it holds this")
            .values()
            .cloned()
            .collect();
        for lane in lanes {
            // Either way there is nothing to wait for.
            let _ = lane.turn().await;
        }
    }

    /// What is wrong with a device; `None` if it is well.
    pub fn problem(&self, device: DeviceId) -> Option<String> {
        let lanes = self
            .lanes
            .lock()
            .expect("nothing panics while it holds this");
        match &*lanes.get(&device)?.state.borrow() {
            LaneState::Ok => None,
            LaneState::Failed { cause, .. } => Some(cause.clone()),
        }
    }

    /// All lanes that were used.
    pub fn status(&self) -> Vec<LaneStatus> {
        let lanes = self
            .lanes
            .lock()
            .expect("nothing panics while it holds this");
        let status = lanes.iter().map(|(device, lane)| LaneStatus {
            device: *device,
            state: lane.state.borrow().clone(),
            queue: lane.queue.load(Ordering::Relaxed),
            rate: lane.meter.bits_per_second(),
        });
        status.collect()
    }

    fn lane(&self, device: DeviceId) -> Arc<Lane> {
        let mut lanes = self
            .lanes
            .lock()
            .expect("nothing panics while it holds this");
        lanes
            .entry(device)
            .or_insert_with(|| Arc::new(Lane::start_thread(device)))
            .clone()
    }
}

impl Lane {
    fn start_thread(device: DeviceId) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let name = format!("lane-{}", &device.to_string()[..8]);
        let thread = std::thread::Builder::new().name(name);
        // Without a thread the receiver is gone, and every job is told so.
        let _ = thread.spawn(move || queue.iter().for_each(|job| job()));
        Self {
            jobs,
            free: Arc::new(Semaphore::new(1)),
            running: AtomicU64::new(0),
            next: AtomicU64::new(1),
            state: watch::Sender::default(),
            queue: AtomicUsize::new(0),
            meter: Meter::default(),
        }
    }

    /// Waits for the thread, or for the device to fail.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, String> {
        tokio::select! {
            biased;
            cause = self.failed() => Err(cause),
            free = self.free.clone().acquire_owned() => free.map_err(|_| GONE.into()),
        }
    }

    /// Hands a job to the thread, which is free.
    fn start<T: Send + 'static>(
        self: &Arc<Self>,
        free: OwnedSemaphorePermit,
        deadline: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (result, receiver) = oneshot::channel();
        let (returning, returned) = oneshot::channel::<()>();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.store(number, Ordering::SeqCst);
        let lane = self.clone();
        let whole: Job = Box::new(move || {
            // Who asked may be gone; then what the job was given ends here.
            let _ = result.send(job());
            lane.returned();
            drop((free, returning));
        });
        if self.jobs.send(whole).is_ok() {
            tokio::spawn(self.clone().watch(number, deadline, returned));
        }
        receiver
    }

    async fn outcome<T>(&self, result: oneshot::Receiver<T>) -> Result<T, String> {
        tokio::select! {
            biased;
            result = result => result.map_err(|_| GONE.into()),
            cause = self.failed() => Err(cause),
        }
    }

    /// Waits until the device has failed, and says how.
    async fn failed(&self) -> String {
        let mut state = self.state.subscribe();
        let failed = state.wait_for(|state| *state != LaneState::Ok).await;
        match failed.as_deref() {
            Ok(LaneState::Failed { cause, .. }) => cause.clone(),
            _ => GONE.into(),
        }
    }

    /// Judges the device if the job is still running at its deadline, whoever waits for it.
    async fn watch(
        self: Arc<Self>,
        number: u64,
        deadline: Duration,
        returned: oneshot::Receiver<()>,
    ) {
        let since = Instant::now();
        if timeout(deadline, returned).await.is_ok() {
            return;
        }
        self.state.send_if_modified(|state| {
            let late = self.running.load(Ordering::SeqCst) == number;
            if late {
                let seconds = deadline.as_secs_f32();
                let cause = format!("a write has not returned for {seconds} s");
                *state = LaneState::Failed { since, cause };
            }
            late
        });
    }

    fn returned(&self) {
        self.running.store(0, Ordering::SeqCst);
        self.state
            .send_if_modified(|state| std::mem::take(state) != LaneState::Ok);
    }
}

const GONE: &str = "its thread is gone";

/// Counts a job as long as somebody waits for it.
struct Queued(Arc<Lane>);

impl Queued {
    fn new(lane: Arc<Lane>) -> Self {
        lane.queue.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queue.fetch_sub(1, Ordering::Relaxed);
    }
}
