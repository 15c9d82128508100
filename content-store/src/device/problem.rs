//! Why a device cannot be used, and the one word for what it is good for.

use std::io;
use std::path::PathBuf;

use super::{DEVICE_FORMAT, Device, IDENTITY_FILE};
use crate::ids::DeviceId;

/// Why a configured device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceProblem {
    /// The folder does not exist.
    #[error("device {}: there is no such folder: mount it, or remove it from the configuration", path.display())]
    Missing {
        /// Configured path.
        path: PathBuf,
    },
    /// The folder is there, its identity file is not: most likely nothing is mounted.
    #[error("device {}: no {IDENTITY_FILE} in it: mount the device, or make a new one with `ocactl device add {}`",
        path.display(), path.display())]
    NoIdentity {
        /// Configured path.
        path: PathBuf,
    },
    /// Another device is mounted here.
    #[error("device {}: this is device {found}, not {expected}: mount the right one", path.display())]
    WrongIdentity {
        /// Configured path.
        path: PathBuf,
        /// The device that was here.
        expected: DeviceId,
        /// The device that is here.
        found: DeviceId,
    },
    /// A newer program initialised it.
    #[error("device {}: its format {found} is newer than this program uses ({DEVICE_FORMAT}): install a newer version",
        path.display())]
    NewerFormat {
        /// Configured path.
        path: PathBuf,
        /// Format on the device.
        found: u32,
    },
    /// The identity file cannot be understood.
    #[error("{}: {cause}: restore it from `ocactl device ls` of an earlier day, or add the device anew",
        path.join(IDENTITY_FILE).display())]
    BadIdentity {
        /// Configured path.
        path: PathBuf,
        /// What the parser says.
        cause: String,
    },
    /// The folder lies on the file system above it.
    #[error("device {}: it is not the root of its own file system: mount it there, or say that folders may share \
        one (shared_fs = true, `--shared-fs`)", path.display())]
    NotMounted {
        /// Configured path.
        path: PathBuf,
    },
    /// It is a device already.
    #[error("device {}: it is already device {id}", path.display())]
    AlreadyInitialised {
        /// Path.
        path: PathBuf,
        /// The device it is.
        id: DeviceId,
    },
    /// The folder holds something else.
    #[error("device {}: the folder is not empty ({found} is in it): a device owns its file system", path.display())]
    NotEmpty {
        /// Path.
        path: PathBuf,
        /// The first thing found.
        found: String,
    },
    /// The file system cannot be written.
    #[error("device {}: the file system is mounted read-only: see the kernel log, then remount it", path.display())]
    ReadOnly {
        /// Configured path.
        path: PathBuf,
    },
    /// It hangs.
    #[error("device {} has not answered within {waited_s} s: see the kernel log", path.display())]
    Silent {
        /// Configured path.
        path: PathBuf,
        /// Seconds.
        waited_s: u64,
    },
    /// The disk or the file system fails.
    #[error("device {}: {source}: see the kernel log", path.display())]
    Unreadable {
        /// Configured path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// An operator took it out of use for a while.
    #[error("device {}: {by} took it offline{}: `ocactl device online {}` takes it back", path.display(), because(reason), path.display())]
    Offline {
        /// Configured path.
        path: PathBuf,
        /// Who.
        by: String,
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// An operator took it out of use for good; what was on it counts as lost.
    #[error("device {}: this is device {id}, which {by} removed for good: empty the disk (mkfs) and `ocactl device add` it, \
        or mount the right one", path.display())]
    Removed {
        /// Configured path.
        path: PathBuf,
        /// The device.
        id: DeviceId,
        /// Who.
        by: String,
    },
    /// A new device that holds nothing is where another one was.
    #[error("device {}: here is a new and empty device {found}, where device {expected} was: mount the old one, or let this one take \
        its place: `ocactl device replace {}`", path.display(), path.display())]
    Empty {
        /// Configured path.
        path: PathBuf,
        /// The device that was here.
        expected: DeviceId,
        /// The device that is here.
        found: DeviceId,
    },
    /// It was away while the catalog changed, and what it holds was not compared with it yet.
    #[error("device {} is back, and what it holds is not compared with the catalog yet: the fill agent does that, or \
        `ocactl device online {}`", device.root().display(), device.root().display())]
    Returned {
        /// It.
        device: Box<Device>,
    },
}

/// What a device is good for, in one word: the same words in status, metrics and `ocactl`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Condition {
    /// It is read and written.
    Ok,
    /// It is back, and not compared with the catalog yet.
    Returned,
    /// It is read; what it alone holds is being copied to others.
    Evacuating,
    /// It is read, and has no room.
    Full,
    /// It is read, and takes no writes.
    ReadOnly,
    /// An operator took it out of use.
    Offline,
    /// A new and empty device is in its place.
    Empty,
    /// Another device is in its place.
    Swapped,
    /// Nothing is in its place.
    Missing,
    /// It does not answer, or its disk fails.
    Failed,
}

impl Condition {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Returned => "returned",
            Self::Evacuating => "evacuating",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Offline => "offline",
            Self::Empty => "empty",
            Self::Swapped => "swapped",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

impl DeviceProblem {
    /// What it makes of its device.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Missing { .. } | Self::NoIdentity { .. } | Self::NotMounted { .. } => {
                Condition::Missing
            }
            Self::WrongIdentity { .. } => Condition::Swapped,
            Self::ReadOnly { .. } => Condition::ReadOnly,
            Self::Offline { .. } | Self::Removed { .. } => Condition::Offline,
            Self::Empty { .. } => Condition::Empty,
            Self::Returned { .. } => Condition::Returned,
            Self::NewerFormat { .. }
            | Self::BadIdentity { .. }
            | Self::AlreadyInitialised { .. }
            | Self::NotEmpty { .. }
            | Self::Silent { .. }
            | Self::Unreadable { .. } => Condition::Failed,
        }
    }
}

/// A problem in one word and one sentence, to be passed on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{words}")]
pub struct Complaint {
    /// What it makes of the device.
    pub condition: Condition,
    /// What is wrong, and the way out.
    pub words: String,
}

impl From<DeviceProblem> for Complaint {
    fn from(problem: DeviceProblem) -> Self {
        Self {
            condition: problem.condition(),
            words: problem.to_string(),
        }
    }
}

fn because(reason: &Option<String>) -> String {
    let said = reason.iter().map(|reason| format!(" ({reason})"));
    said.collect()
}
