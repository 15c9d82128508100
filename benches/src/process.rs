//! A server's processes: started where they belong, their CPU time, stopped for certain.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Ticks in which `/proc/stat` and `/proc/<pid>/stat` count: `USER_HZ`, 100 on every Linux of interest.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// A server that has not ended so long after SIGTERM is killed.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// Where a process runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) cores: Vec<usize>,
    /// Name of a network namespace; this process's own if there is none.
    pub(crate) namespace: Option<String>,
    /// Folder of the control group that counts its memory; this process's own if there is none.
    pub(crate) group: Option<PathBuf>,
}

impl From<usize> for Place {
    fn from(core: usize) -> Self {
        Self {
            cores: vec![core],
            namespace: None,
            group: None,
        }
    }
}

impl Place {
    /// The words before a command that bring it there.
    fn words(&self) -> Vec<String> {
        let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
        let namespace = self.namespace.iter();
        let mut words: Vec<String> = namespace
            .flat_map(|name| ["ip", "netns", "exec", name].map(str::to_owned))
            .collect();
        if let Some(group) = &self.group {
            // The shell joins the group and becomes the program.
            let join = "echo $$ > \"$0\" && exec \"$@\"";
            let members = group.join("cgroup.procs").display().to_string();
            words.extend(["sh", "-c", join, &members].map(str::to_owned));
        }
        words.extend(["taskset", "-c", &cores.join(",")].map(str::to_owned));
        words
    }
}

/// Ends with this value, and with this process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` at its place, its words going to the file `log`.
    ///
    /// Errors: the program, `taskset`, `setpriv` or, for a namespace, `ip` is missing.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        place: impl Into<Place>,
        log: &Path,
    ) -> Result<Self> {
        Self::start_as(&place.into().words(), program, arguments, log)
    }

    /// As [`start`](Self::start), as idle towards all others as the fill agent's unit makes it (`CPUWeight=idle`): in one group, that is a
    /// policy of its threads.
    pub(crate) fn start_idle(
        program: &Path,
        arguments: &[&str],
        place: impl Into<Place>,
        log: &Path,
    ) -> Result<Self> {
        let mut before = place.into().words();
        before.extend(["chrt", "--idle", "0"].map(str::to_owned));
        Self::start_as(&before, program, arguments, log)
    }

    fn start_as(before: &[String], program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        let words = File::create(log).with_context(|| log.display().to_string())?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(before)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words)
            .spawn()
            .context("cannot start setpriv (Debian's util-linux)")?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// As in `TERM`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let number = self.child.id().to_string();
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(number)
            .status()?;
        ensure!(sent.success(), "SIG{name} reaches nobody");
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn await_end(&mut self, bound: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < bound, "it does not end within {bound:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Asks `ready` until it has an answer; fails if the process ends or `bound` passes first.
    pub(crate) fn wait_until<T>(
        &mut self,
        bound: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ready() {
                return Ok(answer);
            }
            let ended = self.child.try_wait()?;
            ensure!(
                ended.is_none() && begun.elapsed() < bound,
                "the server is not ready ({}); it said:\n{}",
                ended.map_or_else(|| format!("after {bound:?}"), |status| status.to_string()),
                fs::read_to_string(&self.log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// User and system time of the process and its living descendants, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let ticks: u64 = self.tree()?.iter().map(|one| one.ticks).sum();
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Bytes that the process and its living descendants had storage fetch: `read_bytes` of proc_pid_io(5).
    #[cfg(target_os = "linux")]
    pub(crate) fn device_bytes(&self) -> Result<u64> {
        let of = |one: &Statistics| {
            let text = fs::read_to_string(format!("/proc/{}/io", one.id))?;
            let mut lines = text.lines();
            let bytes = lines.find_map(|line| line.strip_prefix("read_bytes: "));
            bytes
                .context("no read_bytes in /proc/<pid>/io")?
                .parse::<u64>()
                .context("digits")
        };
        self.tree()?.iter().map(of).sum()
    }

    /// The process and its living descendants.
    fn tree(&self) -> Result<Vec<Statistics>> {
        let mut all = statistics()?;
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            let children = all.iter().filter(|one| one.parent == parent);
            tree.extend(children.map(|one| one.id));
            next += 1;
        }
        all.retain(|one| tree.contains(&one.id));
        Ok(all)
    }

    fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > STOP_BOUND {
                return Ok(self.child.kill()?);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing is left to be done about a process that will not end.
            let _ = self.stop();
        }
    }
}

/// User and system time of this process, in seconds.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    let line = fs::read_to_string("/proc/self/stat")?;
    let own = parse(&line).context("/proc/self/stat")?;
    Ok(own.ticks as f64 / TICKS_PER_SECOND)
}

/// One line of `/proc/<pid>/stat`.
#[derive(Debug, PartialEq)]
struct Statistics {
    id: u32,
    parent: u32,
    /// utime + stime.
    ticks: u64,
}

fn statistics() -> Result<Vec<Statistics>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc (the comparison needs Linux)")? {
        let name = entry?.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.parse::<u32>().is_ok())
        {
            // A process may end while it is looked at.
            let line = fs::read_to_string(Path::new("/proc").join(&name).join("stat"));
            all.extend(line.ok().and_then(|line| parse(&line)));
        }
    }
    Ok(all)
}

/// proc_pid_stat(5): the name stands in brackets and may hold anything, so fields are counted from the last bracket.
fn parse(line: &str) -> Option<Statistics> {
    let (before, after) = (line.split_once(' ')?.0, line.rsplit_once(')')?.1);
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Statistics {
        id: before.parse().ok()?,
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_mislead() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 500 25 0 0 20 0 1 0 99";
        let expected = Statistics {
            id: 42,
            parent: 7,
            ticks: 525,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (short) S"), None);
    }

    #[test]
    fn time_of_children_is_charged() {
        let folder = tempfile::tempdir().unwrap();
        let core = platform::cpu::usable_cores().unwrap()[0];
        // The loop ends by itself, should nobody end it.
        let script =
            "timeout 60 sh -c 'echo > child; while :; do :; done' & trap 'kill $!' TERM; wait";
        let script = format!("cd {} && {script}", folder.path().display());
        let log = folder.path().join("log");
        let mut process = Process::start(Path::new("sh"), &["-c", &script], core, &log).unwrap();
        let bound = Duration::from_secs(30);
        process
            .wait_until(bound, || {
                fs::read_to_string(folder.path().join("child")).ok()
            })
            .unwrap();
        let busy = Instant::now();
        while process.cpu_seconds().unwrap() < 0.05 {
            assert!(busy.elapsed() < bound);
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let core = platform::cpu::usable_cores().unwrap()[0];
        let log = folder.path().join("log");
        let arguments = ["-c", "echo bad configuration; exit 3"];
        let mut process = Process::start(Path::new("sh"), &arguments, core, &log).unwrap();
        let error = process
            .wait_until(Duration::from_secs(30), || None::<()>)
            .unwrap_err();
        assert!(error.to_string().contains("bad configuration"), "{error}");
    }
}
