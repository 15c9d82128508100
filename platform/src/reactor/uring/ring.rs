//! The ring itself: made, restricted, fed, waited for.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, register::Restriction, squeue};

use super::limits::{COMPLETIONS_PER_CONNECTION, MAX_COMPLETIONS, MIN_COMPLETIONS, SUBMISSIONS};
use crate::reactor::ReactorLimits;
use crate::reactor::tag::Tag;

/// All that this ring can do. The kernel answers anything else with `EACCES`, also if asked by code that was
/// never meant to be here.
const OPERATIONS: &[u8] = &[
    opcode::AcceptMulti::CODE,
    opcode::RecvMulti::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
];

pub(super) struct Ring {
    ring: IoUring,
    enter_flags: EnterFlags,
    /// Operations for which the submission ring had no room.
    overflow: VecDeque<squeue::Entry>,
    /// Operations whose last completion has not been seen.
    in_kernel: u64,
}

impl Ring {
    /// A ring that is not enabled yet: for registrations.
    pub(super) fn new(limits: &ReactorLimits) -> io::Result<Self> {
        let completions = limits
            .connections
            .saturating_mul(COMPLETIONS_PER_CONNECTION)
            .clamp(MIN_COMPLETIONS, MAX_COMPLETIONS)
            .next_power_of_two();
        let ring = build(completions)?;
        // Waiting here is not waiting for a disk: keep it out of the machine's iowait (Linux 6.15).
        let enter_flags = if ring.params().is_feature_no_iowait() {
            EnterFlags::NO_IOWAIT
        } else {
            EnterFlags::empty()
        };
        Ok(Self {
            ring,
            enter_flags,
            overflow: VecDeque::with_capacity(SUBMISSIONS as usize),
            in_kernel: 0,
        })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// From here on only `OPERATIONS` are possible, by this thread alone, and no registrations.
    pub(super) fn enable(&self) -> io::Result<()> {
        let mut allowed: Vec<_> = OPERATIONS
            .iter()
            .map(|&code| Restriction::sqe_op(code))
            .collect();
        allowed.push(Restriction::sqe_flags_allowed(
            squeue::Flags::BUFFER_SELECT.bits(),
        ));
        self.submitter().register_restrictions(&mut allowed)?;
        self.submitter().register_enable_rings()
    }

    pub(super) fn in_kernel(&self) -> u64 {
        self.in_kernel
    }

    /// Whether there are operations that the kernel has not seen.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.overflow.is_empty() || !self.ring.submission().is_empty()
    }

    /// Hands `entry` over at the next turn, marked with `tag`.
    pub(super) fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        let entry = entry.user_data(tag.to_bits());
        self.in_kernel += 1;
        if !self.overflow.is_empty() || !self.try_push(&entry) {
            self.overflow.push_back(entry);
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: none of our operations points at memory of ours: accept asks for no address, poll and cancel
        // have none, and receive takes buffers from the registered ring, which outlives the operation (see
        // `UringDriver::drop`). A descriptor that is closed meanwhile is an error for the kernel, no more.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Submits all and waits for a completion, for at most `timeout`. Returns early on a signal.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        while !self.overflow.is_empty() {
            self.enter_once(Some(Duration::ZERO))?;
            if !self.take_from_overflow() {
                // The kernel takes nothing until completions are fetched: that comes first.
                return Ok(());
            }
        }
        self.enter_once(timeout)
    }

    fn take_from_overflow(&mut self) -> bool {
        let mut moved = false;
        while let Some(entry) = self.overflow.pop_front() {
            if !self.try_push(&entry) {
                self.overflow.push_front(entry);
                break;
            }
            moved = true;
        }
        moved
    }

    /// Always with `GETEVENTS`: deferred work of the kernel is done only then.
    fn enter_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let to_submit = self.ring.submission().len() as u32;
        let wanted = u32::from(timeout != Some(Duration::ZERO));
        let time = timeout.map(Timespec::from);
        let arguments = match &time {
            Some(time) if wanted > 0 => SubmitArgs::new().timespec(time),
            _ => SubmitArgs::new(),
        };
        let flags = self.enter_flags | EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        // SAFETY: `arguments` is what EXT_ARG announces, and it and `time` live during the call.
        let entered = unsafe {
            self.ring
                .submitter()
                .enter(to_submit, wanted, flags.bits(), Some(&arguments))
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) if is_no_news(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next completion that is here already.
    pub(super) fn completion(&mut self) -> Option<cqueue::Entry> {
        let completion = self.ring.completion().next()?;
        if !cqueue::more(completion.flags()) {
            self.in_kernel -= 1;
        }
        Some(completion)
    }
}

/// Deferred task work needs Linux 6.1; before that, work is at least kept from interrupting us.
fn build(completions: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_cqsize(completions)
        .setup_clamp()
        .setup_submit_all()
        .setup_r_disabled();
    let mut plain = builder.clone();
    builder.setup_single_issuer().setup_defer_taskrun();
    match builder.build(SUBMISSIONS) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            plain.setup_coop_taskrun().build(SUBMISSIONS)
        }
        ring => ring,
    }
}

/// ETIME: the timeout. EINTR: a signal. EBUSY: completions must be fetched before more is submitted. EAGAIN:
/// no memory for the moment; what was not submitted is submitted by the next turn.
fn is_no_news(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Backend, choose_backend};
    use std::fs::File;
    use std::os::fd::AsRawFd;

    fn answer(ring: &mut Ring, entry: squeue::Entry) -> i32 {
        ring.push(entry, Tag::Cancel);
        ring.enter(Some(Duration::from_secs(10))).unwrap();
        ring.completion().unwrap().result()
    }

    /// `None` on a machine that does not let us have a ring.
    fn enabled() -> Option<Ring> {
        if let Err(error) = choose_backend(Some(Backend::Uring)) {
            println!("nothing to test: {error}");
            return None;
        }
        let ring = Ring::new(&ReactorLimits::default()).unwrap();
        ring.enable().unwrap();
        Some(ring)
    }

    #[test]
    fn the_kernel_refuses_what_touches_files() {
        let file = File::open("/dev/zero").unwrap();
        let target = io_uring::types::Fd(file.as_raw_fd());
        let mut byte = 0_u8;
        let refused = [
            opcode::Read::new(target, &mut byte, 1).build(),
            opcode::Write::new(target, &byte, 1).build(),
            opcode::OpenAt::new(target, c"/dev/null".as_ptr()).build(),
            opcode::Splice::new(target, 0, target, 0, 1).build(),
            opcode::Fsync::new(target).build(),
            opcode::Nop::new().build(),
        ];
        let Some(mut ring) = enabled() else { return };
        for entry in refused {
            assert_eq!(answer(&mut ring, entry), -libc::EACCES);
        }
        let cancel = opcode::AsyncCancel::new(12345).build();
        assert_eq!(answer(&mut ring, cancel), -libc::ENOENT);
        assert_eq!(byte, 0);
    }

    #[test]
    fn the_kernel_refuses_further_registrations() {
        let Some(ring) = enabled() else { return };
        let error = ring.submitter().register_files(&[0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
}
