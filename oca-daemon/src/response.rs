//! Response heads: an answer in, bytes out. Pure, and without allocation: heads are written into a fixed buffer.

use std::time::{Duration, UNIX_EPOCH};

use crate::limits::{RESPONSE_HEAD_BYTES, RETRY_AFTER_SECONDS};
use crate::multipart::{Boundary, Parts};
use crate::precondition::{Outcome, Representation};
use crate::range::ByteRange;

/// Whether the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// HTTP/1.1: nothing needs to be said.
    KeepAlive,
    /// HTTP/1.0 with keep-alive: said explicitly.
    KeepAliveSaid,
    /// `Connection: close`.
    Close,
}

/// An answer without an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// 204 to OPTIONS, with what a CORS preflight asks for.
    Options,
    /// Any error; the reason is its body.
    Error(u16),
}

/// The bytes of one response head.
#[derive(Debug)]
pub struct Head {
    bytes: [u8; RESPONSE_HEAD_BYTES],
    length: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: [0; RESPONSE_HEAD_BYTES],
            length: 0,
        }
    }
}

impl Head {
    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Appends; what does not fit is left out (the catalog bounds the fields, so all of it fits).
    fn put(&mut self, text: &[u8]) {
        let end = (self.length + text.len()).min(RESPONSE_HEAD_BYTES);
        let taken = end - self.length;
        self.bytes[self.length..end].copy_from_slice(&text[..taken]);
        self.length = end;
    }

    fn field(&mut self, name: &str, value: &str) {
        self.put(name.as_bytes());
        self.put(b": ");
        self.put(value.as_bytes());
        self.put(b"\r\n");
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }

    fn number_field(&mut self, name: &str, value: u64) {
        self.put(name.as_bytes());
        self.put(b": ");
        self.number(value);
        self.put(b"\r\n");
    }

    /// Status line, `Date` and `Server`.
    fn begin(&mut self, status: u16, date: &DateText) {
        self.length = 0;
        self.put(b"HTTP/1.1 ");
        self.number(u64::from(status));
        self.put(b" ");
        self.put(reason(status).as_bytes());
        self.put(b"\r\nServer: oca\r\nDate: ");
        self.put(date.bytes());
        self.put(b"\r\nAccess-Control-Allow-Origin: *\r\n");
    }

    fn end(&mut self, after: After) {
        match after {
            After::KeepAlive => {}
            After::KeepAliveSaid => self.put(b"Connection: keep-alive\r\n"),
            After::Close => self.put(b"Connection: close\r\n"),
        }
        self.put(b"\r\n");
    }

    /// The head of an answer with (or about) an object; [`Head::of_parts`] writes that of several parts.
    pub fn object(
        &mut self,
        outcome: Outcome,
        object: &Representation<'_>,
        date: &DateText,
        after: After,
    ) {
        self.begin(status_of(outcome), date);
        match outcome {
            Outcome::Whole => self.number_field("Content-Length", object.size),
            Outcome::Part(range) => {
                self.number_field("Content-Length", range.length());
                self.content_range(range, object.size);
            }
            Outcome::RangeNotSatisfiable => {
                self.put(b"Content-Length: 0\r\nContent-Range: bytes */");
                self.number(object.size);
                self.put(b"\r\n");
            }
            Outcome::PreconditionFailed => self.put(b"Content-Length: 0\r\n"),
            Outcome::Parts | Outcome::NotModified => {}
        }
        let has_body = matches!(outcome, Outcome::Whole | Outcome::Part(_));
        if has_body {
            self.field("Content-Type", object.content_type);
        }
        if has_body || outcome == Outcome::NotModified {
            self.validators(object);
        }
        // RFC 9110 section 15.4.5: a 304 repeats what guides a cache; with a tag, the date does not.
        if has_body {
            self.last_modified(object);
        }
        self.end_of_object(after);
    }

    /// What comes next of an answer with several parts that is not of the object (RFC 9110 section 14.6): its head before the
    /// first part, the head of each part, and the closing boundary. All begin with a line's end, as the body may.
    pub fn of_parts(
        &mut self,
        parts: &Parts,
        object: &Representation<'_>,
        date: &DateText,
        after: After,
    ) {
        self.length = 0;
        if parts.is_first() {
            self.multipart(parts, object, date, after);
        }
        match parts.range() {
            Some(range) => self.part(range, object, &parts.boundary),
            None => self.last_boundary(&parts.boundary),
        }
    }

    /// Bytes of the body of such an answer. What was written is forgotten.
    pub fn length_of_parts(&mut self, parts: &Parts, object: &Representation<'_>) -> u64 {
        let mut length = 0;
        for range in parts.ranges() {
            self.length = 0;
            self.part(*range, object, &parts.boundary);
            length += self.length as u64 + range.length();
        }
        self.length = 0;
        self.last_boundary(&parts.boundary);
        length + self.length as u64
    }

    /// RFC 9110 section 15.3.7.2: no `Content-Range` here.
    fn multipart(
        &mut self,
        parts: &Parts,
        object: &Representation<'_>,
        date: &DateText,
        after: After,
    ) {
        self.begin(status_of(Outcome::Parts), date);
        self.number_field("Content-Length", parts.content_length);
        self.put(b"Content-Type: multipart/byteranges; boundary=");
        self.put(parts.boundary.bytes());
        self.put(b"\r\n");
        self.validators(object);
        self.last_modified(object);
        self.end_of_object(after);
    }

    fn part(&mut self, range: ByteRange, object: &Representation<'_>, boundary: &Boundary) {
        self.put(b"\r\n--");
        self.put(boundary.bytes());
        self.put(b"\r\n");
        self.field("Content-Type", object.content_type);
        self.content_range(range, object.size);
        self.put(b"\r\n");
    }

    fn last_boundary(&mut self, boundary: &Boundary) {
        self.put(b"\r\n--");
        self.put(boundary.bytes());
        self.put(b"--\r\n");
    }

    fn end_of_object(&mut self, after: After) {
        self.put(b"Accept-Ranges: bytes\r\n");
        self.put(
            b"Access-Control-Expose-Headers: Content-Length, Content-Range, Date, ETag, Server\r\n",
        );
        self.end(after);
    }

    fn content_range(&mut self, range: ByteRange, size: u64) {
        self.put(b"Content-Range: bytes ");
        self.number(range.start);
        self.put(b"-");
        self.number(range.end - 1);
        self.put(b"/");
        self.number(size);
        self.put(b"\r\n");
    }

    fn validators(&mut self, object: &Representation<'_>) {
        self.field("ETag", object.etag);
        self.field("Cache-Control", object.cache_control);
    }

    fn last_modified(&mut self, object: &Representation<'_>) {
        self.put(b"Last-Modified: ");
        self.put(DateText::new(object.modified).bytes());
        self.put(b"\r\n");
    }

    /// The head of an answer without an object, and its short body with it (left out for HEAD).
    pub fn plain(&mut self, plain: Plain, date: &DateText, after: After, body: PlainBody) {
        match plain {
            Plain::Options => {
                self.begin(204, date);
                self.allow();
                self.put(b"Access-Control-Max-Age: 86400\r\n");
                self.end(after);
            }
            Plain::Error(status) => self.error(status, date, after, body),
        }
    }

    fn allow(&mut self) {
        self.put(
            b"Allow: GET, HEAD, OPTIONS\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n",
        );
        self.put(b"Access-Control-Allow-Headers: *, Range\r\n");
    }

    fn error(&mut self, status: u16, date: &DateText, after: After, body: PlainBody) {
        let reason = reason(status);
        self.begin(status, date);
        self.put(b"Content-Type: text/plain\r\nCache-Control: no-store\r\n");
        self.number_field("Content-Length", reason.len() as u64 + 1);
        match status {
            405 => self.put(b"Allow: GET, HEAD, OPTIONS\r\n"),
            429 | 503 => self.number_field("Retry-After", u64::from(RETRY_AFTER_SECONDS)),
            _ => {}
        }
        self.end(after);
        if body == PlainBody::Sent {
            self.put(reason.as_bytes());
            self.put(b"\n");
        }
    }
}

/// Whether the short body of an error is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainBody {
    /// It is.
    Sent,
    /// The request was HEAD.
    LeftOut,
}

/// The status of an outcome.
pub fn status_of(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Whole => 200,
        Outcome::Part(_) | Outcome::Parts => 206,
        Outcome::NotModified => 304,
        Outcome::PreconditionFailed => 412,
        Outcome::RangeNotSatisfiable => 416,
    }
}

/// Reason phrases (RFC 9110 section 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// A date as HTTP writes it (RFC 9110 section 5.6.7): 29 bytes.
#[derive(Clone, Copy, Debug)]
pub struct DateText {
    seconds: u64,
    text: [u8; 29],
}

impl DateText {
    /// The date `seconds` after 1970.
    pub fn new(seconds: u64) -> Self {
        let date =
            httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_DATE)));
        let mut text = [b' '; 29];
        let mut rest = &mut text[..];
        // Writing 29 bytes into 29 bytes cannot fail; were it to, the date would be blank, not wrong.
        let _ = std::io::Write::write_fmt(&mut rest, format_args!("{date}"));
        Self { seconds, text }
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    fn bytes(&self) -> &[u8] {
        &self.text
    }
}

/// 9999-12-31T23:59:59Z: `httpdate` writes nothing later.
const LAST_DATE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Representation<'static> = Representation {
        size: 1000,
        etag: "\"e1\"",
        content_type: "video/mp4",
        cache_control: "public, max-age=31536000, immutable",
        modified: 784_111_777,
    };

    fn object(outcome: Outcome, after: After) -> String {
        let mut head = Head::default();
        head.object(outcome, &OBJECT, &DateText::new(784_111_777), after);
        String::from_utf8(head.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_part() {
        let range = ByteRange { start: 10, end: 20 };
        assert_eq!(
            object(Outcome::Part(range), After::KeepAlive),
            "HTTP/1.1 206 Partial Content\r\nServer: oca\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Access-Control-Allow-Origin: *\r\nContent-Length: 10\r\nContent-Range: bytes 10-19/1000\r\n\
             Content-Type: video/mp4\r\nETag: \"e1\"\r\nCache-Control: public, max-age=31536000, immutable\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\n\
             Access-Control-Expose-Headers: Content-Length, Content-Range, Date, ETag, Server\r\n\r\n"
        );
    }

    #[test]
    fn not_modified_has_validators_and_no_length() {
        let head = object(Outcome::NotModified, After::Close);
        assert!(
            head.contains("ETag: \"e1\"") && head.contains("Cache-Control: "),
            "{head}"
        );
        assert!(
            !head.contains("\nContent-Length: ") && !head.contains("\nContent-Type: "),
            "{head}"
        );
        assert!(head.ends_with("Connection: close\r\n\r\n"), "{head}");
    }

    #[test]
    fn unsatisfiable_says_the_size() {
        let head = object(Outcome::RangeNotSatisfiable, After::KeepAlive);
        assert!(head.contains("Content-Range: bytes */1000\r\n"), "{head}");
    }

    #[test]
    fn an_error_says_how_long_its_body_is_also_to_head() {
        let mut head = Head::default();
        for body in [PlainBody::Sent, PlainBody::LeftOut] {
            head.plain(Plain::Error(503), &DateText::new(0), After::Close, body);
            let text = String::from_utf8(head.bytes().to_vec()).unwrap();
            let (fields, content) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                fields.contains("Content-Length: 20") && fields.contains("Retry-After: "),
                "{fields}"
            );
            assert_eq!(content.len(), if body == PlainBody::Sent { 20 } else { 0 });
        }
    }

    #[test]
    fn a_date_beyond_the_calendar_does_not_panic() {
        assert_eq!(
            DateText::new(u64::MAX).bytes(),
            b"Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }
}
