//! Every bound of this program, with what it costs.

use std::time::Duration;

/// An answer of the daemon. It answers from memory; a reload reads the whole catalog, a second per million objects or so.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A reload of a large catalog, or an undrain with its self-test.
pub(crate) const SLOW_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long `content rm` waits for the daemon to let go of what is removed.
pub(crate) const LET_GO_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it looks while it waits.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How often `device evacuate --wait` looks.
pub(crate) const EVACUATION_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often `drain --wait` looks.
pub(crate) const DRAIN_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often `--watch` asks.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long all devices together may take to answer. One that does not costs a process for as long as it hangs.
pub(crate) const DEVICE_TIMEOUT: Duration = Duration::from_secs(3);

/// After so much silence of a child that reads or writes devices it is looked whether they all answer. Longer than a disk tries to read a
/// bad sector (7 s is usual).
pub(crate) const CHILD_QUIET: Duration = Duration::from_secs(10);

/// How long a child that was killed may take to end; one that hangs in a disk takes longer, and is left behind.
pub(crate) const CHILD_END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long one entry of a support bundle may take; a command that hangs on a disk is left behind.
pub(crate) const BUNDLE_MEMBER_TIMEOUT: Duration = Duration::from_secs(20);

/// The most bytes of one entry of a support bundle; each lies in memory until the file is written, some thirty of them.
pub(crate) const BUNDLE_MEMBER_BYTES: u64 = 4 << 20;

/// Objects that share a folder sync and a catalog commit.
pub(crate) const BATCH_OBJECTS: usize = 64;

/// The longest that a written object waits for its batch.
pub(crate) const BATCH_TIME: Duration = Duration::from_secs(10);

const _: () = assert!(ANSWER_TIMEOUT.as_secs() <= SLOW_ANSWER_TIMEOUT.as_secs());
const _: () = assert!(POLL_INTERVAL.as_millis() * 10 <= LET_GO_TIMEOUT.as_millis());
