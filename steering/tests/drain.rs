//! A drain from beginning to end, on a clock of its own.

use std::time::Duration;

use steering::UnixTime;
use steering::drain::{Action, Bounds, Drain, Intent, Phase};

const BOUNDS: Bounds = Bounds {
    hint_lifetime: Duration::from_secs(60),
    drain: Duration::from_secs(7200),
};

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(1_790_000_000 + seconds)
}

fn wanted(seconds: u64) -> Intent {
    Intent {
        since: at(seconds),
        by: "ada".into(),
        reason: None,
        answers_expire_s: None,
    }
}

#[test]
fn a_drain_lets_transfers_finish() {
    let mut drain = Drain::new(BOUNDS, None);
    assert_eq!(
        (drain.step(at(0), 9), drain.phase()),
        (Action::Serve, Phase::InService)
    );
    drain.begin(wanted(1));
    assert_eq!(
        (drain.step(at(1), 9), drain.phase()),
        (Action::AskToLeave, Phase::Draining)
    );
    // Nothing runs, but a hint may still send somebody.
    assert_eq!(
        (drain.step(at(30), 0), drain.phase()),
        (Action::AskToLeave, Phase::Draining)
    );
    assert_eq!(
        (drain.step(at(61), 3), drain.phase()),
        (Action::RefuseNew, Phase::Draining)
    );
    assert_eq!(
        (drain.step(at(900), 0), drain.phase()),
        (Action::RefuseNew, Phase::Drained)
    );
    // It stays so, whatever is counted later.
    assert_eq!(
        (drain.step(at(9000), 1), drain.phase()),
        (Action::RefuseNew, Phase::Drained)
    );
    drain.end();
    assert_eq!(
        (drain.step(at(9001), 0), drain.phase()),
        (Action::Serve, Phase::InService)
    );
    assert_eq!(drain.intent(), None);
}

#[test]
fn what_runs_at_the_bound_is_cut_and_counted() {
    let mut drain = Drain::new(BOUNDS, None);
    drain.begin(wanted(0));
    assert_eq!(drain.step(at(7199), 2), Action::RefuseNew);
    assert_eq!(
        (drain.step(at(7200), 2), drain.phase(), drain.cut()),
        (Action::Cut, Phase::Forced, 2)
    );
    assert_eq!(
        (drain.step(at(7201), 0), drain.phase(), drain.cut()),
        (Action::Cut, Phase::Forced, 2)
    );
}

#[test]
fn a_restart_goes_on_and_asking_again_does_not_start_anew() {
    let mut drain = Drain::new(BOUNDS, Some(wanted(0)));
    assert_eq!(drain.phase(), Phase::Draining);
    drain.begin(Intent {
        since: at(50),
        by: "bob".into(),
        reason: Some("fans".into()),
        answers_expire_s: None,
    });
    let intent = drain.intent().unwrap();
    assert_eq!(
        (intent.since, intent.by.as_str(), intent.reason.as_deref()),
        (at(0), "bob", Some("fans"))
    );
    assert_eq!(
        (drain.hints_expire(), drain.forced_at()),
        (Some(at(60)), Some(at(7200)))
    );
    assert_eq!(
        (drain.step(at(60), 0), drain.phase()),
        (Action::RefuseNew, Phase::Drained)
    );
}

#[test]
fn answers_that_others_gave_are_waited_for_as_well() {
    let mut drain = Drain::new(BOUNDS, None);
    drain.begin(Intent {
        answers_expire_s: Some(360),
        ..wanted(0)
    });
    assert_eq!(drain.step(at(359), 0), Action::AskToLeave);
    assert_eq!(drain.hints_expire(), Some(at(360)));
    assert_eq!(
        (drain.step(at(360), 0), drain.phase()),
        (Action::RefuseNew, Phase::Drained)
    );
}
