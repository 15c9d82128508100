//! The backends of this system.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
pub(super) use freebsd::{BACKENDS, open};
#[cfg(target_os = "linux")]
pub(super) use linux::{BACKENDS, open};
