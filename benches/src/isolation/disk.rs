//! A file system on a loop device on a loop device on a file in memory: what the lower one is told to hold back fills the upper one's
//! queue, as a slow disk does.
//!
//! A rule on the upper device itself would prove nothing: there, requests are held back before they take one of the device's places, and
//! nobody who submits ever waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::throttle::{Group, Rule};

/// Places in the device's queue: what the kernel gives a SATA disk.
pub(super) const PLACES: u64 = 64;

/// Mounted; gone, with its contents, with this value.
pub(super) struct Disk {
    pub(super) mount: PathBuf,
    /// As in `loop1`.
    upper: String,
    lower: String,
    /// `major:minor` of the lower one.
    number: String,
    /// The kernel gives the devices back when nothing is mounted any more.
    let_go: bool,
}

impl Disk {
    /// `bytes` long, at `folder/name`, whose image is `folder/name.img`.
    pub(super) fn make(folder: &Path, name: &str, bytes: u64) -> Result<Self> {
        let image = folder.join(format!("{name}.img"));
        fs::File::create(&image)?.set_len(bytes)?;
        let lower = attach(&image)?;
        let upper = attach(&Path::new("/dev").join(&lower)).inspect_err(|_| detach(&lower))?;
        let disk = Self {
            mount: folder.join(name),
            number: fs::read_to_string(format!("/sys/block/{lower}/dev"))?
                .trim()
                .to_owned(),
            upper,
            lower,
            let_go: false,
        };
        disk.tune()?;
        fs::create_dir(&disk.mount)?;
        run("mkfs.ext4", &["-q", "-E", "nodiscard", &disk.path()])?;
        disk.attach_again()?;
        Ok(disk)
    }

    fn path(&self) -> String {
        format!("/dev/{}", self.upper)
    }

    fn tune(&self) -> Result<()> {
        for (file, value) in [
            ("scheduler", "mq-deadline".to_owned()),
            ("nr_requests", PLACES.to_string()),
        ] {
            let path = format!("/sys/block/{}/queue/{file}", self.upper);
            fs::write(&path, value).context(path)?;
        }
        Ok(())
    }

    /// Nothing of what was written is in the page cache any more; and from now on the devices live as long as the mount.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.detach()?;
        self.attach_again()?;
        detach(&self.upper);
        detach(&self.lower);
        self.let_go = true;
        Ok(())
    }

    /// As when it is pulled out: also from under whoever uses it.
    pub(super) fn detach(&self) -> Result<()> {
        run("umount", &["-l", &self.mount.display().to_string()])
    }

    pub(super) fn attach_again(&self) -> Result<()> {
        run("mount", &[&self.path(), &self.mount.display().to_string()])
    }

    pub(super) fn hold_back(&self, group: &Group, rule: Rule) -> Result<()> {
        group.set(&self.number, rule)
    }

    pub(super) fn check(&self, group: &Group, rule: Rule) -> Result<()> {
        group.check(&self.number, rule)
    }

    /// What the lower device has done so far: operations, and bytes.
    pub(super) fn done(&self) -> Result<(u64, u64)> {
        // Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged, sectors, ms, ..
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.lower))?;
        let numbers: Vec<u64> = text
            .split_ascii_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let at = |index: usize| numbers.get(index).copied().context("/sys/block/*/stat");
        Ok((at(0)? + at(4)?, (at(2)? + at(6)?) * 512))
    }

    /// Places of the upper device that are taken.
    pub(super) fn in_flight(&self) -> Result<u64> {
        in_flight(&self.upper)
    }

    pub(super) fn watch(&self) -> Gauge {
        Gauge::new(self.upper.clone())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing can be done about what fails here; without a mount, the image goes with the namespace.
        let _ = self.detach();
        if !self.let_go {
            detach(&self.upper);
            detach(&self.lower);
        }
    }
}

fn in_flight(device: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/sys/block/{device}/inflight"))?;
    let numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    Ok(numbers.sum::<Result<u64, _>>()?)
}

/// The most places that were taken at once since it began.
pub(super) struct Gauge {
    most: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gauge {
    fn new(device: String) -> Self {
        let (most, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (theirs, end) = (Arc::clone(&most), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !end.load(SeqCst) {
                theirs.fetch_max(in_flight(&device).unwrap_or(0), SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            most,
            over,
            thread: Some(thread),
        }
    }

    pub(super) fn most(&self) -> u64 {
        self.most.load(SeqCst)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

/// The name of the loop device.
pub(crate) fn attach(file: &Path) -> Result<String> {
    let file = file.display().to_string();
    let said = output("losetup", &["--find", "--show", "--direct-io=on", &file])?;
    let name = said.trim().strip_prefix("/dev/");
    Ok(name.context("losetup names no device")?.to_owned())
}

pub(crate) fn detach(device: &str) {
    // One that is in use is detached by the kernel later.
    let _ = run("losetup", &["--detach", &format!("/dev/{device}")]);
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    output(program, arguments).map(drop)
}

/// What it said.
fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} is missing"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {words}", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
