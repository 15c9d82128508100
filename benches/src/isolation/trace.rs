//! The longest system call on a worker: `perf trace` (Debian's linux-perf) on the worker threads, which stops nobody.
//!
//! Waiting for news of sockets is what a worker does when it has nothing to do; those calls are not looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process::Process;
use crate::void::Void;

/// Until it has attached, and after the last call.
const PATIENCE: Duration = Duration::from_secs(30);

/// Those that wait for news.
const WAITS: &str = "!io_uring_enter,epoll_wait,epoll_pwait,epoll_pwait2";

/// What was seen.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Longest {
    pub(super) call: String,
    pub(super) milliseconds: f64,
    /// All that were looked at.
    pub(super) calls: u64,
}

/// `perf` at work.
pub(super) struct Trace {
    process: Process,
    file: PathBuf,
}

impl Trace {
    /// Looks at the worker threads of the daemon `of`, from another core than theirs.
    pub(super) fn attach(of: u32, core: usize, folder: &Path) -> Result<Self> {
        let threads = workers(of)?.join(",");
        let file = folder.join("calls");
        let output = file.display().to_string();
        let words = [
            "trace",
            "--summary",
            "--mmap-pages",
            "16M",
            "--tid",
            &threads,
            "--event",
            WAITS,
            "--output",
            &output,
        ];
        let log = folder.join("perf.log");
        let mut process = Process::start(Path::new("perf"), &words, core, &log)?;
        let descriptors = format!("/proc/{}/fd", process.id());
        process.wait_until(PATIENCE, || {
            is_open(&descriptors, "perf_event").then_some(())
        })?;
        Ok(Self { process, file })
    }

    /// The longest call since it was attached.
    ///
    /// Errors: it saw nothing, or has lost some.
    pub(super) fn end(mut self) -> Result<Longest> {
        self.process.signal("INT")?;
        self.process.await_end(PATIENCE)?;
        let text = fs::read_to_string(&self.file)?;
        if text.contains("LOST") {
            return Err(Void("perf has lost calls".into()).into());
        }
        longest(&text).ok_or_else(|| Void("perf has seen no call".into()).into())
    }
}

/// Whether one of the descriptors is of this kind.
fn is_open(descriptors: &str, kind: &str) -> bool {
    let entries = fs::read_dir(descriptors).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_string_lossy().contains(kind))
}

fn workers(process: u32) -> Result<Vec<String>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = entry?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with("oca-worker-") {
            let name = path.file_name().unwrap_or_default();
            threads.push(name.to_string_lossy().into_owned());
        }
    }
    ensure!(!threads.is_empty(), "the daemon has no worker");
    Ok(threads)
}

/// Lines as `   sendfile  1234  0  470.496  0.000  0.005  1.037  29.64%`: name, calls, errors, and in milliseconds the sum, the shortest, the
/// average, the longest.
fn longest(text: &str) -> Option<Longest> {
    let all: Vec<Longest> = text.lines().filter_map(parse).collect();
    let calls = all.iter().map(|it| it.calls).sum();
    let longest = all
        .into_iter()
        .max_by(|one, other| one.milliseconds.total_cmp(&other.milliseconds))?;
    Some(Longest { calls, ..longest })
}

fn parse(line: &str) -> Option<Longest> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[
        call,
        calls,
        _errors,
        _sum,
        _shortest,
        _average,
        longest,
        _deviation,
    ] = &words[..]
    else {
        return None;
    };
    Some(Longest {
        call: call.to_owned(),
        milliseconds: longest.parse().ok()?,
        calls: calls.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_call_is_found() {
        let text = "
 Summary of events:

 oca-worker-0 (7859), 391915 events, 100.0%

   syscall            calls  errors  total       min       avg       max       stddev
                                     (msec)    (msec)    (msec)    (msec)        (%)
   --------------- --------  ------ -------- --------- --------- ---------     ------
   sendfile           97971      0   470.496     0.000     0.005     1.037     29.64%
   recvfrom           97950      7   125.040     0.001     0.001     0.024      0.18%
";
        let expected = Longest {
            call: "sendfile".into(),
            milliseconds: 1.037,
            calls: 97971 + 97950,
        };
        assert_eq!(longest(text), Some(expected));
        assert_eq!(longest("nothing"), None);
    }
}
