//! The agent or the control endpoint is killed, the fill is interrupted, or objects change their places on the box: nothing that was
//! verified is fetched again, and whatever is published is right.
//!
//! Both are the real programs. After each interruption the bytes sent by the one are compared with the bytes on the disks of the
//! other. What may be sent in vain is what was under way: of each object that is fetched, the range that its next group lies in and
//! the ranges that are asked for ahead.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod appliance;
mod control;
mod moving;
#[path = "../support/program.rs"]
mod program;
mod repair;

use std::time::{Duration, Instant};

use appliance::{Appliance, PARALLEL};
use control::Control;
use fill_agent::limits::{LOOK_AHEAD_RANGES, RANGE_BYTES};
use protocol::fill::{Activity, Request};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const MIB: usize = 1 << 20;
const SIZES: [usize; 10] = [
    96 * MIB + 70_001,
    64 * MIB,
    57 * MIB + 1,
    40 * MIB - 1,
    9 * MIB,
    8 * MIB,
    MIB,
    MIB + 1,
    300,
    0,
];

/// What one interruption may cost.
const IN_FLIGHT: u64 = PARALLEL * LOOK_AHEAD_RANGES as u64 * RANGE_BYTES;

/// An interruption comes at latest after so many bytes.
const MOMENT: u64 = 96 * MIB as u64;

/// Waits until `condition` gives something; fails with `what` after a minute.
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        let limit = Duration::from_secs(60);
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What was sent, against what is here. As nothing that is here goes, all that was sent is at most the objects and what the
/// interruptions may cost.
struct Account {
    sent: u64,
    verified: u64,
    /// By one interruption.
    most_in_vain: u64,
    in_vain: u64,
}

impl Account {
    /// Of a box that is empty.
    fn open(control: &Control) -> Self {
        Self {
            sent: control.sent(),
            verified: 0,
            most_in_vain: 0,
            in_vain: 0,
        }
    }

    /// While nothing is being sent, after so many interruptions since the last time.
    fn check(&mut self, control: &Control, appliance: &Appliance, interruptions: u64) {
        let (sent, verified) = (control.sent(), appliance.verified_bytes());
        assert!(
            verified >= self.verified,
            "{} of {} verified bytes are left",
            verified,
            self.verified
        );
        let came = verified - self.verified;
        let in_vain = (sent - self.sent).saturating_sub(came);
        let limit = interruptions * IN_FLIGHT;
        assert!(
            in_vain <= limit,
            "{in_vain} bytes were sent in vain, {came} came; {limit} may be"
        );
        self.most_in_vain = self
            .most_in_vain
            .max(in_vain.div_ceil(interruptions.max(1)));
        self.in_vain += in_vain;
        (self.sent, self.verified) = (sent, verified);
    }

    /// All is here, and right.
    fn close(&mut self, control: &Control, appliance: &Appliance, interruptions: u64) {
        control.until_idle();
        self.check(control, appliance, interruptions);
        appliance.check();
        assert_eq!(appliance.published_objects(), control.objects);
        assert_eq!(self.verified, control.bytes);
    }
}

/// Whether it is complete before so many bytes were sent.
fn completes_within(bytes: u64, control: &Control, appliance: &Appliance) -> bool {
    let begun = control.sent();
    eventually("bytes, or the end", || {
        if appliance.is(Activity::Complete) {
            return Some(true);
        }
        (control.sent() - begun >= bytes).then_some(false)
    })
}

/// Fills an empty box; how many of the kills it took, and what they cost.
fn fill(control: &mut Control, chance: &mut SmallRng, kills: u64) -> (u64, Account) {
    let mut appliance = Appliance::new(control);
    let mut account = Account::open(control);
    appliance.run();
    let (mut done, mut unsettled) = (0, 0);
    loop {
        let moment = chance.random_range(0..MOMENT);
        let moment = if done < kills { moment } else { u64::MAX };
        if completes_within(moment, control, &appliance) {
            break;
        }
        done += 1;
        unsettled += 1;
        if chance.random_ratio(1, 4) {
            control.kill();
            control.serve();
            continue;
        }
        appliance.kill();
        control.until_idle();
        account.check(control, &appliance, unsettled);
        unsettled = 0;
        appliance.check();
        appliance.run();
    }
    account.close(control, &appliance, unsettled);
    (done, account)
}

/// How many kills, and when: as the environment says, else so many, at moments of a seed that is printed.
fn asked_for(kills: u64) -> (u64, SmallRng) {
    let from = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = from("OCA_SEED").unwrap_or_else(rand::random);
    eprintln!("OCA_SEED={seed}");
    let kills = from("OCA_KILLS").unwrap_or(kills);
    (kills, SmallRng::seed_from_u64(seed))
}

/// `OCA_KILLS=200 OCA_SEED=7` for more, or for the same again.
#[test]
fn killed_at_any_moment_it_fetches_nothing_twice_and_publishes_nothing_wrong() {
    let (kills, mut chance) = asked_for(24);
    let mut control = Control::new(&SIZES);
    let (mut done, mut boxes, mut in_vain, mut most) = (0, 0, 0, 0);
    while done < kills {
        let (took, account) = fill(&mut control, &mut chance, kills - done);
        done += took;
        boxes += 1;
        in_vain += account.in_vain;
        most = most.max(account.most_in_vain);
    }
    let (mib, bytes) = (MIB as u64, control.bytes);
    eprintln!(
        "{kills} kills while {boxes} boxes took {} MiB each: {} MiB sent in vain, at most {} MiB by one kill, of {} MiB allowed",
        bytes / mib,
        in_vain / mib,
        most / mib,
        IN_FLIGHT / mib,
    );
}

#[test]
fn a_pause_or_a_closed_window_keeps_what_was_verified() {
    let control = Control::new(&[160 * MIB, 30 * MIB]);
    let mut appliance = Appliance::new(&control);
    let mut account = Account::open(&control);
    appliance.run();
    let by = || "ada".to_owned();
    let pause = Request::Pause {
        by: by(),
        until: None,
    };
    let close = Request::Override {
        by: by(),
        open: false,
        until: None,
    };
    let paused = (pause, Request::Resume { by: by() }, Activity::Paused);
    let closed = (close, Request::ClearOverride { by: by() }, Activity::Closed);
    for (stop, go_on, activity) in [&paused, &closed, &paused, &closed] {
        let bytes = 37 * MIB as u64;
        assert!(!completes_within(bytes, &control, &appliance));
        appliance.tell(stop);
        eventually("it stops", || appliance.is(*activity).then_some(()));
        control.until_idle();
        account.check(&control, &appliance, 1);
        assert!(account.verified >= bytes - IN_FLIGHT, "it had not begun");
        appliance.tell(go_on);
    }
    assert!(completes_within(u64::MAX, &control, &appliance));
    account.close(&control, &appliance, 0);
    eprintln!(
        "{} bytes sent in vain, at most {} by one pause",
        account.in_vain, account.most_in_vain
    );
}
