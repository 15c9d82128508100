//! What the daemon says of itself: `GET /status`, and `ocactl status`.
//!
//! A reader ignores fields that it does not know; a writer only adds fields. `format` rises when the meaning of one changes.
//! Times are seconds since 1970-01-01 UTC, amounts are bytes, rates are bits per second.

mod interface;
mod listener;
mod self_test;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bgp::Bgp;
use crate::config::TierRole;
use crate::fill::{Activity, Held, ManifestFacts, Progress};
use crate::smart::Disk;

pub use interface::Interface;
pub use listener::{Listener, ListenerPurpose};
pub use self_test::{Check, SelfTestReport};

/// The meaning of the fields below.
pub const STATUS_FORMAT: u32 = 1;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`STATUS_FORMAT`].
    pub format: u32,
    /// Version of the daemon.
    pub version: String,
    /// `appliance.id`.
    pub id: String,
    /// `appliance.site`.
    pub site: String,
    /// When this was written.
    pub as_of: u64,
    /// When the daemon started.
    pub started: u64,
    /// What steering is told.
    pub state: State,
    /// Why it is not `ok`, and what else is wrong, the worst first.
    pub causes: Vec<Cause>,
    /// A drain that is under way or done.
    pub drain: Option<Drain>,
    /// Whether the test at start has passed.
    pub self_test: SelfTest,
    /// How the kernel is asked for sockets' news.
    pub backend: Backend,
    /// Which files the daemon may reach; `None`: from a release that did not say.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// Where viewers and operators connect.
    pub listeners: Vec<Listener>,
    /// Threads that serve.
    pub workers: Vec<Worker>,
    /// Devices in the order of the configuration.
    pub devices: Vec<Device>,
    /// The interfaces that carry what viewers are sent; none if there are no service addresses.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// What viewers are sent, over the last seconds.
    #[serde(default)]
    pub egress: u64,
    /// The most that this box can send; `None` if nobody has said.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// Content locked in memory.
    pub memory: Memory,
    /// What is served.
    pub catalog: Catalog,
    /// What viewers are shown over TLS; `None` if nobody is served so.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The reports to the control endpoint; `None` if there is none.
    #[serde(default)]
    pub report: Option<Reporting>,
    /// What the fill agent told last; `None` if it never did.
    #[serde(default)]
    pub fill: Option<Filling>,
    /// Sessions with routers; `None` if there is no neighbour.
    #[serde(default)]
    pub bgp: Option<Bgp>,
}

/// The states of design section 6, worst last but for the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    Ok,
    /// Serving, with something broken.
    Degraded,
    /// On the way out of service; running transfers go on.
    Draining,
    /// Out of service, no transfer running: safe to unplug.
    Drained,
    /// Out of service after the bound, with transfers cut: safe to unplug.
    DrainedForced,
    /// Not able to serve.
    Down,
}

impl State {
    /// All states, for tables and metrics.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Degraded,
        Self::Draining,
        Self::Drained,
        Self::DrainedForced,
        Self::Down,
    ];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::DrainedForced => "drained-forced",
            Self::Down => "down",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What kind of thing: `device`, `worker`, `egress`, ..
    pub component: String,
    /// Which one, as in `nvme0`; empty if there is only one.
    pub subject: String,
    /// `local` causes decide the state; `shared` ones are only shown.
    pub scope: Scope,
    /// `degraded` or `down`.
    pub severity: State,
    /// In a sentence.
    pub detail: String,
    /// Since when.
    pub since: u64,
}

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This box alone.
    Local,
    /// Something that many boxes share; it never changes the state.
    Shared,
}

/// A drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When it was asked for.
    pub since: u64,
    /// Who asked.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Transfers still running.
    pub transfers: u64,
    /// Open connections.
    pub connections: u64,
    /// Until when hints may still send viewers here.
    pub hints_expire: u64,
    /// When what still runs is cut.
    pub forced_at: u64,
    /// Transfers that were cut.
    pub cut: u64,
}

/// The test at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "detail")]
pub enum SelfTest {
    /// Not done yet.
    Running,
    /// Everything worked.
    Passed,
    /// What did not.
    Failed(String),
}

/// The reactor's backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `uring`, `epoll`, `kqueue`.
    pub name: String,
    /// Why this one.
    pub reason: String,
}

/// Whether the daemon is kept to its own files, whatever it is made to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The kernel keeps it to them (Landlock).
    pub enforced: bool,
    /// Why it does not, or what it lets through; empty if there is nothing to say.
    pub detail: String,
    /// No program that it starts can have rights that it has not.
    pub no_new_privileges: bool,
}

/// A thread that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// From 0.
    pub index: u32,
    /// The core it is pinned to, if it is.
    pub core: Option<u32>,
    /// Whether its loop turns.
    pub alive: bool,
    /// The worker that accepts connections for it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relieved_by: Option<u32>,
    /// Open connections.
    pub connections: u64,
    /// The longest turn of its loop lately.
    pub loop_lag_ms: u64,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Last part of the path, or more of it where two are equal.
    pub name: String,
    /// The folder.
    pub path: String,
    /// Name of the tier.
    pub tier: String,
    /// Its role; `None`: from a release that did not say.
    #[serde(default)]
    pub role: Option<TierRole>,
    /// From its identity file, in hex; `None` if it cannot be read.
    pub id: Option<String>,
    /// The daemon's verdict.
    pub state: DeviceState,
    /// Why it is not `ok`; empty if it is.
    pub cause: String,
    /// How it is read.
    pub directness: Directness,
    /// Space; `None` if the device cannot be asked.
    pub space: Option<Space>,
    /// Objects with a column here: what a failure would touch.
    pub objects: u64,
    /// Reads waiting.
    pub queue_length: u64,
    /// Reads in the kernel.
    pub in_flight: u64,
    /// Reads that failed since the start.
    pub errors: u64,
    /// Blocks whose checksum was wrong since the start.
    pub checksum_failures: u64,
    /// What the disks below it said of their wear lately; none if nobody has asked them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wear: Vec<Disk>,
}

/// What a device is good for. The later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Works.
    Ok,
    /// It is back after it was away; the fill agent compares what it holds with the catalog before it writes to it.
    Returned,
    /// Read, and given nothing new; what it alone holds is being copied to others.
    Evacuating,
    /// Read; there is no room for anything new.
    Full,
    /// Read; its file system takes no writes.
    ReadOnly,
    /// Does not answer in time; nothing new is asked of it.
    Suspect,
    /// An operator took it out of use.
    Offline,
    /// A new and empty device is in its place.
    Empty,
    /// Another device is in its place.
    Swapped,
    /// Nothing is mounted in its place.
    Missing,
    /// Counted as gone until it works again.
    Failed,
}

impl DeviceState {
    /// All, for metrics.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Returned,
        Self::Evacuating,
        Self::Full,
        Self::ReadOnly,
        Self::Suspect,
        Self::Offline,
        Self::Empty,
        Self::Swapped,
        Self::Missing,
        Self::Failed,
    ];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Returned => "returned",
            Self::Evacuating => "evacuating",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Suspect => "suspect",
            Self::Offline => "offline",
            Self::Empty => "empty",
            Self::Swapped => "swapped",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }

    /// What this word means; `failed` for a word that is none of them.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == word)
            .unwrap_or(Self::Failed)
    }

    /// Whether what it holds is read.
    #[must_use]
    pub fn is_read(self) -> bool {
        self < Self::Suspect
    }
}

/// How a device is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directness {
    /// Past the page cache (`O_DIRECT`).
    Direct,
    /// Through the page cache: the file system refuses `O_DIRECT`.
    Buffered,
    /// Not known yet: nothing was read.
    Unknown,
}

impl Directness {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
            Self::Unknown => "unknown",
        }
    }
}

/// Space on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What may still be written.
    pub available: u64,
    /// Mounted or switched to read-only.
    pub read_only: bool,
}

/// The memory tier and the buffers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What may be locked.
    pub budget: u64,
    /// What is locked.
    pub locked: u64,
    /// Why the budget is smaller than wanted, or why a lock failed; empty if nothing is wrong.
    pub remark: String,
    /// Buffers for reads from devices.
    pub in_flight_budget: u64,
    /// Bytes of them in use.
    pub in_flight: u64,
}

/// The certificates, and how following their files goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// What viewers are shown: by name, the first one for all others.
    pub certificates: Vec<Certificate>,
    /// When the files were last found changed, or read at SIGHUP; `None`: not since the start.
    pub reloaded: Option<u64>,
    /// What was wrong with them then; what was loaded before is shown on. Empty: all was taken over.
    pub problems: Vec<String>,
    /// How often something was, since the start.
    pub failures: u64,
    /// Who seals what is sent.
    #[serde(default)]
    pub paths: Vec<TlsPath>,
}

/// Who seals what is sent over connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPath {
    /// `user`: this program.
    pub path: String,
    /// Connections since the start whose handshakes were done, and that took it.
    pub connections: u64,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `cert`, as configured.
    pub cert: PathBuf,
    /// `key`, as configured.
    pub key: PathBuf,
    /// The host names that it is for, in lower case; may begin with `*.`.
    pub names: Vec<String>,
    /// As in `ECDSA P-256`.
    pub key_type: String,
    /// When the first part of the chain ends.
    pub not_after: u64,
    /// When it was loaded.
    pub loaded: u64,
}

/// The reports to the control endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reporting {
    /// `control.url`.
    pub url: String,
    /// When one was last answered.
    pub answered: Option<u64>,
    /// When the last one was sent.
    pub tried: Option<u64>,
    /// What was wrong with the last one; empty if it was answered.
    pub problem: String,
}

/// The fill agent in short: `ocactl fill status` tells more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filling {
    /// When it told this.
    pub told: u64,
    /// In one word.
    pub activity: Activity,
    /// In one sentence.
    pub why: String,
    /// Whether the window is open.
    #[serde(default)]
    pub window_open: bool,
    /// What comes, over the last seconds.
    #[serde(default)]
    pub rate_now: u64,
    /// Of what is planned.
    #[serde(default)]
    pub progress: Progress,
    /// The manifest in force.
    #[serde(default)]
    pub manifest: Option<ManifestFacts>,
    /// A manifest that waits for an operator.
    #[serde(default)]
    pub held: Option<Held>,
}

/// What is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Number of the catalog's state that is served.
    pub generation: u64,
    /// The oldest one that a worker may still use.
    pub oldest_in_use: u64,
    /// When it was loaded.
    pub loaded: u64,
    /// Paths that are served.
    pub paths: u64,
    /// Objects that are served.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that miss a column, because its device is absent or failed.
    pub incomplete: u64,
    /// What is wrong with the catalog; serving goes on with what is loaded.
    pub problems: Vec<String>,
}
