//! What `ocactl` asks the fill agent, and what the agent tells of itself.
//!
//! The agent listens at [`FILL_SOCKET`] in `run_dir`; lines as in [`crate::operator`], with the same version.
//! Times are seconds since 1970-01-01 UTC, amounts bytes, rates bits per second.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::log::{self, LogLevel};
use crate::manifest::{Serial, SourceKind};
use crate::operator::Refusal;
use crate::root::Root;
use crate::status::DeviceState;

/// The agent's socket in `run_dir`.
pub const FILL_SOCKET: &str = "fill.sock";

/// What an operator may ask of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// [`Response::Status`].
    Status,
    /// [`Response::Plan`]: what would be done now, or is being done.
    Plan {
        /// Most entries of each list.
        limit: u32,
    },
    /// [`Response::Window`].
    Window,
    /// [`Response::Window`]: replaces the configured window until it is cleared.
    SetWindow {
        /// Who asks: the login name.
        by: String,
        /// As in the configuration; `None` goes back to what is configured.
        window: Option<String>,
        /// Name of the time zone; `None`: as configured.
        timezone: Option<String>,
        /// As in the configuration; `None`: as configured.
        rate: Option<u64>,
    },
    /// [`Response::Window`]: opens or closes the window whatever its hours.
    Override {
        /// Who asks.
        by: String,
        /// Open or closed.
        open: bool,
        /// Until when; `None`: until it is cleared.
        until: Option<u64>,
    },
    /// [`Response::Window`]: by its hours again.
    ClearOverride {
        /// Who asks.
        by: String,
    },
    /// [`Response::Status`]: fetches nothing and lets go of the store, also for `ocactl content import`. Takedowns go on.
    Pause {
        /// Who asks.
        by: String,
        /// Until when; `None`: until `resume`.
        until: Option<u64>,
    },
    /// [`Response::Status`].
    Resume {
        /// Who asks.
        by: String,
    },
    /// [`Response::Status`]: something else is wanted of devices, or one was changed: looks at them now.
    Devices,
    /// [`Response::Status`]: lets a held manifest through.
    Accept {
        /// Who asks.
        by: String,
        /// The one that is held; another one is refused.
        serial: Serial,
    },
    /// [`Response::Noted`] once the catalog knows of them: columns that the daemon could not use. It asks again until then.
    Damaged {
        /// At most [`DAMAGED_MAX`](crate::limits::DAMAGED_MAX).
        columns: Vec<DamagedColumn>,
    },
    /// [`Response::LogLevel`]: how much is logged; and changes it.
    LogLevel {
        /// Who asks.
        by: String,
        /// `None`: it is only asked.
        change: Option<log::Change>,
    },
    /// [`Response::Scrub`]: how far the devices are read back.
    ScrubStatus,
    /// [`Response::Scrub`]: begins a pass now, whenever the last one was.
    ScrubStart {
        /// Who asks.
        by: String,
        /// Last part of the device's path; `None`: all devices.
        device: Option<String>,
    },
    /// [`Response::Scrub`]: reads nothing back until it is resumed.
    ScrubPause {
        /// Who asks.
        by: String,
        /// Until when; `None`: until it is resumed.
        until: Option<u64>,
    },
    /// [`Response::Scrub`].
    ScrubResume {
        /// Who asks.
        by: String,
    },
}

/// A column that the daemon could not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedColumn {
    /// Its object.
    pub object: Root,
    /// Its device: 32 hexadecimal digits.
    pub device: String,
    /// The generation of the catalog by which it was read.
    pub seen: u64,
    /// A block of it, or its sidecar, is not what was written. Otherwise the device refused a read, and the agent is to look.
    pub certain: bool,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "response")]
pub enum Response {
    /// To [`Request::Status`] and whatever changes what it shows.
    Status(Box<Status>),
    /// To [`Request::Plan`].
    Plan(Box<Plan>),
    /// To [`Request::Window`] and whatever changes it.
    Window(Box<Window>),
    /// To [`Request::Damaged`].
    Noted,
    /// To [`Request::ScrubStatus`] and whatever changes it.
    Scrub(Box<Scrub>),
    /// To [`Request::LogLevel`].
    LogLevel(LogLevel),
    /// It was not done.
    Refused(Refusal),
}

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
    /// A manifest that waits for [`Request::Accept`].
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

/// How far the devices are read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// When this was true.
    pub as_of: u64,
    /// The most that is read of one device, in bits per second.
    pub rate: u64,
    /// Seconds from the begin of one pass to that of the next.
    pub every: u64,
    /// A pause.
    pub pause: Option<Pause>,
    /// The devices, in the order of the configuration.
    pub devices: Vec<ScrubDevice>,
}

/// How far one device is read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubDevice {
    /// Last part of its path.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// `running`, `waiting` (for the next pass), `paused`, or what is wrong.
    pub state: String,
    /// When the pass that runs began.
    pub began: Option<u64>,
    /// When the last whole pass ended.
    pub ended: Option<u64>,
    /// When the next pass begins.
    pub next: Option<u64>,
    /// Columns that were read in this pass, or in the last one.
    pub columns: u64,
    /// Of so many, when the pass began.
    pub columns_all: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Columns that were found bad.
    pub bad: u64,
}

/// The window, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When this was true.
    pub as_of: u64,
    /// In the configuration; `None`: there is no `[fill]`.
    pub configured: Option<Hours>,
    /// By `ocactl fill-window set`.
    pub set: Option<SetHours>,
    /// By `ocactl fill-window override`.
    pub overridden: Option<Overridden>,
    /// What is in force.
    pub effective: Option<Hours>,
    /// Seconds by which it is shifted at this site.
    pub site_offset_s: u32,
    /// Whether it is open.
    pub open: bool,
    /// Why, in a sentence.
    pub why: String,
    /// The next changes, at most 8: when, and whether it opens.
    pub next: Vec<Change>,
}

/// Hours and rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Civil time, as in `02:00-14:00`.
    pub window: String,
    /// Name of the zone.
    pub timezone: String,
    /// Bits per second.
    pub rate: Option<u64>,
}

/// Hours set by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHours {
    /// The hours, complete.
    pub hours: Hours,
    /// Who.
    pub by: String,
    /// When.
    pub at: u64,
}

/// An override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// Open or closed.
    pub open: bool,
    /// Who.
    pub by: String,
    /// When.
    pub at: u64,
    /// Until when.
    pub until: Option<u64>,
}

/// One opening or closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: u64,
    /// Opens, or closes.
    pub opens: bool,
    /// In the window's zone, as in `2026-03-29T03:00:00+02:00`.
    pub local: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub as_of: u64,
    /// For this manifest.
    pub serial: Option<Serial>,
    /// To fetch, in this order; at most `limit` entries.
    pub fetch: Vec<PlannedFetch>,
    /// To move to another tier.
    pub moves: Vec<PlannedMove>,
    /// To have further copies.
    #[serde(default)]
    pub copies: Vec<PlannedCopy>,
    /// To take away, because the room is needed.
    pub evict: Vec<PlannedEviction>,
    /// Of which lost and bad columns are written anew, before anything is fetched.
    #[serde(default)]
    pub repair: Vec<PlannedRepair>,
    /// Of all fetches, moves, copies, evictions, repairs: objects and bytes.
    pub totals: PlanTotals,
    /// What keeps it from being done, in a sentence; empty if nothing does.
    pub blocked: String,
}

/// Totals of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTotals {
    /// Objects to fetch.
    pub fetch_objects: u64,
    /// Their bytes.
    pub fetch_bytes: u64,
    /// Objects to move.
    pub move_objects: u64,
    /// Their bytes.
    pub move_bytes: u64,
    /// Objects that get further copies.
    #[serde(default)]
    pub copy_objects: u64,
    /// Bytes of those copies.
    #[serde(default)]
    pub copy_bytes: u64,
    /// Objects of which lost and bad columns are to be written anew.
    #[serde(default)]
    pub repair_objects: u64,
    /// Bytes of those columns.
    #[serde(default)]
    pub repair_bytes: u64,
    /// Objects to evict.
    pub evict_objects: u64,
    /// Their bytes.
    pub evict_bytes: u64,
    /// Wanted objects without room.
    pub no_room_objects: u64,
    /// Their bytes.
    pub no_room_bytes: u64,
}

/// An object of which lost and bad columns are to be written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRepair {
    /// One of its paths.
    pub path: String,
    /// Bytes of those columns.
    pub bytes: u64,
    /// The tier of the copy.
    pub tier: String,
    /// Without them no copy of it is whole: it is not served.
    pub is_lost: bool,
    /// It is repaired now; if not, it waits for the window.
    pub now: bool,
}

/// An object to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFetch {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The tier.
    pub tier: String,
    /// Where it comes from first.
    pub source: String,
}

/// An object to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// From this tier.
    pub from: String,
    /// To this one.
    pub to: String,
}

/// An object to copy on the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCopy {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its tier.
    pub tier: String,
    /// Copies that come.
    pub count: u8,
}

/// An object to take away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedEviction {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its tier.
    pub tier: String,
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
