//! Preconditions (RFC 9110 section 13): the fields of a request and one representation in, what to answer out. Pure.

use std::time::{Duration, UNIX_EPOCH};

use crate::range::{self, ByteRange, RangeSet, Selected};
use crate::request::{Conditions, Method, Request, Single, TagLines};

/// What is known of the object that a path names.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    /// Bytes.
    pub size: u64,
    /// Strong entity tag, with its quotes.
    pub etag: &'a str,
    /// Media type.
    pub content_type: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'a str,
    /// Last modification, seconds since 1970.
    pub modified: u64,
}

impl Representation<'_> {
    /// Whether whoever published it says that it never changes (RFC 8246).
    fn is_immutable(&self) -> bool {
        let mut directives = self.cache_control.split(',');
        directives.any(|directive| directive.trim().eq_ignore_ascii_case("immutable"))
    }
}

/// How a request for a representation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 with everything.
    Whole,
    /// 206 with one range.
    Part(ByteRange),
    /// 206 with several, which were written into the set.
    Parts,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    RangeNotSatisfiable,
}

/// Evaluates in the order of RFC 9110 section 13.2.2; a range is looked at last, and for GET only (section 14.2). Several
/// ranges are written into `set`.
pub fn evaluate(
    request: &Request<'_>,
    representation: &Representation<'_>,
    set: &mut RangeSet,
) -> Outcome {
    let conditions = &request.conditions;
    if !may_proceed(conditions, representation) {
        return Outcome::PreconditionFailed;
    }
    if unchanged(conditions, representation) {
        return Outcome::NotModified;
    }
    let range = request
        .range
        .filter(|_| request.method == Method::Get && if_range_holds(conditions, representation));
    match range.map_or(Selected::Whole, |field| {
        range::select(field, representation.size, set)
    }) {
        Selected::Whole => Outcome::Whole,
        Selected::Part(range) => Outcome::Part(range),
        Selected::Parts => Outcome::Parts,
        Selected::Unsatisfiable => Outcome::RangeNotSatisfiable,
    }
}

/// `If-Match`, else `If-Unmodified-Since`.
fn may_proceed(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    lists_tag(
        &conditions.if_match,
        representation.etag,
        Comparison::Strong,
    )
    .unwrap_or_else(|| {
        let date = conditions.if_unmodified_since.value().and_then(seconds);
        date.is_none_or(|date| representation.modified <= date)
    })
}

/// `If-None-Match`, else `If-Modified-Since`; both for GET and HEAD only, but nothing else comes here.
fn unchanged(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    lists_tag(
        &conditions.if_none_match,
        representation.etag,
        Comparison::Weak,
    )
    .unwrap_or_else(|| {
        let date = conditions.if_modified_since.value().and_then(seconds);
        date.is_some_and(|date| representation.modified <= date)
    })
}

/// Section 13.1.5: a strong tag that is equal, or the exact date if the date is a strong validator (section 8.8.2.2): one that
/// is known not to have named two contents within its second, which is known only of what never changes.
fn if_range_holds(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    match conditions.if_range {
        Single::Absent => true,
        Single::Once(tag @ ([b'"', ..] | [b'W', b'/', ..])) => {
            tag == representation.etag.as_bytes()
        }
        Single::Once(date) => {
            representation.is_immutable() && seconds(date) == Some(representation.modified)
        }
        Single::Repeated => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the lines list `etag`; `None` if there are no lines. Our tags hold no comma, so a list may be cut at commas.
fn lists_tag(lines: &TagLines<'_>, etag: &str, comparison: Comparison) -> Option<bool> {
    let is_ours = |tag: &[u8]| match comparison {
        Comparison::Strong => tag == etag.as_bytes(),
        Comparison::Weak => tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes(),
    };
    let lists_ours = |line: &&[u8]| {
        let mut tags = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        *line == b"*" || tags.any(is_ours)
    };
    Some(lines.lines()?.iter().any(lists_ours))
}

fn seconds(date: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(str::from_utf8(date).ok()?).ok()?;
    date.duration_since(UNIX_EPOCH)
        .ok()
        .as_ref()
        .map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Parsed, parse};

    const OBJECT: Representation<'static> = Representation {
        size: 1000,
        etag: "\"e1\"",
        content_type: "video/mp4",
        cache_control: "public, max-age=31536000, immutable",
        modified: 1_700_000_000, // Tue, 14 Nov 2023 22:13:20 GMT
    };
    const PART: Outcome = Outcome::Part(ByteRange { start: 0, end: 10 });

    fn outcome(method: &str, fields: &[&str]) -> Outcome {
        let head = format!(
            "{method} /a HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n",
            fields.join("\r\n")
        );
        let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head:?}")
        };
        evaluate(&request, &OBJECT, &mut RangeSet::default())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn rfc_9110_section_13_2_2() {
        let same = "Tue, 14 Nov 2023 22:13:20 GMT";
        let before = "Tue, 14 Nov 2023 22:13:19 GMT";
        let range = "Range: bytes=0-9";
        let table: &[(&[&str], Outcome)] = &[
            (&[], Outcome::Whole),
            (&[range], PART),
            (&["Range: bytes=1000-"], Outcome::RangeNotSatisfiable),
            (&["If-Match: \"e1\"", range], PART),
            (&["If-Match: \"x\", \"e1\""], Outcome::Whole),
            (&["If-Match: *"], Outcome::Whole),
            (&["If-Match: W/\"e1\""], Outcome::PreconditionFailed),
            (&["If-Match: \"x\"", range], Outcome::PreconditionFailed),
            (&["If-None-Match: \"e1\"", range], Outcome::NotModified),
            (&["If-None-Match: W/\"e1\""], Outcome::NotModified),
            (&["If-None-Match: *"], Outcome::NotModified),
            (&["If-None-Match: \"x\"", range], PART),
            (
                &[&format!("If-Modified-Since: {same}")],
                Outcome::NotModified,
            ),
            (&[&format!("If-Modified-Since: {before}")], Outcome::Whole),
            (&["If-Modified-Since: yesterday"], Outcome::Whole),
            (
                &[
                    "If-None-Match: \"x\"",
                    &format!("If-Modified-Since: {same}"),
                ],
                Outcome::Whole,
            ),
            (
                &[&format!("If-Unmodified-Since: {before}")],
                Outcome::PreconditionFailed,
            ),
            (&[&format!("If-Unmodified-Since: {same}")], Outcome::Whole),
            (&["If-Range: \"e1\"", range], PART),
            (&["If-Range: W/\"e1\"", range], Outcome::Whole),
            (&["If-Range: \"x\"", range], Outcome::Whole),
            (&["If-Range: \"x\"", "Range: bytes=1000-"], Outcome::Whole),
            (&[&format!("If-Range: {same}"), range], PART),
            (&[&format!("If-Range: {before}"), range], Outcome::Whole),
            (
                &["If-Range: \"e1\"", "If-Range: \"e1\"", range],
                Outcome::Whole,
            ),
            (&["If-Match: \"x\"", "If-Match: \"e1\""], Outcome::Whole),
            (
                &["If-None-Match: \"x\"", "If-None-Match: \"e1\""],
                Outcome::NotModified,
            ),
            (
                &[
                    &format!("If-Modified-Since: {same}"),
                    &format!("If-Modified-Since: {same}"),
                ],
                Outcome::Whole,
            ),
            (
                &["If-Match: \"x\"", "If-None-Match: \"e1\""],
                Outcome::PreconditionFailed,
            ),
            (
                &[
                    "If-Match: \"e1\"",
                    &format!("If-Unmodified-Since: {before}"),
                ],
                Outcome::Whole,
            ),
            (&["Range: bytes=0-0,500-500"], Outcome::Parts),
        ];
        for (fields, expected) in table {
            assert_eq!(outcome("GET", fields), *expected, "{fields:?}");
        }
        assert_eq!(
            outcome("HEAD", &[range]),
            Outcome::Whole,
            "a range is for GET only"
        );
    }

    #[test]
    fn a_date_is_strong_only_of_what_never_changes() {
        let head = "GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\nIf-Range: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n";
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head:?}")
        };
        for (cache_control, expected) in [
            ("max-age=1, Immutable", PART),
            ("max-age=1", Outcome::Whole),
        ] {
            let object = Representation {
                cache_control,
                ..OBJECT
            };
            assert_eq!(
                evaluate(&request, &object, &mut RangeSet::default()),
                expected
            );
        }
    }
}
