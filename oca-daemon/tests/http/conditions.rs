//! Preconditions, and in which order they count: RFC 9110 section 13, and what a 304 says (section 15.4.5).

use crate::rule::{Rule, get, head, rule};

/// When the film was published.
const SAME: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

pub(crate) fn rules() -> Vec<Rule> {
    [matches(), dates(), orders(), if_ranges()].concat()
}

fn matches() -> Vec<Rule> {
    vec![
        get("9110 13.1.1", "If-Match of this tag", &["If-Match: {etag}"]).whole(),
        get(
            "9110 13.1.1",
            "If-Match of another tag",
            &["If-Match: \"x\""],
        )
        .is(412),
        get(
            "9110 13.1.1",
            "If-Match compares strongly",
            &["If-Match: W/{etag}"],
        )
        .is(412),
        get(
            "9110 13.1.1",
            "If-Match of a list",
            &["If-Match: \"x\", \"a,b\" , {etag}"],
        )
        .whole(),
        get(
            "9110 5.3",
            "If-Match of two lines",
            &["If-Match: \"x\"", "If-Match: {etag}"],
        )
        .whole(),
        get("9110 13.1.1", "If-Match of anything", &["If-Match: *"]).whole(),
        rule(
            "9110 13.1.1",
            "If-Match of what is not there",
            head("GET /none", &["If-Match: *"]),
        )
        .is(404),
        get(
            "9110 13.1.2",
            "If-None-Match of this tag",
            &["If-None-Match: {etag}"],
        )
        .is(304)
        .has("ETag: {etag}")
        .has("Cache-Control: public, max-age=31536000, immutable")
        .lacks("Last-Modified")
        .lacks("Content-Type")
        .lacks("Content-Length"),
        get(
            "9110 13.1.2",
            "If-None-Match compares weakly",
            &["If-None-Match: W/{etag}"],
        )
        .is(304),
        get(
            "9110 13.1.2",
            "If-None-Match of another tag",
            &["If-None-Match: \"x\""],
        )
        .whole(),
        get(
            "9110 5.3",
            "If-None-Match of two lines",
            &["If-None-Match: \"x\"", "If-None-Match: {etag}"],
        )
        .is(304),
        get(
            "9110 13.1.2",
            "If-None-Match of anything",
            &["If-None-Match: *"],
        )
        .is(304),
        rule(
            "9110 13.1.2",
            "If-None-Match of a HEAD",
            head("HEAD /film", &["If-None-Match: {etag}"]),
        )
        .is(304),
    ]
}

fn dates() -> Vec<Rule> {
    let with =
        |name, field: &str, date: &str| get("9110 13.1.3", name, &[&format!("{field}: {date}")]);
    let since = "If-Modified-Since";
    vec![
        with("not modified since this date", since, SAME).is(304),
        with("not modified since a later date", since, AFTER).is(304),
        with("modified since an earlier date", since, BEFORE).whole(),
        with(
            "a date of RFC 850",
            since,
            "Tuesday, 14-Nov-23 22:13:20 GMT",
        )
        .is(304),
        with("a date of asctime", since, "Tue Nov 14 22:13:20 2023").is(304),
        with("a date that is none", since, "yesterday").whole(),
        get(
            "9110 13.1.3",
            "two dates are none",
            &[&format!("{since}: {SAME}"), &format!("{since}: {SAME}")],
        )
        .whole(),
        get(
            "9110 13.1.4",
            "unmodified since this date",
            &[&format!("If-Unmodified-Since: {SAME}")],
        )
        .whole(),
        get(
            "9110 13.1.4",
            "unmodified since a later date",
            &[&format!("If-Unmodified-Since: {AFTER}")],
        )
        .whole(),
        get(
            "9110 13.1.4",
            "unmodified since an earlier date",
            &[&format!("If-Unmodified-Since: {BEFORE}")],
        )
        .is(412),
        get(
            "9110 13.1.4",
            "unmodified since no date",
            &["If-Unmodified-Since: yesterday"],
        )
        .whole(),
    ]
}

fn orders() -> Vec<Rule> {
    let since = |field: &str, date: &str| format!("{field}: {date}");
    vec![
        get(
            "9110 13.2.2",
            "If-Match counts before If-Unmodified-Since",
            &["If-Match: {etag}", &since("If-Unmodified-Since", BEFORE)],
        )
        .whole(),
        get(
            "9110 13.2.2",
            "If-None-Match counts before If-Modified-Since",
            &["If-None-Match: \"x\"", &since("If-Modified-Since", SAME)],
        )
        .whole(),
        get(
            "9110 13.2.2",
            "If-Match counts before If-None-Match",
            &["If-None-Match: {etag}", "If-Match: \"x\""],
        )
        .is(412),
        get(
            "9110 13.2.2",
            "412 comes before 416",
            &["If-Match: \"x\"", "Range: bytes=9999999-"],
        )
        .is(412),
        get(
            "9110 13.2.2",
            "304 comes before 206",
            &["If-None-Match: {etag}", "Range: bytes=0-9"],
        )
        .is(304),
        get(
            "9110 13.2.2",
            "If-Range counts last",
            &[
                "If-Range: \"x\"",
                "If-None-Match: {etag}",
                "Range: bytes=0-9",
            ],
        )
        .is(304),
        rule(
            "9110 13.2.1",
            "404 comes before 412",
            head("GET /none", &["If-Match: \"x\""]),
        )
        .is(404),
        rule(
            "9110 13.2.1",
            "OPTIONS has no preconditions",
            head("OPTIONS /film", &["If-Match: \"x\""]),
        )
        .is(204),
    ]
}

fn if_ranges() -> Vec<Rule> {
    let with = |name, value: &str| {
        get(
            "9110 13.1.5",
            name,
            &[&format!("If-Range: {value}"), "Range: bytes=0-9"],
        )
    };
    vec![
        with("If-Range of this tag", "{etag}")
            .part(0, 9)
            .has("ETag: {etag}"),
        with("If-Range of another tag", "\"x\"").whole(),
        with("If-Range compares strongly", "W/{etag}").whole(),
        with("If-Range takes no list", "\"x\", {etag}").whole(),
        with("If-Range of the exact date of what never changes", SAME).part(0, 9),
        with("If-Range of an earlier date", BEFORE).whole(),
        with("If-Range of a later date", AFTER).whole(),
        get(
            "9110 13.1.5",
            "If-Range twice holds never",
            &["If-Range: {etag}", "If-Range: {etag}", "Range: bytes=0-9"],
        )
        .whole(),
        get(
            "9110 13.1.5",
            "If-Range without Range",
            &["If-Range: {etag}"],
        )
        .whole(),
        get(
            "9110 13.1.5",
            "If-Range that fails hides 416",
            &["If-Range: \"x\"", "Range: bytes=9999999-"],
        )
        .whole(),
    ]
}
