//! By which peer an object comes into the cluster: the long line shall carry it once.
//!
//! Rendezvous hashing (Thaler and Ravishankar 1998): of some members, the one with the highest hash of (object, member). All that
//! know the same members choose the same one; when one goes, only its objects change hands.

use super::{Cluster, Library, Selection, is_peer};

/// Per object of the library, the position among `peers` of the one to ask; `None`: fetch it from further away, for all.
pub(super) fn via(
    library: &Library,
    cluster: &Cluster,
    selections: &[Selection],
    index: usize,
    peers: &[usize],
) -> Vec<Option<u16>> {
    let salts: Vec<u64> = cluster
        .members
        .iter()
        .map(|member| salt(&member.id))
        .collect();
    let own = &cluster.members[index];
    let mut choosers: Vec<usize> = peers.to_vec();
    if is_peer(own) {
        choosers.push(index);
    }
    let of = |object: usize| {
        selections[index][object]?;
        let name = &library.objects[object].root.0;
        let weight = |member: &usize| mix(salts[*member] ^ first(name));
        let holders = || {
            peers
                .iter()
                .filter(|peer| cluster.members[**peer].held[object])
        };
        let wanting = || {
            choosers
                .iter()
                .filter(|member| selections[**member][object].is_some())
        };
        let chosen = match holders().max_by_key(|member| weight(member)) {
            Some(holder) => Some(holder),
            // What the others are told to ask this member for, it must not ask of them.
            None if own.held[object] => None,
            None => wanting().max_by_key(|member| weight(member)),
        };
        let position = peers.iter().position(|peer| Some(peer) == chosen)?;
        u16::try_from(position).ok()
    };
    (0..library.objects.len()).map(of).collect()
}

fn salt(id: &str) -> u64 {
    first(blake3::hash(id.as_bytes()).as_bytes())
}

fn first(bytes: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(first)
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): every bit of the input changes half of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
