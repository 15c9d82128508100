//! One request head (RFC 9112): bytes in, a [`Request`] or a [`Reject`] out. Pure; borrows from the receive buffer.
//!
//! Bodies are never read: a request that announces one is answered and its connection closed, so that no byte of a body
//! is ever taken for another request (RFC 9112 section 11.2). The outcome never depends on how the input was cut: as long
//! as it may, a beginning is [`Parsed::Partial`].

use crate::limits::{HEAD_BYTES, HEAD_FIELDS};
use crate::range::{ByteRange, RangeSet, Selected, select};

mod fields;
mod target;
#[cfg(test)]
mod tests;

use fields::Fields;
pub use fields::{Conditions, Single, TagLines};
pub use target::{decode_path, decode_value};

/// The methods that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Head and body.
    Get,
    /// The same head, no body.
    Head,
    /// What is allowed here (also the CORS preflight).
    Options,
}

/// A request head, taken apart.
#[derive(Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub method: Method,
    /// The path as it was sent, percent-encoded, without query.
    pub path: &'a [u8],
    /// `Range`, if there is exactly one.
    pub range: Option<&'a [u8]>,
    /// The preconditions.
    pub conditions: Conditions<'a>,
    /// Whether another appliance asks, to fill itself.
    pub fill: bool,
    /// What it says beside what it asks for.
    pub beside: Beside<'a>,
    /// Whether the connection may serve another request after this one.
    pub keep_alive: bool,
    /// Whether the request came as HTTP/1.0, which is told `Connection: keep-alive` explicitly.
    pub http_1_0: bool,
}

/// What changes no answer: for the log and for pacing, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// What follows the `?`.
    pub query: &'a [u8],
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `CMCD-Object`, `CMCD-Request`, `CMCD-Session`, `CMCD-Status` (CTA-5004 section 3.1).
    pub cmcd: [&'a [u8]; 4],
}

/// A head that gets an error status; the connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// 400: not HTTP, or ambiguous.
    Malformed,
    /// 405: a method of RFC 9110 or RFC 5789 other than GET, HEAD, OPTIONS.
    Method,
    /// 414: a request line that fills `limits::HEAD_BYTES`.
    TargetTooLong,
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
    /// 431: longer than `limits::HEAD_BYTES`, or more than `limits::HEAD_FIELDS` fields, or `limits::TAG_LINES` of one.
    TooLarge,
    /// 501: a transfer coding that we do not know.
    TransferCoding,
    /// 501: a method that nobody knows.
    UnknownMethod,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    Version,
}

impl Reject {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooLarge => 431,
            Self::TransferCoding | Self::UnknownMethod => 501,
            Self::Version => 505,
        }
    }
}

/// What a stretch of input holds.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "on the stack, and taken apart at once"
)]
pub enum Parsed<'a> {
    /// A whole head, and how many bytes it took.
    Complete(Request<'a>, usize),
    /// Not yet a whole head.
    Partial,
    /// A head, or the beginning of one, that cannot be served.
    Rejected(Reject),
}

/// Reads one request head from the beginning of `input`.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let start = input.len() - skip_empty_lines(input).len();
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let window = &input[start..input.len().min(start + HEAD_BYTES)];
    match head.parse(window) {
        Ok(httparse::Status::Complete(length)) => match interpret(&head, &window[..length]) {
            Ok(request) => Parsed::Complete(request, start + length),
            Err(reject) => Parsed::Rejected(reject),
        },
        Ok(httparse::Status::Partial) if window.len() == HEAD_BYTES => {
            Parsed::Rejected(too_long(window))
        }
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::Rejected(Reject::TooLarge),
        Err(httparse::Error::Version) => wrong_version(window),
        Err(_) => Parsed::Rejected(Reject::Malformed),
    }
}

/// Whether the head, or its beginning, says HEAD: then an error has no body either (RFC 9110 section 9.3.2).
pub fn asks_for_head(input: &[u8]) -> bool {
    skip_empty_lines(input).starts_with(b"HEAD ")
}

/// RFC 9112 section 2.2: a server should ignore at least one empty line before the request line.
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let mut rest = input;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    rest
}

/// RFC 9112 section 3: a target that is too long is 414; RFC 6585 section 5: fields that are too large are 431.
fn too_long(window: &[u8]) -> Reject {
    if window.contains(&b'\n') {
        Reject::TooLarge
    } else {
        Reject::TargetTooLong
    }
}

/// What stands where the version should: another version (RFC 9110 section 15.6.6), or nothing of HTTP. Only the whole line
/// tells.
fn wrong_version(window: &[u8]) -> Parsed<'_> {
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() == HEAD_BYTES {
            Parsed::Rejected(Reject::TargetTooLong)
        } else {
            Parsed::Partial
        };
    };
    let line = window[..end].trim_ascii_end();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    Parsed::Rejected(match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Reject::Version
        }
        _ => Reject::Malformed,
    })
}

fn interpret<'a>(head: &httparse::Request<'_, 'a>, bytes: &'a [u8]) -> Result<Request<'a>, Reject> {
    if has_bare_line_feed(bytes) {
        return Err(Reject::Malformed);
    }
    let http_1_0 = head.version == Some(0);
    let fields = Fields::read(head.headers)?;
    let has_body = fields.announce_body(http_1_0)?;
    fields.check_host(http_1_0)?;
    let method = method(head.method.unwrap_or_default())?;
    fields.check_expectation()?;
    let target = head.path.unwrap_or_default().as_bytes();
    Ok(Request {
        method,
        path: target::path_of(target, method).ok_or(Reject::Malformed)?,
        range: fields.range.value(),
        fill: fields.fill,
        beside: Beside {
            query: target::query_of(target),
            ..fields.beside
        },
        keep_alive: fields.keep_alive(http_1_0) && !has_body,
        conditions: fields.conditions,
        http_1_0,
    })
}

/// RFC 9112 section 2.2 lets a recipient take a single LF for the end of a line. We do not: what is in front of us may
/// not, and two views of where a line ends are how requests are smuggled (section 11.2).
fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut before = 0;
    head.iter()
        .any(|byte| std::mem::replace(&mut before, *byte) != b'\r' && *byte == b'\n')
}

fn method(name: &str) -> Result<Method, Reject> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "OPTIONS" => Ok(Method::Options),
        "POST" | "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Err(Reject::Method),
        _ => Err(Reject::UnknownMethod),
    }
}

/// What must hold of any bytes: what is read of a beginning is read of the whole, a path never grows, and nobody panics. Run by the
/// tests and by the fuzzer.
#[doc(hidden)]
pub fn exercise(input: &[u8]) {
    let whole = parse(input);
    let told = format!("{whole:?}");
    // All cuts of what is short, some of what is long.
    for end in (0..input.len()).step_by(1 + input.len() / 512) {
        match parse(&input[..end]) {
            Parsed::Partial => {}
            early => assert_eq!(format!("{early:?}"), told, "after {end} bytes"),
        }
    }
    let Parsed::Complete(request, length) = whole else {
        return;
    };
    assert!(length <= input.len());
    let mut scratch = [0; HEAD_BYTES];
    if let Some(path) = decode_path(request.path, &mut scratch) {
        assert!(path.len() <= request.path.len());
    }
    let mut set = RangeSet::default();
    if let Some(field) = request.range
        && select(field, 1 << 20, &mut set) == Selected::Parts
    {
        let inside = |range: &ByteRange| range.start < range.end && range.end <= 1 << 20;
        assert!(set.ranges().len() > 1 && set.ranges().iter().all(inside));
    }
}
