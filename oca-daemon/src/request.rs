//! One request head (RFC 9112): bytes in, a [`Request`] or a [`Reject`] out. Pure; borrows from the receive buffer.
//!
//! Bodies are never read: a request that announces one is answered and its connection closed, so that no byte of a body
//! is ever taken for another request (RFC 9112 section 11.2).

use protocol::control::FILL_HEADER;

use crate::limits::{HEAD_BYTES, HEAD_FIELDS};

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

/// The precondition fields (RFC 9110 section 13.1), as sent.
#[derive(Debug, Default)]
pub struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
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
    /// 405: a method other than GET, HEAD, OPTIONS.
    Method,
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
    /// 431: longer than `limits::HEAD_BYTES` or more than `limits::HEAD_FIELDS` fields.
    TooLarge,
    /// 501: a transfer coding; we read no bodies.
    TransferCoding,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    Version,
}

impl Reject {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::Expectation => 417,
            Self::TooLarge => 431,
            Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }
}

/// What a stretch of input holds.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxing the request would allocate for every one"
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
    let input_start = input.len() - skip_empty_lines(input).len();
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let window = &input[input_start..input.len().min(input_start + HEAD_BYTES)];
    match head.parse(window) {
        Ok(httparse::Status::Complete(length)) => match interpret(&head) {
            Ok(request) => Parsed::Complete(request, input_start + length),
            Err(reject) => Parsed::Rejected(reject),
        },
        Ok(httparse::Status::Partial) if window.len() >= HEAD_BYTES => {
            Parsed::Rejected(Reject::TooLarge)
        }
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::Rejected(Reject::TooLarge),
        Err(httparse::Error::Version) => Parsed::Rejected(Reject::Version),
        Err(_) => Parsed::Rejected(Reject::Malformed),
    }
}

/// RFC 9112 section 2.2: a server should ignore at least one empty line before the request line.
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let mut rest = input;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    rest
}

fn interpret<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Reject> {
    let http_1_0 = head.version == Some(0);
    let fields = Fields::read(head.headers, http_1_0)?;
    let method = method(head.method.unwrap_or_default())?;
    let target = head.path.unwrap_or_default().as_bytes();
    Ok(Request {
        method,
        path: path_of(target, method)?,
        range: fields.range.value(),
        conditions: fields.conditions,
        fill: fields.fill,
        beside: Beside {
            query: query_of(target),
            ..fields.beside
        },
        keep_alive: fields.keep_alive,
        http_1_0,
    })
}

fn method(name: &str) -> Result<Method, Reject> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "OPTIONS" => Ok(Method::Options),
        _ => Err(Reject::Method),
    }
}

/// Origin-form, absolute-form, and `*` for OPTIONS (RFC 9112 section 3.2); the query is left out of the look-up.
fn path_of(target: &[u8], method: Method) -> Result<&[u8], Reject> {
    let path = match target {
        [b'/', ..] => target,
        b"*" if method == Method::Options => target,
        _ => after_authority(target).ok_or(Reject::Malformed)?,
    };
    let end = path
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len());
    Ok(&path[..end])
}

fn query_of(target: &[u8]) -> &[u8] {
    let mark = target.iter().position(|byte| *byte == b'?');
    mark.map_or(b"", |mark| &target[mark + 1..])
}

fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case(b"http://"))
        .map(|_| 7);
    let https = target
        .get(..8)
        .filter(|scheme| scheme.eq_ignore_ascii_case(b"https://"))
        .map(|_| 8);
    let authority = &target[scheme.or(https)?..];
    let slash = authority.iter().position(|byte| *byte == b'/');
    Some(slash.map_or(b"/", |at| &authority[at..]))
}

/// A field that must not be repeated.
#[derive(Debug, Default, Clone, Copy)]
enum Single<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

#[derive(Debug, Default)]
struct Fields<'a> {
    range: Single<'a>,
    host: Single<'a>,
    conditions: Conditions<'a>,
    fill: bool,
    beside: Beside<'a>,
    keep_alive: bool,
    has_body: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>], http_1_0: bool) -> Result<Self, Reject> {
        let mut fields = Self {
            keep_alive: !http_1_0,
            ..Self::default()
        };
        for header in headers {
            fields.take(header.name, header.value)?;
        }
        match (fields.host, http_1_0) {
            (Single::Repeated, _) | (Single::Absent, false) => return Err(Reject::Malformed),
            (Single::Once(_), _) | (Single::Absent, true) => {}
        }
        fields.keep_alive &= !fields.has_body;
        Ok(fields)
    }

    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), Reject> {
        // Most fields of a player are none of ours: the length tells most of them apart without comparing.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host.add(value),
            5 if name.eq_ignore_ascii_case("range") => self.range.add(value),
            6 if name.eq_ignore_ascii_case("expect") => return expectation(value),
            8 if name.eq_ignore_ascii_case("if-match") => self.conditions.if_match = Some(value),
            8 if name.eq_ignore_ascii_case(FILL_HEADER) => self.fill = true,
            8 if name.eq_ignore_ascii_case("if-range") => self.conditions.if_range = Some(value),
            10 if name.eq_ignore_ascii_case("connection") => self.connection(value),
            10 if name.eq_ignore_ascii_case("user-agent") => self.beside.user_agent = value,
            11 if name.eq_ignore_ascii_case("cmcd-object") => self.beside.cmcd[0] = value,
            11 if name.eq_ignore_ascii_case("cmcd-status") => self.beside.cmcd[3] = value,
            12 if name.eq_ignore_ascii_case("cmcd-request") => self.beside.cmcd[1] = value,
            12 if name.eq_ignore_ascii_case("cmcd-session") => self.beside.cmcd[2] = value,
            13 if name.eq_ignore_ascii_case("if-none-match") => {
                self.conditions.if_none_match = Some(value)
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                self.has_body |= body_announced(value)?
            }
            17 if name.eq_ignore_ascii_case("if-modified-since") => {
                self.conditions.if_modified_since = Some(value);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                return Err(Reject::TransferCoding);
            }
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                self.conditions.if_unmodified_since = Some(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
                return;
            }
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// RFC 9112 section 6.3: a `Content-Length` that is not 1*DIGIT is an error.
fn body_announced(value: &[u8]) -> Result<bool, Reject> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::Malformed);
    }
    Ok(value.iter().any(|digit| *digit != b'0'))
}

fn expectation(value: &[u8]) -> Result<(), Reject> {
    value
        .eq_ignore_ascii_case(b"100-continue")
        .then_some(())
        .ok_or(Reject::Expectation)
}

/// Decodes percent-encoding into `scratch` and returns the path to look up, or `None` if it is malformed, holds a NUL or
/// does not fit. A path without `%` is returned as it is.
pub fn decode_path<'a>(path: &'a [u8], scratch: &'a mut [u8; HEAD_BYTES]) -> Option<&'a [u8]> {
    if !path.contains(&b'%') {
        return Some(path);
    }
    let mut length = 0;
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                (hexadecimal(*high)? << 4 | hexadecimal(*low)?, after)
            }
            (b'%', _) => return None,
            (byte, after) => (*byte, after),
        };
        (byte != 0).then_some(())?;
        *scratch.get_mut(length)? = byte;
        length += 1;
        rest = after;
    }
    Some(&scratch[..length])
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(head: &str) -> Result<(Method, String, bool), Reject> {
        match parse(head.as_bytes()) {
            Parsed::Complete(request, length) => {
                assert_eq!(length, head.len());
                Ok((
                    request.method,
                    String::from_utf8_lossy(request.path).into_owned(),
                    request.keep_alive,
                ))
            }
            Parsed::Rejected(reject) => Err(reject),
            Parsed::Partial => panic!("partial: {head:?}"),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn heads_that_are_served() {
        let table: &[(&str, Method, &str, bool)] = &[
            (
                "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
                Method::Get,
                "/a",
                true,
            ),
            (
                "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
                Method::Get,
                "/a",
                true,
            ),
            (
                "HEAD /a?CMCD=x HTTP/1.1\r\nhost: h\r\n\r\n",
                Method::Head,
                "/a",
                true,
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
                Method::Options,
                "*",
                true,
            ),
            (
                "GET http://h:80/a/b?q HTTP/1.1\r\nHost: h\r\n\r\n",
                Method::Get,
                "/a/b",
                true,
            ),
            (
                "GET https://h HTTP/1.1\r\nHost: h\r\n\r\n",
                Method::Get,
                "/",
                true,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n",
                Method::Get,
                "/a",
                false,
            ),
            ("GET /a HTTP/1.0\r\n\r\n", Method::Get, "/a", false),
            (
                "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                Method::Get,
                "/a",
                true,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
                Method::Get,
                "/a",
                true,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
                Method::Get,
                "/a",
                false,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
                Method::Get,
                "/a",
                true,
            ),
        ];
        for (head, method, path, keep_alive) in table {
            assert_eq!(
                parsed(head),
                Ok((*method, (*path).to_owned(), *keep_alive)),
                "{head:?}"
            );
        }
    }

    #[test]
    fn heads_that_are_refused() {
        let table: &[(&str, Reject)] = &[
            ("GET /a HTTP/1.1\r\n\r\n", Reject::Malformed),
            (
                "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                Reject::Malformed,
            ),
            ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
            ("GET /a HTTP/1.1\r\nHost : h\r\n\r\n", Reject::Malformed),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
                Reject::Malformed,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1,1\r\n\r\n",
                Reject::Malformed,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
                Reject::Malformed,
            ),
            ("POST /a HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Method),
            ("GET /a HTTP/2.0\r\nHost: h\r\n\r\n", Reject::Version),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
                Reject::TransferCoding,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n",
                Reject::Expectation,
            ),
        ];
        for (head, reject) in table {
            assert_eq!(parsed(head), Err(*reject), "{head:?}");
        }
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n",
            "a".repeat(HEAD_BYTES)
        );
        assert_eq!(parsed(&long), Err(Reject::TooLarge));
        let many = format!(
            "GET /a HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "A: b\r\n".repeat(HEAD_FIELDS)
        );
        assert_eq!(parsed(&many), Err(Reject::TooLarge));
    }

    #[test]
    fn a_repeated_range_is_no_range() {
        let head = b"GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nRange: bytes=4-5\r\n\r\n";
        let Parsed::Complete(request, _) = parse(head) else {
            panic!("not served")
        };
        assert_eq!(request.range, None);
    }

    #[test]
    fn percent_encoding() {
        let mut scratch = [0; HEAD_BYTES];
        assert_eq!(
            decode_path(b"/a%20b%2Fc", &mut scratch),
            Some(&b"/a b/c"[..])
        );
        assert_eq!(decode_path(b"/plain", &mut scratch), Some(&b"/plain"[..]));
        for bad in [&b"/%"[..], b"/%4", b"/%zz", b"/%00", b"/%+1"] {
            assert_eq!(decode_path(bad, &mut scratch), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&input);
            decode_path(&input, &mut [0; HEAD_BYTES]);
        }

        #[test]
        fn a_prefix_of_a_good_head_is_partial(cut in 0usize..54) {
            let head = b"GET /title/1.mp4 HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n";
            prop_assert!(matches!(parse(&head[..cut]), Parsed::Partial));
        }
    }
}
