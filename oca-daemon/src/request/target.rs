//! The request target (RFC 9112 section 3.2) and what it names.

use super::Method;
use crate::limits::HEAD_BYTES;

/// Origin-form, absolute-form, and `*` for OPTIONS; the query is left out. `None` for anything else.
pub(super) fn path_of(target: &[u8], method: Method) -> Option<&[u8]> {
    // A fragment is never sent (RFC 9110 section 7.1).
    if target.contains(&b'#') {
        return None;
    }
    let (before_query, _) = split_at_byte(target, b'?');
    match before_query {
        [b'/', ..] => Some(before_query),
        b"*" if method == Method::Options && target.len() == 1 => Some(target),
        _ => after_authority(before_query),
    }
}

/// What follows the `?`.
pub(super) fn query_of(target: &[u8]) -> &[u8] {
    split_at_byte(target, b'?').1.get(1..).unwrap_or_default()
}

/// The path of the absolute form; its authority counts instead of `Host` (RFC 9112 section 3.2.2), and neither chooses
/// anything here. A name is a must, and user information is not taken (RFC 9110 sections 4.2.1, 4.2.4).
fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (begin, rest) = target.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then_some(rest)
        })?;
    let (authority, path) = split_at_byte(rest, b'/');
    is_host(authority).then_some(if path.is_empty() { b"/" } else { path })
}

/// What is before the first `byte`, and the rest from it on.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|at| *at == byte).unwrap_or(text.len()))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2), and not empty: an `http` URI without a host is
/// invalid (RFC 9110 section 4.2.1).
pub(super) fn is_host(value: &[u8]) -> bool {
    let (name, port) = match value {
        [b'[', rest @ ..] => {
            let (literal, rest) = split_at_byte(rest, b']');
            let literal_byte = |byte: &u8| is_name_byte(byte) || *byte == b':';
            let [b']', port @ ..] = rest else {
                return false;
            };
            (literal.iter().all(literal_byte).then_some(literal), port)
        }
        _ => {
            let (name, port) = split_at_byte(value, b':');
            (name.iter().all(is_name_byte).then_some(name), port)
        }
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    port_is_good && name.is_some_and(|name| !name.is_empty())
}

/// unreserved, sub-delims and the `%` of an encoded byte.
fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte)
}

/// Decodes percent-encoding into `scratch` and returns the path to look up, or `None` if it is malformed, holds a NUL or
/// does not fit. A path without `%` is returned as it is.
///
/// `%2F` stays as it is: an encoded slash does not part segments (RFC 3986 section 2.2), so it must not name what a slash
/// names. There is no tree behind a path that dots could climb.
pub fn decode_path<'a>(path: &'a [u8], scratch: &'a mut [u8; HEAD_BYTES]) -> Option<&'a [u8]> {
    decode(path, scratch, true)
}

/// The same for a value of a query, where a slash is a byte like others.
pub fn decode_value<'a>(value: &'a [u8], scratch: &'a mut [u8; HEAD_BYTES]) -> Option<&'a [u8]> {
    decode(value, scratch, false)
}

fn decode<'a>(
    text: &'a [u8],
    scratch: &'a mut [u8; HEAD_BYTES],
    keeps_slash: bool,
) -> Option<&'a [u8]> {
    if !text.contains(&b'%') {
        return Some(text);
    }
    let mut length = 0;
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'%', [b'2', b'F' | b'f', ..]) if keeps_slash => (b'%', tail),
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
