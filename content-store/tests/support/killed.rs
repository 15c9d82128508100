//! A writer in a process of its own (the test binary again) that is killed after one of its steps, without unwinding.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use content_store::Store;

use super::Appliance;

const FOLDER: &str = "OCA_WRITER_FOLDER";
const STEP: &str = "OCA_WRITER_LAST_STEP";

/// How it ends if it is killed.
const KILLED: i32 = 42;

/// The body of the test `child_writer`: in the child it changes the store, anywhere else it does nothing.
pub fn child_writer(change: impl FnOnce(&mut Store)) {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else {
        return;
    };
    let (last, done): (u32, _) = (step.parse().unwrap(), AtomicU32::new(0));
    let appliance = Appliance::at(Path::new(&folder));
    let mut store = appliance.open_with(Arc::new(move |_| {
        if done.fetch_add(1, Ordering::Relaxed) + 1 == last {
            std::process::exit(KILLED);
        }
    }));
    change(&mut store);
}

/// Runs the test `child_writer` on the box in `folder`, killed after so many steps.
pub fn run(folder: &Path, step: u32) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "child_writer", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEP, step.to_string());
    let status = child.output().unwrap().status;
    assert!(status.success() || status.code() == Some(KILLED), "{step}");
    status
}
