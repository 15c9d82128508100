//! The stripe map: which bytes of an object lie where in which column. Pure arithmetic, nothing allocated.
//!
//! An object is cut into stripe units; unit `n` lies in column `n % width`, at place `n / width` of that column.
//! Columns are dense: each is exactly as long as the units in it, and only the object's last unit may be short.

use std::ops::Range;

use crate::limits::{
    GROUP_BYTES, MAX_OBJECT_BYTES, MAX_STRIPE_UNIT_BYTES, MAX_STRIPE_WIDTH, MIN_STRIPE_UNIT_BYTES,
};

/// How one copy of an object is cut. Recorded with the copy, so configuration changes touch new objects only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StripeLayout {
    size: u64,
    /// The stripe unit, in groups.
    unit_groups: u16,
    width: u8,
}

/// A part of a range that is contiguous in one column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Index of the column.
    pub column: usize,
    /// Offset of the first byte in the column file.
    pub offset: u64,
    /// Number of bytes, never 0.
    pub length: u64,
}

/// Numbers that are no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLayout {
    /// The object is too large.
    #[error("an object of {0} bytes is larger than {MAX_OBJECT_BYTES}")]
    Size(u64),
    /// The stripe unit is not a multiple of the group, or out of its bounds.
    #[error("a stripe unit of {0} bytes is not a multiple of 1 MiB between 1 MiB and 1 GiB")]
    StripeUnit(u64),
    /// The width is 0 or too large, or leaves columns empty.
    #[error(
        "a stripe width of {0} does not fit the object (1 to {MAX_STRIPE_WIDTH}, no empty column)"
    )]
    Width(usize),
}

impl StripeLayout {
    /// The layout of a copy that is recorded to have `width` columns.
    pub const fn new(size: u64, stripe_unit: u64, width: usize) -> Result<Self, BadLayout> {
        if size > MAX_OBJECT_BYTES {
            return Err(BadLayout::Size(size));
        }
        if stripe_unit < MIN_STRIPE_UNIT_BYTES
            || stripe_unit > MAX_STRIPE_UNIT_BYTES
            || !stripe_unit.is_multiple_of(GROUP_BYTES)
        {
            return Err(BadLayout::StripeUnit(stripe_unit));
        }
        if width == 0
            || width > MAX_STRIPE_WIDTH
            || (width > 1 && size.div_ceil(stripe_unit) < width as u64)
        {
            return Err(BadLayout::Width(width));
        }
        Ok(Self {
            size,
            unit_groups: (stripe_unit / GROUP_BYTES) as u16,
            width: width as u8,
        })
    }

    /// The layout of a new object in a tier of `tier_width`: never more columns than stripe units, so an object of
    /// one unit or less, an empty one too, has one column.
    pub const fn for_object(
        size: u64,
        stripe_unit: u64,
        tier_width: usize,
    ) -> Result<Self, BadLayout> {
        if stripe_unit == 0 {
            return Err(BadLayout::StripeUnit(0));
        }
        let units = size.div_ceil(stripe_unit);
        let width = if units < tier_width as u64 {
            units as usize
        } else {
            tier_width
        };
        Self::new(size, stripe_unit, if width == 0 { 1 } else { width })
    }

    /// Bytes of the object.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a stripe unit.
    pub const fn stripe_unit(&self) -> u64 {
        self.unit_groups as u64 * GROUP_BYTES
    }

    /// Number of columns.
    pub const fn width(&self) -> usize {
        self.width as usize
    }

    /// Bytes of a column; 0 for one that does not exist.
    pub const fn column_length(&self, column: usize) -> u64 {
        if column >= self.width() {
            return 0;
        }
        let row = self.stripe_unit() * self.width as u64;
        let rest = (self.size % row).saturating_sub(column as u64 * self.stripe_unit());
        self.size / row * self.stripe_unit()
            + if rest < self.stripe_unit() {
                rest
            } else {
                self.stripe_unit()
            }
    }

    /// Where the byte at `offset` of the object lies: column and offset in it.
    pub const fn locate(&self, offset: u64) -> (usize, u64) {
        let unit = offset / self.stripe_unit();
        let width = self.width as u64;
        (
            (unit % width) as usize,
            unit / width * self.stripe_unit() + offset % self.stripe_unit(),
        )
    }

    /// The object's offset of a byte of a column: the inverse of [`locate`](Self::locate).
    pub const fn object_offset(&self, column: usize, offset: u64) -> u64 {
        let unit = offset / self.stripe_unit() * self.width as u64 + column as u64;
        unit * self.stripe_unit() + offset % self.stripe_unit()
    }

    /// The pieces of a range, in the order of the object's bytes. A range beyond the end is cut there.
    pub const fn pieces(&self, range: Range<u64>) -> Pieces {
        let end = if range.end < self.size {
            range.end
        } else {
            self.size
        };
        Pieces {
            layout: *self,
            next: range.start,
            end,
        }
    }
}

/// The pieces of one range; see [`StripeLayout::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces {
    layout: StripeLayout,
    next: u64,
    end: u64,
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.next >= self.end {
            return None;
        }
        let unit = self.layout.stripe_unit();
        // With one column, units follow each other in the file: the whole range is one piece.
        let to_unit_end = if self.layout.width == 1 {
            u64::MAX
        } else {
            unit - self.next % unit
        };
        let length = to_unit_end.min(self.end - self.next);
        let (column, offset) = self.layout.locate(self.next);
        self.next += length;
        Some(Piece {
            column,
            offset,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIT: u64 = MIN_STRIPE_UNIT_BYTES;

    #[test]
    fn table_of_layouts() {
        // (size, tier width) -> column lengths
        let table: &[(u64, usize, &[u64])] = &[
            (0, 2, &[0]),
            (1, 2, &[1]),
            (UNIT, 4, &[UNIT]),
            (UNIT + 1, 2, &[UNIT, 1]),
            (2 * UNIT, 2, &[UNIT, UNIT]),
            (3 * UNIT + 5, 2, &[2 * UNIT, UNIT + 5]),
            (5 * UNIT, 3, &[2 * UNIT, 2 * UNIT, UNIT]),
            (
                9 * UNIT - 1,
                4,
                &[3 * UNIT - 1, 2 * UNIT, 2 * UNIT, 2 * UNIT],
            ),
        ];
        for (size, tier_width, lengths) in table {
            let layout = StripeLayout::for_object(*size, UNIT, *tier_width).unwrap();
            let found: Vec<_> = (0..layout.width())
                .map(|column| layout.column_length(column))
                .collect();
            assert_eq!(&found, lengths, "{size} over {tier_width}");
        }
    }

    #[test]
    fn numbers_that_are_no_layout_are_refused() {
        assert_eq!(
            StripeLayout::new(1, UNIT + 1, 1),
            Err(BadLayout::StripeUnit(UNIT + 1))
        );
        assert_eq!(StripeLayout::new(1, 0, 1), Err(BadLayout::StripeUnit(0)));
        assert_eq!(
            StripeLayout::for_object(1, 0, 1),
            Err(BadLayout::StripeUnit(0))
        );
        assert_eq!(
            StripeLayout::new(9 * UNIT, UNIT, 5),
            Err(BadLayout::Width(5))
        );
        assert_eq!(StripeLayout::new(UNIT, UNIT, 2), Err(BadLayout::Width(2)));
        assert_eq!(
            StripeLayout::new(u64::MAX, UNIT, 1),
            Err(BadLayout::Size(u64::MAX))
        );
    }

    fn layouts() -> impl Strategy<Value = StripeLayout> {
        (0..40 * UNIT, 1..4u64, 1..=MAX_STRIPE_WIDTH).prop_map(|(size, units, width)| {
            StripeLayout::for_object(size, units * UNIT, width).unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_byte_of_a_range_comes_once_and_in_order(layout in layouts(), a in 0..41 * UNIT, b in 0..41 * UNIT) {
            let (start, end) = (a.min(b), a.max(b));
            let mut next = start;
            let mut columns = std::collections::BTreeSet::new();
            for piece in layout.pieces(start..end) {
                prop_assert!(piece.length > 0);
                prop_assert!(piece.offset + piece.length <= layout.column_length(piece.column));
                // both ends map back to where the range has come to
                prop_assert_eq!(layout.object_offset(piece.column, piece.offset), next);
                let last = piece.offset + piece.length - 1;
                prop_assert_eq!(layout.object_offset(piece.column, last), next + piece.length - 1);
                prop_assert_eq!(layout.locate(next), (piece.column, piece.offset));
                columns.insert(piece.column);
                next += piece.length;
            }
            prop_assert_eq!(next.max(start), end.min(layout.size()).max(start));
            prop_assert!(columns.len() <= layout.width());
        }

        #[test]
        fn columns_are_dense(layout in layouts()) {
            let total: u64 = (0..layout.width()).map(|column| layout.column_length(column)).sum();
            prop_assert_eq!(total, layout.size());
            let mut filled = [0; MAX_STRIPE_WIDTH];
            for piece in layout.pieces(0..layout.size()) {
                prop_assert_eq!(piece.offset, filled[piece.column]);
                filled[piece.column] += piece.length;
            }
            for (column, filled) in filled.into_iter().enumerate() {
                prop_assert_eq!(filled, layout.column_length(column));
            }
        }

        #[test]
        fn a_group_never_crosses_a_column(layout in layouts(), group in 0..40u64) {
            let range = group * GROUP_BYTES..(group + 1) * GROUP_BYTES;
            prop_assert!(layout.pieces(range).count() <= 1);
        }
    }
}
