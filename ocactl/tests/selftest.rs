//! `ocactl selftest`, with a daemon of a few lines.

mod appliance;

use appliance::Appliance;
use appliance::daemon::daemon;
use protocol::operator::{Request, Response};
use protocol::status::{Check, Scope, SelfTestReport, State};

fn check(component: &str, subject: &str, scope: Scope, result: State, detail: &str) -> Check {
    Check {
        component: component.into(),
        subject: subject.into(),
        scope,
        result,
        detail: detail.into(),
    }
}

/// Of a box with a frozen disk, or worse.
fn report(result: State) -> SelfTestReport {
    let (local, shared) = (Scope::Local, Scope::Shared);
    let frozen = "a read from it does not come back";
    let disk = match result {
        State::Ok => check("device", "nvme1", local, State::Ok, ""),
        _ => check("device", "nvme1", local, result, frozen),
    };
    SelfTestReport {
        as_of: 1_790_000_000,
        took_ms: 2004,
        result,
        checks: vec![
            check("listener", "http 192.0.2.1:80", local, State::Ok, ""),
            check("device", "nvme0", local, State::Ok, ""),
            disk,
            check("catalog", "", local, State::Ok, ""),
            check(
                "control",
                "",
                shared,
                State::Degraded,
                "no report was answered",
            ),
        ],
    }
}

#[test]
fn each_check_has_a_line_and_the_exit_code_tells_the_result() {
    let ends = [
        (State::Ok, 0, "passed;"),
        (
            State::Degraded,
            1,
            "passed, and viewers are served; 1 thing to mend;",
        ),
        (State::Down, 1, "failed: viewers cannot be served;"),
    ];
    for (result, code, end) in ends {
        let appliance = Appliance::new();
        let asked = daemon(&appliance, move |_| Response::SelfTest(report(result)));
        let output = appliance.run(&["selftest"]);
        let said = &output.out;
        assert_eq!(output.code, code, "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "RESULT    WHAT                        DETAIL");
        assert_eq!(lines[1].trim_end(), "ok        listener http 192.0.2.1:80");
        assert!(
            lines[7].starts_with(end) && lines[7].ends_with("(2004 ms)"),
            "{said}"
        );
        if result == State::Degraded {
            assert_eq!(
                lines[3],
                "degraded  device nvme1                a read from it does not come back"
            );
        }
        assert_eq!(
            *asked.lock().expect("no panic holds it"),
            [Request::SelfTest]
        );

        let output = appliance.run(&["selftest", "--json"]);
        assert_eq!(output.code, code);
        let told: SelfTestReport = serde_json::from_str(&output.out).expect("the report");
        assert_eq!(told, report(result));
    }
}

#[test]
fn without_a_daemon_it_fails_and_says_what_to_do() {
    let appliance = Appliance::new();
    let output = appliance.run(&["selftest"]);
    assert_eq!(output.code, 1);
    assert!(
        output.err.contains("the daemon is not running"),
        "{}",
        output.err
    );
}
