//! What to evict, move, fetch and publish: a pure function of what is wanted, what is held, and the room there is.
//!
//! ```text
//! (manifest's objects, tombstones) --wants--> wanted objects by root
//! wanted, held, tiers              --choose--> which wanted object belongs in which tier
//! choice, allowance                --steps---> Plan { fewer, evict, moves, duplicates, fetch, publish }
//! ```
//!
//! The steps are done in this order: copies and objects that go, moves, further copies, fetches, each list from its beginning; then no
//! tier passes its high watermark at any time. Publications need no room and may go first.
//!
//! Rules:
//! - The rank of an object is its demand per byte. The best of them get their tier, and those of `hot` that find no room there go
//!   on to `capacity`. Capacity never overflows into hot.
//! - What is in a tier gives way only to what is worth [`DISPLACE_PERCENT`](crate::limits::DISPLACE_PERCENT) of it.
//! - What is not wanted stays until its room is needed; then the least valuable goes, until the low watermark is reached.
//! - What is wanted is evicted only for what ranks higher, and only once that comes.
//! - A device above its high watermark gives up what is not wanted, and the store places nothing more on it. What is wanted leaves it for
//!   other devices of its tier, when nothing else comes into the tier.
//! - Further copies of what is wanted more than once have the room that no first copy needs, also none that comes later; they are
//!   the first to go when it is needed, and go at once when they are wanted no more. They are copied on the box.
//! - Files are room as bytes are, where a file system can hold only so many.
//! - Order of input changes nothing: equals are ordered by root.
//!
//! It knows tiers, and of devices only what is on them: the store has the last word on placement.

mod choose;
mod relief;
pub mod repair;
mod space;
mod steps;
mod wants;

use std::ops::Range;

use protocol::config::TierRole;
use protocol::manifest::{Tombstone, Wanted};
use protocol::root::Root;
use protocol::units::Percent;

/// A path that leads to a held object, with what its response head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldPath<'a> {
    /// The path.
    pub path: &'a str,
    /// Value of `Content-Type`.
    pub content_type: &'a str,
    /// Value of `Cache-Control`.
    pub cache_control: &'a str,
    /// For `Last-Modified`.
    pub modified: u64,
}

/// A published object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<'a> {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Index of its tier in [`Situation::tiers`].
    pub tier: usize,
    /// Every column of a copy is on a device that is well, and good. What is not whole is fetched again.
    pub whole: bool,
    /// Its copies, at least one.
    pub copies: u8,
    /// The devices of its tier that hold a column of it, by their place in [`Tier::devices`]: bit 0 is the first one. Those from the
    /// 65th on have none.
    pub devices: u64,
    /// A column of it lies on a device of its tier that is well. Without, its end makes no room there, and it waits for its devices.
    pub takes_room: bool,
    /// Copies that those devices of its tier can take which hold no column of it.
    pub further: u8,
    /// Bytes a day that viewers ask for, as far as it is known; 0 if it is not. Ranks what is not wanted any more.
    pub demand: u64,
    /// The paths that lead to it.
    pub paths: Vec<HeldPath<'a>>,
}

impl Held<'_> {
    /// Whether a column of it is on the device in this place of its tier.
    fn is_on(&self, device: usize) -> bool {
        let place = u32::try_from(device).unwrap_or(u32::MAX);
        self.devices.unbounded_shr(place) & 1 == 1
    }
}

/// A tier, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// What it is for.
    pub role: TierRole,
    /// Its devices that are well and writable.
    pub devices: Vec<Device>,
    /// Columns that an object has at most; each lies on a device of its own.
    pub stripe_width: u8,
    /// Objects that its file systems have files for; `u64::MAX`: no bound.
    pub room_objects: u64,
}

/// A device's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// Bytes that objects may still use, if there are files for them.
    pub room_bytes: u64,
    /// Columns that its file system has files for; `u64::MAX`: no bound.
    pub room_columns: u64,
}

/// How much may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Inside the window: this many bytes, and moves. `u64::MAX`: no bound.
    All(u64),
    /// Outside: urgent objects only, this many bytes, no moves.
    Urgent(u64),
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Objects of the manifest in force.
    pub wanted: &'a [Wanted],
    /// The newest tombstones; what they name is never planned.
    pub tombstones: &'a [Tombstone],
    /// What is published on the box. One entry per object.
    pub held: &'a [Held<'a>],
    /// The tiers.
    pub tiers: &'a [Tier],
    /// A tier is filled up to this.
    pub high_watermark: Percent,
    /// Making room goes on until this.
    pub low_watermark: Percent,
    /// What may be fetched.
    pub allowance: Allowance,
    /// Bytes that an object of this size takes from its devices.
    pub footprint: fn(u64) -> u64,
}

impl Situation<'_> {
    fn bytes(&self, size: u64) -> i128 {
        i128::from((self.footprint)(size))
    }

    /// Bytes of all copies of an object on each device that holds a column of it, as if they were even.
    fn bytes_on_each(&self, held: &Held<'_>) -> i128 {
        let columns = i128::from(held.devices.count_ones().max(1));
        self.bytes(held.size) * i128::from(held.copies) / columns
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Objects that lose copies, first of all.
    pub fewer: Vec<Fewer>,
    /// Then, in this order.
    pub evict: Vec<Evict>,
    /// Then, in this order.
    pub moves: Vec<Move>,
    /// Further copies; then, by rank.
    pub duplicates: Vec<Duplicate>,
    /// What changes its device within its tier; then, those that are asked for least first.
    pub relief: Vec<Relief>,
    /// Then, in this order: urgent ones first, then by rank.
    pub fetch: Vec<Fetch>,
    /// Paths whose bytes are here, at any time.
    pub publish: Vec<Publish>,
    /// Wanted, not held, and there is no room for it.
    pub without_room: Vec<Fetch>,
    /// Wanted and with room, but beyond the allowance, or waiting for a move: for a later plan. Objects and bytes.
    pub later: Amount,
    /// Held and wanted, whole: objects and bytes.
    pub held_wanted: Amount,
    /// Indices into [`Situation::wanted`], by object.
    entries: Vec<u32>,
}

#[cfg(test)]
impl Plan {
    /// With these evictions, and these fetches by root, size and tier.
    pub(crate) fn of_parts<const FETCHES: usize>(
        evict: Vec<Evict>,
        fetch: [(Root, u64, usize); FETCHES],
    ) -> Self {
        let fetch = fetch.map(|(root, size, tier)| Fetch {
            root,
            size,
            tier,
            urgent: false,
            entries: Entries(0..0),
        });
        Self {
            evict,
            fetch: fetch.into(),
            ..Self::default()
        }
    }
}

/// Which entries of the manifest lead to an object: a part of the plan's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries(Range<u32>);

/// Objects and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An object that is to have fewer copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fewer {
    /// The object.
    pub root: Root,
    /// How many stay, at least one.
    pub keep: u8,
}

/// An object that is to have further copies in its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Index of its tier.
    pub tier: usize,
    /// How many are to come.
    pub count: u8,
}

/// An object to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evict {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Index of its tier.
    pub tier: usize,
}

/// An object to move to another tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Index of the tier it is in.
    pub from: usize,
    /// Index of the tier it belongs in.
    pub to: usize,
}

/// An object that is to leave a device for another one of its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relief {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// About so many bytes of it are on the device.
    pub bytes: u64,
    /// Index of its tier.
    pub tier: usize,
    /// The device's place in [`Tier::devices`].
    pub from: usize,
}

/// An object to fetch, and to publish under all its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Index of the tier it belongs in.
    pub tier: usize,
    /// To be fetched outside the window as well.
    pub urgent: bool,
    /// What is set: see [`Plan::entries`].
    pub entries: Entries,
}

/// Paths to set for an object that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The object.
    pub root: Root,
    /// What is set: see [`Plan::entries`].
    pub entries: Entries,
}

impl Plan {
    /// Entries of the manifest, at least one. `wanted` is the list that the plan was made from.
    pub fn entries<'a>(
        &'a self,
        entries: &Entries,
        wanted: &'a [Wanted],
    ) -> impl Iterator<Item = &'a Wanted> + use<'a> {
        self.entries[entries.0.start as usize..entries.0.end as usize]
            .iter()
            .map(|index| &wanted[*index as usize])
    }

    /// Whether there is nothing to do, but for relief.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fewer.is_empty()
            && self.evict.is_empty()
            && self.moves.is_empty()
            && self.duplicates.is_empty()
            && self.fetch.is_empty()
            && self.publish.is_empty()
    }

    /// Sum of a list.
    pub fn amount(sizes: impl IntoIterator<Item = u64>) -> Amount {
        sizes.into_iter().fold(Amount::default(), Amount::plus)
    }
}

impl Amount {
    /// One object more.
    #[must_use]
    pub fn plus(self, size: u64) -> Self {
        Self {
            objects: self.objects + 1,
            bytes: self.bytes.saturating_add(size),
        }
    }
}

/// Makes a plan. Takes time and memory for each entry of the manifest and each object held: a few seconds and 250 MB for a million.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let wants = wants::gather(situation);
    let choice = choose::choose(situation, &wants);
    steps::steps(situation, wants, &choice)
}
