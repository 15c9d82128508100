//! The `Range` field (RFC 9110 section 14): text in, a [`ByteRange`] of the object out, or a [`RangeSet`].
//!
//! Several ranges are answered as `multipart/byteranges` in the order in which they were asked for; those that overlap, or
//! lie closer together than a part's head is long, become one. What section 14.2 warns of is not served as parts: the field
//! is ignored, as if the client could not do ranges.

use crate::limits::{PART_GAP_BYTES, RANGES, SMALL_RANGE_BYTES, SMALL_UNORDERED_RANGES};

/// Bytes `start..end` of an object, never empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether sending both as one costs no more than a part of its own would.
    fn is_near(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(PART_GAP_BYTES)
            && other.start <= self.end.saturating_add(PART_GAP_BYTES)
    }

    fn joined(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// Ranges of one object, at most [`RANGES`]. Neither empty nor near to each other once [`select`] gave them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeSet {
    ranges: [ByteRange; RANGES],
    count: usize,
}

impl RangeSet {
    /// The ranges, in the order in which they are sent.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    fn push(&mut self, range: ByteRange) -> Option<()> {
        *self.ranges.get_mut(self.count)? = range;
        self.count += 1;
        Some(())
    }

    /// RFC 9110 section 14.2: more than two ranges that overlap, or many small ones in no order.
    fn is_abuse(&self) -> bool {
        let ranges = self.ranges();
        let overlapping = |at: &usize| {
            let mut others = ranges.iter().enumerate();
            others.any(|(other, range)| other != *at && range.overlaps(ranges[*at]))
        };
        let small = ranges
            .iter()
            .filter(|range| range.length() < SMALL_RANGE_BYTES);
        (0..self.count).filter(overlapping).count() > 2
            || (!ranges.is_sorted_by_key(|range| range.start)
                && small.count() > SMALL_UNORDERED_RANGES)
    }

    /// Joins what is near, at the place of the first (sections 14.2, 15.3.7.2).
    fn coalesce(&mut self) {
        let all = *self;
        self.count = 0;
        for range in all.ranges() {
            let mut joined = *range;
            let mut place = self.count;
            // What has grown may reach another one: look again, until none is near.
            while let Some(near) = self.ranges().iter().position(|other| other.is_near(joined)) {
                joined = joined.joined(self.remove(near));
                place = place.min(near);
            }
            self.insert(place, joined);
        }
    }

    fn remove(&mut self, at: usize) -> ByteRange {
        self.ranges[at..self.count].rotate_left(1);
        self.count -= 1;
        self.ranges[self.count]
    }

    fn insert(&mut self, at: usize, range: ByteRange) {
        self.ranges[self.count] = range;
        self.count += 1;
        self.ranges[at..self.count].rotate_right(1);
    }
}

/// What a `Range` field means for an object of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The field is absent, malformed, of another unit or asks too much: it is ignored, as RFC 9110 section 14.2 allows.
    Whole,
    /// One satisfiable range.
    Part(ByteRange),
    /// Several, in the set.
    Parts,
    /// Well formed, but no byte of the object is in it: 416.
    Unsatisfiable,
}

/// Reads the value of a `Range` field for an object of `size` bytes. `set` is overwritten.
pub fn select(field: &[u8], size: u64, set: &mut RangeSet) -> Selected {
    set.count = 0;
    if satisfiable(field, size, set).is_none() || set.is_abuse() {
        return Selected::Whole;
    }
    set.coalesce();
    match set.ranges() {
        [] => Selected::Unsatisfiable,
        [range] => Selected::Part(*range),
        _ => Selected::Parts,
    }
}

/// Collects the ranges that have a byte in the object; `None` if a range is malformed, or there are none or too many.
fn satisfiable(field: &[u8], size: u64, set: &mut RangeSet) -> Option<()> {
    let (unit, list) = field.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(())?;
    let mut asked = 0;
    for spec in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        // Section 5.6.1.2: empty members of a list are ignored.
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        (asked <= RANGES).then_some(())?;
        if let Some(range) = range_of(spec, size)? {
            set.push(range)?;
        }
    }
    (asked > 0).then_some(())
}

/// `first-last`, `first-` or `-length` (section 14.1.2). Outer `None`: malformed; inner `None`: nothing of the object.
fn range_of(spec: &[u8], size: u64) -> Option<Option<ByteRange>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let (start, end) = match (first.is_empty(), last.is_empty()) {
        (true, _) => (size - digits(last)?.min(size), size),
        (false, true) => (digits(first)?, size),
        (false, false) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then_some(())?;
            (first, last.saturating_add(1).min(size))
        }
    };
    Some((start < end).then_some(ByteRange { start, end }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(start: u64, end: u64) -> Selected {
        Selected::Part(ByteRange { start, end })
    }

    fn one(field: &str, size: u64) -> Selected {
        select(field.as_bytes(), size, &mut RangeSet::default())
    }

    /// What is sent of an object of 10 MB: `first-last` of each range.
    fn several(field: &str) -> Vec<(u64, u64)> {
        let mut set = RangeSet::default();
        match select(field.as_bytes(), 10_000_000, &mut set) {
            Selected::Whole => vec![(0, u64::MAX)],
            Selected::Unsatisfiable => Vec::new(),
            Selected::Part(range) => vec![(range.start, range.end - 1)],
            Selected::Parts => {
                let ranges = set.ranges().iter();
                ranges.map(|range| (range.start, range.end - 1)).collect()
            }
        }
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
            ("bytes=,5-6,,", part(5, 7)),
            ("bytes=0-18446744073709551616", part(0, 10_000)),
            ("bytes=10000-", Selected::Unsatisfiable),
            ("bytes=99999999999999999999-", Selected::Unsatisfiable),
            ("bytes=-0", Selected::Unsatisfiable),
            ("bytes=-0,10000-", Selected::Unsatisfiable),
            ("bytes=5-4", Selected::Whole),
            ("bytes=0-1,5-4", Selected::Whole),
            ("bytes=-", Selected::Whole),
            ("bytes=", Selected::Whole),
            ("bytes=,", Selected::Whole),
            ("bytes=a-b", Selected::Whole),
            ("bytes=+1-2", Selected::Whole),
            ("bytes=1-2-3", Selected::Whole),
            ("bytes=1", Selected::Whole),
            ("items=0-1", Selected::Whole),
            ("", Selected::Whole),
        ];
        for (field, expected) in table {
            assert_eq!(one(field, 10_000), *expected, "{field}");
        }
        assert_eq!(
            one("bytes=0-", 0),
            Selected::Unsatisfiable,
            "an empty object has no byte 0"
        );
    }

    #[test]
    fn rfc_9110_section_14_2_several_ranges() {
        let whole = || vec![(0, u64::MAX)];
        let table: &[(&str, Vec<(u64, u64)>)] = &[
            ("bytes=0-1,5000-5001", vec![(0, 1), (5000, 5001)]),
            ("bytes=5000-5001, 0-1", vec![(5000, 5001), (0, 1)]),
            ("bytes=0-1,-2", vec![(0, 1), (9_999_998, 9_999_999)]),
            // One is left.
            ("bytes=0-1,10000000-", vec![(0, 1)]),
            // Near, touching, overlapping, inside: one.
            ("bytes=0-1,5-6", vec![(0, 6)]),
            ("bytes=0-99,100-199", vec![(0, 199)]),
            ("bytes=100-300,0-199", vec![(0, 300)]),
            ("bytes=0-9999,5-6", vec![(0, 9999)]),
            ("bytes=0-,0-1", vec![(0, 9_999_999)]),
            // The last one joins the two before it, at the place of the first.
            (
                "bytes=9000-9999,0-99,5000-5099,100-4999",
                vec![(9000, 9999), (0, 5099)],
            ),
            // More than two overlap.
            ("bytes=0-,0-,0-", whole()),
            ("bytes=0-10,5-20,15-30", whole()),
            // Many small ones in no order; in order they are served.
            (
                "bytes=9000-9001,7000-7001,5000-5001,3000-3001,1000-1001",
                whole(),
            ),
            (
                "bytes=1000-1001,3000-3001,5000-5001,7000-7001,9000-9001",
                vec![
                    (1000, 1001),
                    (3000, 3001),
                    (5000, 5001),
                    (7000, 7001),
                    (9000, 9001),
                ],
            ),
        ];
        for (field, expected) in table {
            assert_eq!(several(field), *expected, "{field}");
        }
        let many = |count: usize| {
            let specs = (0..count).map(|at| format!("{}-{}", at * 1000, at * 1000 + 1));
            several(&format!("bytes={}", specs.collect::<Vec<_>>().join(",")))
        };
        assert_eq!(many(RANGES).len(), RANGES);
        assert_eq!(many(RANGES + 1), whole());
    }

    proptest! {
        #[test]
        fn a_selected_part_is_inside_the_object_and_not_empty(field in ".{0,40}", size in 0u64..1_000_000) {
            if let Selected::Part(range) = one(&field, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn a_range_written_down_is_read_back(start in 0u64..5_000, length in 1u64..5_000) {
            let field = format!("bytes={start}-{}", start + length - 1);
            prop_assert_eq!(one(&field, 10_000), part(start, start + length));
        }

        /// What is asked for is what is sent, with no byte twice, and nothing else but what is cheaper to send than to leave out.
        #[test]
        fn ranges_of_a_set_hold_what_was_asked_and_are_apart(
            asked in proptest::collection::vec((0u64..3_000, 1u64..300), 1..RANGES),
        ) {
            let specs = asked.iter().map(|(start, length)| format!("{start}-{}", start + length - 1));
            let field = format!("bytes={}", specs.collect::<Vec<_>>().join(","));
            let sent = several(&field);
            prop_assume!(sent != [(0, u64::MAX)]);
            for (start, length) in &asked {
                let holders = sent.iter().filter(|(first, last)| first <= start && start + length - 1 <= *last);
                prop_assert_eq!(holders.count(), 1);
            }
            for (at, one) in sent.iter().enumerate() {
                for other in &sent[at + 1..] {
                    prop_assert!(one.1 + PART_GAP_BYTES < other.0 || other.1 + PART_GAP_BYTES < one.0);
                }
            }
        }
    }
}
