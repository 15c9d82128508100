//! What holds for every plan.

use std::collections::{BTreeMap, BTreeSet};

use fill_agent::planner::{Allowance, Plan};
use proptest::prelude::*;
use protocol::config::TierRole::{self, Capacity, Hot};
use protocol::manifest::{Tombstone, Wanted};
use protocol::root::Root;

use crate::world::{Disk, FURTHER, Object, World, in_words, root, wanted};

const OBJECTS: u32 = 14;

/// An object of the world, before it is said what is wanted and what is held.
#[derive(Debug, Clone)]
struct Draft {
    size: u64,
    demand: u64,
    role: TierRole,
    urgent: bool,
    copies: u8,
    paths: u8,
    wanted: bool,
    taken_down: bool,
    held: Option<usize>,
    whole: bool,
    /// What is not whole is on no device that is here.
    away: bool,
    held_copies: u8,
    path_lost: bool,
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let role = prop_oneof![Just(Hot), Just(Capacity)];
    let size = prop_oneof![1 => Just(0_u64), 9 => 1..40_u64];
    let copies = || prop_oneof![3 => Just(1_u8), 1 => 1..=FURTHER];
    let urgent = prop::bool::weighted(0.15);
    let kind = (size, 0..200_u64, role, urgent, copies(), 1..3_u8);
    let place = (
        prop::bool::weighted(0.75),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.6, 0..3_usize),
        prop::bool::weighted(0.9),
        prop::bool::ANY,
        copies(),
        prop::bool::weighted(0.1),
    );
    let draft = (kind, place).prop_map(|(kind, place)| {
        let (size, demand, role, urgent, copies, paths) = kind;
        let (wanted, taken_down, held, whole, away, held_copies, path_lost) = place;
        Draft {
            size,
            demand,
            role,
            urgent,
            copies,
            paths,
            wanted,
            taken_down,
            held,
            whole,
            away,
            held_copies,
            path_lost,
        }
    });
    prop::collection::vec(draft, 0..OBJECTS as usize)
}

fn roles() -> impl Strategy<Value = Vec<TierRole>> {
    prop::sample::select(vec![
        vec![Hot],
        vec![Capacity],
        vec![Hot, Capacity],
        vec![Capacity, Hot],
        vec![Hot, Capacity, Hot],
        vec![Capacity, Capacity, Hot],
    ])
}

/// A world in which what is held fits, though not always below the high watermark.
fn worlds(allowance: impl Strategy<Value = Allowance>) -> impl Strategy<Value = World> {
    let disks = prop::collection::vec((0..120_u64, 0..20_u64), 3);
    let files = prop::collection::vec(prop::option::weighted(0.3, 0..6_u64), 3);
    (drafts(), roles(), disks, files, allowance).prop_map(
        |(drafts, roles, disks, files, allowance)| {
            let mut world = World {
                allowance,
                ..World::new(Vec::new())
            };
            for (number, draft) in (0..).zip(&drafts) {
                add(&mut world, number, draft, roles.len());
            }
            for (tier, role) in roles.into_iter().enumerate() {
                let (more, other) = disks[tier];
                let objects = world.held.values().filter(|object| object.tier == tier);
                let bytes = objects
                    .clone()
                    .map(|object| object.size * object.copies_here());
                let total = bytes.sum::<u64>() + other + more;
                let copies: u64 = objects.map(Object::copies_here).sum();
                let files = files[tier].map_or(u64::MAX, |more| copies + more);
                world.tiers.push(Disk {
                    role,
                    total,
                    other,
                    files,
                });
            }
            world
        },
    )
}

fn add(world: &mut World, number: u32, draft: &Draft, tiers: usize) {
    let path = |index: u8| format!("/{number}/{index}");
    if draft.wanted {
        for index in 0..draft.paths {
            let entry = wanted(number, &path(index), draft.size, draft.demand, draft.role);
            world.wanted.push(Wanted {
                urgent: draft.urgent,
                copies: draft.copies,
                ..entry
            });
        }
    }
    if draft.taken_down {
        world.tombstones.push(Tombstone {
            path: path(0).into(),
            root: root(number),
            at: 1,
        });
    }
    if let Some(tier) = draft.held {
        let object = Object {
            size: draft.size,
            tier: tier % tiers,
            whole: draft.whole,
            copies: draft.held_copies,
            takes_room: draft.whole || !draft.away,
            further: 1 + FURTHER - draft.held_copies,
            demand: draft.demand / 2,
            paths: if draft.path_lost {
                Vec::new()
            } else {
                vec![path(0)]
            },
        };
        world.held.insert(root(number), object);
    }
}

fn without_bound() -> impl Strategy<Value = Allowance> {
    Just(Allowance::All(u64::MAX))
}

fn any_allowance() -> impl Strategy<Value = Allowance> {
    prop_oneof![
        3 => Just(Allowance::All(u64::MAX)),
        2 => (0..80_u64).prop_map(Allowance::All),
        1 => (0..80_u64).prop_map(Allowance::Urgent),
    ]
}

/// Demand and size of what is wanted and not taken down, and the tier that it asks for.
fn wishes(world: &World) -> BTreeMap<Root, (u64, u64, bool)> {
    let down: BTreeSet<_> = world.tombstones.iter().map(|t| (&t.path, t.root)).collect();
    let mut wishes = BTreeMap::new();
    for entry in &world.wanted {
        if !down.contains(&(&entry.path, entry.root)) {
            let wish = wishes.entry(entry.root).or_insert((0, entry.size, false));
            wish.0 += entry.demand;
            wish.2 |= entry.urgent;
        }
    }
    wishes
}

/// Whether `a` ranks at least as high as `b`.
fn ranks_as_high(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 * b.1.max(1) >= b.0 * a.1.max(1)
}

proptest! {
    /// `apply` panics at a step that cannot be done, or that passes a high watermark.
    #[test]
    fn every_step_can_be_done_below_the_high_watermark(world in worlds(any_allowance())) {
        let plan = world.plan();
        world.clone().apply(&plan);
    }

    #[test]
    fn what_was_carried_out_is_not_planned_again(world in worlds(without_bound())) {
        let mut world = world;
        let first = world.plan();
        world.apply(&first);
        // Of what has just come there may be further copies.
        let further = world.plan();
        let mut only = further.clone();
        only.duplicates.clear();
        prop_assert!(only.is_empty(), "first {first:#?}\nsecond {further:#?}");
        world.apply(&further);
        let second = world.plan();
        prop_assert!(second.is_empty(), "first {first:#?}\nfurther {further:#?}\nsecond {second:#?}");
        prop_assert_eq!(second.without_room.len() as u64 + second.later.objects + second.held_wanted.objects, wishes(&world).len() as u64);
    }

    #[test]
    fn the_order_of_the_input_changes_nothing(world in worlds(any_allowance())) {
        let (reversed, theirs) = world.plan_of_reversed();
        prop_assert_eq!(in_words(&world, &world.plan()), in_words(&reversed, &theirs));
    }

    #[test]
    fn only_what_is_missing_and_not_taken_down_is_fetched(world in worlds(any_allowance())) {
        let plan = world.plan();
        let wishes = wishes(&world);
        let mut seen = BTreeSet::new();
        for fetch in plan.fetch.iter().chain(&plan.without_room) {
            prop_assert!(wishes.contains_key(&fetch.root));
            prop_assert!(seen.insert(fetch.root), "twice");
            prop_assert!(world.held.get(&fetch.root).is_none_or(|object| !object.whole));
        }
        let down: BTreeSet<_> = world.tombstones.iter().map(|t| (&*t.path, t.root)).collect();
        let fetched = plan.fetch.iter().map(|fetch| &fetch.entries);
        for entries in fetched.chain(plan.publish.iter().map(|publish| &publish.entries)) {
            prop_assert!(plan.entries(entries, &world.wanted).count() > 0);
            for entry in plan.entries(entries, &world.wanted) {
                prop_assert!(!down.contains(&(&*entry.path, entry.root)));
            }
        }
    }

    #[test]
    fn the_allowance_bounds_the_fetches(world in worlds(any_allowance())) {
        let plan = world.plan();
        let (bytes, urgent_only) = match world.allowance {
            Allowance::All(bytes) => (bytes, false),
            Allowance::Urgent(bytes) => (bytes, true),
        };
        let fetched: u64 = plan.fetch.iter().map(|fetch| fetch.size).sum();
        let larger_than_all = plan.fetch.len() == 1 && bytes > 0;
        let empty_ones = plan.fetch.iter().filter(|fetch| fetch.size == 0).count();
        prop_assert!(fetched <= bytes || larger_than_all || plan.fetch.len() == empty_ones + 1);
        if urgent_only {
            prop_assert!(plan.moves.is_empty());
            prop_assert!(plan.fetch.iter().all(|fetch| fetch.urgent));
        }
    }

    #[test]
    fn urgent_ones_come_first_then_by_rank(world in worlds(any_allowance())) {
        let plan = world.plan();
        let wishes = wishes(&world);
        let rank = |root: &Root| (wishes[root].0, wishes[root].1);
        for pair in plan.fetch.windows(2) {
            prop_assert!(pair[0].urgent >= pair[1].urgent);
            prop_assert!(pair[0].urgent != pair[1].urgent || ranks_as_high(rank(&pair[0].root), rank(&pair[1].root)));
        }
    }

    /// What is wanted gives way only to something that ranks higher and comes into its tier, or to the high watermark.
    #[test]
    fn nothing_wanted_is_evicted_for_a_lesser_one(world in worlds(any_allowance())) {
        let plan = world.plan();
        let wishes = wishes(&world);
        let rank = |root: &Root| (wishes[root].0, wishes[root].1);
        for evict in &plan.evict {
            let held = &world.held[&evict.root];
            if !wishes.contains_key(&evict.root) || !held.whole || world.used(evict.tier) > world.high(evict.tier) {
                continue;
            }
            let fetched = plan.fetch.iter().map(|fetch| (fetch.tier, fetch.root));
            let moved = plan.moves.iter().map(|step| (step.to, step.root));
            let mut coming = fetched.chain(moved).filter(|(tier, _)| *tier == evict.tier);
            prop_assert!(coming.any(|(_, root)| ranks_as_high(rank(&root), rank(&evict.root))), "{plan:#?}");
        }
    }

    /// If all may come, what was evicted or has no room would not fit beside what ranks as high.
    #[test]
    fn what_is_left_out_does_not_fit_beside_the_better_ones(world in worlds(without_bound())) {
        let mut after = world.clone();
        let plan = world.plan();
        after.apply(&plan);
        // With two tiers of a kind, an object may stay above in the space that is left for exchanges.
        let has_files = world.tiers.iter().all(|disk| disk.files == u64::MAX);
        if plan.later.objects > 0 || world.tiers.len() > 2 || !has_files {
            return Ok(());
        }
        let wishes = wishes(&world);
        for (left_out, (demand, size, _)) in wishes.iter().filter(|(root, _)| !after.held.contains_key(*root)) {
            let asked = world.wanted.iter().any(|entry| entry.root == *left_out && entry.tier == Hot);
            let hot_counts = asked || world.tiers.iter().all(|tier| tier.role == Hot);
            for (tier, disk) in after.tiers.iter().enumerate().filter(|(_, disk)| disk.role == Capacity || hot_counts) {
                let better = after.held.iter().filter(|(root, object)| {
                    object.tier == tier && wishes.get(root).is_some_and(|(d, s, _)| ranks_as_high((d * 5, *s), (demand * 4, *size)))
                });
                let taken: u64 = better.map(|(_, object)| object.size).sum();
                // Half of the space between the watermarks is left for exchanges, below another tier.
                let swing = disk.total / 20 + 1;
                prop_assert!(disk.other + taken + size + swing > after.high(tier), "{left_out} in {tier}: {plan:#?}");
            }
        }
    }

    /// Nothing has more copies than are asked for, and nothing that was chosen is without room because of further ones.
    #[test]
    fn as_many_copies_as_are_asked_for_where_room_is_left(world in worlds(without_bound())) {
        let mut after = world.clone();
        let plan = world.plan();
        after.apply(&plan);
        let asked = |root: &Root| {
            let entries = world.wanted.iter().filter(|entry| entry.root == *root);
            entries.map(|entry| entry.copies).max().unwrap_or(1)
        };
        for (root, object) in &after.held {
            prop_assert!(object.copies <= asked(root), "{root} has {}", object.copies);
        }
        // What is fetched again has room beside what is broken.
        if plan.later.objects > 0 || world.held.values().any(|object| !object.whole) {
            return Ok(());
        }
        let moved: BTreeSet<_> = plan.moves.iter().map(|step| step.root).collect();
        let fetched: BTreeSet<_> = plan.fetch.iter().map(|fetch| fetch.root).collect();
        for (root, object) in &after.held {
            let is_new = moved.contains(root) || fetched.contains(root);
            let has_files = after.tiers[object.tier].files == u64::MAX;
            let sinks = world.tiers.len() > 1;
            if object.copies < asked(root) && !is_new && has_files && !sinks && wishes(&world).contains_key(root) {
                prop_assert!(after.used(object.tier) + object.size > after.high(object.tier), "{root}: {plan:#?}");
            }
        }
    }

    #[test]
    fn what_is_not_wanted_stays_while_there_is_room(world in worlds(any_allowance())) {
        let plan = world.plan();
        let nothing_comes = plan.fetch.is_empty() && plan.moves.is_empty();
        let below = (0..world.tiers.len()).all(|tier| world.used(tier) <= world.high(tier));
        prop_assert!(!nothing_comes || !below || plan.evict.is_empty(), "{plan:#?}");
    }
}

#[test]
fn nothing_is_planned_for_nothing() {
    assert_eq!(World::new(Vec::new()).plan(), Plan::default());
    let world = World::new(Vec::new()).want(1, 1, 1, Hot);
    assert_eq!(world.plan().without_room.len(), 1);
}
