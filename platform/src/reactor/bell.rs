//! The bell: what a [`super::Waker`] rings so that a sleeping reactor returns from its wait.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
pub(super) use freebsd::Bell;
#[cfg(target_os = "linux")]
pub(super) use linux::Bell;
