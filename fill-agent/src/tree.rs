//! Chunk trees: what every group of an object is verified with. They come from the control endpoint, whatever the bytes come from.

use std::sync::Arc;

use content_store::ObjectId;
use content_store::chunk_tree::{ChunkTree, GroupValue, group_count};
use content_store::limits::GROUP_BYTES;

use crate::source::{Lie, Source, SourceError, Wanted};

/// The tree of an object. One of a single group needs nobody: its only value is the root.
pub async fn tree(control: &Arc<Source>, wanted: &Wanted) -> Result<ChunkTree, SourceError> {
    let groups: Box<[GroupValue]> = if wanted.size <= GROUP_BYTES {
        Box::new([wanted.root.0])
    } else {
        // The size bounds it: 32 bytes per MiB.
        let bytes = control
            .tree_bytes(wanted, group_count(wanted.size) * 32)
            .await?;
        bytes.as_chunks().0.into()
    };
    ChunkTree::new(ObjectId(wanted.root.0), wanted.size, groups)
        .map_err(|bad| SourceError::Lied(Lie::Tree(bad.to_string())))
}
