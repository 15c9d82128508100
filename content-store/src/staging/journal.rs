//! The journal of a column that is being written: what it is a column of, and which of its groups the kernel has.
//!
//! Byte by byte in `docs/formats/staging.md`. Decoding takes any bytes and ends in a [`Journal`] or in a [`BadJournal`], never in a
//! panic; what follows the last whole record is passed over.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::chunk_tree::{BadTree, ChunkTree, GroupValue, group_count};
use crate::codec::{Decoder, Encoder, Malformed};
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{
    CRC_BLOCK_BYTES, GROUP_BYTES, MAX_JOURNAL_BYTES, MAX_OBJECT_BYTES, MAX_STRIPE_WIDTH,
    MAX_TIER_NAME_BYTES,
};
use crate::stripe::StripeLayout;

const MAGIC: &[u8; 8] = b"OCA-STAG";
/// The version that is written, and the only one that is read.
pub const JOURNAL_FORMAT: u32 = 1;
/// Magic, version, length of the head.
const HEAD_BYTES: usize = 20;
const CRC_BYTES: usize = 4;
/// Index and checksum of a record, beside its CRCs.
const RECORD_BYTES: usize = 8;

/// Which run of the kernel took the bytes; `None` where it does not say.
pub type BootId = Option<[u8; 16]>;

/// What a journal begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalHead {
    /// The object.
    pub object: ObjectId,
    /// Size, stripe unit and width.
    pub layout: StripeLayout,
    /// Name of the tier that it is written to.
    pub tier: Box<str>,
    /// Index of this column in `devices`.
    pub column: u8,
    /// The stripe set, one device for each column.
    pub devices: Box<[DeviceId]>,
    /// When the groups were written.
    pub boot: BootId,
    /// Values of all groups of the object.
    pub groups: Box<[GroupValue]>,
}

/// A journal as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// Its head.
    pub head: JournalHead,
    /// Groups of the column that are written, from its start.
    pub written: u64,
    /// CRC-32 of each block of 64 KiB of those groups.
    pub crcs: Vec<u32>,
}

/// Bytes that are no journal.
#[derive(Debug, thiserror::Error)]
pub enum BadJournal {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not begin like a journal.
    #[error("this is not a journal")]
    Magic,
    /// The checksum of its head does not hold.
    #[error("the checksum of its head does not hold")]
    Checksum,
    /// Another program wrote it.
    #[error("journal format {0} is not the one that this program reads ({JOURNAL_FORMAT})")]
    OtherFormat(u32),
    /// The checksum holds, but the head makes no sense.
    #[error("its head is malformed: {0}")]
    Malformed(#[from] Malformed),
}

impl JournalHead {
    /// Bytes of the column.
    pub fn column_length(&self) -> u64 {
        self.layout.column_length(usize::from(self.column))
    }

    /// Bytes of the first `groups` groups of the column.
    pub(crate) fn bytes_of(&self, groups: u64) -> u64 {
        groups.saturating_mul(GROUP_BYTES).min(self.column_length())
    }

    /// Blocks of the column's group number `group`; 0 beyond its end.
    fn blocks_of(&self, group: u64) -> u64 {
        blocks(self.bytes_of(group + 1)) - blocks(self.bytes_of(group))
    }

    /// The object's tree; fails if root and values do not belong together.
    pub fn tree(&self) -> Result<ChunkTree, BadTree> {
        ChunkTree::new(self.object, self.layout.size(), self.groups.clone())
    }

    /// The bytes of the head, its checksum last.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.bytes(MAGIC).u32(JOURNAL_FORMAT).u64(0);
        out.bytes(&self.object.0)
            .u64(self.layout.size())
            .u64(self.layout.stripe_unit());
        out.text(&self.tier)
            .u8(self.column)
            .u8(self.layout.width() as u8);
        for device in &self.devices {
            out.bytes(&device.0);
        }
        out.bytes(&self.boot.unwrap_or_default());
        for group in &self.groups {
            out.bytes(group);
        }
        let mut bytes = out.0;
        let length = (bytes.len() + CRC_BYTES) as u64;
        bytes[12..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode_body(mut from: Decoder<'_>) -> Result<Self, Malformed> {
        let (object, size, stripe_unit) = (from.object()?, from.u64()?, from.u64()?);
        let tier = from.text(MAX_TIER_NAME_BYTES)?.into();
        let (column, width) = (from.u8()?, usize::from(from.u8()?));
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
        let boot = Some(from.device()?.0).filter(|boot| *boot != [0; 16]);
        let groups = from.values(group_count(size))?;
        from.finish()?;
        Ok(Self {
            object,
            layout,
            tier,
            column,
            devices,
            boot,
            groups,
        })
    }

    /// One record: the group's index in the column, the CRCs of its blocks, and a checksum that begins with the head's, so that no
    /// record of another journal passes for one of this.
    fn record(head_crc: u32, group: u64, crcs: &[u32]) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(group as u32);
        for crc in crcs {
            out.u32(*crc);
        }
        let crc = record_crc(head_crc, &out.0);
        out.u32(crc);
        out.0
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(CRC_BLOCK_BYTES)
}

fn record_crc(head_crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(head_crc);
    hasher.update(bytes);
    hasher.finalize()
}

impl Journal {
    /// One without records.
    pub(crate) fn empty(head: JournalHead) -> Self {
        Self {
            head,
            written: 0,
            crcs: Vec::new(),
        }
    }

    /// Reads the bytes of a file. A head that does not hold is an error; of the records as many count as are whole and in order.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadJournal> {
        if !bytes.starts_with(MAGIC) {
            return Err(BadJournal::Magic);
        }
        let mut start = Decoder::new(&bytes[MAGIC.len()..]);
        let (version, length) = (start.u32()?, start.u64()?);
        let head = usize::try_from(length)
            .ok()
            .and_then(|length| bytes.get(..length))
            .filter(|head| head.len() >= HEAD_BYTES + CRC_BYTES)
            .ok_or(BadJournal::Checksum)?;
        let (body, head_crc) = head
            .split_last_chunk::<CRC_BYTES>()
            .ok_or(BadJournal::Checksum)?;
        let head_crc = u32::from_le_bytes(*head_crc);
        if crc32fast::hash(body) != head_crc {
            return Err(BadJournal::Checksum);
        }
        if version != JOURNAL_FORMAT {
            return Err(BadJournal::OtherFormat(version));
        }
        let records = Decoder::new(&bytes[head.len()..]);
        let head = JournalHead::decode_body(Decoder::new(&body[HEAD_BYTES..]))?;
        Ok(Self::with_records(head, head_crc, records))
    }

    fn with_records(head: JournalHead, head_crc: u32, mut from: Decoder<'_>) -> Self {
        let mut journal = Self::empty(head);
        while let Some(crcs) = journal.next_record(head_crc, &mut from) {
            journal.crcs.extend_from_slice(&crcs);
            journal.written += 1;
        }
        journal
    }

    fn next_record(&self, head_crc: u32, from: &mut Decoder<'_>) -> Option<Box<[u32]>> {
        let blocks = self.head.blocks_of(self.written);
        if blocks == 0 {
            return None;
        }
        let bytes = from.take(RECORD_BYTES + 4 * blocks as usize).ok()?;
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        let mut body_from = Decoder::new(body);
        let is_next = u64::from(body_from.u32().ok()?) == self.written;
        let holds = record_crc(head_crc, body) == u32::from_le_bytes(*crc);
        (is_next && holds).then(|| body_from.u32s(blocks).ok())?
    }

    /// Forgets the groups after the first `groups`.
    pub(crate) fn cut(&mut self, groups: u64) {
        self.written = self.written.min(groups);
        let bytes = self.head.bytes_of(self.written);
        self.crcs.truncate(blocks(bytes) as usize);
    }

    /// Reads a journal. Blocks on the device.
    pub fn read(path: &Path) -> Result<Self, BadJournal> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_JOURNAL_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_JOURNAL_BYTES {
            return Err(Malformed::Length.into());
        }
        Self::decode(&bytes)
    }
}

/// A journal that is being written. It is not synced: what a power cut leaves of it is verified before it counts.
pub(crate) struct JournalWriter {
    file: File,
    head_crc: u32,
    /// Groups of the column that have a record.
    pub(crate) written: u64,
}

impl JournalWriter {
    /// Begins a journal in the place of any other, with the records of `journal`. A crash leaves the old one or the new one.
    pub(crate) fn create(path: &Path, journal: &Journal) -> io::Result<Self> {
        let mut bytes = journal.head.encode();
        let head_crc = head_crc(&bytes);
        let mut crcs = &journal.crcs[..];
        for group in 0..journal.written {
            let (now, later) = crcs.split_at(journal.head.blocks_of(group) as usize);
            bytes.extend(JournalHead::record(head_crc, group, now));
            crcs = later;
        }
        let fresh = path.with_extension("journal-new");
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        fs::rename(&fresh, path)?;
        Ok(Self {
            file,
            head_crc,
            written: journal.written,
        })
    }

    /// Goes on with the one at `path`, which was read as `journal` and perhaps cut since.
    pub(crate) fn resume(path: &Path, journal: &Journal) -> io::Result<Self> {
        let head = journal.head.encode();
        let length = head.len() as u64
            + journal.written * RECORD_BYTES as u64
            + 4 * journal.crcs.len() as u64;
        let mut file = File::options().write(true).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Self {
            file,
            head_crc: head_crc(&head),
            written: journal.written,
        })
    }

    /// Notes that the next group of the column is written.
    pub(crate) fn append(&mut self, crcs: &[u32]) -> io::Result<()> {
        self.file
            .write_all(&JournalHead::record(self.head_crc, self.written, crcs))?;
        self.written += 1;
        Ok(())
    }
}

/// The checksum at the end of an encoded head.
fn head_crc(head: &[u8]) -> u32 {
    head.last_chunk::<CRC_BYTES>()
        .map_or(0, |crc| u32::from_le_bytes(*crc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::documented;

    #[test]
    fn the_documented_example_is_one() {
        let page = include_str!("../../../docs/formats/staging.md");
        let examples = documented::examples(page);
        let bytes = &examples[0];
        let journal = Journal::decode(bytes).unwrap();
        assert_eq!(journal.head.tree().unwrap(), ChunkTree::of(b"hello"));
        assert_eq!((journal.written, journal.head.boot), (1, Some([15; 16])));
        assert_eq!(journal.crcs, [crc32fast::hash(b"hello")]);
        let head = journal.head.encode();
        let record = JournalHead::record(head_crc(&head), 0, &journal.crcs);
        assert_eq!(&[head, record].concat(), bytes);
    }

    /// What another release wrote is said to be of another format, whatever stands in it.
    #[test]
    fn another_format_is_said_to_be_another() {
        let page = include_str!("../../../docs/formats/staging.md");
        let mut bytes = documented::examples(page).remove(0);
        let length = Journal::decode(&bytes).unwrap().head.encode().len();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..length - CRC_BYTES]);
        bytes[length - CRC_BYTES..length].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(
            Journal::decode(&bytes),
            Err(BadJournal::OtherFormat(2))
        ));
    }
}
