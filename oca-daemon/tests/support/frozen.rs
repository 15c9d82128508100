//! One thread of a process that stands still, and all others of it do not: what `SIGSTOP` cannot do, `ptrace(2)` can. Stopped and let go
//! by the same thread, as the kernel wants.

use std::fs;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::support::{Daemon, eventually};

/// Goes on when dropped.
pub(crate) struct FrozenThread(Pid);

impl FrozenThread {
    /// Stops a worker, whatever it does; but for its beginning, when it allocates: whoever does so later would wait for it.
    pub(crate) fn worker(daemon: &Daemon, number: usize) -> Self {
        eventually("the worker turns", || {
            let turns = daemon.metric("oca_worker_turns_total", &format!("worker=\"{number}\""));
            (turns > 0.0).then_some(())
        });
        let thread = thread(daemon.child.id(), &format!("oca-worker-{number}"));
        ptrace::seize(thread, ptrace::Options::empty()).expect("a thread of a child");
        ptrace::interrupt(thread).expect("seized");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        Self(thread)
    }
}

impl Drop for FrozenThread {
    fn drop(&mut self) {
        if ptrace::detach(self.0, None).is_err() {
            // It has died: its process ends only once this was heard.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}

fn thread(process: u32, name: &str) -> Pid {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let mut threads = threads.map(|thread| thread.expect("a thread").path());
    let found = threads.find(|thread| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    let found = found.unwrap_or_else(|| panic!("no thread {name}"));
    let number = found
        .file_name()
        .and_then(|number| number.to_str()?.parse().ok());
    Pid::from_raw(number.expect("a number"))
}
