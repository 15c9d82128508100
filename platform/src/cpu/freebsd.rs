//! `cpuset_setaffinity(2)` for the calling thread (id -1).

use std::io;
use std::mem::{self, MaybeUninit};

const MAX_CORES: usize = libc::CPU_SETSIZE as usize;
const THIS_THREAD: libc::id_t = -1;

pub(super) fn affinity() -> io::Result<Vec<usize>> {
    let mut set = empty();
    // SAFETY: `set` is writable and of the size told.
    let result = unsafe {
        libc::cpuset_getaffinity(
            libc::CPU_LEVEL_WHICH,
            libc::CPU_WHICH_TID,
            THIS_THREAD,
            mem::size_of_val(&set),
            &mut set,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `core` is below the size of the set.
    let has = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..MAX_CORES).filter(has).collect())
}

pub(super) fn set_affinity(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() || cores.iter().any(|core| *core >= MAX_CORES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = empty();
    for core in cores {
        // SAFETY: `core` is below the size of the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: `set` is valid and of the size told.
    let result = unsafe {
        libc::cpuset_setaffinity(
            libc::CPU_LEVEL_WHICH,
            libc::CPU_WHICH_TID,
            THIS_THREAD,
            mem::size_of_val(&set),
            &set,
        )
    };
    if result < 0 {
        return Err(refusal());
    }
    Ok(())
}

pub(super) fn run_when_idle() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// EDEADLK is how this call says that the thread may not run on any core of the set.
fn refusal() -> io::Error {
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EDEADLK) => io::ErrorKind::InvalidInput.into(),
        error => error,
    }
}

fn empty() -> libc::cpuset_t {
    // SAFETY: a set of bits; all of them zero is the empty set.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
