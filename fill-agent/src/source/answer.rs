//! The head of an answer, against what was asked for.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{Response, StatusCode};

use super::error::{Lie, SourceError};
use crate::retry::Fault;

/// What a source said of an object, to know it again: its validator. Servers behind one name may have other dates, so a tag counts
/// before the date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// `ETag`.
    Tag(String),
    /// `Last-Modified`.
    Modified(String),
    /// It gives neither.
    None,
}

/// What an answer to a range must be.
pub(super) struct Expected<'a> {
    pub(super) size: u64,
    pub(super) range: Range<u64>,
    /// The entity tag that follows from the root, where the source knows roots.
    pub(super) etag: Option<String>,
    pub(super) pin: Option<&'a Pin>,
}

impl Expected<'_> {
    /// The value of `If-Match`: strong tags only (RFC 9110, 13.1.1).
    pub(super) fn precondition(&self) -> Option<&str> {
        let tag = match (&self.etag, self.pin) {
            (Some(tag), _) | (None, Some(Pin::Tag(tag))) => tag,
            _ => return None,
        };
        (!tag.starts_with("W/")).then_some(tag)
    }

    /// Checks a head whose body is to be read, and tells what it says of the object.
    pub(super) fn check<B>(&self, answer: &Response<B>) -> Result<Pin, SourceError> {
        let headers = answer.headers();
        let length = self.range.end - self.range.start;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => self.check_range(headers)?,
            StatusCode::OK if length == self.size => {
                self.check_size(content_length(headers).unwrap_or(self.size))?;
            }
            StatusCode::OK => return Err(SourceError::Lied(Lie::WholeForRange)),
            StatusCode::PRECONDITION_FAILED if self.pin.is_some() => {
                return Err(SourceError::Changed("its entity tag is another".into()));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.not_satisfiable(headers)),
            status => return Err(refusal(status, headers)),
        }
        check_encoding(headers)?;
        if let Some(found) = content_length(headers).filter(|found| *found != length) {
            let expected = length;
            return Err(SourceError::Lied(Lie::Length { found, expected }));
        }
        check_etag(headers, self.etag.as_deref())?;
        self.check_pin(Pin::of(headers))
    }

    fn check_range(&self, headers: &HeaderMap) -> Result<(), SourceError> {
        let found = text(headers, &CONTENT_RANGE).unwrap_or_default();
        let asked = format!("bytes {}-{}", self.range.start, self.range.end - 1);
        match found.rsplit_once('/') {
            Some((range, size)) if range == asked => match size.parse() {
                Ok(size) => self.check_size(size),
                // An unknown complete length is allowed (RFC 9110, 14.4), and tells nothing.
                Err(_) if size == "*" => Ok(()),
                Err(_) => Err(bad_range(found, asked)),
            },
            _ => Err(bad_range(found, asked)),
        }
    }

    fn check_size(&self, found: u64) -> Result<(), SourceError> {
        match (found == self.size, self.pin) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(SourceError::Changed(format!("it has {found} bytes now"))),
            (false, None) => Err(SourceError::Lied(Lie::Size {
                found,
                expected: self.size,
            })),
        }
    }

    fn not_satisfiable(&self, headers: &HeaderMap) -> SourceError {
        let found = text(headers, &CONTENT_RANGE).unwrap_or_default();
        let size = found
            .strip_prefix("bytes */")
            .and_then(|size| size.parse().ok());
        let fits = |size| self.check_size(size).err();
        size.and_then(fits)
            .unwrap_or_else(|| bad_range(found, format!("{:?}", self.range)))
    }

    fn check_pin(&self, found: Pin) -> Result<Pin, SourceError> {
        match self.pin {
            Some(pin) if *pin != found => Err(SourceError::Changed(format!(
                "it was {pin}, and is {found}"
            ))),
            _ => Ok(found),
        }
    }
}

/// Checks the head of a document of known length.
pub(super) fn check_whole<B>(answer: &Response<B>, expected: u64) -> Result<(), SourceError> {
    let headers = answer.headers();
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer.status(), headers));
    }
    check_encoding(headers)?;
    match content_length(headers) {
        Some(found) if found != expected => Err(SourceError::Lied(Lie::Length { found, expected })),
        _ => Ok(()),
    }
}

/// Checks a head without body: the source holds the object now.
pub(super) fn check_held<B>(
    answer: &Response<B>,
    size: u64,
    etag: Option<&str>,
) -> Result<(), SourceError> {
    let headers = answer.headers();
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer.status(), headers));
    }
    check_etag(headers, etag)?;
    match content_length(headers) {
        Some(found) if found != size => Err(SourceError::Lied(Lie::Size {
            found,
            expected: size,
        })),
        _ => Ok(()),
    }
}

/// What a status means that brings no bytes.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap) -> SourceError {
    let code = status.as_u16();
    // Only an appliance gets here with a redirect: it has not got the object and says where viewers find it.
    if status.is_redirection() {
        return SourceError::Miss(format!("answer {code}, a redirect"));
    }
    match Fault::of_status(code, text(headers, &RETRY_AFTER), SystemTime::now()) {
        Fault::Missing => SourceError::Miss(format!("answer {code}")),
        Fault::Busy(pause) => SourceError::Busy {
            status: code,
            pause,
        },
        Fault::Refused | Fault::Unreachable | Fault::Lie => SourceError::Refused(code),
    }
}

fn check_etag(headers: &HeaderMap, expected: Option<&str>) -> Result<(), SourceError> {
    let found = text(headers, &ETAG);
    match expected {
        Some(tag) if found != Some(tag) => Err(SourceError::Miss(format!(
            "its entity tag is {}, that of the object is {tag}",
            found.unwrap_or("missing")
        ))),
        _ => Ok(()),
    }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), SourceError> {
    match text(headers, &CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            Err(SourceError::Lied(Lie::Encoded(encoding.into())))
        }
        _ => Ok(()),
    }
}

fn bad_range(found: &str, asked: String) -> SourceError {
    let found = found.chars().take(80).collect();
    SourceError::Lied(Lie::Range { found, asked })
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Pin {
    fn of(headers: &HeaderMap) -> Self {
        let owned = |name| text(headers, name).map(str::to_owned);
        match owned(&ETAG) {
            Some(etag) => Self::Tag(etag),
            None => owned(&LAST_MODIFIED).map_or(Self::None, Self::Modified),
        }
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(text) | Self::Modified(text) => f.write_str(text),
            Self::None => f.write_str("unmarked"),
        }
    }
}
