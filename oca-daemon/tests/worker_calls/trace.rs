//! `strace` on the workers of a daemon, and the list of what they may ask of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Daemon, Site};

/// Sockets, waiting for them, waking and being woken: all that a worker may ask of the kernel.
const ALLOWED: [&str; 15] = [
    "accept4",
    "clock_gettime",
    "close",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "futex",
    // Once for a new connection: neither accept4 nor the ring told who it is.
    "getpeername",
    "io_uring_enter",
    "recvfrom",
    "sched_yield",
    "sendfile",
    "sendto",
    "shutdown",
];

/// When the rate of a connection changes, and for nothing else.
pub(crate) const PACING: (&str, &str) = ("setsockopt", "SO_MAX_PACING_RATE");

/// A few times, however many requests there are. A debug build looks at a descriptor before it closes it: that of the self-test, which
/// comes by every ten seconds. Where a worker counts as stuck, as on a busy machine, another one takes its listening sockets. And whose send
/// buffer is full for the eighth time, sixteenth, thirty-second.. is asked how long its path is.
const SELDOM: [(&str, &str); 6] = [
    ("fcntl", "F_GETFD"),
    ("fcntl", "F_GETFL"),
    ("fcntl", "F_DUPFD_CLOEXEC"),
    ("ioctl", "FIONBIO"),
    ("getsockopt", "SO_SNDBUF"),
    ("getsockopt", "TCP_INFO"),
];
const SELDOM_CALLS: usize = 64;

/// Allowed on an eventfd, which is how a worker is woken.
const ON_EVENTFD: [&str; 2] = ["read", "write"];

/// One call: name, arguments, result.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    arguments: String,
    pub(crate) result: i64,
}

/// `strace` on the worker threads of a daemon, and on no other.
pub(crate) struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    pub(crate) fn attach(site: &Site, daemon: &Daemon) -> Self {
        let file = site.path("calls");
        let workers = workers(daemon);
        assert_eq!(workers.len(), 2, "the daemon has its workers");
        let mut strace = Command::new("strace")
            .args(["-y", "-s", "0", "-o"])
            .arg(&file)
            .args(workers.iter().flat_map(|tid| ["-p", tid]))
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        for _ in &workers {
            let line = said.next().expect("strace attaches").unwrap();
            assert!(line.contains("attached"), "strace says: {line}");
        }
        // The rest of what it says must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        Self { strace, file }
    }

    pub(crate) fn calls(mut self) -> Vec<Call> {
        let pid = self.strace.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(sent.unwrap().success());
        self.strace.wait().unwrap();
        let text = fs::read_to_string(&self.file).unwrap();
        parse(&text)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn workers(daemon: &Daemon) -> Vec<String> {
    let tasks = PathBuf::from(format!("/proc/{}/task", daemon.child.id()));
    let named = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("oca-worker-"))
    };
    let tasks = fs::read_dir(tasks)
        .unwrap()
        .map(|task| task.unwrap().path());
    let tid = |task: PathBuf| task.file_name().unwrap().to_str().unwrap().to_owned();
    tasks.filter(named).map(tid).collect()
}

/// Joins what strace writes in two parts when two threads are in a call at once.
pub(crate) fn parse(text: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (tid, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(tid, first);
        } else if let Some(second) = rest.strip_prefix("<... ") {
            let (_, second) = second.split_once("resumed>").unwrap();
            calls.extend(call(&format!(
                "{}{second}",
                begun.remove(tid).unwrap_or("unknown(")
            )));
        } else {
            calls.extend(call(rest));
        }
    }
    // What was under way when strace let go counts as well, but for its result.
    calls.extend(
        begun
            .values()
            .filter_map(|first| call(&format!("{first}) = 0"))),
    );
    calls
}

fn call(text: &str) -> Option<Call> {
    if text.starts_with(['+', '-']) {
        return None; // a signal or an end
    }
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result = result.split(' ').next()?.parse().unwrap_or(0);
    Some(Call {
        name: name.to_owned(),
        arguments: arguments.trim_end().trim_end_matches(')').to_owned(),
        result,
    })
}

fn is_seldom(call: &Call) -> bool {
    let is = |(name, what): &(&str, &str)| call.name == *name && call.arguments.contains(what);
    SELDOM.iter().any(is)
}

pub(crate) fn assert_allowed(calls: &[Call]) {
    let seldom = calls.iter().filter(|call| is_seldom(call)).count();
    let forbidden = |call: &&Call| {
        let on_eventfd =
            ON_EVENTFD.contains(&&*call.name) && call.arguments.contains("anon_inode:[eventfd]");
        // A call that strace interrupted by attaching.
        let restarted = call.name == "restart_syscall";
        let paces = call.name == PACING.0 && call.arguments.contains(PACING.1);
        let is_seldom = seldom <= SELDOM_CALLS && is_seldom(call);
        !ALLOWED.contains(&&*call.name) && !on_eventfd && !restarted && !paces && !is_seldom
    };
    let found: BTreeSet<_> = calls
        .iter()
        .filter(forbidden)
        .map(|call| format!("{}({})", call.name, call.arguments))
        .collect();
    assert!(found.is_empty(), "workers called {found:#?}");
}

pub(crate) fn bytes_by(calls: &[Call], name: &str) -> u64 {
    let of = calls.iter().filter(|call| call.name == name);
    of.map(|call| call.result.max(0) as u64).sum()
}
