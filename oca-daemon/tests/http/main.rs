//! HTTP to the letter, from the real daemon on each backend. Every rule is a line of a table with the section that it comes
//! from; docs/http.md says what we chose where an RFC leaves a choice.
//!
//! Each table is sent twice: as it is, and byte by byte. The answers must be the same.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]
#![allow(clippy::too_many_lines, reason = "tables")]

#[path = "../support/mod.rs"]
mod support;

mod conditions;
mod fields;
mod framing;
mod lasting;
mod limits;
mod methods;
mod ranges;
mod rule;
mod targets;

use rule::{Rule, Server};
use support::BACKENDS;
use support::http::Client;

fn tables() -> Vec<Rule> {
    let tables = [
        framing::rules(),
        fields::rules(),
        targets::rules(),
        methods::rules(),
        conditions::rules(),
        ranges::rules(),
        lasting::rules(),
    ];
    tables.into_iter().flatten().collect()
}

#[test]
fn every_rule_holds() {
    for backend in BACKENDS {
        let server = Server::start(backend);
        let broken: Vec<String> = tables()
            .iter()
            .flat_map(|rule| [rule.check(&server, usize::MAX), rule.check(&server, 1)])
            .filter_map(Result::err)
            .collect();
        assert!(broken.is_empty(), "on {backend}:\n{}", broken.join("\n"));
    }
}

/// RFC 9110 section 9.3.2: HEAD says what GET says, but for what only GET can do.
#[test]
fn head_says_what_get_says() {
    for backend in BACKENDS {
        let server = Server::start(backend);
        let mut client = Client::connect(server.daemon.http).unwrap();
        for path in ["/film", "/empty", "/none", "/%zz"] {
            for fields in [&[][..], &["If-None-Match: *"], &["If-Match: \"x\""]] {
                let mut head = |method| {
                    let response = client.request(method, path, fields).unwrap();
                    let lines = response.head.lines();
                    let lasting = lines.filter(|line| !line.starts_with("Date: "));
                    lasting.map(str::to_owned).collect::<Vec<_>>()
                };
                assert_eq!(head("HEAD"), head("GET"), "{path} {fields:?} on {backend}");
            }
        }
    }
}

/// A table that cannot fail proves nothing.
#[test]
fn a_rule_that_does_not_hold_is_told() {
    let server = Server::start(BACKENDS[0]);
    for wrong in [
        rule::get("9110 14.2", "another status", &[]).part(0, 9),
        rule::get("9110 14.2", "other bytes", &["Range: bytes=0-9"]).part(0, 8),
        rule::get("9110 14.2", "other parts", &["Range: bytes=0-0,900-900"])
            .parts(&[(0, 0), (901, 901)]),
        rule::get("9110 14.2", "a field that is not there", &[])
            .whole()
            .has("Age: 1"),
        rule::get("9110 14.2", "a field that is there", &[])
            .whole()
            .lacks("ETag"),
        rule::get("9112 9.6", "it goes on", &[]).whole().closes(),
        rule::get("9112 9.6", "it closes", &["Connection: close"]).whole(),
    ] {
        let told = wrong.check(&server, usize::MAX);
        assert!(told.is_err(), "{}", wrong.name);
    }
}

/// The document lists what is tested, and nothing else.
#[test]
fn the_document_lists_every_rule() {
    let document = include_str!("../../../docs/http.md");
    let listed: Vec<&str> = document
        .lines()
        .skip_while(|line| *line != "| section | rule | answer |")
        .skip(2)
        .collect();
    let tested: Vec<String> = tables().iter().map(Rule::row).collect();
    assert!(
        listed == tested,
        "docs/http.md should end with:\n{}",
        tested.join("\n")
    );
}
