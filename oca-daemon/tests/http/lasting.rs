//! How long a connection lasts: RFC 9112 section 9; and HTTP/1.0.

use crate::rule::{Rule, get, head, rule};

pub(crate) fn rules() -> Vec<Rule> {
    let old = |fields: &str| format!("GET /end HTTP/1.0\r\n{fields}\r\n");
    vec![
        get("9112 9.3", "HTTP/1.1 goes on", &[])
            .whole()
            .lacks("Connection"),
        get("9112 9.6", "close", &["Connection: close"])
            .whole()
            .closes(),
        get(
            "9110 7.6.1",
            "close in a list",
            &["Connection: foo,\tClose , bar"],
        )
        .whole()
        .closes(),
        get(
            "9110 7.6.1",
            "close in one of two lines",
            &["Connection: close", "Connection: keep-alive"],
        )
        .whole()
        .closes(),
        get(
            "9110 7.6.1",
            "a word that only begins like close",
            &["Connection: closed"],
        )
        .whole(),
        get(
            "9110 7.6.1",
            "a value that is not Connection's",
            &["X: close"],
        )
        .whole(),
        rule("9112 9.3", "HTTP/1.0 ends", old(""))
            .is(200)
            .text("end")
            .closes(),
        rule(
            "9112 9.3",
            "HTTP/1.0 goes on if it asks for it",
            old("Connection: Keep-Alive\r\n"),
        )
        .is(200)
        .text("end")
        .has("Connection: keep-alive"),
        rule(
            "9112 9.3",
            "HTTP/1.0 that asks for both ends",
            old("Connection: keep-alive, close\r\n"),
        )
        .is(200)
        .text("end")
        .closes(),
        rule("9110 2.5", "HTTP/1.0 is answered in HTTP/1.1", old(""))
            .is(200)
            .has("HTTP/1.1 200 OK")
            .closes(),
        rule(
            "9110 15.4.5",
            "HTTP/1.0 has its conditions too",
            old("If-None-Match: *\r\n"),
        )
        .is(304)
        .closes(),
        get(
            "9110 7.8",
            "an upgrade is not taken",
            &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
        )
        .whole()
        .lacks("Upgrade"),
        rule(
            "9112 9.3.2",
            "a pipeline is answered in order",
            head("GET /end", &[])
                + &head("HEAD /film", &[])
                + &head("GET /none", &[])
                + &head("GET /end", &[]),
        )
        .is(200)
        .text("end")
        .is(200)
        .for_head()
        .is(404)
        .is(200)
        .text("end"),
        rule(
            "9112 9.6",
            "what comes after close is not answered",
            head("GET /end", &["Connection: close"]) + &head("GET /end", &[]),
        )
        .is(200)
        .text("end")
        .closes(),
        rule(
            "9112 9.3.2",
            "what comes after an error is not answered",
            head("GET /end", &[])
                + "BREW /end HTTP/1.1\r\nHost: h\r\n\r\n"
                + &head("GET /end", &[]),
        )
        .is(200)
        .is(501)
        .closes(),
        rule(
            "9112 9.3",
            "an answer of 404 ends nothing",
            head("GET /none", &[]),
        )
        .is(404),
        get(
            "9110 15.5.17",
            "an answer of 416 ends nothing",
            &["Range: bytes=9999999-"],
        )
        .is(416),
    ]
}
