//! Where a message begins and ends: RFC 9112 sections 2, 3, 6 and 11.2.

use crate::rule::{Rule, get, head, rule};

pub(crate) fn rules() -> Vec<Rule> {
    [lines(), bodies()].concat()
}

fn lines() -> Vec<Rule> {
    let film = "GET /film HTTP/1.1\r\nHost: h\r\n\r\n";
    let none = "GET /none HTTP/1.1";
    let long = "a".repeat(9_000);
    vec![
        rule(
            "9112 2.2",
            "an empty line before the request line",
            format!("\r\n{film}"),
        )
        .whole(),
        rule(
            "9112 2.2",
            "a bare LF ends no line",
            "GET /film HTTP/1.1\nHost: h\n\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.2",
            "a bare LF between lines that end well",
            "GET /film HTTP/1.1\r\nA: b\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.2",
            "a bare LF before the request line",
            format!("\n{film}"),
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.2",
            "a bare CR in a value",
            format!("{none}\r\nHost: h\r\nA: b\rc\r\n\r\n"),
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.2",
            "a bare CR in the target",
            "GET /fi\rlm HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.2",
            "white space before the first field",
            format!("{none}\r\n Host: h\r\n\r\n"),
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.3",
            "HTTP/2.0 is not spoken",
            format!("GET /film HTTP/2.0\r\nHost: h\r\n\r\n{film}"),
        )
        .is(505)
        .closes(),
        rule(
            "9112 2.3",
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        )
        .is(505)
        .closes(),
        rule(
            "9110 2.5",
            "HTTP/1.2, which nobody speaks",
            "GET /film HTTP/1.2\r\nHost: h\r\n\r\n",
        )
        .is(505)
        .closes(),
        rule(
            "9112 2.3",
            "a version in small letters",
            "GET /film http/1.1\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 2.3",
            "a version with two digits",
            "GET /film HTTP/1.10\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule("9112 3", "HTTP/0.9", "GET /film\r\n\r\n")
            .is(400)
            .closes(),
        rule(
            "9112 3",
            "two spaces in the request line",
            "GET  /film HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 3",
            "a space after the version",
            "GET /film HTTP/1.1 \r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 3",
            "a tab for a space",
            "GET\t/film HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 3",
            "a request line that is too long",
            format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"),
        )
        .is(414)
        .closes(),
        rule("9112 3", "a method that is too long", long.as_str())
            .is(414)
            .closes(),
        rule(
            "6585 5",
            "a field that is too long",
            head("GET /film", &[&format!("A: {long}")]),
        )
        .is(431)
        .closes(),
        rule(
            "6585 5",
            "too many fields",
            head("GET /film", &["A: b"; 64]),
        )
        .is(431)
        .closes(),
        rule(
            "6585 5",
            "too many lines of tags",
            head("GET /film", &["If-Match: \"a\""; 5]),
        )
        .is(431)
        .closes(),
    ]
}

fn bodies() -> Vec<Rule> {
    let inner = head("GET /film", &[]);
    let before = |fields: &[&str]| head("GET /none", fields) + &inner;
    let coded = |name, value: &str| {
        rule(
            "9112 6.3",
            name,
            before(&[&format!("Transfer-Encoding: {value}")]),
        )
    };
    let length = |name, value: &str| {
        rule(
            "9112 6.3",
            name,
            before(&[&format!("Content-Length: {value}")]),
        )
    };
    vec![
        length("a body is never a request", &inner.len().to_string())
            .is(404)
            .closes(),
        length(
            "a length beyond all numbers is a body",
            "99999999999999999999",
        )
        .is(404)
        .closes(),
        get(
            "9112 6.3",
            "no body has no consequence",
            &["Content-Length: 0"],
        )
        .whole(),
        get("9112 6.3", "zeros are zero", &["Content-Length: 000"]).whole(),
        length("a length with a sign", "+5").is(400).closes(),
        length("a negative length", "-5").is(400).closes(),
        length("a length in hexadecimal", "0x5").is(400).closes(),
        length("an empty length", "").is(400).closes(),
        length("a list of equal lengths", "5, 5").is(400).closes(),
        rule(
            "9112 6.3",
            "two lengths",
            before(&["Content-Length: 5", "Content-Length: 6"]),
        )
        .is(400)
        .closes(),
        rule(
            "9112 6.3",
            "the same length twice",
            before(&["Content-Length: 5", "Content-Length: 5"]),
        )
        .is(400)
        .closes(),
        coded("a chunked body is never a request", "chunked")
            .is(404)
            .closes(),
        coded("a coding has no case", "CHUNKED").is(404).closes(),
        coded("chunked is not last", "chunked, gzip")
            .is(400)
            .closes(),
        coded("chunked twice", "chunked, chunked").is(400).closes(),
        coded("not chunked at all", "identity").is(400).closes(),
        coded("almost chunked", "xchunked").is(400).closes(),
        coded("chunked with a parameter", "chunked;a=b")
            .is(400)
            .closes(),
        coded("an empty list of codings", "").is(400).closes(),
        coded("a coding that is not known", "gzip, chunked")
            .is(501)
            .closes(),
        rule(
            "9112 6.3",
            "codings in two lines are one list",
            before(&["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"]),
        )
        .is(400)
        .closes(),
        rule(
            "9112 6.1",
            "a length beside a coding",
            before(&["Content-Length: 5", "Transfer-Encoding: chunked"]),
        )
        .is(400)
        .closes(),
        rule(
            "9112 6.1",
            "a length of 0 beside a coding",
            before(&["Transfer-Encoding: chunked", "Content-Length: 0"]),
        )
        .is(400)
        .closes(),
        rule(
            "9112 6.1",
            "a coding in HTTP/1.0",
            "GET /none HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 11.2",
            "the body of a method that is not allowed",
            head("POST /film", &["Content-Length: 5"]) + &inner,
        )
        .is(405)
        .closes(),
    ]
}
