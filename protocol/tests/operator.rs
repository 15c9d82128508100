//! Lines of the operator sockets, as a table used both ways, and what is said about wrong ones.

use proptest::prelude::*;
use protocol::config::Certificate;
use protocol::operator::{
    self, BadLine, CheckedCertificate, Fault, Generation, Refusal, Request, Response, Upgraded,
};
use protocol::status::{Backend, Catalog, Drain, Memory, STATUS_FORMAT, SelfTest, State, Status};

#[test]
fn requests_have_these_lines() {
    let table = [
        (Request::Status, r#"{"protocol":1,"request":"status"}"#),
        (
            Request::Generation,
            r#"{"protocol":1,"request":"generation"}"#,
        ),
        (Request::Reload, r#"{"protocol":1,"request":"reload"}"#),
        (
            Request::Drain {
                by: "ada".into(),
                reason: Some("new fans".into()),
                force: false,
            },
            r#"{"protocol":1,"request":"drain","by":"ada","reason":"new fans","force":false}"#,
        ),
        (
            Request::TlsCheck {
                certificates: vec![Certificate {
                    cert: "/c".into(),
                    key: "/k".into(),
                }],
            },
            r#"{"protocol":1,"request":"tls-check","certificates":[{"cert":"/c","key":"/k"}]}"#,
        ),
        (
            Request::Upgrade {
                by: "ada".into(),
                previous: false,
                force: false,
                within_s: 60,
            },
            r#"{"protocol":1,"request":"upgrade","by":"ada","previous":false,"force":false,"within_s":60}"#,
        ),
        (
            Request::Undrain { by: "ada".into() },
            r#"{"protocol":1,"request":"undrain","by":"ada"}"#,
        ),
    ];
    for (request, line) in table {
        assert_eq!(operator::encode(&request), format!("{line}\n").into_bytes());
        assert_eq!(
            operator::decode::<Request>(line.as_bytes()).unwrap(),
            request
        );
    }
}

fn drain() -> Drain {
    Drain {
        since: 1_790_000_000,
        by: "ada".into(),
        reason: None,
        transfers: 12,
        connections: 40,
        hints_expire: 1_790_000_060,
        forced_at: 1_790_007_200,
        cut: 0,
    }
}

#[test]
fn responses_have_these_lines() {
    let table = [
        (
            Response::Drain(drain()),
            r#"{"protocol":1,"response":"drain","since":1790000000,"by":"ada","reason":null,"transfers":12,"connections":40,"hints_expire":1790000060,"forced_at":1790007200,"cut":0}"#,
        ),
        (
            Response::Undrain { state: State::Ok },
            r#"{"protocol":1,"response":"undrain","state":"ok"}"#,
        ),
        (
            Response::Upgraded(Upgraded {
                version: "0.2.0".into(),
                process: 4711,
                took_ms: 840,
                transfers: 12,
            }),
            r#"{"protocol":1,"response":"upgraded","version":"0.2.0","process":4711,"took_ms":840,"transfers":12}"#,
        ),
        (
            Response::Reload(Generation {
                current: 9,
                oldest_in_use: 8,
            }),
            r#"{"protocol":1,"response":"reload","current":9,"oldest_in_use":8}"#,
        ),
        (
            Response::TlsChecked {
                certificates: vec![CheckedCertificate {
                    cert: "/c".into(),
                    found: None,
                    problem: Some("/k: is empty".into()),
                }],
            },
            r#"{"protocol":1,"response":"tls-checked","certificates":[{"cert":"/c","found":null,"problem":"/k: is empty"}]}"#,
        ),
        (
            Response::Refused(Refusal {
                fault: Fault::State,
                message: "not drained".into(),
            }),
            r#"{"protocol":1,"response":"refused","fault":"state","message":"not drained"}"#,
        ),
    ];
    for (response, line) in table {
        assert_eq!(
            operator::encode(&response),
            format!("{line}\n").into_bytes()
        );
        assert_eq!(
            operator::decode::<Response>(line.as_bytes()).unwrap(),
            response
        );
    }
}

/// The document is nested in the line: none of its keys may be one of the line's.
#[test]
fn a_status_goes_through_a_line() {
    let status = Status {
        format: STATUS_FORMAT,
        version: "0.1.0".into(),
        id: "c001.fra001.example".into(),
        site: "fra001.example".into(),
        as_of: 1_790_000_000,
        started: 1_789_900_000,
        state: State::Ok,
        causes: Vec::new(),
        drain: None,
        self_test: SelfTest::Failed("no worker listens".into()),
        backend: Backend {
            name: "uring".into(),
            reason: "works".into(),
        },
        sandbox: None,
        listeners: Vec::new(),
        workers: Vec::new(),
        devices: Vec::new(),
        interfaces: Vec::new(),
        egress: 0,
        capacity: None,
        memory: Memory::default(),
        catalog: Catalog {
            bytes: u64::MAX,
            ..Catalog::default()
        },
        tls: None,
        report: None,
        bgp: None,
        fill: None,
    };
    let response = Response::Status(Box::new(status));
    let line = operator::encode(&response);
    assert_eq!(operator::decode::<Response>(&line).unwrap(), response);
}

#[test]
fn a_newer_side_and_garbage_are_told_apart() {
    let newer = operator::decode::<Request>(br#"{"protocol":2,"request":"teleport"}"#);
    assert!(matches!(newer, Err(BadLine::Version { theirs: 2 })));
    let refusal = Refusal::from(newer.unwrap_err());
    assert_eq!(refusal.fault, Fault::Request);
    assert!(
        refusal.message.contains("install the same release"),
        "{refusal}"
    );
    for line in [
        "",
        "{}",
        "null",
        "[1]",
        r#"{"protocol":1}"#,
        r#"{"protocol":1,"request":"dance"}"#,
    ] {
        assert!(
            matches!(
                operator::decode::<Request>(line.as_bytes()),
                Err(BadLine::Malformed(_))
            ),
            "{line}"
        );
    }
    let long = vec![b' '; protocol::limits::LINE_MAX_BYTES + 1];
    assert!(matches!(
        operator::decode::<Request>(&long),
        Err(BadLine::TooLong)
    ));
}

#[test]
fn a_reader_passes_over_fields_that_it_does_not_know() {
    let line = br#"{"protocol":1,"request":"undrain","by":"ada","mood":"good"}"#;
    assert_eq!(
        operator::decode::<Request>(line).unwrap(),
        Request::Undrain { by: "ada".into() }
    );
}

proptest! {
    #[test]
    fn no_line_panics(line: Vec<u8>) {
        let _ = operator::decode::<Request>(&line);
        let _ = operator::decode::<Response>(&line);
    }

    #[test]
    fn any_name_stays_in_its_line(by in "\\PC*", reason in proptest::option::of("[\\s\\S]*"), force: bool) {
        let request = Request::Drain { by, reason, force };
        let line = operator::encode(&request);
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(operator::decode::<Request>(&line).unwrap(), request);
    }
}
