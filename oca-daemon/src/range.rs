//! The `Range` field (RFC 9110 section 14): text in, a [`ByteRange`] of the object out.

/// Bytes `start..end` of an object, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    pub fn length(self) -> u64 {
        self.end - self.start
    }
}

/// What a `Range` field means for an object of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The field is absent, malformed, of another unit or asks for several ranges: it is ignored, as RFC 9110 14.2 allows.
    Whole,
    /// One satisfiable range.
    Part(ByteRange),
    /// Well formed, but no byte of the object is in it: 416.
    Unsatisfiable,
}

/// Reads the value of a `Range` field for an object of `size` bytes.
pub fn select(field: &[u8], size: u64) -> Selected {
    let Some(spec) = byte_spec(field) else {
        return Selected::Whole;
    };
    let Some(dash) = spec.iter().position(|byte| *byte == b'-') else {
        return Selected::Whole;
    };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Selected::Whole,
        (true, false) => digits(last).map_or(Selected::Whole, |length| suffix(length, size)),
        (false, true) => digits(first).map_or(Selected::Whole, |start| from(start, u64::MAX, size)),
        (false, false) => match (digits(first), digits(last)) {
            (Some(start), Some(last)) if start <= last => from(start, last, size),
            _ => Selected::Whole,
        },
    }
}

/// The part after `bytes=` if there is just one range in it.
fn byte_spec(field: &[u8]) -> Option<&[u8]> {
    let (unit, spec) = field.split_at_checked(6)?;
    let single = !spec.contains(&b',');
    (unit.eq_ignore_ascii_case(b"bytes=") && single).then(|| spec.trim_ascii())
}

/// 1*DIGIT; a number beyond 64 bits counts as the largest, since it is beyond every object.
fn digits(text: &[u8]) -> Option<u64> {
    let number = |value: u64, byte: &u8| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(byte - b'0'))
    };
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then(|| text.iter().fold(0, number))
}

fn suffix(length: u64, size: u64) -> Selected {
    match length.min(size) {
        0 => Selected::Unsatisfiable,
        length => Selected::Part(ByteRange {
            start: size - length,
            end: size,
        }),
    }
}

fn from(start: u64, last: u64, size: u64) -> Selected {
    if start >= size {
        return Selected::Unsatisfiable;
    }
    Selected::Part(ByteRange {
        start,
        end: last.min(size - 1) + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(start: u64, end: u64) -> Selected {
        Selected::Part(ByteRange { start, end })
    }

    #[test]
    fn rfc_9110_section_14_1_2() {
        let table: &[(&str, Selected)] = &[
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 1000)),
            ("BYTES=0-0", part(0, 1)),
            ("bytes=-500", part(9_500, 10_000)),
            ("bytes=9500-", part(9_500, 10_000)),
            ("bytes=0-", part(0, 10_000)),
            ("bytes=9999-99999999", part(9_999, 10_000)),
            ("bytes=-99999", part(0, 10_000)),
            ("bytes= 5-6 ", part(5, 7)),
            ("bytes=0-18446744073709551616", part(0, 10_000)),
            ("bytes=10000-", Selected::Unsatisfiable),
            ("bytes=99999999999999999999-", Selected::Unsatisfiable),
            ("bytes=-0", Selected::Unsatisfiable),
            ("bytes=5-4", Selected::Whole),
            ("bytes=-", Selected::Whole),
            ("bytes=", Selected::Whole),
            ("bytes=a-b", Selected::Whole),
            ("bytes=+1-2", Selected::Whole),
            ("bytes=1-2-3", Selected::Whole),
            ("bytes=1", Selected::Whole),
            ("items=0-1", Selected::Whole),
            ("", Selected::Whole),
            ("bytes=0-1,5-6", Selected::Whole),
        ];
        for (field, expected) in table {
            assert_eq!(select(field.as_bytes(), 10_000), *expected, "{field}");
        }
        assert_eq!(
            select(b"bytes=0-", 0),
            Selected::Unsatisfiable,
            "an empty object has no byte 0"
        );
    }

    proptest! {
        #[test]
        fn a_selected_part_is_inside_the_object_and_not_empty(field in ".{0,40}", size in 0u64..1_000_000) {
            if let Selected::Part(range) = select(field.as_bytes(), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn a_range_written_down_is_read_back(start in 0u64..5_000, length in 1u64..5_000) {
            let field = format!("bytes={start}-{}", start + length - 1);
            prop_assert_eq!(select(field.as_bytes(), 10_000), part(start, start + length));
        }
    }
}
