//! What can be wrong with a device, or with the disk that the state lies on.

use clap::ValueEnum;

use super::mirror::Mood;
use super::throttle::Rule;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Case {
    /// 20 MiB/s
    Slow,
    /// 100 operations/s
    Seeks,
    /// reads and writes never end
    Frozen,
    /// nothing ends, neither `open` nor `stat`
    Silent,
    /// reads and writes end with EIO
    Errors,
    /// nothing ends on the state disk
    StateSilent,
    /// reads and writes of the state disk end with EIO
    StateErrors,
    /// all files on the state disk are empty
    StateTruncated,
}

/// What falls ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A block device with content.
    Disk,
    /// A file system with content.
    Mirror,
    /// The file system with the state; of ours only.
    State,
}

/// How it is made so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Illness {
    /// Of a block device.
    Held(Rule),
    /// Of a file system.
    In(Mood),
    /// Of its files.
    Truncated,
}

impl Case {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Seeks => "seeks",
            Self::Frozen => "frozen",
            Self::Silent => "silent",
            Self::Errors => "errors",
            Self::StateSilent => "state silent",
            Self::StateErrors => "state errors",
            Self::StateTruncated => "state truncated",
        }
    }

    pub(super) fn illness(self) -> Illness {
        let rule = |bytes, operations| Illness::Held(Rule { bytes, operations });
        match self {
            Self::Slow => rule(Some(20 << 20), None),
            Self::Seeks => rule(None, Some(100)),
            Self::Frozen => rule(Some(1), None),
            Self::Silent | Self::StateSilent => Illness::In(Mood::Silent),
            Self::Errors | Self::StateErrors => Illness::In(Mood::Failing),
            Self::StateTruncated => Illness::Truncated,
        }
    }

    pub(super) fn what(self) -> What {
        match self {
            Self::Slow | Self::Seeks | Self::Frozen => What::Disk,
            Self::Silent | Self::Errors => What::Mirror,
            Self::StateSilent | Self::StateErrors | Self::StateTruncated => What::State,
        }
    }

    /// Who asks it for something hangs.
    pub(super) fn hangs(self) -> bool {
        matches!(self, Self::Frozen | Self::Silent | Self::StateSilent)
    }

    /// Who asks it for something gets EIO.
    pub(super) fn fails(self) -> bool {
        matches!(self, Self::Errors | Self::StateErrors)
    }
}
