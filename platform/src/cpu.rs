//! Cores: how many, and staying on some.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::num::NonZeroUsize;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// How many cores this process may use: those of its affinity mask and quota, at least 1.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The numbers of the cores this process may run on, ascending.
///
/// Errors: what the kernel says.
pub fn usable_cores() -> io::Result<Vec<usize>> {
    system::affinity()
}

/// Keeps the calling thread, and threads it starts later, on `core`.
///
/// Errors: `InvalidInput` if there is no such core or this process may not use it.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    system::set_affinity(&[core])
}

/// Keeps the calling thread, and threads it starts later, on `cores`.
///
/// Errors: `InvalidInput` if there is no such core, or none of which this process may use.
pub fn keep_to_cores(cores: &[usize]) -> io::Result<()> {
    system::set_affinity(cores)
}

/// Lets every other thread go first: from now on the calling thread runs when its core has nothing else to do, and loses it at once to a
/// thread that wakes up. On Linux (`SCHED_IDLE`, sched(7)) it still gets some 0.3 % of a core that is never idle.
///
/// Errors: what the kernel says; `Unsupported` on FreeBSD, whose idle class gets nothing at all on a busy core.
pub fn run_when_idle() -> io::Result<()> {
    system::run_when_idle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_core() {
        let last = *usable_cores().unwrap().last().unwrap();
        let cores = std::thread::spawn(move || {
            pin_to_core(last).unwrap();
            usable_cores().unwrap()
        });
        assert_eq!(cores.join().unwrap(), [last]);
    }

    #[test]
    fn a_thread_keeps_to_the_cores_it_is_told() {
        let usable = usable_cores().unwrap();
        let told = usable.clone();
        let cores = std::thread::spawn(move || {
            keep_to_cores(&told).unwrap();
            usable_cores().unwrap()
        });
        assert_eq!(cores.join().unwrap(), usable);
        let none = keep_to_cores(&[]).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_impossible_core_is_refused() {
        for core in [usize::MAX, 1 << 20] {
            let error = pin_to_core(core).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_runs_when_idle_is_of_the_idle_class_and_no_other_thread_is() {
        /// Field 41 of `/proc/<pid>/stat`, proc_pid_stat(5).
        fn class() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(41 - 3).unwrap().parse().unwrap()
        }
        let idle = std::thread::spawn(|| {
            run_when_idle().unwrap();
            class()
        });
        assert_eq!(idle.join().unwrap(), libc::SCHED_IDLE);
        assert_eq!(class(), libc::SCHED_OTHER);
    }
}
