//! From what is known to manifests. Pure: no database, no clock.
//!
//! ```text
//! Library (objects, paths, tombstones) ─┐
//! Cluster (demand per object, members) ─┴─► select: per member, which objects in which tier
//!                                            └─► via: per member and object, the peer to ask
//!                                                 └─► Manifest, one per member
//! ```
//!
//! Invariants: each root has one size; a path is wanted at most once; what is taken down is not wanted; nothing exceeds the room
//! of its tier; within a cluster all living members name the same one for an object that nobody holds, and that one names nobody.

mod select;
mod via;

use protocol::limits::SOURCES_MAX;
use protocol::manifest::{
    MANIFEST_VERSION, Manifest, Serial, SiteRate, Source, Tombstone, Wanted, is_usable_url,
};
use protocol::root::Root;
use protocol::units::Percent;

pub use select::{Place, Selection, select};
use via::via;

use crate::limits::{PEERS_MAX, SITE_OFFSET_MAX_S, URLS_MAX};

/// What is published.
#[derive(Debug, Default)]
pub struct Library {
    /// Bytes, each root once.
    pub objects: Vec<Object>,
    /// Paths, each once.
    pub entries: Vec<Entry>,
    /// What is taken down.
    pub tombstones: Vec<Tombstone>,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Their name.
    pub root: Root,
    /// Their number.
    pub size: u64,
    /// Whether a path that leads to them is urgent.
    pub urgent: bool,
}

/// A path.
#[derive(Debug, Clone)]
pub struct Entry {
    /// URL path.
    pub path: Box<str>,
    /// Index of the object.
    pub object: usize,
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// Value of `Cache-Control`.
    pub cache_control: Box<str>,
    /// For `Last-Modified`.
    pub modified: u64,
    /// Whether it is to be fetched outside the window.
    pub urgent: bool,
}

/// Appliances that share content and popularity.
#[derive(Debug)]
pub struct Cluster {
    /// Bytes a day, per object of the library.
    pub demand: Vec<u64>,
    /// Its appliances.
    pub members: Vec<Member>,
}

/// An appliance.
#[derive(Debug, Clone)]
pub struct Member {
    /// `appliance.id`.
    pub id: String,
    /// Whether it reports, and is well enough to be counted upon.
    pub alive: bool,
    /// Where peers fetch from it; empty: nowhere.
    pub serves_at: Vec<String>,
    /// Per object of the library, whether it is held and complete.
    pub held: Vec<bool>,
    /// Its size.
    pub room: Room,
    /// How often it shall hold what is asked for most.
    pub copies: Copies,
    /// What it has in common with the others of its site.
    pub site: Site,
    /// Where it fetches when no peer has it: upstream appliances, this endpoint, further origins.
    pub sources: Vec<Source>,
}

/// Bytes that may be wanted in the tiers of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In tiers of role `hot`.
    pub hot: u64,
    /// In tiers of role `capacity`.
    pub capacity: u64,
}

impl Room {
    /// Nothing is known of the appliance: it is told all, and takes as much as it has room for.
    pub const UNKNOWN: Self = Self {
        hot: u64::MAX,
        capacity: 0,
    };
}

/// Copies of what is asked for most, at most one per device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// In tiers of role `hot`.
    pub hot: u8,
    /// In tiers of role `capacity`.
    pub capacity: u8,
    /// Percent of the room that those beside the first may take.
    pub room_percent: Percent,
}

impl Copies {
    /// One of each.
    pub const ONE: Self = Self {
        hot: 1,
        capacity: 1,
        room_percent: Percent::of(0),
    };
}

/// What the appliances of a site have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Seconds by which their fill windows are shifted.
    pub offset_s: u32,
    /// What they may fill at together.
    pub rate: Option<SiteRate>,
}

/// 0 to 30 min by the name of a site, so that sites do not all begin at once. Appliances without a manifest reckon the same.
#[must_use]
pub fn site_offset_s(site: &str) -> u32 {
    let hash = blake3::hash(site.as_bytes());
    let first = hash.as_bytes().first_chunk::<8>();
    let number = first.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    u32::try_from(number % SITE_OFFSET_MAX_S).expect("30 min in seconds are a small number")
}

/// What is written on a manifest.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its number.
    pub serial: Serial,
    /// When it is built.
    pub built_at: u64,
    /// When it ends.
    pub not_after: u64,
}

/// What each member shall hold, in the order of the members.
#[must_use]
pub fn selections(library: &Library, cluster: &Cluster) -> Vec<Selection> {
    let ranked = select::ranked(&library.objects, &cluster.demand);
    let of = |member: &Member| select(&library.objects, &ranked, member.room, member.copies);
    cluster.members.iter().map(of).collect()
}

/// The manifest of the member at `index`.
#[must_use]
pub fn manifest(
    library: &Library,
    cluster: &Cluster,
    selections: &[Selection],
    index: usize,
    label: Label,
) -> Manifest {
    let member = &cluster.members[index];
    let peers = peers(cluster, index);
    let mut sources: Vec<Source> = peers
        .iter()
        .map(|peer| peer_source(&cluster.members[*peer]))
        .collect();
    let urls_are_usable = |source: &&Source| match source {
        Source::Upstream { urls, .. } => !urls.is_empty(),
        _ => true,
    };
    sources.extend(member.sources.iter().filter(urls_are_usable).cloned());
    sources.truncate(SOURCES_MAX);
    let via = via(library, cluster, selections, index, &peers);
    let wanted = |entry: &Entry| {
        let object = library.objects[entry.object];
        let Place { tier, copies } = selections[index][entry.object]?;
        Some(Wanted {
            path: entry.path.clone(),
            root: object.root,
            size: object.size,
            content_type: entry.content_type.clone(),
            cache_control: Some(entry.cache_control.clone()).filter(|value| !value.is_empty()),
            modified: entry.modified,
            tier,
            demand: cluster.demand[entry.object],
            copies,
            urgent: entry.urgent,
            via: via[entry.object],
        })
    };
    Manifest {
        version: MANIFEST_VERSION,
        appliance: member.id.clone(),
        serial: label.serial,
        built_at: label.built_at,
        not_after: label.not_after,
        site_offset_s: Some(member.site.offset_s),
        site_rate: member.site.rate,
        sources,
        objects: library.entries.iter().filter_map(wanted).collect(),
        tombstones: library.tombstones.clone(),
    }
}

/// The others that are counted upon and can be fetched from.
fn peers(cluster: &Cluster, index: usize) -> Vec<usize> {
    let usable = |peer: &usize| *peer != index && is_peer(&cluster.members[*peer]);
    (0..cluster.members.len())
        .filter(usable)
        .take(PEERS_MAX)
        .collect()
}

fn is_peer(member: &Member) -> bool {
    member.alive && !member.serves_at.is_empty()
}

fn peer_source(member: &Member) -> Source {
    Source::Peer {
        appliance: member.id.clone(),
        urls: member.serves_at.clone(),
    }
}

/// Of what an appliance reports, what may stand in a manifest: one odd address must not spoil the manifests of its cluster.
#[must_use]
pub fn usable_urls(reported: &[String]) -> Vec<String> {
    reported
        .iter()
        .filter(|url| is_usable_url(url))
        .take(URLS_MAX)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
