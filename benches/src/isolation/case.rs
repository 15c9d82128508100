//! What can be wrong with a device.

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
}

/// How it is made so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Illness {
    /// Of a block device.
    Held(Rule),
    /// Of a file system.
    In(Mood),
}

impl Case {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Seeks => "seeks",
            Self::Frozen => "frozen",
            Self::Silent => "silent",
            Self::Errors => "errors",
        }
    }

    pub(super) fn illness(self) -> Illness {
        let rule = |bytes, operations| Illness::Held(Rule { bytes, operations });
        match self {
            Self::Slow => rule(Some(20 << 20), None),
            Self::Seeks => rule(None, Some(100)),
            Self::Frozen => rule(Some(1), None),
            Self::Silent => Illness::In(Mood::Silent),
            Self::Errors => Illness::In(Mood::Failing),
        }
    }

    /// A block device is held back; otherwise a file system in user space answers.
    pub(super) fn is_of_block_device(self) -> bool {
        matches!(self.illness(), Illness::Held(_))
    }

    /// Who asks it for something hangs.
    pub(super) fn hangs(self) -> bool {
        matches!(self, Self::Frozen | Self::Silent)
    }
}
