//! Bounds of the io_uring backend and what they cost.

use std::time::Duration;

/// Operations handed to io_uring in one go: 64 KiB of ring. More are handed over by a further call.
pub(super) const SUBMISSIONS: u32 = 1024;
/// Completions io_uring keeps in its ring (16 bytes each) per connection, within the bounds that follow. What
/// does not fit is kept by the kernel in memory of its own, and handed over at a cost.
pub(super) const COMPLETIONS_PER_CONNECTION: u32 = 2;
/// The smallest completion ring: 64 KiB.
pub(super) const MIN_COMPLETIONS: u32 = 4096;
/// The largest: 1 MiB (the kernel's limit is twice that).
pub(super) const MAX_COMPLETIONS: u32 = 1 << 16;
/// How long the end of a reactor waits for the kernel to let go of its memory. It takes microseconds; after
/// this long the memory is given up for good instead.
pub(super) const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

const _: () = assert!(SUBMISSIONS < MIN_COMPLETIONS && MIN_COMPLETIONS < MAX_COMPLETIONS);
