//! Keys and values of the catalog, and the checksum round every value.

use crate::codec::{Decoder, Encoder, Malformed};
use crate::entry::PathEntry;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::{MAX_COPIES, MAX_OBJECT_BYTES, MAX_STRIPE_WIDTH, MAX_TIER_NAME_BYTES};
use crate::stripe::StripeLayout;

/// An object that is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRecord {
    /// Its name.
    pub object: ObjectId,
    /// Bytes.
    pub size: u64,
    /// Its placements, at least one.
    pub copies: Vec<CopyRecord>,
}

/// One placement of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyRecord {
    /// Generation in which its columns were written: a copy that was written anew is another copy.
    pub placed: u64,
    /// How it is cut.
    pub layout: StripeLayout,
    /// Its tier, by name.
    pub tier: Box<str>,
    /// The device of each column.
    pub devices: Box<[DeviceId]>,
    /// Columns that are not read until they are repaired.
    pub bad: ColumnSet,
    /// Generation in which one of its columns was repaired last; 0 if none ever was.
    pub repaired: u64,
}

/// Some columns of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ColumnSet(u8);

const _: () = assert!(MAX_STRIPE_WIDTH <= u8::BITS as usize);

/// Files that are to be unlinked, once no process uses them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoomedRecord {
    /// The first generation that does not lead to them; 0 if none ever did.
    pub since: Generation,
    /// What to unlink.
    pub record: ObjectRecord,
}

impl ColumnSet {
    /// Whether it is one of them.
    pub fn contains(self, column: usize) -> bool {
        column < MAX_STRIPE_WIDTH && self.0 >> column & 1 == 1
    }

    /// Adds a column; false if it was one of them.
    pub fn insert(&mut self, column: usize) -> bool {
        let before = self.0;
        self.0 |= 1 << column;
        self.0 != before
    }

    /// Takes a column out.
    pub fn remove(&mut self, column: usize) {
        self.0 &= !(1 << column);
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Beside the width: a column is or was bad, and more follows.
const WAS_BAD: u8 = 0x80;

impl CopyRecord {
    /// A copy whose columns are good.
    pub(crate) fn new(
        placed: u64,
        layout: StripeLayout,
        tier: Box<str>,
        devices: Box<[DeviceId]>,
    ) -> Self {
        Self {
            placed,
            layout,
            tier,
            devices,
            bad: ColumnSet::default(),
            repaired: 0,
        }
    }

    /// Whether all columns are good, and on a device that `is_here`.
    pub fn is_whole(&self, is_here: impl Fn(&DeviceId) -> bool) -> bool {
        self.bad.is_empty() && self.devices.iter().all(is_here)
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        let was_bad = !self.bad.is_empty() || self.repaired > 0;
        let mark = if was_bad { WAS_BAD } else { 0 };
        out.u64(self.placed)
            .u64(self.layout.stripe_unit())
            .text(&self.tier)
            .u8(self.layout.width() as u8 | mark);
        for device in &self.devices {
            out.bytes(&device.0);
        }
        if was_bad {
            out.u8(self.bad.0).u64(self.repaired);
        }
    }

    fn decode(from: &mut Decoder<'_>, size: u64) -> Result<Self, Malformed> {
        let (placed, stripe_unit) = (from.u64()?, from.u64()?);
        let tier = from.text(MAX_TIER_NAME_BYTES)?.into();
        let marked = from.u8()?;
        let width = usize::from(marked & !WAS_BAD);
        if width > MAX_STRIPE_WIDTH {
            return Err(Malformed::Length);
        }
        let devices = (0..width)
            .map(|_| from.device())
            .collect::<Result<_, _>>()?;
        let layout =
            StripeLayout::new(size, stripe_unit, width).map_err(|_| Malformed::Contradiction)?;
        let mut copy = Self::new(placed, layout, tier, devices);
        if marked & WAS_BAD != 0 {
            copy.bad = ColumnSet(from.u8()?);
            copy.repaired = from.u64()?;
        }
        if u32::from(copy.bad.0) >> width != 0 {
            return Err(Malformed::Contradiction);
        }
        Ok(copy)
    }
}

impl ObjectRecord {
    /// The record of these placements, at least one.
    pub(crate) fn of_copies(object: ObjectId, copies: Vec<CopyRecord>) -> Self {
        Self {
            object,
            size: copies.first().map_or(0, |copy| copy.layout.size()),
            copies,
        }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.bytes(&self.object.0)
            .u64(self.size)
            .u8(self.copies.len() as u8);
        for copy in &self.copies {
            copy.encode(out);
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (object, size, copies) = (from.object()?, from.u64()?, usize::from(from.u8()?));
        if size > MAX_OBJECT_BYTES || copies > MAX_COPIES || copies == 0 {
            return Err(Malformed::Length);
        }
        let copies = (0..copies)
            .map(|_| CopyRecord::decode(from, size))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            object,
            size,
            copies,
        })
    }
}

impl DoomedRecord {
    /// A generation led to it; otherwise its publication was never committed.
    pub(crate) fn was_published(&self) -> bool {
        self.since.0 > 0
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.since.0);
        self.record.encode(out);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            since: Generation(from.u64()?),
            record: ObjectRecord::decode(from)?,
        })
    }
}

/// A path's record: the object, and what the response head says.
pub(crate) fn encode_path(object: &ObjectId, entry: &PathEntry, out: &mut Encoder) {
    out.bytes(&object.0);
    entry.encode(out);
}

pub(crate) fn decode_path(from: &mut Decoder<'_>) -> Result<(ObjectId, PathEntry), Malformed> {
    Ok((from.object()?, PathEntry::decode(from)?))
}

/// The hash by which a path is found: LMDB's keys have at most 511 bytes, paths may be longer.
pub(crate) fn path_key(path: &str) -> [u8; 32] {
    *blake3::hash(path.as_bytes()).as_bytes()
}

/// What a key leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The format's version.
    Format,
    /// The generation.
    Generation,
    /// An [`ObjectRecord`].
    Object(ObjectId),
    /// A path's record, by [`path_key`].
    Path([u8; 32]),
    /// Nothing: a path leads to the object.
    Reference(ObjectId, [u8; 32]),
    /// A [`DoomedRecord`], by object and by the generation in which its columns were written.
    Doomed(ObjectId, u64),
    /// Nothing: the object's sidecars do not yet list its paths as the catalog does.
    Pending(ObjectId),
    /// Which objects and paths the commit of a generation changed.
    Changes(Generation),
}

/// First bytes of keys.
pub(crate) mod prefix {
    pub(crate) const HEAD: u8 = b'h';
    pub(crate) const OBJECT: u8 = b'o';
    pub(crate) const PATH: u8 = b'p';
    pub(crate) const REFERENCE: u8 = b'r';
    pub(crate) const DOOMED: u8 = b'd';
    pub(crate) const PENDING: u8 = b's';
    pub(crate) const CHANGES: u8 = b'c';
}

impl Key {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut key = Encoder::default();
        match self {
            Self::Format => key.u8(prefix::HEAD).bytes(b"format"),
            Self::Generation => key.u8(prefix::HEAD).bytes(b"generation"),
            Self::Object(object) => key.u8(prefix::OBJECT).bytes(&object.0),
            Self::Path(path) => key.u8(prefix::PATH).bytes(path),
            Self::Reference(object, path) => key.u8(prefix::REFERENCE).bytes(&object.0).bytes(path),
            Self::Doomed(object, placed) => key.u8(prefix::DOOMED).bytes(&object.0).u64(*placed),
            Self::Pending(object) => key.u8(prefix::PENDING).bytes(&object.0),
            Self::Changes(generation) => key.u8(prefix::CHANGES).u64(generation.0),
        };
        key.0
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes);
        let key = match from.u8()? {
            prefix::HEAD if &bytes[1..] == b"format" => return Ok(Self::Format),
            prefix::HEAD if &bytes[1..] == b"generation" => return Ok(Self::Generation),
            prefix::OBJECT => Self::Object(from.object()?),
            prefix::PATH => Self::Path(from.object()?.0),
            prefix::REFERENCE => Self::Reference(from.object()?, from.object()?.0),
            prefix::DOOMED => Self::Doomed(from.object()?, from.u64()?),
            prefix::PENDING => Self::Pending(from.object()?),
            prefix::CHANGES => Self::Changes(Generation(from.u64()?)),
            _ => return Err(Malformed::Contradiction),
        };
        from.finish()?;
        Ok(key)
    }
}

/// A value as it is stored: the payload, then the CRC-32 of key and payload, so that neither can be exchanged.
pub(crate) fn seal(key: &[u8], payload: Encoder) -> Vec<u8> {
    let mut out = payload;
    let crc = checksum(key, &out.0);
    out.u32(crc);
    out.0
}

/// The payload of a stored value, if its checksum holds.
pub(crate) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (payload, crc) = value.split_last_chunk::<4>()?;
    (checksum(key, payload) == u32::from_le_bytes(*crc)).then_some(payload)
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::codec::documented;
    use crate::entry;
    use crate::limits::MIN_STRIPE_UNIT_BYTES;
    use proptest::prelude::*;

    fn record() -> ObjectRecord {
        let layout = StripeLayout::new(3 << 20, MIN_STRIPE_UNIT_BYTES, 2).unwrap();
        let devices = [DeviceId([2; 16]), DeviceId([3; 16])];
        let copy = CopyRecord::new(9, layout, "hdd".into(), devices.into());
        ObjectRecord::of_copies(ObjectId([1; 32]), vec![copy])
    }

    fn encoded(encode: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut out = Encoder::default();
        encode(&mut out);
        out.0
    }

    #[test]
    fn table_of_objects_both_ways() {
        let bytes = [
            &[1; 32][..],
            &[0, 0, 48, 0, 0, 0, 0, 0],
            &[1],
            &[9, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 16, 0, 0, 0, 0, 0],
            b"\x03\0hdd",
            &[2],
            &[2; 16],
            &[3; 16],
        ]
        .concat();
        assert_eq!(encoded(|out| record().encode(out)), bytes);
        let mut from = Decoder::new(&bytes);
        assert_eq!(ObjectRecord::decode(&mut from).unwrap(), record());
        from.finish().unwrap();
        let doomed = DoomedRecord {
            since: Generation(7),
            record: record(),
        };
        let bytes = [&[7, 0, 0, 0, 0, 0, 0, 0][..], &bytes].concat();
        assert_eq!(encoded(|out| doomed.encode(out)), bytes);
        assert_eq!(
            DoomedRecord::decode(&mut Decoder::new(&bytes)).unwrap(),
            doomed
        );
    }

    #[test]
    fn a_copy_that_was_bad_says_so_and_takes_more_bytes() {
        let good = encoded(|out| record().encode(out));
        let mut record = record();
        let copy = &mut record.copies[0];
        assert!(copy.bad.insert(1) && !copy.bad.insert(1));
        copy.repaired = 7;
        let mut bytes = good;
        bytes[62] = 0x82;
        bytes.extend_from_slice(&[2, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encoded(|out| record.encode(out)), bytes);
        let decode = |bytes: &[u8]| ObjectRecord::decode(&mut Decoder::new(bytes));
        assert_eq!(decode(&bytes), Ok(record));
        // A column that it has not.
        bytes[95] = 4;
        assert_eq!(decode(&bytes), Err(Malformed::Contradiction));
    }

    #[test]
    fn the_documented_examples_are_some() {
        let page = include_str!("../../../docs/formats/catalog.md");
        let record = |key: &[u8], value: &[u8]| {
            let payload = unseal(key, value).expect("its checksum holds").to_vec();
            let mut from = Decoder::new(&payload);
            let decoded = match Key::parse(key).unwrap() {
                Key::Object(object) => (object, ObjectRecord::decode(&mut from).unwrap(), 0),
                Key::Doomed(object, _) => {
                    let doomed = DoomedRecord::decode(&mut from).unwrap();
                    (object, doomed.record, doomed.since.0)
                }
                other => panic!("{other:?}"),
            };
            from.finish().unwrap();
            decoded
        };
        let examples = documented::examples(page);
        assert_eq!(examples.len(), 3);
        for (bytes, (is_bad, since)) in examples.iter().zip([(false, 0), (true, 0), (false, 9)]) {
            let (key, value) = bytes.split_at(if since > 0 { 41 } else { 33 });
            let (object, found, doomed_since) = record(key, value);
            assert_eq!(object, ObjectId(*blake3::hash(b"hello").as_bytes()));
            assert_eq!((found.object, found.size, doomed_since), (object, 5, since));
            assert_eq!(found.copies[0].bad.contains(0), is_bad);
            let mut payload = Encoder::default();
            match since {
                0 => found.encode(&mut payload),
                _ => DoomedRecord {
                    since: Generation(since),
                    record: found,
                }
                .encode(&mut payload),
            }
            assert_eq!(seal(key, payload), value);
        }
    }

    #[test]
    fn table_of_keys_both_ways() {
        let object = ObjectId([1; 32]);
        let table = [
            (Key::Format, b"hformat".to_vec()),
            (Key::Generation, b"hgeneration".to_vec()),
            (Key::Object(object), [b"o".as_slice(), &[1; 32]].concat()),
            (Key::Path([2; 32]), [b"p".as_slice(), &[2; 32]].concat()),
            (
                Key::Reference(object, [2; 32]),
                [b"r".as_slice(), &[1; 32], &[2; 32]].concat(),
            ),
            (
                Key::Doomed(object, 3),
                [b"d".as_slice(), &[1; 32], &[3, 0, 0, 0, 0, 0, 0, 0]].concat(),
            ),
            (Key::Pending(object), [b"s".as_slice(), &[1; 32]].concat()),
            (Key::Changes(Generation(3)), b"c\x03\0\0\0\0\0\0\0".to_vec()),
        ];
        for (key, bytes) in table {
            assert_eq!(key.bytes(), bytes);
            assert_eq!(Key::parse(&bytes), Ok(key));
        }
        assert!(
            Key::parse(b"").is_err() && Key::parse(b"x").is_err() && Key::parse(b"hx").is_err()
        );
    }

    #[test]
    fn every_flipped_bit_of_key_or_value_is_detected() {
        let key = Key::Object(ObjectId([1; 32])).bytes();
        let mut payload = Encoder::default();
        record().encode(&mut payload);
        let sealed = [key.clone(), seal(&key, payload)].concat();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (key, value) = flipped.split_at(key.len());
            assert_eq!(unseal(key, value), None, "bit {bit}");
        }
        assert!(unseal(&key, &sealed[key.len()..]).is_some());
        assert_eq!(unseal(&key, b"abc"), None);
    }

    proptest! {
        #[test]
        fn paths_round_trip(object: [u8; 32], entry in entry::tests::entries()) {
            let object = ObjectId(object);
            let bytes = encoded(|out| encode_path(&object, &entry, out));
            prop_assert_eq!(decode_path(&mut Decoder::new(&bytes)), Ok((object, entry)));
        }

        #[test]
        fn any_bytes_end_in_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ObjectRecord::decode(&mut Decoder::new(&bytes));
            let _ = DoomedRecord::decode(&mut Decoder::new(&bytes));
            let _ = decode_path(&mut Decoder::new(&bytes));
            let _ = Key::parse(&bytes);
            let _ = unseal(b"key", &bytes);
        }
    }
}
