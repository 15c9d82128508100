//! The rules one by one.

use fill_agent::planner::{self, Allowance, Device, Held, Plan, Situation, Tier};
use protocol::config::TierRole::{Capacity, Hot};
use protocol::manifest::{Tombstone, Wanted};
use protocol::units::Percent;

use crate::world::{World, disk, root, wanted};

/// Numbers of the objects.
pub(crate) fn numbers<'a>(roots: impl IntoIterator<Item = &'a protocol::root::Root>) -> Vec<u32> {
    let number = |wanted: &protocol::root::Root| (0..100).find(|n| root(*n) == *wanted).unwrap();
    roots.into_iter().map(number).collect()
}

pub(crate) fn fetched(plan: &Plan) -> Vec<u32> {
    numbers(plan.fetch.iter().map(|fetch| &fetch.root))
}

pub(crate) fn evicted(plan: &Plan) -> Vec<u32> {
    numbers(plan.evict.iter().map(|evict| &evict.root))
}

pub(crate) fn moved(plan: &Plan) -> Vec<u32> {
    numbers(plan.moves.iter().map(|step| &step.root))
}

fn without_room(plan: &Plan) -> Vec<u32> {
    numbers(plan.without_room.iter().map(|fetch| &fetch.root))
}

#[test]
fn most_demand_per_byte_first() {
    let world = World::new(vec![disk(Capacity, 100)])
        .want(1, 50, 100, Capacity)
        .want(2, 10, 80, Capacity)
        .want(3, 40, 60, Capacity);
    // 2 has 8 a byte, 1 has 2, 3 has 1.5; up to 90 bytes.
    let plan = world.plan();
    assert_eq!(fetched(&plan), [2, 1]);
    assert_eq!(without_room(&plan), [3]);
}

#[test]
fn what_is_here_gives_way_only_to_clearly_more() {
    let world = |demand| {
        World::new(vec![disk(Capacity, 100)])
            .hold(1, 80, 0)
            .want(1, 80, 100, Capacity)
            .want(2, 80, demand, Capacity)
    };
    assert!(world(125).plan().is_empty());
    let plan = world(126).plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![1], vec![2]));
}

#[test]
fn what_is_not_wanted_goes_first_down_to_the_low_watermark() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 30, 0)
        .hold(2, 30, 0)
        .hold(3, 5, 0)
        .hold(4, 20, 0)
        .want(4, 20, 1, Capacity)
        .want(5, 10, 50, Capacity);
    world.held.get_mut(&root(1)).unwrap().demand = 300;
    world.held.get_mut(&root(2)).unwrap().demand = 200;
    world.held.get_mut(&root(3)).unwrap().demand = 10;
    // 85 of 90 are used. Without 3 there is room for 5; without 2 it is below 80 as well.
    let plan = world.plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![3, 2], vec![5]));
}

#[test]
fn what_no_path_leads_to_goes_before_what_is_watched() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 40, 0)
        .hold(2, 40, 0)
        .want(3, 30, 1, Capacity);
    world.held.get_mut(&root(1)).unwrap().demand = 1;
    let lost = world.held.get_mut(&root(2)).unwrap();
    (lost.demand, lost.paths) = (500, Vec::new());
    assert_eq!(evicted(&world.plan()), [2]);
}

#[test]
fn hot_falls_to_capacity_and_never_the_other_way() {
    let world = World::new(vec![disk(Hot, 100), disk(Capacity, 1000)])
        .want(1, 80, 800, Hot)
        .want(2, 80, 400, Hot)
        .want(3, 980, 9, Capacity);
    let plan = world.plan();
    let tiers: Vec<usize> = plan.fetch.iter().map(|fetch| fetch.tier).collect();
    assert_eq!((fetched(&plan), tiers), (vec![1, 2], vec![0, 1]));
    assert_eq!(without_room(&plan), [3]);

    let world = World::new(vec![disk(Hot, 100), disk(Capacity, 10)]).want(1, 80, 1, Capacity);
    assert_eq!(without_room(&world.plan()), [1]);
}

#[test]
fn a_box_of_one_tier_takes_all() {
    for (has, asked) in [(Hot, Capacity), (Capacity, Hot)] {
        let world = World::new(vec![disk(has, 100)]).want(1, 80, 1, asked);
        assert_eq!(fetched(&world.plan()), [1]);
    }
}

#[test]
fn two_full_tiers_exchange_their_objects() {
    let mut world = World::new(vec![disk(Hot, 100), disk(Capacity, 1000)]);
    // Hot is full of what is watched less than what lies in capacity, and capacity is full as well.
    for number in 0..9 {
        world = world.hold(number, 10, 0).want(number, 10, 10, Hot);
    }
    for number in 10..95 {
        let role = if number < 19 { Hot } else { Capacity };
        world = world.hold(number, 10, 1).want(number, 10, 20, role);
    }
    let plan = world.plan();
    assert!(plan.evict.is_empty());
    assert_eq!(plan.moves.len(), 18, "nine up, nine down");
    world.apply(&plan);
    assert!(world.plan().is_empty());
}

#[test]
fn a_little_more_demand_moves_nothing() {
    let world = World::new(vec![disk(Hot, 100), disk(Capacity, 1000)])
        .hold(1, 80, 0)
        .want(1, 80, 100, Hot)
        .hold(2, 80, 1)
        .want(2, 80, 120, Hot);
    assert!(world.plan().is_empty());
}

#[test]
fn room_in_its_tier_is_used() {
    let world = World::new(vec![disk(Hot, 100), disk(Capacity, 1000)])
        .hold(2, 80, 1)
        .want(2, 80, 1, Hot);
    assert_eq!(moved(&world.plan()), [2]);
}

#[test]
fn several_paths_are_one_object() {
    let mut world = World::new(vec![disk(Capacity, 100)]).want(2, 60, 100, Capacity);
    for path in ["/b", "/a", "/c"] {
        world.wanted.push(wanted(1, path, 60, 40, Capacity));
    }
    let plan = world.plan();
    assert_eq!(fetched(&plan), [1], "120 for three paths");
    let paths: Vec<&str> = plan
        .entries(&plan.fetch[0].entries, &world.wanted)
        .map(|entry| &*entry.path)
        .collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
}

#[test]
fn paths_of_what_is_here_are_only_published() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 60, 0)
        .want(1, 60, 1, Capacity);
    let entry = world.wanted[0].clone();
    for path in ["/new", "/other"] {
        world.wanted.push(Wanted {
            path: path.into(),
            ..entry.clone()
        });
    }
    let plan = world.plan();
    assert!(plan.fetch.is_empty());
    let paths = |world: &World, plan: &Plan| -> Vec<String> {
        let entries = plan
            .publish
            .iter()
            .flat_map(|publish| plan.entries(&publish.entries, &world.wanted));
        entries.map(|entry| entry.path.to_string()).collect()
    };
    assert_eq!(paths(&world, &plan), ["/new", "/other"]);

    // A new head is published; the appliance's own rule for Cache-Control is no change.
    world.wanted.truncate(1);
    assert!(world.plan().is_empty());
    world.wanted[0].cache_control = Some("no-store".into());
    assert_eq!(paths(&world, &world.plan()), ["/1"]);
    world.wanted[0].cache_control = None;
    world.wanted[0].modified = 8;
    assert_eq!(paths(&world, &world.plan()), ["/1"]);
}

#[test]
fn what_is_taken_down_is_not_planned() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .want(1, 10, 1, Capacity)
        .want(2, 10, 1, Capacity);
    world.wanted.push(wanted(2, "/twin", 10, 1, Capacity));
    let stone = |number: u32| Tombstone {
        path: format!("/{number}").into(),
        root: root(number),
        at: 1,
    };
    world.tombstones = vec![stone(1), stone(2)];
    let plan = world.plan();
    assert_eq!(fetched(&plan), [2]);
    let mut paths = plan.entries(&plan.fetch[0].entries, &world.wanted);
    assert_eq!(paths.next().map(|entry| &*entry.path), Some("/twin"));
    assert!(paths.next().is_none());
}

#[test]
fn what_is_not_whole_is_fetched_again() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 40, 0)
        .want(1, 40, 1, Capacity);
    world.held.get_mut(&root(1)).unwrap().whole = false;
    let plan = world.plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![], vec![1]));
    // Without room for both, the broken one goes first.
    world.tiers[0].other = 20;
    let plan = world.plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![1], vec![1]));
}

#[test]
fn the_allowance_lets_the_first_pass_even_if_it_is_larger() {
    let mut world = World::new(vec![disk(Capacity, 1000)])
        .want(1, 100, 900, Capacity)
        .want(2, 10, 80, Capacity)
        .want(3, 20, 60, Capacity);
    world.allowance = Allowance::All(50);
    let plan = world.plan();
    assert_eq!(fetched(&plan), [1]);
    assert_eq!((plan.later.objects, plan.later.bytes), (2, 30));
    world.allowance = Allowance::All(115);
    assert_eq!(fetched(&world.plan()), [1, 2]);
    world.allowance = Allowance::All(0);
    assert_eq!(fetched(&world.plan()), Vec::<u32>::new());
}

#[test]
fn outside_the_window_only_urgent_ones_come() {
    let mut world = World::new(vec![disk(Hot, 100), disk(Capacity, 100)])
        .hold(3, 10, 1)
        .want(3, 10, 1000, Hot)
        .want(1, 10, 90, Capacity)
        .want(2, 10, 1, Capacity);
    world.wanted[2].urgent = true;
    world.allowance = Allowance::Urgent(100);
    let plan = world.plan();
    assert_eq!((fetched(&plan), moved(&plan)), (vec![2], vec![]));
    world.allowance = Allowance::All(100);
    let plan = world.plan();
    assert_eq!((fetched(&plan), moved(&plan)), (vec![2, 1], vec![3]));
}

#[test]
fn above_the_high_watermark_the_least_goes() {
    let world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 40, 0)
        .want(1, 40, 10, Capacity)
        .hold(2, 40, 0)
        .want(2, 40, 20, Capacity)
        .hold(3, 15, 0);
    assert_eq!(evicted(&world.plan()), [3]);
    let world = World {
        held: world
            .held
            .into_iter()
            .filter(|(held, _)| *held != root(3))
            .collect(),
        ..World::new(vec![disk(Capacity, 88)])
    };
    let world = world.want(1, 40, 10, Capacity).want(2, 40, 20, Capacity);
    assert_eq!(evicted(&world.plan()), [1]);
}

#[test]
fn above_the_high_watermark_room_may_come_from_what_rises_first() {
    // 1 is too large for its tier and belongs in the other one, where 2 lies that belongs in hot.
    let world = World::new(vec![disk(Capacity, 15), disk(Capacity, 20), disk(Hot, 9)])
        .hold(1, 15, 0)
        .want(1, 15, 0, Capacity)
        .hold(2, 6, 1)
        .want(2, 6, 0, Hot);
    let plan = world.plan();
    assert_eq!((evicted(&plan), moved(&plan)), (vec![], vec![2, 1]));
}

#[test]
fn files_are_room_as_bytes_are() {
    let mut world = World::new(vec![disk(Capacity, 1000)])
        .hold(1, 10, 0)
        .hold(2, 10, 0)
        .want(3, 10, 30, Capacity)
        .want(4, 10, 20, Capacity)
        .want(5, 10, 10, Capacity);
    world.held.get_mut(&root(1)).unwrap().demand = 5;
    world.tiers[0].files = 2;
    let plan = world.plan();
    // The low watermark of bytes is far away: no more goes than files are needed.
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![2, 1], vec![3, 4]));
    assert_eq!(without_room(&plan), [5]);
    world.apply(&plan);
    assert!(world.plan().is_empty());
}

/// Of 100 bytes each, marks at 90 and 80: the first has no room left, the other one so much.
fn plan_of_two(other_room: u64, held: &[Held<'_>], wanted: &[Wanted]) -> Plan {
    plan_of_two_in(1, other_room, held, wanted)
}

fn plan_of_two_in(stripe_width: u8, other_room: u64, held: &[Held<'_>], wanted: &[Wanted]) -> Plan {
    let device = |room_bytes| Device {
        total_bytes: 100,
        room_bytes,
        room_columns: u64::MAX,
    };
    let tiers = [Tier {
        role: Capacity,
        devices: vec![device(0), device(other_room)],
        stripe_width,
        room_objects: u64::MAX,
    }];
    planner::plan(&Situation {
        wanted,
        tombstones: &[],
        held,
        tiers: &tiers,
        high_watermark: Percent::of(90),
        low_watermark: Percent::of(80),
        allowance: Allowance::All(u64::MAX),
        footprint: |size| size,
    })
}

/// On the first device alone, and nobody asks for it.
fn on_the_first(number: u32, size: u64) -> Held<'static> {
    Held {
        root: root(number),
        size,
        tier: 0,
        whole: true,
        copies: 1,
        devices: 1,
        takes_room: true,
        further: 1,
        demand: 0,
        paths: Vec::new(),
    }
}

#[test]
fn a_device_above_its_watermark_gives_up_what_is_not_wanted() {
    let held = |number, size, devices, demand| Held {
        devices,
        demand,
        ..on_the_first(number, size)
    };
    let all = [
        held(1, 70, 1, 0),
        held(2, 6, 1, 9),
        held(3, 14, 3, 6),
        held(4, 10, 1, 90),
    ];
    let entry = wanted(1, "/1", 70, 1, Capacity);
    // Half of 3 lies there, so 2 goes as well; 4 is watched more, and 1 is wanted.
    assert_eq!(evicted(&plan_of_two(100, &all, &[entry])), [3, 2]);
}

/// The same, all of it wanted.
#[test]
fn what_is_wanted_leaves_a_device_above_its_watermark_when_nothing_else_comes() {
    let all = [(1, 70), (2, 20), (3, 10)].map(|(number, size)| on_the_first(number, size));
    let wants = [(1, 70, 7), (2, 20, 20), (3, 10, 90)].map(|(number, size, demand)| {
        wanted(number, &format!("/{number}"), size, demand, Capacity)
    });
    let plan = |other_room, more: &[Wanted]| {
        let plan = plan_of_two(other_room, &all, &[&wants[..], more].concat());
        let relief = plan.relief.iter();
        relief.map(|one| (one.root, one.from)).collect::<Vec<_>>()
    };
    // The least asked for that the other one has room for below its mark.
    assert_eq!(plan(100, &[]), [(root(1), 0)]);
    assert_eq!(plan(40, &[]), [(root(2), 0)]);
    assert_eq!(plan(5, &[]), []);
    let comes = wanted(4, "/4", 5, 1, Capacity);
    assert_eq!(plan(100, &[comes]), []);
}

/// What lies on a device that is away makes no room when it goes, and is there again when the device is.
#[test]
fn what_is_away_is_not_evicted_for_what_comes() {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 40, 0)
        .hold(2, 40, 0)
        .want(1, 40, 20, Capacity)
        .want(3, 90, 300, Capacity);
    for object in world.held.values_mut() {
        (object.whole, object.takes_room) = (false, false);
    }
    let plan = world.plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![], vec![3]));
    world.tiers[0].other = 100;
    let plan = world.plan();
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![], vec![]));
    // The same objects, here and not whole, make the room.
    world.tiers[0].other = 10;
    for object in world.held.values_mut() {
        object.takes_room = true;
    }
    assert!(!evicted(&world.plan()).is_empty());
}

/// Both devices have 100 bytes: together they have room for it, alone none has.
#[test]
fn nothing_leaves_for_an_object_that_no_device_could_hold() {
    let held = [on_the_first(1, 100)];
    let wanted = [
        wanted(1, "/1", 100, 1, Capacity),
        wanted(2, "/2", 120, 99, Capacity),
    ];
    let plan = plan_of_two_in(1, 100, &held, &wanted);
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![], vec![]));
    assert_eq!(without_room(&plan), [2]);
    let plan = plan_of_two_in(2, 100, &held, &wanted);
    assert_eq!((evicted(&plan), fetched(&plan)), (vec![1], vec![2]));
}
