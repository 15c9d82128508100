//! The device service through its public words: on files of a real file system, with readers that hang for real (a named pipe that nobody
//! opens for writing) or where the test tells them to (a check that waits), and with errors that the kernel makes (`/proc/self/mem`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "device/harness.rs"]
mod harness;

#[path = "device/budget.rs"]
mod budget;
#[cfg(target_os = "linux")]
#[path = "device/erroring.rs"]
mod erroring;
#[path = "device/failing.rs"]
mod failing;
#[path = "device/hanging.rs"]
mod hanging;
#[path = "device/reading.rs"]
mod reading;
#[path = "device/stress.rs"]
mod stress;
#[path = "device/turns.rs"]
mod turns;
