//! Heads of responses, and whether they are what was asked for.

use anyhow::{Context, Result, bail, ensure};

/// A response whose head is longer has failed.
pub(super) const HEAD_MAX_BYTES: usize = 4096;

/// The part of a head that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes up to and with the empty line.
    pub(super) length: usize,
    pub(super) status: u16,
    pub(super) content_length: u64,
    /// `(first, last, whole)` of `Content-Range`.
    pub(super) range: Option<(u64, u64, u64)>,
    /// The server closes the connection after this response.
    pub(super) closes: bool,
    /// `Retry-After`, in seconds.
    pub(super) retry_after_s: Option<u64>,
}

/// Reads the head at the start of `bytes`; `None` if its end has not come yet.
///
/// Errors: what is no HTTP/1.1 head with a length.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(
            bytes.len() < HEAD_MAX_BYTES,
            "a response head of over {HEAD_MAX_BYTES} bytes"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).context("a response head that is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .with_context(|| format!("not a response: {text:?}"))?;
    let mut head = Head {
        length: end + 4,
        status,
        content_length: 0,
        range: None,
        closes: false,
        retry_after_s: None,
    };
    let mut has_length = false;
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("not a header: {line:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value
                .parse()
                .with_context(|| format!("not a length: {line:?}"))?;
            has_length = true;
        } else if name.eq_ignore_ascii_case("content-range") {
            head.range = Some(range(value).with_context(|| format!("not a range: {line:?}"))?);
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            head.retry_after_s = value.parse().ok();
        }
    }
    if !has_length {
        bail!("a response without Content-Length: {text:?}");
    }
    Ok(Some(head))
}

fn range(value: &str) -> Option<(u64, u64, u64)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, whole.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_response_is_read() {
        let bytes = b"HTTP/1.1 206 Partial Content\r\ncontent-length: 10\r\nContent-Range: bytes 5-14/100\r\nConnection: Close\r\n\r\n0123";
        let head = parse(bytes).unwrap().unwrap();
        let expected = Head {
            length: bytes.len() - 4,
            status: 206,
            content_length: 10,
            range: Some((5, 14, 100)),
            closes: true,
            retry_after_s: None,
        };
        assert_eq!(head, expected);
    }

    #[test]
    fn an_unfinished_head_is_waited_for_up_to_the_bound() {
        assert_eq!(parse(b"HTTP/1.1 206 P").unwrap(), None);
        assert!(parse(&[b'a'; HEAD_MAX_BYTES]).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            &b"HTTP/2 206\r\n\r\n"[..],
            b"\0\0\0\0\r\n\r\n",
            b"HTTP/1.1 206 x\r\n\r\n",
            b"HTTP/1.1 206 x\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 206 x\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/*\r\n\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
