//! Commands that read and write devices for long: a child of this program does it, and tells of it line by line.
//!
//! Nobody can end a process of which a thread hangs in a disk (state D). This one touches no device: when the child has said nothing for a
//! while, other children visit all devices ([`store::leave_silent_alone`]); if one does not come back, the child is left behind, and the
//! next one, which leaves that device alone, goes on. A device that is merely slow is waited for.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use protocol::config::Config;

use crate::error::{Failure, Outcome};
use crate::limits::{CHILD_END_TIMEOUT, CHILD_QUIET, DEVICE_TIMEOUT};
use crate::store;

/// Tells the child that it is one, and where it begins.
const BEGIN: &str = "OCACTL_BEGIN";

/// Number of the process that watches the child.
const WATCHER: &str = "OCACTL_WATCHER";

/// What a child says, and where the next one is to begin.
pub(crate) trait Work {
    /// For [`place`] of the next child.
    fn begin(&self) -> String;

    /// A line of a child.
    fn take(&mut self, line: &str) -> Result<(), Failure>;
}

/// How children ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ended {
    /// The last one has done all that it could; if not, it has said why.
    is_done: bool,
    silent: Vec<PathBuf>,
}

/// In a child, where it is to begin. It ends with who watches it, so that a command that is killed writes no more.
pub(crate) fn place() -> Result<Option<String>, Failure> {
    let Ok(place) = std::env::var(BEGIN) else {
        return Ok(None);
    };
    platform::process::end_with_parent()?;
    match std::env::var(WATCHER).ok() == Some(parent_id().to_string()) {
        true => Ok(Some(place)),
        false => Err(Failure::failed(
            "the command was killed that this belongs to",
        )),
    }
}

/// A path as JSON can say it, which knows no other letters than those of UTF-8.
pub(crate) fn sayable(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// Says a line to who watches. Without one there is nothing more to do.
pub(crate) fn say(line: &impl serde::Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    Ok(std::io::stdout().lock().write_all(&line)?)
}

/// Runs this command again in a child, until one comes to its end.
pub(crate) fn run(config: &Config, work: &mut impl Work) -> Result<Ended, Failure> {
    let mut silent = Vec::new();
    loop {
        let mut child = begin(&work.begin())?;
        let lines = lines(&mut child);
        let found = loop {
            match lines.recv_timeout(CHILD_QUIET) {
                Ok(line) => work.take(&line)?,
                Err(RecvTimeoutError::Disconnected) => break Vec::new(),
                Err(RecvTimeoutError::Timeout) => {
                    let found = store::leave_silent_alone(config);
                    if !found.is_empty() {
                        break found;
                    }
                }
            }
        };
        if found.is_empty() {
            let is_done = child.wait()?.success();
            return Ok(Ended { is_done, silent });
        }
        silent.extend(found);
        child.kill()?;
        // It lets go of what it holds when it ends; if it cannot, the next one says what it waits for.
        while lines.recv_timeout(CHILD_END_TIMEOUT).is_ok() {}
    }
}

fn begin(place: &str) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(BEGIN, place);
    command.env(WATCHER, std::process::id().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command.stderr(Stdio::piped()).spawn()?)
}

/// What it says, until it has ended; its complaints are passed on. Both by pipes of their own: a child that is left behind keeps none open
/// that others wait for.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let complaints = child
        .stderr
        .take()
        .map(|from| thread::spawn(move || each_line(from, |line| eprintln!("{line}"))));
    let said = child.stdout.take();
    thread::spawn(move || {
        if let Some(from) = said {
            each_line(from, |line| drop(sender.send(line)));
        }
        complaints.map(thread::JoinHandle::join)
    });
    receiver
}

fn each_line(from: impl Read, mut take: impl FnMut(String)) {
    let lines = BufReader::new(from).lines();
    lines.map_while(Result::ok).for_each(&mut take);
}

impl Ended {
    /// It has not even done a part, and has said why.
    pub(crate) fn has_failed(&self) -> bool {
        !self.is_done && self.silent.is_empty()
    }

    /// How the command ends, if all else ends with `outcome`.
    pub(crate) fn with(&self, outcome: Outcome) -> Result<Outcome, Failure> {
        let silent: Vec<String> = self
            .silent
            .iter()
            .map(|root| root.display().to_string())
            .collect();
        match (&silent[..], self.is_done) {
            ([], true) => Ok(outcome),
            ([], false) => Ok(Outcome::Partly),
            (silent, _) => Err(Failure::failed(format!(
                "{} stopped answering for {} s and was left out; once it answers, or is offline, do this again",
                silent.join(", "),
                (CHILD_QUIET + DEVICE_TIMEOUT).as_secs()
            ))),
        }
    }
}
