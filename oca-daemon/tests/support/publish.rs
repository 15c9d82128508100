//! Contents into a store.

use content_store::chunk_tree::ChunkTree;
use content_store::{Content, NewPath, Publication, Stage, Store};

/// Publishes `bytes` at `path` in an open store.
pub(crate) fn publish(store: &mut Store, path: &str, bytes: &[u8]) {
    let publication = written(store, path, bytes);
    store.publish(vec![publication]).expect("published");
}

/// `bytes` on their devices, still to be published at `path`.
pub(crate) fn written(store: &mut Store, path: &str, bytes: &[u8]) -> Publication {
    let content = match store.stage(ChunkTree::of(bytes), "nvme").expect("room") {
        Stage::Stored(object) => Content::Stored(object),
        Stage::Write(mut staging) => {
            staging.copy_from(bytes, |_| ()).expect("written");
            Content::Sealed(staging.seal().expect("sealed"))
        }
    };
    let path = NewPath {
        path: path.into(),
        content_type: "video/mp4".into(),
        cache_control: "public, max-age=31536000, immutable".into(),
        modified_s: 1_700_000_000,
    };
    Publication {
        content,
        paths: vec![path],
    }
}
