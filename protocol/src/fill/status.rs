//! What the agent is doing: in full for operators, in short for the daemon.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::manifest::{Serial, SourceKind};
use crate::status::DeviceState;

/// What the agent is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was true.
    pub as_of: u64,
    /// Version of the agent.
    pub version: String,
    /// When it started.
    pub started: u64,
    /// In one word.
    pub activity: Activity,
    /// One sentence: what is going on, or why nothing is.
    pub why: String,
    /// The window in short.
    pub window_open: bool,
    /// When it opens or closes next; `None` if it never does, or nothing is known of the time.
    pub window_changes: Option<u64>,
    /// The rate in force; `None`: none is configured, so nothing is fetched.
    pub rate: Option<u64>,
    /// Bits per second, over the last seconds.
    pub rate_now: u64,
    /// When what is planned will be here at this rate; `None`: nothing is fetched, or no end can be told.
    pub eta: Option<u64>,
    /// Whether the system says that its clock is synchronised.
    pub clock_synchronised: bool,
    /// The manifest in force.
    pub manifest: Option<ManifestFacts>,
    /// A manifest that waits for [`Request::Accept`](super::Request::Accept).
    pub held: Option<Held>,
    /// The last look at the control endpoint.
    pub control: Contact,
    /// A pause.
    pub pause: Option<Pause>,
    /// Of what is planned.
    pub progress: Progress,
    /// What is being fetched.
    pub transfers: Vec<Transfer>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// The devices.
    pub devices: Vec<DeviceFill>,
    /// What waits, and for what, in sentences: `12 objects wait for c002.fra001.example to have them`.
    pub waiting: Vec<String>,
    /// Objects that failed in this window, with the reason; the newest 20.
    pub failures: Vec<Failure>,
}

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// Bytes come.
    Filling,
    /// There is something to fetch, and it is waited for a source.
    Waiting,
    /// All that is wanted is here.
    Complete,
    /// Outside the window.
    Closed,
    /// By the operator.
    Paused,
    /// Something keeps it from filling: see `why`.
    Blocked,
}

impl Activity {
    /// All, for metrics.
    pub const ALL: [Self; 6] = [
        Self::Filling,
        Self::Waiting,
        Self::Complete,
        Self::Closed,
        Self::Paused,
        Self::Blocked,
    ];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Waiting => "waiting",
            Self::Complete => "complete",
            Self::Closed => "closed",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
        }
    }
}

/// A manifest in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFacts {
    /// Its number.
    pub serial: Serial,
    /// When it was built.
    pub built_at: u64,
    /// When it ends.
    pub not_after: u64,
    /// Objects (roots, not paths).
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, held.
    pub objects_held: u64,
    /// Of them, held.
    pub bytes_held: u64,
}

/// A manifest that is not acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number.
    pub serial: Serial,
    /// Since when.
    pub since: u64,
    /// Why, with the numbers.
    pub why: String,
}

/// The last look at the control endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The last one that worked.
    pub succeeded: Option<u64>,
    /// The last one.
    pub tried: Option<u64>,
    /// What was wrong with it; empty if nothing.
    pub problem: String,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: u64,
    /// Who asked.
    pub by: String,
    /// Until when.
    pub until: Option<u64>,
}

/// Of what is planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Objects to fetch in this plan.
    pub objects: u64,
    /// Of them, published.
    pub objects_done: u64,
    /// Bytes to fetch.
    pub bytes: u64,
    /// Of them, verified.
    pub bytes_done: u64,
    /// Wanted, but there is no room.
    pub objects_without_room: u64,
    /// Their bytes.
    pub bytes_without_room: u64,
}

/// An object that is being fetched, or moved between tiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Verified and written.
    pub bytes_done: u64,
    /// Name of the source; of what is moved, the tier where it is.
    pub source: String,
    /// The tier that it is moved to; `None` if it is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moves_to: Option<String>,
    /// What it waits for; empty if bytes come.
    pub waits_for: String,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// `ok`, or why it is not asked now.
    pub state: String,
    /// Asked again at; `None` if it is `ok`.
    pub retry_at: Option<u64>,
    /// Bits per second, over the last seconds.
    pub rate: u64,
    /// Bytes since the agent's start.
    pub bytes: u64,
    /// Errors since the agent's start.
    pub errors: u64,
}

/// A device as the agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFill {
    /// Last part of its path.
    pub name: String,
    /// Where it is configured; empty: from a release that did not say.
    #[serde(default)]
    pub path: PathBuf,
    /// Its tier.
    pub tier: String,
    /// The agent's verdict; `None`: from a release that did not say.
    #[serde(default)]
    pub verdict: Option<DeviceState>,
    /// `ok`, or what is wrong.
    pub state: String,
    /// Bits per second written, over the last seconds.
    pub rate: u64,
    /// Writes waiting or under way.
    pub queue: u64,
    /// Room for objects.
    pub room: u64,
    /// Of this size.
    pub total: u64,
    /// Bytes of columns of published objects.
    #[serde(default)]
    pub object_bytes: u64,
    /// Bytes of columns that wait to be unlinked.
    #[serde(default)]
    pub doomed_bytes: u64,
    /// Bytes that all columns and sidecars take from the file system; what it uses beyond is folders, what is being written, and not
    /// the store's.
    #[serde(default)]
    pub used_bytes: u64,
}

/// An object that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: u64,
    /// One of its paths.
    pub path: String,
    /// From which source.
    pub source: String,
    /// What happened.
    pub reason: String,
}

/// What the agent tells the daemon every 5 s, for reports and health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When this was true.
    pub as_of: u64,
    /// In one word.
    pub activity: Activity,
    /// In one sentence.
    pub why: String,
    /// The manifest in force.
    pub manifest: Option<ManifestFacts>,
    /// A manifest that is held.
    pub held: Option<Held>,
    /// The newest tombstones that were carried out.
    pub tombstones: Option<Serial>,
    /// Of the plan.
    pub progress: Progress,
    /// Bits per second now.
    pub rate_now: u64,
    /// Whether the window is open.
    pub window_open: bool,
    /// The last look at the control endpoint.
    pub control: Contact,
    /// Whether the clock is synchronised.
    pub clock_synchronised: bool,
}
