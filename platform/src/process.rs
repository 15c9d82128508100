//! What this process uses, for metrics. Asks the kernel's own books (`/proc`, `sysctl`), never a disk.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// What this process uses.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub open_descriptors: u64,
    /// The most that may be open.
    pub descriptor_limit: u64,
    /// Processor time of all threads, of user and system together.
    pub cpu: Duration,
}

/// What this process uses now.
///
/// # Errors
/// What the kernel says, as when `/proc` is not mounted.
pub fn usage() -> io::Result<Usage> {
    Ok(Usage {
        resident_bytes: system::resident_bytes()?,
        open_descriptors: system::open_descriptors()?,
        descriptor_limit: descriptor_limit()?,
        cpu: cpu_time()?,
    })
}

/// The number that the kernel has given itself at its start: what was written under another one may not have reached a disk.
/// `None` where the kernel does not say.
#[must_use]
pub fn boot_id() -> Option<[u8; 16]> {
    system::boot_id()
}

/// Whether a process was killed and only cannot end, as one of its threads hangs in the kernel. False where that cannot be told.
#[must_use]
pub fn is_ending(process: u32) -> bool {
    system::is_ending(process)
}

/// The files at which threads of a process are in the kernel; of one that [`is_ending`], those that keep it from it. Empty where that
/// cannot be told: the kernel tells root, and the user that the process runs as.
#[must_use]
pub fn waits_for(process: u32) -> Vec<PathBuf> {
    system::waits_for(process)
}

/// From now on this process is killed when the thread ends that has started it: the first one, of a program that starts it there. Whether
/// that was before is to be seen by [`std::os::unix::process::parent_id`].
///
/// # Errors
/// What the kernel says.
pub fn end_with_parent() -> io::Result<()> {
    system::end_with_parent()
}

/// What a process is told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM
    Stop,
    /// SIGHUP
    Reload,
    /// SIGUSR1
    ReopenLog,
}

/// Sends `signal` to a child of this process that was not waited for yet: its number is nobody else's.
///
/// # Errors
/// What the kernel says.
pub fn tell(child: &Child, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Stop => libc::SIGTERM,
        Signal::Reload => libc::SIGHUP,
        Signal::ReopenLog => libc::SIGUSR1,
    };
    let process = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: this call takes no pointer.
    if unsafe { libc::kill(process, number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn cpu_time() -> io::Result<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is writable and of the type this call fills.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so it has filled it.
    let usage = unsafe { usage.assume_init() };
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

fn descriptor_limit() -> io::Result<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` is writable and of the type this call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so it has filled it.
    let limit = unsafe { limit.assume_init() };
    Ok(system::limit(limit.rlim_cur))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Instant;

    #[test]
    fn open_descriptors_are_counted() {
        let before = usage().unwrap();
        // Other tests of this process open and close some as well, so many are opened here.
        let open: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let after = usage().unwrap();
        drop(open);
        assert!(after.open_descriptors >= before.open_descriptors + 100);
        assert!(after.open_descriptors <= after.descriptor_limit);
    }

    #[test]
    fn a_living_process_is_not_ending_and_a_dead_one_is() {
        assert!(!is_ending(std::process::id()));
        assert!(!is_ending(u32::MAX));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let begun = Instant::now();
        while !is_ending(child.id()) && begun.elapsed() < Duration::from_secs(30) {
            std::thread::yield_now();
        }
        assert_eq!(is_ending(child.id()), cfg!(target_os = "linux"));
        child.wait().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_waits_for_the_file_that_it_opens_or_reads() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let mut reader = std::process::Command::new("cat")
            .arg(&pipe)
            .spawn()
            .unwrap();
        let until_it_waits = || {
            let begun = Instant::now();
            while waits_for(reader.id()) != [pipe.as_path()] {
                assert!(begun.elapsed() < Duration::from_secs(30));
                std::thread::yield_now();
            }
        };
        until_it_waits();
        let writer = File::options().write(true).open(&pipe).unwrap();
        until_it_waits();
        drop(writer);
        assert!(reader.wait().unwrap().success());
    }

    #[test]
    fn a_child_is_told_to_stop() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        tell(&child, Signal::Stop).unwrap();
        let status = child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGTERM));
    }

    #[test]
    fn the_boot_has_one_number() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(boot_id(), Some([0; 16]));
    }

    #[test]
    fn processor_time_and_memory_are_plausible() {
        let before = usage().unwrap();
        assert!(before.resident_bytes > 100 * 1024);
        let started = Instant::now();
        while usage().unwrap().cpu == before.cpu {
            assert!(started.elapsed() < Duration::from_secs(10));
        }
    }
}
