//! Whether the wall clock can be believed.
//!
//! The kernel knows: whoever disciplines its clock (chrony, ntpd, systemd-timesyncd, ptp4l) tells it by `adjtimex(2)`
//! (`ntp_adjtime(2)`), and it withdraws the word by itself when nobody has for long.

use std::io;
use std::mem::MaybeUninit;

#[cfg(target_os = "freebsd")]
#[path = "clock/freebsd.rs"]
mod os;
#[cfg(target_os = "linux")]
#[path = "clock/linux.rs"]
mod os;

/// Whether somebody keeps the wall clock synchronised, by the kernel's word. A kernel that does not say counts as no.
#[must_use]
pub fn synchronised() -> bool {
    read().is_ok_and(|(state, status)| is_good(state, status))
}

/// The clock's state and its status bits. Asks, and changes nothing.
fn read() -> io::Result<(i32, i32)> {
    // SAFETY: `timex` is plain numbers, for which zero is a value; `modes` = 0 asks for nothing to be set.
    let mut timex: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
    let state = os::adjust(&mut timex);
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((state, timex.status))
}

/// `TIME_ERROR` says unsynchronised; `STA_UNSYNC` says it as well while a leap second is announced in the state.
fn is_good(state: i32, status: i32) -> bool {
    state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_second_is_no_error() {
        const TIME_INS: i32 = 1;
        assert!(is_good(0, 0) && is_good(TIME_INS, 0));
        assert!(!is_good(libc::TIME_ERROR, 0));
        assert!(!is_good(TIME_INS, libc::STA_UNSYNC));
    }

    #[test]
    fn this_kernel_answers() {
        let (state, _) = read().unwrap();
        assert!((0..=libc::TIME_ERROR).contains(&state));
    }
}
