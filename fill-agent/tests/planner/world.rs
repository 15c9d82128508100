//! A box that can be planned for, and on which a plan can be carried out.

use std::collections::BTreeMap;

use fill_agent::planner::{Allowance, Device, Held, HeldPath, Plan, Situation, Tier, plan};
use protocol::config::TierRole;
use protocol::manifest::{Tombstone, Wanted};
use protocol::root::Root;
use protocol::units::Percent;

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) tombstones: Vec<Tombstone>,
    pub(crate) held: BTreeMap<Root, Object>,
    pub(crate) tiers: Vec<Disk>,
    pub(crate) allowance: Allowance,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) size: u64,
    pub(crate) tier: usize,
    pub(crate) whole: bool,
    pub(crate) copies: u8,
    /// It lies on a device that is here.
    pub(crate) takes_room: bool,
    /// Copies that the devices without one can take.
    pub(crate) further: u8,
    pub(crate) demand: u64,
    pub(crate) paths: Vec<String>,
}

impl Object {
    /// Those that take room.
    pub(crate) fn copies_here(&self) -> u64 {
        u64::from(self.copies) * u64::from(self.takes_room)
    }
}

/// A tier with one device.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) role: TierRole,
    pub(crate) total: u64,
    /// Bytes that are not objects.
    pub(crate) other: u64,
    /// Objects that it has files for.
    pub(crate) files: u64,
}

pub(crate) const HIGH: u64 = 90;
pub(crate) const LOW: u64 = 80;

/// Copies that a tier has devices for, beside the first.
pub(crate) const FURTHER: u8 = 3;

pub(crate) fn root(number: u32) -> Root {
    Root(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(crate) fn wanted(number: u32, path: &str, size: u64, demand: u64, tier: TierRole) -> Wanted {
    Wanted {
        path: path.into(),
        root: root(number),
        size,
        content_type: "video/mp4".into(),
        cache_control: None,
        modified: 7,
        tier,
        demand,
        copies: 1,
        urgent: false,
        via: None,
    }
}

pub(crate) fn disk(role: TierRole, total: u64) -> Disk {
    Disk {
        role,
        total,
        other: 0,
        files: u64::MAX,
    }
}

impl World {
    pub(crate) fn new(tiers: Vec<Disk>) -> Self {
        Self {
            wanted: Vec::new(),
            tombstones: Vec::new(),
            held: BTreeMap::new(),
            tiers,
            allowance: Allowance::All(u64::MAX),
        }
    }

    /// Wants an object under the path `/number`.
    pub(crate) fn want(mut self, number: u32, size: u64, demand: u64, tier: TierRole) -> Self {
        let path = format!("/{number}");
        self.wanted.push(wanted(number, &path, size, demand, tier));
        self
    }

    /// Holds an object under the path `/number`.
    pub(crate) fn hold(mut self, number: u32, size: u64, tier: usize) -> Self {
        let object = Object {
            size,
            tier,
            whole: true,
            copies: 1,
            takes_room: true,
            further: FURTHER,
            demand: 0,
            paths: vec![format!("/{number}")],
        };
        self.held.insert(root(number), object);
        self
    }

    pub(crate) fn used(&self, tier: usize) -> u64 {
        let objects = self.held.values().filter(|object| object.tier == tier);
        let bytes = objects.map(|object| object.size * object.copies_here());
        self.tiers[tier].other + bytes.sum::<u64>()
    }

    fn room_objects(&self, tier: usize) -> u64 {
        let objects = self.held.values().filter(|object| object.tier == tier);
        let copies: u64 = objects.map(Object::copies_here).sum();
        match self.tiers[tier].files {
            u64::MAX => u64::MAX,
            files => files.checked_sub(copies).unwrap(),
        }
    }

    pub(crate) fn high(&self, tier: usize) -> u64 {
        self.tiers[tier].total * HIGH / 100
    }

    pub(crate) fn plan(&self) -> Plan {
        let tiers: Vec<Tier> = (0..self.tiers.len()).map(|tier| self.tier(tier)).collect();
        let held: Vec<Held<'_>> = self
            .held
            .iter()
            .map(|(root, object)| held(*root, object))
            .collect();
        plan(&self.situation(&tiers, &held))
    }

    /// The same with all lists the other way round.
    pub(crate) fn plan_of_reversed(&self) -> (Self, Plan) {
        let mut reversed = self.clone();
        reversed.wanted.reverse();
        reversed.tombstones.reverse();
        let tiers: Vec<Tier> = (0..self.tiers.len()).map(|tier| self.tier(tier)).collect();
        let mut held: Vec<Held<'_>> = self
            .held
            .iter()
            .map(|(root, object)| held(*root, object))
            .collect();
        held.reverse();
        for held in &mut held {
            held.paths.reverse();
        }
        let plan = plan(&reversed.situation(&tiers, &held));
        (reversed, plan)
    }

    fn situation<'a>(&'a self, tiers: &'a [Tier], held: &'a [Held<'a>]) -> Situation<'a> {
        Situation {
            wanted: &self.wanted,
            tombstones: &self.tombstones,
            held,
            tiers,
            high_watermark: Percent::of(HIGH),
            low_watermark: Percent::of(LOW),
            allowance: self.allowance,
            footprint: |size| size,
        }
    }

    fn tier(&self, tier: usize) -> Tier {
        let Disk { role, total, .. } = self.tiers[tier];
        let device = Device {
            total_bytes: total,
            room_bytes: total.checked_sub(self.used(tier)).unwrap(),
            room_columns: u64::MAX,
        };
        Tier {
            role,
            devices: vec![device],
            stripe_width: 1,
            room_objects: self.room_objects(tier),
        }
    }

    /// Carries a plan out, one step after the other. Panics where a step cannot be done, or passes a high watermark.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        for publish in &plan.publish {
            let object = self
                .held
                .get_mut(&publish.root)
                .expect("publishes what is held");
            assert!(object.whole, "publishes what is not whole");
            for entry in plan.entries(&publish.entries, &self.wanted) {
                assert_eq!(entry.root, publish.root);
                object.paths.push(entry.path.to_string());
            }
        }
        self.make_room(plan);
        self.copy(plan);
        for fetch in &plan.fetch {
            let paths: Vec<String> = plan
                .entries(&fetch.entries, &self.wanted)
                .inspect(|entry| assert_eq!((entry.root, entry.size), (fetch.root, fetch.size)))
                .map(|entry| entry.path.to_string())
                .collect();
            let object = Object {
                size: fetch.size,
                tier: fetch.tier,
                whole: true,
                copies: 1,
                takes_room: true,
                further: FURTHER,
                demand: 0,
                paths,
            };
            // What is not whole stays until it is replaced.
            let broken = self.held.remove(&fetch.root);
            assert!(
                broken.as_ref().is_none_or(|object| !object.whole),
                "fetches what is here"
            );
            let extra = broken
                .filter(|object| object.tier == fetch.tier)
                .map_or(0, |object| object.size * object.copies_here());
            self.held.insert(fetch.root, object);
            assert!(
                self.used(fetch.tier) + extra <= self.high(fetch.tier),
                "tier {} is too full",
                fetch.tier
            );
        }
    }

    fn make_room(&mut self, plan: &Plan) {
        for fewer in &plan.fewer {
            let object = self.held.get_mut(&fewer.root).expect("it is held");
            assert!((1..object.copies).contains(&fewer.keep));
            object.further += object.copies - fewer.keep;
            object.copies = fewer.keep;
        }
        for evict in &plan.evict {
            let object = self.held.remove(&evict.root).expect("evicts what is held");
            assert_eq!((object.size, object.tier), (evict.size, evict.tier));
        }
    }

    fn copy(&mut self, plan: &Plan) {
        for step in &plan.moves {
            let object = self.held.get_mut(&step.root).expect("moves what is held");
            assert_eq!(
                (object.size, object.tier, object.whole),
                (step.size, step.from, true)
            );
            object.tier = step.to;
            object.further += object.copies - 1;
            object.copies = 1;
            self.below_the_high_watermark(step.to);
        }
        for one in &plan.duplicates {
            let object = self.held.get_mut(&one.root).expect("copies what is held");
            assert_eq!(
                (object.size, object.tier, object.whole),
                (one.size, one.tier, true)
            );
            object.further -= one.count;
            object.copies += one.count;
            self.below_the_high_watermark(one.tier);
        }
    }

    fn below_the_high_watermark(&self, tier: usize) {
        assert!(
            self.used(tier) <= self.high(tier),
            "tier {tier} is too full"
        );
        self.room_objects(tier);
    }
}

fn held(root: Root, object: &Object) -> Held<'_> {
    let path = |path| HeldPath {
        path,
        content_type: "video/mp4",
        cache_control: "public, max-age=31536000, immutable",
        modified: 7,
    };
    Held {
        root,
        size: object.size,
        tier: object.tier,
        whole: object.whole,
        copies: object.copies,
        devices: 1,
        takes_room: object.takes_room,
        further: object.further,
        demand: object.demand,
        paths: object.paths.iter().map(|text| path(text)).collect(),
    }
}

/// A plan in words that do not depend on the order of the manifest.
pub(crate) fn in_words(world: &World, plan: &Plan) -> Vec<String> {
    let paths = |entries| -> Vec<String> {
        plan.entries(entries, &world.wanted)
            .map(|entry| entry.path.to_string())
            .collect()
    };
    let evict = plan.evict.iter().map(|step| format!("{step:?}"));
    let fewer = plan.fewer.iter().map(|step| format!("{step:?}"));
    let moves = plan.moves.iter().map(|step| format!("{step:?}"));
    let copies = plan.duplicates.iter().map(|step| format!("{step:?}"));
    let fetch = plan.fetch.iter().map(|step| {
        let paths = paths(&step.entries);
        format!(
            "fetch {} {} {} {paths:?}",
            step.root, step.tier, step.urgent
        )
    });
    let publish = plan
        .publish
        .iter()
        .map(|step| format!("publish {} {:?}", step.root, paths(&step.entries)));
    let without_room = plan
        .without_room
        .iter()
        .map(|step| format!("without room {} {:?}", step.root, paths(&step.entries)));
    let sums = format!("{:?} {:?}", plan.later, plan.held_wanted);
    fewer
        .chain(evict)
        .chain(moves)
        .chain(copies)
        .chain(fetch)
        .chain(publish)
        .chain(without_room)
        .chain([sums])
        .collect()
}
