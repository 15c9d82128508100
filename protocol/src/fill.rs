//! What `ocactl` asks the fill agent, and what the agent tells of itself.
//!
//! The agent listens at [`FILL_SOCKET`] in `run_dir`; lines as in [`crate::operator`], with the same version.
//! Times are seconds since 1970-01-01 UTC, amounts bytes, rates bits per second.

mod plan;
mod scrub;
mod status;
mod window;

use serde::{Deserialize, Serialize};

use crate::log::{self, LogLevel};
use crate::manifest::Serial;
use crate::operator::Refusal;
use crate::root::Root;

pub use plan::{
    Plan, PlanTotals, PlannedCopy, PlannedEviction, PlannedFetch, PlannedMove, PlannedRepair,
};
pub use scrub::{Scrub, ScrubDevice};
pub use status::{
    Activity, Contact, DeviceFill, Facts, Failure, Held, ManifestFacts, Pause, Progress,
    SourceStatus, Status, Transfer,
};
pub use window::{Change, Hours, Overridden, SetHours, Window};

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
