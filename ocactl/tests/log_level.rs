//! `ocactl log-level`, with a daemon of a few lines and no agent.

mod appliance;

use appliance::Appliance;
use appliance::daemon::daemon;
use protocol::log::{Change, LogLevel};
use protocol::operator::{Fault, Refusal, Request, Response};

#[test]
fn what_is_typed_is_asked_for_and_the_answer_is_shown() {
    let appliance = Appliance::bare();
    let asked = daemon(&appliance, |request| {
        let Request::LogLevel { change, .. } = request else {
            panic!("{request:?}")
        };
        let change = change.clone().unwrap_or(Change {
            level: None,
            for_s: None,
        });
        Response::LogLevel(LogLevel {
            level: change.level.unwrap_or_else(|| "info".into()),
            configured: "info".into(),
            until: change.for_s.map(|_| 4_102_444_800),
        })
    });
    let change = |level: Option<&str>, for_s| {
        let level = level.map(str::to_owned);
        Some(Change { level, for_s })
    };
    for (typed, meant, said) in [
        (&[][..], None, "daemon: info, as configured"),
        (
            &["debug", "--for", "10min"],
            change(Some("debug"), Some(600)),
            "daemon: debug until 2100-01-01T00:00:00+00:00, in ",
        ),
        (
            &["warn,hyper=off"],
            change(Some("warn,hyper=off"), None),
            "daemon: warn,hyper=off until it is restarted; then info",
        ),
        (
            &["--configured", "--of", "daemon"],
            change(None, None),
            "daemon: info, as configured",
        ),
    ] {
        let out = appliance.run(&[&["log-level"], typed].concat()).done().out;
        assert!(out.starts_with(said), "{out}");
        // The agent does not run: that is said, and no failure.
        let is_said = out.contains("the fill agent is not running");
        assert_eq!(is_said, !typed.contains(&"--of"), "{out}");
        let Some(Request::LogLevel { by, change }) = asked.lock().unwrap().pop() else {
            panic!("nothing was asked")
        };
        assert_eq!((by.is_empty(), change), (false, meant));
    }
    let (_, json) = appliance.json(&["log-level", "debug", "--for", "10min"]);
    assert_eq!(json["programs"][0]["level"], "debug");
    assert_eq!(json["programs"][1]["program"], "fill agent");
    let asked_before = asked.lock().unwrap().len();
    appliance
        .run(&["log-level", "--for", "10min"])
        .failed(2, "required");
    appliance
        .run(&["log-level", "debug", "--configured"])
        .failed(2, "cannot be used with");
    assert_eq!(asked.lock().unwrap().len(), asked_before);
}

#[test]
fn nobody_there_and_a_refusal_are_failures() {
    let appliance = Appliance::bare();
    appliance
        .run(&["log-level", "--of", "agent"])
        .failed(1, "the fill agent is not running");
    appliance.run(&["log-level"]).failed(1, "is not running");
    daemon(&appliance, |_| {
        Response::Refused(Refusal {
            fault: Fault::Request,
            message: "\"loud\" is not a log level".into(),
        })
    });
    appliance
        .run(&["log-level", "loud"])
        .failed(1, "the daemon refuses: \"loud\" is not a log level");
}
