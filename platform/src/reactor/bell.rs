//! The bell: what a [`super::Waker`] rings so that a sleeping reactor returns from its wait.

// On Linux its tests alone use it, with the fake kernel of `kqueue.rs`.
#[cfg(any(target_os = "freebsd", test))]
pub(super) mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
pub(super) use freebsd::Bell;
#[cfg(target_os = "linux")]
pub(super) use linux::Bell;
