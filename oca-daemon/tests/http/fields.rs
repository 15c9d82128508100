//! Field lines: RFC 9112 section 5, RFC 9110 section 5.

use crate::rule::{Rule, get, rule};

pub(crate) fn rules() -> Vec<Rule> {
    let with = |line: &[u8]| [b"GET /film HTTP/1.1\r\nHost: h\r\n", line, b"\r\n\r\n"].concat();
    vec![
        rule("9112 5", "a line without a colon", with(b"A b"))
            .is(400)
            .closes(),
        rule("9112 5", "a field without a name", with(b": b"))
            .is(400)
            .closes(),
        rule("9112 5.1", "a space before the colon", with(b"A : b"))
            .is(400)
            .closes(),
        rule(
            "9112 5.1",
            "a space before the colon of a length",
            with(b"Content-Length : 5"),
        )
        .is(400)
        .closes(),
        rule("9112 5.2", "a folded line", with(b"A: b\r\n c"))
            .is(400)
            .closes(),
        rule("9112 5.2", "a folded line with a tab", with(b"A: b\r\n\tc"))
            .is(400)
            .closes(),
        rule("9110 5.1", "a name that is no token", with(b"A(b): c"))
            .is(400)
            .closes(),
        rule(
            "9110 5.1",
            "a name of letters beyond ASCII",
            with("Ä: c".as_bytes()),
        )
        .is(400)
        .closes(),
        rule("9110 5.5", "a NUL in a value", with(b"A: b\0c"))
            .is(400)
            .closes(),
        rule(
            "9110 5.5",
            "a control character in a value",
            with(b"A: b\x01c"),
        )
        .is(400)
        .closes(),
        rule(
            "9110 5.5",
            "bytes beyond ASCII in a value",
            with(b"A: \xc3\xa4\xff"),
        )
        .whole(),
        rule("9110 5.5", "an empty value", with(b"A:")).whole(),
        get(
            "9110 5.6.3",
            "white space around a value",
            &["Range:\t bytes=0-9 \t"],
        )
        .part(0, 9),
        get("9110 5.1", "names have no case", &["rAnGe: bytes=0-9"]).part(0, 9),
        get(
            "9110 5.1",
            "a field that nobody knows",
            &["X-Nobody: knows"],
        )
        .whole(),
    ]
}
