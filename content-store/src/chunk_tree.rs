//! The chunk tree: one BLAKE3 chaining value for each group of 1 MiB, merged into the object's root.
//!
//! With the values at hand, one group is verified alone: bytes from a source that lies are caught after one group,
//! and no resume hashes anything twice. An object of one group or less has no merge: its single value *is* the root.
//! See `docs/decisions/0002-group-chaining-values.md`.

use std::io::{self, Read};

use blake3::Hasher;
use blake3::hazmat::{
    HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::ids::ObjectId;
use crate::limits::{GROUP_BYTES, MAX_OBJECT_BYTES};

/// The chaining value of one group (of the whole object, if it has only one).
pub type GroupValue = [u8; 32];

/// An object's name, size and group values, known to belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkTree {
    object: ObjectId,
    size: u64,
    groups: Box<[GroupValue]>,
}

/// Group values that are not those of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// The number of values is not the number of groups.
    #[error("{found} group values where the size asks for {expected}")]
    Count {
        /// Groups of an object of that size.
        expected: u64,
        /// Values given.
        found: u64,
    },
    /// The values do not merge into the root.
    #[error("the group values do not merge into the object's root")]
    Root,
    /// The object is too large.
    #[error("an object of {0} bytes is larger than {MAX_OBJECT_BYTES}")]
    Size(u64),
}

/// Bytes that are not what the tree says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of group {group} (of 1 MiB) are not those of the object")]
pub struct WrongGroup {
    /// Index of the group.
    pub group: u64,
}

/// Number of groups of an object of `size` bytes: at least one, also for the empty object.
pub const fn group_count(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP_BYTES);
    if groups == 0 { 1 } else { groups }
}

impl ChunkTree {
    /// Joins values that came from elsewhere, and refuses them if they do not merge into the root.
    pub fn new(object: ObjectId, size: u64, groups: Box<[GroupValue]>) -> Result<Self, BadTree> {
        if size > MAX_OBJECT_BYTES {
            return Err(BadTree::Size(size));
        }
        let (expected, found) = (group_count(size), groups.len() as u64);
        if expected != found {
            return Err(BadTree::Count { expected, found });
        }
        if root_of(&groups, size) != object.0 {
            return Err(BadTree::Root);
        }
        Ok(Self {
            object,
            size,
            groups,
        })
    }

    /// The tree of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut builder = TreeBuilder::default();
        builder.update(bytes);
        builder.finish()
    }

    /// The object's name: the root.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One value for each group.
    pub fn groups(&self) -> &[GroupValue] {
        &self.groups
    }

    /// Bytes of a group: 1 MiB, less for the last.
    pub fn group_length(&self, group: u64) -> u64 {
        self.size
            .saturating_sub(group.saturating_mul(GROUP_BYTES))
            .min(GROUP_BYTES)
    }

    /// Checks one whole group alone.
    pub fn verify_group(&self, group: u64, bytes: &[u8]) -> Result<(), WrongGroup> {
        let wrong = WrongGroup { group };
        let value = usize::try_from(group)
            .ok()
            .and_then(|index| self.groups.get(index))
            .ok_or(wrong)?;
        if bytes.len() as u64 == self.group_length(group)
            && value_of(bytes, group, self.groups.len()) == *value
        {
            Ok(())
        } else {
            Err(wrong)
        }
    }
}

fn value_of(bytes: &[u8], group: u64, groups: usize) -> GroupValue {
    if groups == 1 {
        return *blake3::hash(bytes).as_bytes();
    }
    Hasher::new()
        .set_input_offset(group * GROUP_BYTES)
        .update(bytes)
        .finalize_non_root()
}

/// The root of a whole object from its group values.
fn root_of(groups: &[GroupValue], size: u64) -> GroupValue {
    match groups {
        [only] => *only,
        _ => {
            let (left, right) = halves(groups, size);
            *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
        }
    }
}

fn subtree_of(groups: &[GroupValue], size: u64) -> GroupValue {
    match groups {
        [only] => *only,
        _ => {
            let (left, right) = halves(groups, size);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// The left subtree of a BLAKE3 tree holds the largest power of two of chunks that leaves something to the right; at
/// more than one group that is a whole number of groups. The depth of the recursion is the logarithm of the groups.
fn halves(groups: &[GroupValue], size: u64) -> (GroupValue, GroupValue) {
    let left_bytes = left_subtree_len(size);
    let (left, right) = groups.split_at((left_bytes / GROUP_BYTES) as usize);
    (
        subtree_of(left, left_bytes),
        subtree_of(right, size - left_bytes),
    )
}

/// Builds the tree while bytes stream by, in pieces of any size. Holds 32 B per MiB seen.
pub struct TreeBuilder {
    hasher: Hasher,
    in_group: u64,
    groups: Vec<GroupValue>,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self {
            hasher: Hasher::new(),
            in_group: 0,
            groups: Vec::new(),
        }
    }
}

impl TreeBuilder {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full group is closed only when more bytes come: the value of a lone group is the root itself.
            if self.in_group == GROUP_BYTES {
                self.close_group();
            }
            let room = (GROUP_BYTES - self.in_group) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.in_group += now.len() as u64;
            bytes = later;
        }
    }

    fn close_group(&mut self) {
        self.groups.push(self.hasher.finalize_non_root());
        self.hasher = Hasher::new();
        self.hasher
            .set_input_offset(self.groups.len() as u64 * GROUP_BYTES);
        self.in_group = 0;
    }

    /// The tree of all bytes taken.
    pub fn finish(mut self) -> ChunkTree {
        let size = self.groups.len() as u64 * GROUP_BYTES + self.in_group;
        self.groups.push(match self.groups.is_empty() {
            true => *self.hasher.finalize().as_bytes(),
            false => self.hasher.finalize_non_root(),
        });
        let groups = self.groups.into_boxed_slice();
        ChunkTree {
            object: ObjectId(root_of(&groups, size)),
            size,
            groups,
        }
    }
}

/// Reads a source to its end and builds its tree. `progress` is told the bytes read so far, once per MiB.
pub fn hash_reader(mut reader: impl Read, mut progress: impl FnMut(u64)) -> io::Result<ChunkTree> {
    let mut builder = TreeBuilder::default();
    let mut buffer = vec![0; GROUP_BYTES as usize];
    let mut total = 0;
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => return Ok(builder.finish()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        builder.update(&buffer[..length]);
        total += length as u64;
        if total > MAX_OBJECT_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                BadTree::Size(total),
            ));
        }
        progress(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(length: u64) -> Vec<u8> {
        (0..length)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    }

    /// Sizes at which the shape of the tree changes.
    const SIZES: &[u64] = &[
        0,
        1,
        1023,
        1024,
        1025,
        GROUP_BYTES - 1,
        GROUP_BYTES,
        GROUP_BYTES + 1,
        2 * GROUP_BYTES,
        2 * GROUP_BYTES + 1,
        3 * GROUP_BYTES,
        3 * GROUP_BYTES + 1500,
        4 * GROUP_BYTES,
        5 * GROUP_BYTES - 7,
        7 * GROUP_BYTES + 1024,
    ];

    #[test]
    fn the_root_is_the_hash_of_the_bytes() {
        for &size in SIZES {
            let bytes = bytes(size);
            let tree = ChunkTree::of(&bytes);
            assert_eq!(tree.object().0, *blake3::hash(&bytes).as_bytes(), "{size}");
            assert_eq!(tree.size(), size);
            assert_eq!(tree.groups().len() as u64, group_count(size));
            assert_eq!(
                ChunkTree::new(tree.object(), size, tree.groups().into()),
                Ok(tree.clone())
            );
        }
    }

    #[test]
    fn one_group_is_verified_alone_and_a_flip_is_caught() {
        for &size in SIZES {
            let mut bytes = bytes(size);
            let tree = ChunkTree::of(&bytes);
            for group in 0..group_count(size) {
                let start = (group * GROUP_BYTES) as usize;
                let end = start + tree.group_length(group) as usize;
                assert_eq!(tree.verify_group(group, &bytes[start..end]), Ok(()));
                if let Some(byte) = bytes[start..end].last_mut() {
                    *byte ^= 1;
                    assert_eq!(
                        tree.verify_group(group, &bytes[start..end]),
                        Err(WrongGroup { group })
                    );
                    bytes[end - 1] ^= 1;
                    assert_eq!(
                        tree.verify_group(group, &bytes[start..end - 1]),
                        Err(WrongGroup { group })
                    );
                }
            }
            assert!(tree.verify_group(group_count(size), &[]).is_err());
        }
    }

    #[test]
    fn groups_do_not_change_places() {
        let bytes = [bytes(GROUP_BYTES), bytes(GROUP_BYTES), vec![1]].concat();
        let tree = ChunkTree::of(&bytes);
        // the same bytes at another place have another value
        assert_ne!(tree.groups()[0], tree.groups()[1]);
    }

    #[test]
    fn values_of_another_object_are_refused() {
        let tree = ChunkTree::of(&bytes(3 * GROUP_BYTES));
        let mut groups: Box<[GroupValue]> = tree.groups().into();
        groups[1][0] ^= 1;
        assert_eq!(
            ChunkTree::new(tree.object(), tree.size(), groups),
            Err(BadTree::Root)
        );
        let few = tree.groups()[..2].into();
        assert_eq!(
            ChunkTree::new(tree.object(), tree.size(), few),
            Err(BadTree::Count {
                expected: 3,
                found: 2
            })
        );
        let groups = tree.groups().into();
        assert_eq!(
            ChunkTree::new(tree.object(), u64::MAX, groups),
            Err(BadTree::Size(u64::MAX))
        );
    }

    #[test]
    fn reading_tells_its_progress() {
        let bytes = bytes(2 * GROUP_BYTES + 3);
        let mut told = Vec::new();
        let tree = hash_reader(&bytes[..], |total| told.push(total)).unwrap();
        assert_eq!(tree, ChunkTree::of(&bytes));
        assert_eq!(told, [GROUP_BYTES, 2 * GROUP_BYTES, 2 * GROUP_BYTES + 3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_cut_of_the_stream_does_not_matter(size in 0..4 * GROUP_BYTES, cuts in prop::collection::vec(0..4 * GROUP_BYTES, 0..6)) {
            let bytes = bytes(size);
            let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(size)).chain([0, size]).collect();
            cuts.sort_unstable();
            let mut builder = TreeBuilder::default();
            for pair in cuts.windows(2) {
                builder.update(&bytes[pair[0] as usize..pair[1] as usize]);
            }
            let tree = builder.finish();
            prop_assert_eq!(tree.object().0, *blake3::hash(&bytes).as_bytes());
            prop_assert_eq!(tree, ChunkTree::of(&bytes));
        }
    }
}
