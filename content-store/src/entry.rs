//! What a path says: the words that the sidecar and the catalog both keep.

use crate::codec::{Decoder, Encoder, Malformed};
use crate::limits::{MAX_HEADER_VALUE_BYTES, MAX_PATH_BYTES};

/// One URL path that leads to an object, with what the response head says about it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PathEntry {
    /// The path, percent-decoded, beginning with `/`.
    pub path: Box<str>,
    /// The generation that set it: where two objects claim a path, the higher one wins.
    pub serial: u64,
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// Value of `Cache-Control`.
    pub cache_control: Box<str>,
    /// Seconds since 1970 for `Last-Modified`.
    pub modified_s: u64,
}

/// A path or header value that cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// The path.
    #[error(
        "path {0:?}: it must begin with \"/\", hold no control character, and have at most {MAX_PATH_BYTES} bytes"
    )]
    Path(Box<str>),
    /// The header value.
    #[error(
        "header value {0:?}: it must be visible ASCII of at most {MAX_HEADER_VALUE_BYTES} bytes"
    )]
    HeaderValue(Box<str>),
}

impl PathEntry {
    /// Checks what may be published; decoding checks it again, so no file can smuggle a line break into a head.
    pub fn check(&self) -> Result<(), BadEntry> {
        check_path(&self.path)?;
        check_header_value(&self.content_type)?;
        check_header_value(&self.cache_control)
    }

    /// Bytes of it in a sidecar.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        let texts = [&self.path, &self.content_type, &self.cache_control];
        texts.iter().map(|text| 2 + text.len() as u64).sum::<u64>() + 16
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.text(&self.path)
            .u64(self.serial)
            .text(&self.content_type)
            .text(&self.cache_control)
            .u64(self.modified_s);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let entry = Self {
            path: from.text(MAX_PATH_BYTES)?.into(),
            serial: from.u64()?,
            content_type: from.text(MAX_HEADER_VALUE_BYTES)?.into(),
            cache_control: from.text(MAX_HEADER_VALUE_BYTES)?.into(),
            modified_s: from.u64()?,
        };
        entry.check().map_err(|_| Malformed::Text)?;
        Ok(entry)
    }
}

fn check_path(path: &str) -> Result<(), BadEntry> {
    let fits = path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && !path.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(BadEntry::Path(path.into()))
    }
}

fn check_header_value(value: &str) -> Result<(), BadEntry> {
    // RFC 9110 section 5.5: field-vchar and blanks between them.
    let visible = value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let fits = visible && value.len() <= MAX_HEADER_VALUE_BYTES && value.trim() == value;
    if fits {
        Ok(())
    } else {
        Err(BadEntry::HeaderValue(value.into()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn entries() -> impl Strategy<Value = PathEntry> {
        (
            "/[a-z0-9/é._-]{0,40}",
            any::<u64>(),
            "[a-z]{1,9}/[a-z0-9]{1,9}",
            "[a-z=0-9]{0,12}",
            any::<u64>(),
        )
            .prop_map(|(path, serial, content_type, cache_control, modified_s)| {
                PathEntry {
                    path: path.into(),
                    serial,
                    content_type: content_type.into(),
                    cache_control: cache_control.into(),
                    modified_s,
                }
            })
    }

    #[test]
    fn what_would_break_a_head_is_refused() {
        let good = PathEntry {
            path: "/a b/ü.mp4".into(),
            serial: 1,
            content_type: "video/mp4; codecs=\"av01\"".into(),
            cache_control: "".into(),
            modified_s: 0,
        };
        assert_eq!(good.check(), Ok(()));
        for path in [
            "",
            "a",
            "/a\r\n",
            "/\0",
            &format!("/{}", "a".repeat(MAX_PATH_BYTES)),
        ] {
            assert!(
                PathEntry {
                    path: path.into(),
                    ..good.clone()
                }
                .check()
                .is_err(),
                "{path:?}"
            );
        }
        for value in [
            "a\r\nX: y",
            " a",
            "é",
            &"a".repeat(MAX_HEADER_VALUE_BYTES + 1),
        ] {
            assert!(
                PathEntry {
                    content_type: value.into(),
                    ..good.clone()
                }
                .check()
                .is_err(),
                "{value:?}"
            );
            assert!(
                PathEntry {
                    cache_control: value.into(),
                    ..good.clone()
                }
                .check()
                .is_err(),
                "{value:?}"
            );
        }
    }
}
