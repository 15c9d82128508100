//! What is asked for: RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2, RFC 3986.

use crate::rule::{Rule, head, rule};

pub(crate) fn rules() -> Vec<Rule> {
    [hosts(), forms(), paths()].concat()
}

fn hosts() -> Vec<Rule> {
    let with = |host: &str| format!("GET /film HTTP/1.1\r\n{host}\r\n\r\n");
    let none = "GET /film HTTP/1.1\r\nA: b\r\n\r\n";
    vec![
        rule("9112 3.2", "no Host", none).is(400).closes(),
        rule(
            "9112 3.2",
            "no Host is no fault of HTTP/1.0",
            "GET /end HTTP/1.0\r\n\r\n",
        )
        .is(200)
        .text("end")
        .closes(),
        rule("9112 3.2", "two Hosts", with("Host: h\r\nHost: h"))
            .is(400)
            .closes(),
        rule(
            "9112 3.2",
            "two Hosts in HTTP/1.0",
            "GET /film HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule("9112 3.2", "a Host with a path", with("Host: h/a"))
            .is(400)
            .closes(),
        rule("9112 3.2", "a Host with a space", with("Host: h h"))
            .is(400)
            .closes(),
        rule(
            "9112 3.2",
            "a Host with user information",
            with("Host: u@h"),
        )
        .is(400)
        .closes(),
        rule("9112 3.2", "a list of Hosts", with("Host: h, g:80"))
            .is(400)
            .closes(),
        rule(
            "9112 3.2",
            "a Host with a port that is none",
            with("Host: h:http"),
        )
        .is(400)
        .closes(),
        rule("9110 4.2.1", "an empty Host", with("Host:"))
            .is(400)
            .closes(),
        rule(
            "9110 7.2",
            "a Host with a port",
            with("Host: h.example:8080"),
        )
        .whole(),
        rule("9110 7.2", "a Host with an empty port", with("Host: h:")).whole(),
        rule(
            "9110 7.2",
            "a Host that is an IPv6 address",
            with("Host: [2001:db8::1]:80"),
        )
        .whole(),
        rule(
            "9112 3.2",
            "an IPv6 address that does not end",
            with("Host: [2001:db8::1"),
        )
        .is(400)
        .closes(),
    ]
}

fn forms() -> Vec<Rule> {
    let of = |target: &str| head(&format!("GET {target}"), &[]);
    vec![
        rule(
            "9112 3.2.1",
            "the query chooses nothing",
            of("/end?CMCD=br%3D3200&a=/film"),
        )
        .is(200)
        .text("end"),
        rule(
            "9112 3.2.2",
            "the absolute form",
            of("http://other.example:80/end?q"),
        )
        .is(200)
        .text("end"),
        rule(
            "9112 3.2.2",
            "the absolute form, secure",
            of("HTTPS://h/end"),
        )
        .is(200)
        .text("end"),
        rule(
            "9112 3.2.2",
            "the absolute form needs its Host too",
            "GET http://h/end HTTP/1.1\r\nA: b\r\n\r\n",
        )
        .is(400)
        .closes(),
        rule(
            "9112 3.2.2",
            "the absolute form without a path",
            of("http://h"),
        )
        .is(404),
        rule(
            "9112 3.2.2",
            "a slash in a query begins no path",
            of("http://h?/end"),
        )
        .is(404),
        rule(
            "9110 4.2.1",
            "the absolute form without a host",
            of("http:///end"),
        )
        .is(400)
        .closes(),
        rule(
            "9110 4.2.4",
            "the absolute form with user information",
            of("http://u:p@h/end"),
        )
        .is(400)
        .closes(),
        rule("9112 3.2.2", "another scheme", of("ftp://h/end"))
            .is(400)
            .closes(),
        rule(
            "9112 3.2.3",
            "the authority form is for CONNECT",
            of("h:80"),
        )
        .is(400)
        .closes(),
        rule("9112 3.2.4", "an asterisk is for OPTIONS", of("*"))
            .is(400)
            .closes(),
        rule(
            "9112 3.2.4",
            "OPTIONS of an asterisk",
            head("OPTIONS *", &[]),
        )
        .is(204),
        rule("9112 3.2", "a relative path", of("end"))
            .is(400)
            .closes(),
        rule("9110 7.1", "a fragment is never sent", of("/end#a"))
            .is(400)
            .closes(),
    ]
}

fn paths() -> Vec<Rule> {
    let of = |path: &str| head(&format!("GET {path}"), &[]);
    vec![
        rule("3986 2.1", "encoded bytes are decoded", of("/a%20b/100%25"))
            .is(200)
            .text("spaced"),
        rule("3986 6.2.2.2", "a letter may be encoded", of("/%65nd"))
            .is(200)
            .text("end"),
        rule("3986 2.1", "half an encoded byte", of("/end%2")).is(400),
        rule("3986 2.1", "an encoded byte that is none", of("/end%zz")).is(400),
        rule("3986 7.3", "an encoded NUL", of("/end%00")).is(400),
        rule(
            "3986 2.2",
            "an encoded slash is no slash",
            of("/a%20b%2F100%25"),
        )
        .is(404),
        rule(
            "3986 2.1",
            "a decoded percent sign encodes nothing",
            of("/%2565nd"),
        )
        .is(404),
        rule("3986 3.3", "dots climb nowhere", of("/a/../end")).is(404),
        rule(
            "3986 3.3",
            "encoded dots climb nowhere",
            of("/%2e%2e/%2e%2e/etc/passwd"),
        )
        .is(404),
        rule(
            "3986 3.3",
            "an overlong dot is no dot",
            of("/%c0%ae%c0%ae/end"),
        )
        .is(404),
        rule("3986 3.3", "two slashes are not one", of("//end")).is(404),
        rule("3986 3.3", "a path has its case", of("/END")).is(404),
    ]
}
