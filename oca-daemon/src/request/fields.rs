//! The fields of one head that we look at, each taken as often as it may come.

use protocol::control::FILL_HEADER;

use super::target::is_host;
use super::{Beside, Reject};
use crate::limits::TAG_LINES;

/// The precondition fields (RFC 9110 section 13.1), as sent.
#[derive(Debug, Default)]
pub struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: TagLines<'a>,
    /// `If-None-Match`.
    pub if_none_match: TagLines<'a>,
    /// `If-Modified-Since`; a repeated one is ignored, as section 13.1.3 asks.
    pub if_modified_since: Single<'a>,
    /// `If-Unmodified-Since`; likewise.
    pub if_unmodified_since: Single<'a>,
    /// `If-Range`; a repeated one matches nothing.
    pub if_range: Single<'a>,
}

/// The lines of a field that lists entity tags: several lines are one list (RFC 9110 section 5.3).
#[derive(Debug, Default, Clone, Copy)]
pub struct TagLines<'a> {
    lines: [&'a [u8]; TAG_LINES],
    count: usize,
}

impl<'a> TagLines<'a> {
    /// The lines, unless there is none.
    pub fn lines(&self) -> Option<&[&'a [u8]]> {
        (self.count > 0).then(|| &self.lines[..self.count])
    }

    fn add(&mut self, value: &'a [u8]) -> Result<(), Reject> {
        *self.lines.get_mut(self.count).ok_or(Reject::TooLarge)? = value;
        self.count += 1;
        Ok(())
    }
}

/// A field that must not be repeated.
#[derive(Debug, Default, Clone, Copy)]
pub enum Single<'a> {
    /// It is not there.
    #[default]
    Absent,
    /// Its only value.
    Once(&'a [u8]),
    /// It is there more than once.
    Repeated,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    /// The value, if there is exactly one.
    pub fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) range: Single<'a>,
    pub(super) conditions: Conditions<'a>,
    pub(super) fill: bool,
    pub(super) beside: Beside<'a>,
    host: Single<'a>,
    content_length: Single<'a>,
    codings: Codings,
    unknown_expectation: bool,
    close: bool,
    wants_keep_alive: bool,
}

/// What `Transfer-Encoding` lists, over all its lines.
#[derive(Debug, Default)]
struct Codings {
    present: bool,
    chunked: usize,
    last_is_chunked: bool,
    unknown: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn read(headers: &[httparse::Header<'a>]) -> Result<Self, Reject> {
        let mut fields = Self::default();
        for header in headers {
            fields.take(header.name, header.value)?;
        }
        Ok(fields)
    }

    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), Reject> {
        let conditions = &mut self.conditions;
        // Most fields of a player are none of ours: the length tells most of them apart without comparing.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host.add(value),
            5 if name.eq_ignore_ascii_case("range") => self.range.add(value),
            6 if name.eq_ignore_ascii_case("expect") => self.expect(value),
            8 if name.eq_ignore_ascii_case("if-match") => return conditions.if_match.add(value),
            8 if name.eq_ignore_ascii_case(FILL_HEADER) => self.fill = true,
            8 if name.eq_ignore_ascii_case("if-range") => conditions.if_range.add(value),
            10 if name.eq_ignore_ascii_case("connection") => self.connection(value),
            10 if name.eq_ignore_ascii_case("user-agent") => self.beside.user_agent = value,
            11 if name.eq_ignore_ascii_case("cmcd-object") => self.beside.cmcd[0] = value,
            11 if name.eq_ignore_ascii_case("cmcd-status") => self.beside.cmcd[3] = value,
            12 if name.eq_ignore_ascii_case("cmcd-request") => self.beside.cmcd[1] = value,
            12 if name.eq_ignore_ascii_case("cmcd-session") => self.beside.cmcd[2] = value,
            13 if name.eq_ignore_ascii_case("if-none-match") => {
                return conditions.if_none_match.add(value);
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length.add(value),
            17 if name.eq_ignore_ascii_case("if-modified-since") => {
                conditions.if_modified_since.add(value);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.codings.add(value),
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                conditions.if_unmodified_since.add(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in members(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.wants_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn expect(&mut self, value: &[u8]) {
        self.unknown_expectation |=
            members(value).any(|expected| !expected.eq_ignore_ascii_case(b"100-continue"));
    }

    /// RFC 9112 section 9.3.
    pub(super) fn keep_alive(&self, http_1_0: bool) -> bool {
        !self.close && (!http_1_0 || self.wants_keep_alive)
    }

    /// RFC 9110 section 10.1.1. What was expected is never a body that we would wait for: the final answer comes at once.
    pub(super) fn check_expectation(&self) -> Result<(), Reject> {
        match self.unknown_expectation {
            true => Err(Reject::Expectation),
            false => Ok(()),
        }
    }

    /// RFC 9112 section 3.2: exactly one good `Host`; HTTP/1.0 may do without.
    pub(super) fn check_host(&self, http_1_0: bool) -> Result<(), Reject> {
        match self.host {
            Single::Once(host) if is_host(host) => Ok(()),
            Single::Absent if http_1_0 => Ok(()),
            Single::Once(_) | Single::Absent | Single::Repeated => Err(Reject::Malformed),
        }
    }

    /// Whether a body follows (RFC 9112 sections 6.1 to 6.3). Whatever two recipients could read in two ways is malformed.
    pub(super) fn announce_body(&self, http_1_0: bool) -> Result<bool, Reject> {
        let codings = &self.codings;
        match (codings.present, self.content_length) {
            (false, Single::Absent) => Ok(false),
            (false, Single::Once(length)) => length_announces(length),
            (true, Single::Absent) if !http_1_0 && codings.end_in_one_chunked() => {
                match codings.unknown {
                    true => Err(Reject::TransferCoding),
                    false => Ok(true),
                }
            }
            (true, _) | (false, Single::Repeated) => Err(Reject::Malformed),
        }
    }
}

impl Codings {
    fn add(&mut self, value: &[u8]) {
        self.present = true;
        for coding in members(value) {
            self.last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.last_is_chunked);
            self.unknown |= !self.last_is_chunked;
        }
    }

    fn end_in_one_chunked(&self) -> bool {
        self.last_is_chunked && self.chunked == 1
    }
}

/// The members of a list (RFC 9110 section 5.6.1); empty ones are none.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// RFC 9112 section 6.3: a `Content-Length` that is not 1*DIGIT is an error; how many bytes it announces does not matter.
fn length_announces(value: &[u8]) -> Result<bool, Reject> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::Malformed);
    }
    Ok(value.iter().any(|digit| *digit != b'0'))
}
