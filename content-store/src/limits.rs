//! Every bound of the store, with what it costs, and the relations that other code relies on.

use std::time::Duration;

/// Bytes of one verification group: the unit in which bytes are checked against the BLAKE3 root.
/// Costs 32 B of tree per group in every sidecar (32 KiB per GiB).
pub const GROUP_BYTES: u64 = 1 << 20;

/// Bytes covered by one CRC-32 in a column. Costs 4 B per block in the sidecar and, while a column is being
/// read, in memory (64 KiB per GiB). A device read is widened to whole blocks, so this is also the least read.
pub const CRC_BLOCK_BYTES: u64 = 64 << 10;

/// Most devices one object is laid over. A dead device touches `width / devices` of the objects.
pub const MAX_STRIPE_WIDTH: usize = 4;

/// Smallest and largest stripe unit.
pub const MIN_STRIPE_UNIT_BYTES: u64 = GROUP_BYTES;
/// Largest stripe unit: an object below it lies on one device whatever the width.
pub const MAX_STRIPE_UNIT_BYTES: u64 = 1 << 30;

/// Largest object: its sidecar stays below [`MAX_SIDECAR_BYTES`].
pub const MAX_OBJECT_BYTES: u64 = 4 << 40;

/// Longest URL path of an object, in bytes of UTF-8.
pub const MAX_PATH_BYTES: usize = 1024;

/// Longest `Content-Type` or `Cache-Control` value, in bytes.
pub const MAX_HEADER_VALUE_BYTES: usize = 256;

/// Most paths that lead to one object: all of them are in each of its sidecars (at most 1.5 KiB each).
pub const MAX_PATHS_PER_OBJECT: usize = 1024;

/// How deep a folder of files to publish is gone into; a loop of mounts ends here.
pub const MAX_FOLDER_DEPTH: usize = 64;

/// Longest tier name, in bytes.
pub const MAX_TIER_NAME_BYTES: usize = 64;

/// Largest sidecar that is read: 128 MiB of groups and 256 MiB of CRCs for the largest object, and its paths.
pub const MAX_SIDECAR_BYTES: u64 = 512 << 20;

/// Largest journal that is read: the groups and CRCs of the largest object, and 8 B for each group. The agent reads those of
/// all resumable objects when it opens the store.
pub const MAX_JOURNAL_BYTES: u64 = MAX_SIDECAR_BYTES;

/// Most objects that one device keeps partly written when the store is opened: far more than are written at once, and published
/// in one batch. Those that were written to last stay. Each costs its columns, reserved at full length.
pub const MAX_RESUMABLE: usize = 1024;

/// Most copies in one catalog record.
pub const MAX_COPIES: usize = 8;

/// Most objects that share one folder sync and one catalog commit.
pub const MAX_BATCH_OBJECTS: usize = 64;

/// Free bytes that are left on every device: sidecars, folders, and the rewriting of sidecars on a full device.
pub const DEVICE_RESERVE_BYTES: u64 = 32 << 20;

/// Free inodes that are left on every device, where the file system counts them.
pub const DEVICE_RESERVE_INODES: u64 = 64;

/// Files that a column needs at most: itself, its sidecar, and two folders.
pub const INODES_PER_COLUMN: u64 = 4;

/// What a sidecar says beside values and sums, of an object with a path of usual length. More costs another block.
pub const SIDECAR_WORDS_BYTES: u64 = 512;

/// What file systems give to files: whole blocks of so many bytes (ext4, XFS and UFS by default 4 KiB).
pub const FILE_BLOCK_BYTES: u64 = 4096;

/// Address space of the catalog's map: fixed, so that no reader ever has to remap. Costs addresses only; the file
/// is as long as its content (about 500 B per object with one path, so 32 GiB hold some 60 million).
pub const CATALOG_MAP_BYTES: usize = 32 << 30;

/// Commits whose changes are kept in the catalog, for readers that know the one before. Half an hour of publishing without a pause;
/// costs at most [`MAX_LOGGED_BYTES`] of the file for each.
pub const LOGGED_GENERATIONS: u64 = 128;

/// Names of objects and paths in the record of one commit: some 3000 objects with a path. A commit that changes more is not in the log,
/// and is read as a whole.
pub const MAX_LOGGED_BYTES: usize = 256 << 10;

/// Most objects and paths that are read as changes. Beyond, all is read: the read transaction stays far below a second.
pub const MAX_CHANGES_READ: usize = 16 << 10;

/// Parts of the index that are replaced one by one. A commit copies one of them for each object and path that it changes, some
/// 250 of 1 000 000, and the list of them: 64 KiB.
pub const INDEX_PAGES: usize = 1 << INDEX_PAGE_BITS;
/// Bits of a hash that say in which page something is.
pub const INDEX_PAGE_BITS: u32 = 12;

/// Processes and threads that may read the catalog at once. Costs 64 B each in the lock file.
pub const CATALOG_READERS: u32 = 126;

/// How far a rebuilt catalog's generation lies above the highest number found on the devices if the clock is behind that, so that it
/// differs from every generation that the lost catalog can have reached without writing a sidecar.
pub const REBUILD_GENERATION_GAP: u64 = 1 << 20;

/// For a device to say who it is and what room it has, when the store is opened and while it is used. A device that hangs costs so
/// much once, and a thread for as long as it hangs.
pub const DEVICE_WAIT: Duration = Duration::from_secs(5);

/// Columns of a device that is back, compared in one go: a few seconds on a spinning disk, which others wait for.
pub const COMPARE_STEP: usize = 256;

/// How long a look at the devices is good for.
pub const DEVICE_LOOK_AGE: Duration = Duration::from_secs(1);

/// Bytes that are read of a document in `state_dir`: some 200 for each device that there ever was.
pub const MAX_STATE_FILE_BYTES: u64 = 1 << 20;

/// Largest identity file that is read.
pub const MAX_IDENTITY_BYTES: u64 = 16 << 10;

const _: () = assert!(GROUP_BYTES.is_multiple_of(CRC_BLOCK_BYTES));
const _: () = assert!(GROUP_BYTES.is_multiple_of(platform::file::WRITE_BYTES as u64));
const _: () = assert!(MAX_RESUMABLE > 4 * MAX_BATCH_OBJECTS);
const _: () = assert!(MIN_STRIPE_UNIT_BYTES.is_multiple_of(GROUP_BYTES));
const _: () = assert!(MAX_STRIPE_UNIT_BYTES.is_multiple_of(GROUP_BYTES));
const _: () = assert!(MAX_STRIPE_UNIT_BYTES / GROUP_BYTES <= u16::MAX as u64);
const _: () = assert!(MAX_STRIPE_WIDTH <= u8::MAX as usize);
const _: () = assert!(
    MAX_OBJECT_BYTES / GROUP_BYTES * 32
        + MAX_OBJECT_BYTES / CRC_BLOCK_BYTES * 4
        + (MAX_PATHS_PER_OBJECT * (MAX_PATH_BYTES + 2 * MAX_HEADER_VALUE_BYTES + 64)) as u64
        + 4096
        <= MAX_SIDECAR_BYTES
);
const _: () = assert!(
    MAX_OBJECT_BYTES / GROUP_BYTES * (32 + 8) + MAX_OBJECT_BYTES / CRC_BLOCK_BYTES * 4 + 4096
        <= MAX_JOURNAL_BYTES
);
