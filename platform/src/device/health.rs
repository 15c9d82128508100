//! The verdict on one device, from what its threads report. Pure: no clock, no I/O.
//!
//! ```text
//!            an operation > stall                  an operation > fail, probe hung,
//!                                                  2 probes (the first one ever) or 3 places in a row failed
//!   Ok ───────────────────────────▶ Suspect ───────────────────────────▶ Failed
//!    ▲                                 │                                   │
//!    ├──── 1 good round ───────────────┘                                   │
//!    └──── 3 good rounds in a row ─────────────────────────────────────────┘
//! ```
//! A good round: nothing hangs any more, the probe succeeds, and a trial read (of what could be read last) works.

use std::fmt;
use std::time::Duration;

use super::limits::{
    Deadlines, ERRORS_TO_FAIL, PROBES_TO_FAIL, ROUNDS_AFTER_FAILURE, ROUNDS_AFTER_STALL,
};

/// What a device is good for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// It answers.
    Ok = 0,
    /// An operation on it hangs: nothing is asked of it until it has come back.
    Suspect = 1,
    /// It is not there, returns errors, or has been hanging for long.
    Failed = 2,
}

impl Verdict {
    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Suspect,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
        })
    }
}

/// Where a read failed: the file (its address, only ever compared) and the offset.
pub(super) type Place = (usize, u64);

/// How long the oldest operation of each kind has been under way.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Ages {
    pub(super) read: Duration,
    pub(super) probe: Duration,
}

/// What a round of the probe thread found.
pub(super) struct Round {
    pub(super) probe: Result<(), String>,
    /// `None`: no trial was made, because the verdict was `Ok` or there is nothing to read.
    pub(super) trial: Option<Result<(), String>>,
}

pub(super) struct Health {
    deadlines: Deadlines,
    verdict: Verdict,
    cause: String,
    errors: u32,
    last_error: Option<Place>,
    probe_failures: u32,
    /// Whether a probe ever succeeded: one failure of a device that was never well needs no second one to be believed.
    was_well: bool,
    good_rounds: u32,
    hanging: bool,
}

impl Health {
    pub(super) fn new(deadlines: Deadlines) -> Self {
        Self {
            deadlines,
            verdict: Verdict::Ok,
            cause: String::new(),
            errors: 0,
            last_error: None,
            probe_failures: 0,
            was_well: false,
            good_rounds: 0,
            hanging: false,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why it is not `Ok`; empty if it is.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    /// The watch looked.
    pub(super) fn looked(&mut self, ages: Ages) {
        let longest = ages.read.max(ages.probe);
        let under_way = |what: &str, age: Duration| {
            format!("{what} has been under way for {:.1} s", age.as_secs_f64())
        };
        self.hanging = longest > self.deadlines.stall;
        if ages.read > self.deadlines.fail {
            self.worsen(Verdict::Failed, || under_way("a read", ages.read));
        } else if ages.probe > self.deadlines.probe {
            self.worsen(Verdict::Failed, || under_way("the probe", ages.probe));
        } else if self.hanging {
            self.worsen(Verdict::Suspect, || under_way("an operation", longest));
        }
    }

    pub(super) fn read_worked(&mut self) {
        self.errors = 0;
        self.last_error = None;
    }

    /// One bad place read again and again is a bad file; different places, one after another, are a bad device.
    pub(super) fn read_failed(&mut self, place: Place, error: &dyn fmt::Display) {
        if self.last_error.replace(place) == Some(place) {
            return;
        }
        self.errors += 1;
        if self.errors >= ERRORS_TO_FAIL {
            let errors = self.errors;
            self.worsen(Verdict::Failed, || {
                format!("{errors} reads in a row failed: {error}")
            });
        }
    }

    pub(super) fn round(&mut self, round: Round) {
        if let Err(why) = round.probe {
            self.good_rounds = 0;
            self.probe_failures += 1;
            if self.probe_failures >= PROBES_TO_FAIL || !self.was_well {
                self.worsen(Verdict::Failed, || why);
            }
            return;
        }
        self.probe_failures = 0;
        self.was_well = true;
        match round.trial {
            Some(Err(_)) => self.good_rounds = 0,
            Some(Ok(())) | None => self.good_round(),
        }
    }

    fn good_round(&mut self) {
        let wanted = match self.verdict {
            Verdict::Ok => return,
            Verdict::Suspect => ROUNDS_AFTER_STALL,
            Verdict::Failed => ROUNDS_AFTER_FAILURE,
        };
        self.good_rounds = if self.hanging {
            0
        } else {
            self.good_rounds + 1
        };
        if self.good_rounds >= wanted {
            *self = Self {
                was_well: true,
                ..Self::new(self.deadlines)
            };
        }
    }

    /// Never betters the verdict. The first cause stands while the verdict stays.
    fn worsen(&mut self, verdict: Verdict, cause: impl FnOnce() -> String) {
        self.good_rounds = 0;
        if verdict > self.verdict {
            self.verdict = verdict;
            self.cause = cause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(milliseconds: u64) -> Ages {
        Ages {
            read: Duration::from_millis(milliseconds),
            ..Ages::default()
        }
    }

    fn probing(milliseconds: u64) -> Ages {
        Ages {
            probe: Duration::from_millis(milliseconds),
            ..Ages::default()
        }
    }

    fn good() -> Round {
        Round {
            probe: Ok(()),
            trial: Some(Ok(())),
        }
    }

    fn bad() -> Round {
        Round {
            probe: Err("no identity file".into()),
            trial: None,
        }
    }

    fn fresh() -> Health {
        Health::new(Deadlines::default())
    }

    #[test]
    fn a_stall_passes_when_all_is_well_again() {
        let mut health = fresh();
        health.looked(reading(900));
        assert_eq!(health.verdict(), Verdict::Ok);
        health.looked(reading(950));
        assert_eq!(health.verdict(), Verdict::Suspect);
        assert_eq!(health.cause(), "an operation has been under way for 0.9 s");
        health.round(good());
        assert_eq!(health.verdict(), Verdict::Suspect, "the read still hangs");
        health.looked(Ages::default());
        health.round(good());
        assert_eq!((health.verdict(), health.cause()), (Verdict::Ok, ""));
    }

    #[test]
    fn a_long_stall_is_a_failure_and_takes_three_rounds_to_mend() {
        let mut health = fresh();
        health.looked(reading(1_000));
        health.looked(reading(30_001));
        assert_eq!(health.verdict(), Verdict::Failed);
        health.looked(Ages::default());
        health.round(good());
        health.round(good());
        health.round(Round {
            probe: Ok(()),
            trial: Some(Err("EIO".into())),
        });
        health.round(good());
        health.round(good());
        assert_eq!(
            health.verdict(),
            Verdict::Failed,
            "a failed trial begins the count anew"
        );
        health.round(good());
        assert_eq!(health.verdict(), Verdict::Ok);
    }

    #[test]
    fn probes_fail_a_device_in_pairs_or_by_hanging() {
        let mut health = fresh();
        health.round(good());
        health.round(bad());
        health.round(good());
        health.round(bad());
        assert_eq!(health.verdict(), Verdict::Ok);
        health.round(bad());
        assert_eq!(
            (health.verdict(), health.cause()),
            (Verdict::Failed, "no identity file")
        );

        let mut health = fresh();
        health.looked(probing(1_000));
        assert_eq!(health.verdict(), Verdict::Suspect);
        health.looked(probing(5_001));
        assert_eq!(health.verdict(), Verdict::Failed);
    }

    #[test]
    fn a_device_that_was_never_well_fails_with_its_first_probe() {
        let mut health = fresh();
        health.round(bad());
        assert_eq!(health.verdict(), Verdict::Failed);
        (0..3).for_each(|_| health.round(good()));
        assert_eq!(health.verdict(), Verdict::Ok);
        health.round(bad());
        assert_eq!(health.verdict(), Verdict::Ok, "now it was well");
    }

    #[test]
    fn errors_count_by_place_and_without_success_between() {
        let mut health = fresh();
        (0..10).for_each(|_| health.read_failed((1, 0), &"EIO"));
        assert_eq!(health.verdict(), Verdict::Ok, "one bad place");
        health.read_failed((1, 65_536), &"EIO");
        health.read_worked();
        health.read_failed((1, 0), &"EIO");
        health.read_failed((2, 0), &"EIO");
        assert_eq!(health.verdict(), Verdict::Ok);
        health.read_failed((3, 0), &"EIO");
        assert_eq!(health.cause(), "3 reads in a row failed: EIO");
        assert_eq!(health.verdict(), Verdict::Failed);
    }
}
