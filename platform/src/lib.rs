//! The only crate that touches a kernel.
//!
//! Two halves that know nothing of each other: the *reactor side* (sockets, timers, wakes; one per
//! core) and the *device side* (files, memory, reads that may wait for a disk). A worker holds one
//! [`reactor::Reactor`] and asks the device side through queues, so that no thread that serves
//! connections ever waits for a disk.
//!
//! Which kernel is below is decided in files named after it (`linux.rs`, `freebsd.rs`), never inside
//! a function.

pub mod allocation;
pub mod buffer;
pub mod clock;
pub mod cpu;
pub mod device;
pub mod disk;
pub mod door;
pub mod file;
mod free_slots;
pub mod guard;
pub mod inherited;
pub mod interface;
pub mod kernel_tls;
pub mod lmdb;
pub mod lost_pages;
pub mod memory;
pub mod messages;
mod park;
pub mod process;
pub mod reactor;
pub mod sandbox;
pub mod sendfile;
pub mod socket;
pub mod stored_file;
pub mod timer;
pub mod user;
pub mod visit;
pub mod watch;
