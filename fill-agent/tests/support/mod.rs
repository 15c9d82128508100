//! An appliance to fill and HTTP servers to fill it from, good ones and bad ones.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]
#![allow(unreachable_pub, reason = "shared by several test files")]

pub mod appliance;
pub mod server;

use content_store::chunk_tree::ChunkTree;
use fill_agent::source::Wanted;
use protocol::root::Root;

pub const MIB: u64 = 1 << 20;

/// Bytes that differ from place to place and from seed to seed.
pub fn bytes(seed: u64, length: u64) -> Vec<u8> {
    (0..length)
        .map(|i| ((i ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

pub fn wanted(path: &str, bytes: &[u8]) -> Wanted {
    Wanted {
        root: Root(ChunkTree::of(bytes).object().0),
        size: bytes.len() as u64,
        path: path.into(),
    }
}
