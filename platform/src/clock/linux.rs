//! `adjtimex(2)`.

/// The state of the clock, negative with `errno` on a failure.
pub(super) fn adjust(timex: &mut libc::timex) -> i32 {
    // SAFETY: `timex` is ours and outlives the call.
    unsafe { libc::adjtimex(timex) }
}
