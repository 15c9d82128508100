//! Cores: how many, and staying on one.

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
    system::set_affinity(core)
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
    fn an_impossible_core_is_refused() {
        for core in [usize::MAX, 1 << 20] {
            let error = pin_to_core(core).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
