//! `sched_setaffinity(2)`, `sched_setscheduler(2)`: with process id 0 they speak of the calling thread.

use std::io;
use std::mem::{self, MaybeUninit};

const MAX_CORES: usize = libc::CPU_SETSIZE as usize;

pub(super) fn affinity() -> io::Result<Vec<usize>> {
    let mut set = empty();
    // SAFETY: `set` is writable and of the size told.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `core` is below the size of the set.
    let has = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..MAX_CORES).filter(has).collect())
}

pub(super) fn set_affinity(cores: &[usize]) -> io::Result<()> {
    if cores.iter().any(|core| *core >= MAX_CORES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = empty();
    for core in cores {
        // SAFETY: `core` is below the size of the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: `set` is valid and of the size told.
    if unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(super) fn run_when_idle() -> io::Result<()> {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter is valid; process id 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &no_priority) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn empty() -> libc::cpu_set_t {
    // SAFETY: a set of bits; all of them zero is the empty set.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
