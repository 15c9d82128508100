//! The parent of the daemon: the main process of the service. It starts the daemon, starts the next one when the daemon asks for it, hands
//! signals on, and ends as the daemon that serves has ended. It serves nobody, and is kept to nothing by Landlock, which a program that it
//! starts would inherit.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context as _;
use command_line::said::in_full;
use platform::messages::Messages;
use platform::process::{self, Signal};
use tokio::signal::unix::{self, SignalKind, signal};

use super::{Later, OfSuccessor, ToParent, hear_later, tell};
use crate::control::signals::Signals;

/// Its number on every system.
const SIGTERM: i32 = 15;

/// Where the program before the last package lies, from the folder above that of the program.
const PREVIOUS: &str = "lib/oca/previous";

/// Starts a daemon with this configuration, and stays until it, or the last one that took its place, has ended. Returns its exit code.
///
/// # Errors
/// When the system gives no process, or no way to wait for signals.
pub fn run(config: PathBuf) -> anyhow::Result<u8> {
    // Asked now: once a package has put another file there, the system's answer is another one.
    let program = std::env::current_exe().context("where this program lies")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before there is a child, so that no end of one is missed.
        let news = News {
            signals: Signals::listen()?,
            ends: signal(SignalKind::child())?,
        };
        let mut parent = Parent::new(program, config)?;
        parent.look_after(news).await
    })
}

/// What the system tells.
struct News {
    signals: Signals,
    /// Of children.
    ends: unix::Signal,
}

struct Parent {
    program: PathBuf,
    config: PathBuf,
    control: Later,
    children: Vec<Daemon>,
    /// The process that serves.
    serving: u32,
    is_stopping: bool,
    /// How the one that served has ended.
    ended: Option<ExitStatus>,
}

struct Daemon {
    process: Child,
    /// Of a successor that does not serve yet: here the daemon that serves hears how it ended.
    channel: Option<Messages>,
}

impl Parent {
    fn new(program: PathBuf, config: PathBuf) -> anyhow::Result<Self> {
        let (ours, theirs) = Messages::pair()?;
        let mut parent = Self {
            program,
            config,
            control: Later::of(ours)?,
            children: Vec::new(),
            serving: 0,
            is_stopping: false,
            ended: None,
        };
        let program = parent.program.clone();
        let first = parent.start(&program, &["child"], theirs)?;
        parent.serving = first.id();
        parent.children.push(Daemon {
            process: first,
            channel: None,
        });
        Ok(parent)
    }

    /// In a process group of its own: what is typed at a terminal comes to the parent alone, which hands it on once.
    fn start(&self, program: &Path, arguments: &[&str], input: Messages) -> anyhow::Result<Child> {
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(input)))
            .process_group(0);
        let started = command.spawn();
        started.with_context(|| format!("{} cannot be started", program.display()))
    }

    async fn look_after(&mut self, mut news: News) -> anyhow::Result<u8> {
        let mut is_deaf = false;
        loop {
            tokio::select! {
                signal = news.signals.next() => self.hand_on(signal),
                _ = news.ends.recv() => {}
                heard = hear_later(&self.control), if !is_deaf => match heard {
                    Ok((words, descriptors)) => self.obey(words, descriptors),
                    // The daemon is about to end.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => is_deaf = true,
                    Err(error) => {
                        tracing::warn!(%error, "the daemon says what its parent does not understand");
                    }
                },
            }
            self.bury()?;
            if let Some(ended) = self.ended
                && (self.children.is_empty() || !self.is_stopping)
            {
                // Those that still finish share sockets with the one that broke: viewers would come to them, and wait.
                let children = self.children.iter_mut();
                children.for_each(|child| _ = child.process.kill());
                return Ok(code(ended, self.is_stopping));
            }
        }
    }

    fn hand_on(&mut self, signal: Signal) {
        match signal {
            Signal::Stop => {
                self.is_stopping = true;
                self.tell_all(signal);
            }
            // Those before it have the configuration that they finish with.
            Signal::Reload => self.tell(signal, |daemon, serving| daemon == serving),
            Signal::ReopenLog => self.tell_all(signal),
        }
    }

    fn tell_all(&self, signal: Signal) {
        self.tell(signal, |_, _| true);
    }

    fn tell(&self, signal: Signal, whom: impl Fn(u32, u32) -> bool) {
        for child in &self.children {
            if whom(child.process.id(), self.serving)
                && let Err(error) = process::tell(&child.process, signal)
            {
                let process = child.process.id();
                tracing::warn!(%error, process, ?signal, "not handed on");
            }
        }
    }

    fn obey(&mut self, words: ToParent, descriptors: Vec<OwnedFd>) {
        match words {
            ToParent::Start { previous, force } => {
                let channel = descriptors.into_iter().next();
                if let Some(Ok(channel)) = channel.map(Messages::try_from) {
                    self.start_successor(previous, force, channel);
                }
            }
            ToParent::Abandon => {
                let successors = self.children.iter_mut();
                for successor in successors.filter(|child| child.channel.is_some()) {
                    tracing::warn!(process = successor.process.id(), "the successor is ended");
                    let _ = successor.process.kill();
                }
            }
            ToParent::Serving { process } => {
                self.serving = process;
                let mut children = self.children.iter_mut();
                if let Some(child) = children.find(|child| child.process.id() == process) {
                    child.channel = None;
                }
                tracing::info!(process, "serves from now on");
            }
        }
    }

    fn start_successor(&mut self, previous: bool, force: bool, channel: Messages) {
        let program = if previous {
            previous_program(&self.program)
        } else {
            self.program.clone()
        };
        let mut arguments = vec!["take-over"];
        arguments.extend(force.then_some("--force"));
        let theirs = channel.try_clone().map_err(anyhow::Error::from);
        match theirs.and_then(|theirs| self.start(&program, &arguments, theirs)) {
            Ok(process) => {
                tracing::info!(program = %program.display(), process = process.id(), "a successor is started");
                let channel = Some(channel);
                self.children.push(Daemon { process, channel });
            }
            Err(error) => report_failure(&channel, in_full(error.as_ref())),
        }
    }

    /// Takes note of who has ended.
    fn bury(&mut self) -> anyhow::Result<()> {
        let mut living = Vec::new();
        for mut child in self.children.drain(..) {
            let Some(ended) = child.process.try_wait()? else {
                living.push(child);
                continue;
            };
            let process = child.process.id();
            tracing::info!(process, %ended, "a daemon has ended");
            if process == self.serving {
                self.ended = Some(ended);
            }
            if let Some(channel) = child.channel {
                report_failure(&channel, format!("it has ended too early: {ended}"));
            }
        }
        self.children = living;
        Ok(())
    }
}

fn report_failure(channel: &Messages, why: String) {
    // A daemon that does not want to hear it has given up its successor.
    let _ = tell(channel, &OfSuccessor::Failed { why }, &[]);
}

/// `/usr/bin/oca-daemon` -> `/usr/lib/oca/previous/oca-daemon`
fn previous_program(program: &Path) -> PathBuf {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let above = folder.parent().unwrap_or(folder);
    let name = program
        .file_name()
        .map_or_else(OsString::new, OsString::from);
    above.join(PREVIOUS).join(name)
}

/// A signal is a failure, but for the one that was handed on to a daemon that had just begun.
fn code(ended: ExitStatus, is_stopping: bool) -> u8 {
    if is_stopping && ended.signal() == Some(SIGTERM) {
        return 0;
    }
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_before_lies_beside_the_libraries() {
        let table = [
            ("/usr/bin/oca-daemon", "/usr/lib/oca/previous/oca-daemon"),
            (
                "/usr/local/bin/oca-daemon",
                "/usr/local/lib/oca/previous/oca-daemon",
            ),
        ];
        for (program, previous) in table {
            assert_eq!(previous_program(Path::new(program)), Path::new(previous));
        }
    }

    #[test]
    fn a_signal_is_a_failure() {
        let ended = ExitStatus::from_raw;
        let codes = |stopping| [0, 2 << 8, 9, 15].map(|raw| code(ended(raw), stopping));
        assert_eq!(codes(false), [0, 2, 1, 1]);
        assert_eq!(codes(true), [0, 2, 1, 0]);
    }
}
