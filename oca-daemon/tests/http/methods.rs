//! Methods, and what CORS asks of them: RFC 9110 sections 9, 10.1.1, 15.5.6 and 15.6.2.

use crate::rule::{Rule, get, head, rule};

pub(crate) fn rules() -> Vec<Rule> {
    let film = |method: &str| head(&format!("{method} /film"), &[]);
    let refused = |name, method: &str| {
        rule("9110 15.5.6", name, film(method))
            .is(405)
            .has("Allow: GET, HEAD, OPTIONS")
            .closes()
    };
    vec![
        rule("9110 9.3.2", "HEAD has no body", film("HEAD"))
            .is(200)
            .for_head()
            .has("Content-Length: 600001")
            .has("Content-Type: video/mp4")
            .has("Accept-Ranges: bytes"),
        rule(
            "9110 9.3.2",
            "HEAD of what is not there",
            head("HEAD /none", &[]),
        )
        .is(404)
        .for_head(),
        rule(
            "9110 9.3.2",
            "HEAD that is refused",
            "HEAD /film HTTP/1.1\r\n\r\n",
        )
        .is(400)
        .for_head()
        .closes(),
        rule(
            "9110 9.3.2",
            "HEAD that is refused, behind an empty line",
            "\r\nHEAD /film HTTP/1.1\r\n\r\n",
        )
        .is(400)
        .for_head()
        .closes(),
        rule(
            "9110 14.2",
            "HEAD has no range",
            head("HEAD /film", &["Range: bytes=0-9"]),
        )
        .is(200)
        .for_head()
        .has("Content-Length: 600001")
        .lacks("Content-Range"),
        rule(
            "9110 9.3.7",
            "OPTIONS says what is allowed",
            film("OPTIONS"),
        )
        .is(204)
        .has("Allow: GET, HEAD, OPTIONS")
        .lacks("Content-Length"),
        rule(
            "Fetch 3.3",
            "a preflight is answered for a day",
            head(
                "OPTIONS /film",
                &[
                    "Origin: https://p.example",
                    "Access-Control-Request-Headers: range",
                ],
            ),
        )
        .is(204)
        .has("Access-Control-Allow-Methods: GET, HEAD, OPTIONS")
        .has("Access-Control-Allow-Headers: *, Range")
        .has("Access-Control-Max-Age: 86400"),
        get(
            "Fetch 3.3",
            "a player may read what it needs",
            &["Origin: https://p.example"],
        )
        .whole()
        .has("Access-Control-Expose-Headers: Content-Length, Content-Range, Date, ETag, Server"),
        refused("POST is not allowed", "POST"),
        refused("PUT is not allowed", "PUT"),
        refused("DELETE is not allowed", "DELETE"),
        refused("PATCH is not allowed", "PATCH"),
        refused("TRACE is not allowed", "TRACE"),
        refused("CONNECT is not allowed", "CONNECT"),
        rule("9110 15.6.2", "a method that nobody knows", film("BREW"))
            .is(501)
            .closes(),
        rule("9110 9.1", "a method has its case", film("get"))
            .is(501)
            .closes(),
        get(
            "9110 10.1.1",
            "what is expected is the answer",
            &["Expect: 100-continue"],
        )
        .whole(),
        get(
            "9110 10.1.1",
            "an expectation has no case",
            &["Expect: 100-Continue"],
        )
        .whole(),
        get(
            "9110 10.1.1",
            "an expectation that is not known",
            &["Expect: tea"],
        )
        .is(417)
        .closes(),
        get(
            "9110 10.1.1",
            "one of two expectations is not known",
            &["Expect: 100-continue, tea"],
        )
        .is(417)
        .closes(),
        get(
            "9110 10.1.1",
            "the body that waits for 100 is never read",
            &["Expect: 100-continue", "Content-Length: 5"],
        )
        .whole()
        .closes(),
    ]
}
