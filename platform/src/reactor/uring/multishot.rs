//! The life of one multishot operation: armed once, it completes again and again until cancelled.
//!
//! ```text
//! Idle --start (submit)--> Armed --stop (submit a cancellation)--> Stopping --ended--> Idle
//!                           ^  \--ended by the kernel: submit again     |
//!                           |                                         start
//!                           +------------- ended: submit <--- StoppingToStart
//! ```

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Multishot {
    /// The kernel knows nothing of it.
    #[default]
    Idle,
    /// In the kernel, and wanted.
    Armed,
    /// In the kernel, with a cancellation on its heels.
    Stopping,
    /// As before, and wanted again.
    StoppingToStart,
}

/// What the owner has to hand to the kernel after a transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Submit {
    Nothing,
    Operation,
    Cancellation,
}

impl Multishot {
    pub(super) fn start(&mut self) -> Submit {
        let (next, submit) = match self {
            Multishot::Idle => (Multishot::Armed, Submit::Operation),
            Multishot::Armed => (Multishot::Armed, Submit::Nothing),
            Multishot::Stopping | Multishot::StoppingToStart => {
                (Multishot::StoppingToStart, Submit::Nothing)
            }
        };
        *self = next;
        submit
    }

    pub(super) fn stop(&mut self) -> Submit {
        let (next, submit) = match self {
            Multishot::Idle => (Multishot::Idle, Submit::Nothing),
            Multishot::Armed => (Multishot::Stopping, Submit::Cancellation),
            Multishot::Stopping | Multishot::StoppingToStart => {
                (Multishot::Stopping, Submit::Nothing)
            }
        };
        *self = next;
        submit
    }

    /// The kernel has sent the last completion. Says whether the operation is still wanted.
    pub(super) fn ended(&mut self) -> bool {
        let wanted = self.is_wanted();
        *self = Multishot::Idle;
        wanted
    }

    pub(super) fn is_wanted(self) -> bool {
        match self {
            Multishot::Armed | Multishot::StoppingToStart => true,
            Multishot::Idle | Multishot::Stopping => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked in whatever order: never twice in the kernel, and what counts is the last word.
        #[test]
        fn the_last_word_counts(words in prop::collection::vec(0..3, 0..30)) {
            let mut shot = Multishot::default();
            let (mut in_kernel, mut cancelled, mut wanted) = (false, false, false);
            for word in words {
                let submit = match word {
                    0 => {
                        wanted = true;
                        shot.start()
                    }
                    1 => {
                        wanted = false;
                        shot.stop()
                    }
                    _ if in_kernel => {
                        (in_kernel, cancelled) = (false, false);
                        if shot.ended() { shot.start() } else { Submit::Nothing }
                    }
                    _ => Submit::Nothing,
                };
                match submit {
                    Submit::Operation => {
                        prop_assert!(!in_kernel);
                        in_kernel = true;
                    }
                    Submit::Cancellation => {
                        prop_assert!(in_kernel && !cancelled);
                        cancelled = true;
                    }
                    Submit::Nothing => {}
                }
                prop_assert_eq!(shot.is_wanted(), wanted);
                prop_assert_eq!(shot != Multishot::Idle, in_kernel);
                prop_assert!(wanted || !in_kernel || cancelled);
            }
        }
    }
}
