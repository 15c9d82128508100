//! Ranges: RFC 9110 sections 14, 15.3.7 and 15.5.17.

use crate::rule::{Rule, get, head, rule};

fn range(section: &'static str, name: &'static str, value: &str) -> Rule {
    get(section, name, &[&format!("Range: {value}")])
}

pub(crate) fn rules() -> Vec<Rule> {
    [single(), ignored(), unsatisfiable(), several()].concat()
}

fn single() -> Vec<Rule> {
    vec![
        range("9110 14.1.2", "the first bytes", "bytes=0-9")
            .part(0, 9)
            .has("Content-Range: bytes 0-9/600001")
            .has("Content-Length: 10")
            .has("Content-Type: video/mp4")
            .has("ETag: {etag}")
            .has("Cache-Control: public, max-age=31536000, immutable")
            .has("Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"),
        range(
            "9110 15.3.7",
            "all bytes from the first are a part too",
            "bytes=0-",
        )
        .part(0, 600_000),
        range("9110 14.1.2", "the last byte", "bytes=600000-600000").part(600_000, 600_000),
        range(
            "9110 14.1.2",
            "an end beyond the end",
            "bytes=600000-9999999999",
        )
        .part(600_000, 600_000),
        range(
            "9110 14.1.2",
            "an end beyond all numbers",
            "bytes=600000-99999999999999999999",
        )
        .part(600_000, 600_000),
        range("9110 14.1.2", "the last two bytes", "bytes=-2").part(599_999, 600_000),
        range(
            "9110 14.1.2",
            "more last bytes than there are",
            "bytes=-700000",
        )
        .part(0, 600_000),
        range("9110 14.1", "a unit has no case", "Bytes=0-9").part(0, 9),
        range("9110 5.6.1.2", "empty members of the list", "bytes=,0-9, ,").part(0, 9),
    ]
}

fn ignored() -> Vec<Rule> {
    vec![
        get("9110 14.2", "no range", &[])
            .whole()
            .has("Accept-Ranges: bytes")
            .lacks("Content-Range"),
        range("9110 14.2", "a unit that is not known", "items=0-9").whole(),
        range("9110 14.1.1", "an end before the start", "bytes=9-0").whole(),
        range(
            "9110 14.1.1",
            "one of two ranges is malformed",
            "bytes=0-9,9-0",
        )
        .whole(),
        range("9110 14.1.1", "numbers with a sign", "bytes=+0-9").whole(),
        range("9110 14.1.1", "no numbers", "bytes=-").whole(),
        range("9110 14.1.1", "no list", "bytes=").whole(),
        range("9110 14.1.1", "no unit", "0-9").whole(),
        get(
            "9110 14.2",
            "two Ranges are none",
            &["Range: bytes=0-9", "Range: bytes=0-9"],
        )
        .whole(),
    ]
}

fn unsatisfiable() -> Vec<Rule> {
    let size = "Content-Range: bytes */600001";
    vec![
        range("9110 15.5.17", "a start beyond the end", "bytes=600001-")
            .is(416)
            .has(size)
            .text(""),
        range(
            "9110 15.5.17",
            "a start beyond all numbers",
            "bytes=99999999999999999999-",
        )
        .is(416)
        .has(size),
        range("9110 15.5.17", "no last bytes", "bytes=-0")
            .is(416)
            .has(size),
        range("9110 15.5.17", "none of several", "bytes=-0,700000-")
            .is(416)
            .has(size),
        rule(
            "9110 15.5.17",
            "nothing of nothing",
            head("GET /empty", &["Range: bytes=0-"]),
        )
        .is(416)
        .has("Content-Range: bytes */0"),
    ]
}

fn several() -> Vec<Rule> {
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * 1000)).collect();
        format!("bytes={}", list.join(","))
    };
    let sixteen: Vec<(usize, usize)> = (0..16).map(|at| (at * 1000, at * 1000)).collect();
    vec![
        range("9110 15.3.7.2", "two parts", "bytes=0-9,-5")
            .parts(&[(0, 9), (599_996, 600_000)])
            .has("ETag: {etag}"),
        range(
            "9110 15.3.7.2",
            "parts come as they were asked for",
            "bytes=300000-590000, 0-270000",
        )
        .parts(&[(300_000, 590_000), (0, 270_000)]),
        range(
            "9110 15.3.7.2",
            "what is left of two may be one",
            "bytes=0-9,700000-",
        )
        .part(0, 9),
        range("9110 14.2", "sixteen parts", &many(16)).parts(&sixteen),
        range("9110 14.2", "near ranges are one", "bytes=0-9,20-29").part(0, 29),
        range("9110 14.2", "two that overlap are one", "bytes=10-29,0-19").part(0, 29),
        range(
            "9110 14.2",
            "what is near is joined at the place of the first",
            "bytes=500-599,100000-100009,450-499",
        )
        .parts(&[(450, 599), (100_000, 100_009)]),
        range("9110 14.2", "seventeen ranges are too many", &many(17)).whole(),
        range(
            "9110 14.2",
            "three that overlap are too many",
            "bytes=0-,0-,0-",
        )
        .whole(),
        range(
            "9110 14.2",
            "many small ones in no order",
            "bytes=9000-9001,7000-7001,5000-5001,3000-3001,1000-1001",
        )
        .whole(),
        get(
            "9110 13.1.5",
            "If-Range of several",
            &["If-Range: {etag}", "Range: bytes=0-0,500-500"],
        )
        .parts(&[(0, 0), (500, 500)]),
        rule(
            "9110 14.2",
            "several ranges of a HEAD",
            head("HEAD /film", &["Range: bytes=0-0,500-500"]),
        )
        .is(200)
        .for_head(),
        rule(
            "9112 9.3.2",
            "parts in a pipeline",
            head("GET /film", &["Range: bytes=0-0,500-500"])
                + &head("GET /film", &["Range: bytes=9-9,900-900"]),
        )
        .parts(&[(0, 0), (500, 500)])
        .parts(&[(9, 9), (900, 900)]),
    ]
}
