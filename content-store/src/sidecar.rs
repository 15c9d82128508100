//! The sidecar, `<object id>.meta`: everything about one column that is not in the column, beside it on its device.
//!
//! The sidecars are the truth about what an appliance holds; the catalog is a cache of them. Byte by byte in
//! `docs/formats/sidecar.md`. Decoding takes any bytes and ends in a sidecar or in a [`BadSidecar`], never in a panic.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::chunk_tree::{BadTree, ChunkTree, GroupValue, group_count};
use crate::codec::{Decoder, Encoder, Malformed};
use crate::entry::PathEntry;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{
    CRC_BLOCK_BYTES, MAX_OBJECT_BYTES, MAX_PATHS_PER_OBJECT, MAX_SIDECAR_BYTES, MAX_STRIPE_WIDTH,
    MAX_TIER_NAME_BYTES,
};
use crate::stripe::StripeLayout;

const MAGIC: &[u8; 8] = b"OCA-META";
/// The version that is written, and the newest that is read.
pub const SIDECAR_FORMAT: u32 = 1;
/// Magic, version, length of the file.
const HEAD_BYTES: usize = 20;
const CRC_BYTES: usize = 4;

/// The content of a sidecar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sidecar {
    /// The object: the BLAKE3 root.
    pub object: ObjectId,
    /// Size, stripe unit and width.
    pub layout: StripeLayout,
    /// Generation in which this copy's columns were written.
    pub placed: u64,
    /// Generation in which `paths` was set: of two sidecars of an object the higher one knows better.
    pub revision: u64,
    /// Tier of this copy.
    pub tier: Box<str>,
    /// Which copy of the object this is, from 0.
    pub copy: u8,
    /// Index of this column in `devices`.
    pub column: u8,
    /// The stripe set, one device for each column.
    pub devices: Box<[DeviceId]>,
    /// The paths that lead to the object; none if it has been replaced or removed.
    pub paths: Vec<PathEntry>,
    /// Values of all groups of the object, not only of this column: any one sidecar can verify any group.
    pub groups: Box<[GroupValue]>,
    /// CRC-32 of each 64 KiB block of this column.
    pub crcs: Box<[u32]>,
}

/// A file that is no sidecar that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum BadSidecar {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not begin like a sidecar.
    #[error("this is not a sidecar")]
    Magic,
    /// Its checksum does not hold: the disk has changed it.
    #[error("its checksum does not hold")]
    Checksum,
    /// A newer program wrote it.
    #[error(
        "sidecar format {0} is newer than this program reads ({SIDECAR_FORMAT}): install a newer version"
    )]
    NewerFormat(u32),
    /// It is not the one of the column beside it.
    #[error("it belongs to another column")]
    OfAnotherColumn,
    /// Its checksum holds, but it makes no sense.
    #[error("its content is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// Number of CRC blocks in a column.
pub const fn crc_count(column_length: u64) -> u64 {
    column_length.div_ceil(CRC_BLOCK_BYTES)
}

/// Bytes of the sidecar of a column, whose paths take `path_bytes`.
pub(crate) fn encoded_bytes(
    layout: &StripeLayout,
    column: usize,
    tier: &str,
    path_bytes: u64,
) -> u64 {
    let fixed = HEAD_BYTES + CRC_BYTES + 32 + 4 * 8 + 2 + tier.len() + 3 + 16 * layout.width() + 2;
    let values = 32 * group_count(layout.size()) + 4 * crc_count(layout.column_length(column));
    fixed as u64 + path_bytes + values
}

impl Sidecar {
    /// Bytes of this sidecar's column.
    pub fn column_length(&self) -> u64 {
        self.layout.column_length(usize::from(self.column))
    }

    /// The object's tree; fails if root and values do not belong together.
    pub fn tree(&self) -> Result<ChunkTree, BadTree> {
        ChunkTree::new(self.object, self.layout.size(), self.groups.clone())
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.bytes(MAGIC).u32(SIDECAR_FORMAT).u64(0);
        self.encode_body(&mut out);
        let mut bytes = out.0;
        let length = (bytes.len() + CRC_BYTES) as u64;
        bytes[12..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn encode_body(&self, out: &mut Encoder) {
        out.bytes(&self.object.0)
            .u64(self.layout.size())
            .u64(self.layout.stripe_unit());
        out.u64(self.placed).u64(self.revision).text(&self.tier);
        out.u8(self.copy)
            .u8(self.column)
            .u8(self.layout.width() as u8);
        for device in &self.devices {
            out.bytes(&device.0);
        }
        out.u16(
            u16::try_from(self.paths.len())
                .expect("MAX_PATHS_PER_OBJECT is checked when a path is added"),
        );
        for path in &self.paths {
            path.encode(out);
        }
        for group in &self.groups {
            out.bytes(group);
        }
        for crc in &self.crcs {
            out.u32(*crc);
        }
    }

    /// Reads the bytes of a file. The order is: magic, checksum, version, content; so a flipped bit is never taken
    /// for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSidecar> {
        if !bytes.starts_with(MAGIC) {
            return Err(BadSidecar::Magic);
        }
        let (body, crc) = bytes
            .split_last_chunk::<CRC_BYTES>()
            .ok_or(BadSidecar::Checksum)?;
        if body.len() < HEAD_BYTES || crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(BadSidecar::Checksum);
        }
        let mut head = Decoder::new(&body[MAGIC.len()..]);
        let (version, length) = (head.u32()?, head.u64()?);
        if version > SIDECAR_FORMAT {
            return Err(BadSidecar::NewerFormat(version));
        }
        if version == 0 || length != bytes.len() as u64 {
            return Err(Malformed::Contradiction.into());
        }
        Ok(Self::decode_body(Decoder::new(&body[HEAD_BYTES..]))?)
    }

    fn decode_body(mut from: Decoder<'_>) -> Result<Self, Malformed> {
        let object = from.object()?;
        let (size, stripe_unit) = (from.u64()?, from.u64()?);
        let (placed, revision) = (from.u64()?, from.u64()?);
        let tier = from.text(MAX_TIER_NAME_BYTES)?.into();
        let (copy, column, width) = (from.u8()?, from.u8()?, usize::from(from.u8()?));
        if size > MAX_OBJECT_BYTES || width > MAX_STRIPE_WIDTH {
            return Err(Malformed::Length);
        }
        let layout =
            StripeLayout::new(size, stripe_unit, width).map_err(|_| Malformed::Contradiction)?;
        if usize::from(column) >= width {
            return Err(Malformed::Contradiction);
        }
        let devices = (0..width)
            .map(|_| from.device())
            .collect::<Result<_, _>>()?;
        let paths = usize::from(from.u16()?);
        if paths > MAX_PATHS_PER_OBJECT {
            return Err(Malformed::Length);
        }
        let paths = (0..paths)
            .map(|_| PathEntry::decode(&mut from))
            .collect::<Result<_, _>>()?;
        let groups = from.values(group_count(size))?;
        let crcs = from.u32s(crc_count(layout.column_length(usize::from(column))))?;
        from.finish()?;
        Ok(Self {
            object,
            layout,
            placed,
            revision,
            tier,
            copy,
            column,
            devices,
            paths,
            groups,
            crcs,
        })
    }

    /// Reads a sidecar. Blocks on the device.
    pub fn read(path: &Path) -> Result<Self, BadSidecar> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_SIDECAR_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SIDECAR_BYTES {
            return Err(Malformed::Length.into());
        }
        Self::decode(&bytes)
    }

    /// Writes a new file and syncs it; the name is durable only after its folder is synced too.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(&self.encode())?;
        file.sync_all()
    }

    /// Puts this in the place of `path`, by way of `staged` on the same file system: a crash leaves the old or the
    /// new sidecar.
    pub fn replace(&self, path: &Path, staged: &Path) -> io::Result<()> {
        match fs::remove_file(staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write_new(staged)?;
        fs::rename(staged, path)?;
        platform::file::sync_directory(path.parent().unwrap_or(Path::new("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::documented;
    use crate::entry;
    use crate::limits::{GROUP_BYTES, MIN_STRIPE_UNIT_BYTES};
    use proptest::prelude::*;

    fn small() -> Sidecar {
        Sidecar {
            object: ObjectId([1; 32]),
            layout: StripeLayout::new(5, MIN_STRIPE_UNIT_BYTES, 1).unwrap(),
            placed: 3,
            revision: 4,
            tier: "nvme".into(),
            copy: 0,
            column: 0,
            devices: [DeviceId([2; 16])].into(),
            paths: vec![PathEntry {
                path: "/a".into(),
                serial: 4,
                content_type: "b".into(),
                cache_control: "c".into(),
                modified_s: 5,
            }],
            groups: [[6; 32]].into(),
            crcs: [7].into(),
        }
    }

    /// The bytes of [`small`]; the checksum comes last.
    fn small_bytes() -> Vec<u8> {
        let parts: &[&[u8]] = &[
            b"OCA-META",
            &[1, 0, 0, 0],
            &[177, 0, 0, 0, 0, 0, 0, 0],
            &[1; 32],
            &[5, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 16, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            b"\x04\0nvme",
            &[0, 0, 1],
            &[2; 16],
            &[1, 0],
            b"\x02\0/a",
            &[4, 0, 0, 0, 0, 0, 0, 0],
            b"\x01\0b\x01\0c",
            &[5, 0, 0, 0, 0, 0, 0, 0],
            &[6; 32],
            &[7, 0, 0, 0],
        ];
        let mut bytes = parts.concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn table_both_ways() {
        assert_eq!(small().encode(), small_bytes());
        let paths = small().paths[0].encoded_bytes();
        let length = encoded_bytes(&small().layout, 0, &small().tier, paths);
        assert_eq!(length, small_bytes().len() as u64);
        assert_eq!(Sidecar::decode(&small_bytes()).unwrap(), small());
    }

    #[test]
    fn the_documented_example_is_one() {
        let page = include_str!("../../docs/formats/sidecar.md");
        let examples = documented::examples(page);
        let bytes = &examples[0];
        let sidecar = Sidecar::decode(bytes).unwrap();
        assert_eq!(&sidecar.encode(), bytes);
        assert_eq!(sidecar.tree().unwrap(), ChunkTree::of(b"hello"));
        assert_eq!(*sidecar.crcs, [crc32fast::hash(b"hello")]);
        assert_eq!((sidecar.placed, sidecar.revision), (3, 4));
        assert_eq!(&*sidecar.paths[0].path, "/hello.txt");
        assert!(page.contains(&format!("{} bytes", bytes.len())));
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let bytes = small_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(
                    Sidecar::decode(&flipped),
                    Err(BadSidecar::Magic | BadSidecar::Checksum)
                ),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn every_truncation_is_detected() {
        let bytes = small_bytes();
        for length in 0..bytes.len() {
            assert!(Sidecar::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Sidecar, BadSidecar> {
        let mut bytes = small_bytes();
        bytes.truncate(bytes.len() - CRC_BYTES);
        change(&mut bytes);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        Sidecar::decode(&bytes)
    }

    #[test]
    fn a_newer_format_is_said_to_be_newer() {
        let found = resealed(|bytes| bytes[8] = 2);
        assert!(
            matches!(found, Err(BadSidecar::NewerFormat(2))),
            "{found:?}"
        );
        assert!(matches!(
            resealed(|bytes| bytes[8] = 0),
            Err(BadSidecar::Malformed(_))
        ));
    }

    #[test]
    fn lying_lengths_are_refused() {
        for byte in HEAD_BYTES..small_bytes().len() - CRC_BYTES {
            // Whatever a length, count or number becomes: an error or another sidecar, never a panic.
            let _ = resealed(|bytes| bytes[byte] = 0xff);
        }
        assert!(resealed(|bytes| bytes.push(0)).is_err());
    }

    fn sidecars() -> impl Strategy<Value = Sidecar> {
        (
            (
                any::<[u8; 32]>(),
                0..20 * GROUP_BYTES,
                1..=MAX_STRIPE_WIDTH,
                any::<[u8; 16]>(),
            ),
            (
                any::<u64>(),
                any::<u64>(),
                "[a-z]{0,8}",
                0..8u8,
                any::<u8>(),
                any::<u32>(),
            ),
            prop::collection::vec(entry::tests::entries(), 0..5),
        )
            .prop_map(
                |(
                    (object, size, width, device),
                    (placed, revision, tier, copy, column, crc),
                    paths,
                )| {
                    let layout =
                        StripeLayout::for_object(size, MIN_STRIPE_UNIT_BYTES, width).unwrap();
                    let column = column % layout.width() as u8;
                    let crcs = crc_count(layout.column_length(usize::from(column)));
                    Sidecar {
                        object: ObjectId(object),
                        layout,
                        placed,
                        revision,
                        tier: tier.into(),
                        copy,
                        column,
                        devices: vec![DeviceId(device); layout.width()].into(),
                        paths,
                        groups: (0..group_count(size)).map(|i| [i as u8; 32]).collect(),
                        crcs: (0..crcs).map(|i| crc.wrapping_add(i as u32)).collect(),
                    }
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trip(sidecar in sidecars()) {
            prop_assert_eq!(Sidecar::decode(&sidecar.encode()).unwrap(), sidecar);
        }

        #[test]
        fn any_bytes_end_in_a_value_or_an_error(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Sidecar::decode(&body);
            // and the same behind a head and a checksum that hold
            let mut out = Encoder::default();
            out.bytes(MAGIC).u32(1).u64((HEAD_BYTES + body.len() + CRC_BYTES) as u64).bytes(&body);
            let crc = crc32fast::hash(&out.0);
            out.u32(crc);
            let _ = Sidecar::decode(&out.0);
        }
    }
}
