//! Preconditions (RFC 9110 section 13): the fields of a request and one representation in, what to answer out. Pure.

use std::time::{Duration, UNIX_EPOCH};

use crate::range::{self, ByteRange, Selected};
use crate::request::{Conditions, Method, Request};

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

/// How a request for a representation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 with everything.
    Whole,
    /// 206 with one range.
    Part(ByteRange),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    RangeNotSatisfiable,
}

/// Evaluates in the order of RFC 9110 section 13.2.2; a range is looked at last, and for GET only (section 14.2).
pub fn evaluate(request: &Request<'_>, representation: &Representation<'_>) -> Outcome {
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
        range::select(field, representation.size)
    }) {
        Selected::Whole => Outcome::Whole,
        Selected::Part(range) => Outcome::Part(range),
        Selected::Unsatisfiable => Outcome::RangeNotSatisfiable,
    }
}

/// `If-Match`, else `If-Unmodified-Since`.
fn may_proceed(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    match (conditions.if_match, conditions.if_unmodified_since) {
        (Some(tags), _) => lists_tag(tags, representation.etag, Comparison::Strong),
        (None, Some(date)) => seconds(date).is_none_or(|date| representation.modified <= date),
        (None, None) => true,
    }
}

/// `If-None-Match`, else `If-Modified-Since`.
fn unchanged(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    match (conditions.if_none_match, conditions.if_modified_since) {
        (Some(tags), _) => lists_tag(tags, representation.etag, Comparison::Weak),
        (None, Some(date)) => seconds(date).is_some_and(|date| representation.modified <= date),
        (None, None) => false,
    }
}

/// Section 13.1.5: a strong tag that is equal, or the exact date.
fn if_range_holds(conditions: &Conditions<'_>, representation: &Representation<'_>) -> bool {
    match conditions.if_range.map(<[u8]>::trim_ascii) {
        None => true,
        Some(tag @ ([b'"', ..] | [b'W', b'/', ..])) => tag == representation.etag.as_bytes(),
        Some(date) => seconds(date) == Some(representation.modified),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Our tags hold no comma, so a list may be cut at commas.
fn lists_tag(list: &[u8], etag: &str, comparison: Comparison) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| {
            let tag = if comparison == Comparison::Weak {
                tag.strip_prefix(b"W/").unwrap_or(tag)
            } else {
                tag
            };
            tag == etag.as_bytes()
        })
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
        cache_control: "public",
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
        evaluate(&request, &OBJECT)
    }

    #[test]
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
}
