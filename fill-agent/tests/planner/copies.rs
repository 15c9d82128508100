//! Further copies: which come, and which go.

use fill_agent::planner::{Allowance, Plan};
use protocol::config::TierRole::{Capacity, Hot};

use crate::examples::{evicted, fetched, moved, numbers};
use crate::world::{World, disk, root};

/// Number of the object, and copies that stay.
fn fewer(plan: &Plan) -> Vec<(u32, u8)> {
    let fewer = plan.fewer.iter();
    fewer
        .map(|one| (numbers([&one.root])[0], one.keep))
        .collect()
}

/// Number of the object, and copies that come.
fn copied(plan: &Plan) -> Vec<(u32, u8)> {
    let copies = plan.duplicates.iter();
    copies
        .map(|one| (numbers([&one.root])[0], one.count))
        .collect()
}

/// One object of 20 bytes is held, and so many copies of it are asked for.
fn wanted_often(copies: u8) -> World {
    let mut world = World::new(vec![disk(Capacity, 100)])
        .hold(1, 20, 0)
        .want(1, 20, 1000, Capacity);
    world.wanted[0].copies = copies;
    world
}

#[test]
fn further_copies_come_as_they_are_asked_for_and_go() {
    let mut world = wanted_often(3);
    let plan = world.plan();
    assert_eq!((copied(&plan), fetched(&plan)), (vec![(1, 2)], vec![]));
    world.apply(&plan);
    assert_eq!(world.used(0), 60);
    assert!(world.plan().is_empty());
    world.wanted[0].copies = 2;
    let plan = world.plan();
    assert_eq!(fewer(&plan), [(1, 2)]);
    world.apply(&plan);
    world.wanted.clear();
    let plan = world.plan();
    assert_eq!((fewer(&plan), evicted(&plan)), (vec![(1, 1)], vec![]));
}

#[test]
fn further_copies_have_devices_and_the_room_that_nothing_else_needs() {
    let mut world = wanted_often(3);
    world.held.get_mut(&root(1)).unwrap().further = 1;
    assert_eq!(copied(&world.plan()), [(1, 1)]);
    // 30 bytes are to come, now or in a later window.
    world = world.want(2, 30, 1, Capacity);
    assert_eq!(copied(&world.plan()), [(1, 1)]);
    for allowance in [Allowance::All(u64::MAX), Allowance::All(0)] {
        let more = World {
            allowance,
            ..world
                .clone()
                .want(3, 10, 1, Capacity)
                .want(4, 20, 1, Capacity)
        };
        assert_eq!(copied(&more.plan()), []);
    }
    world.allowance = Allowance::Urgent(1000);
    assert!(world.plan().is_empty(), "only inside the window");
}

/// There is room for one.
#[test]
fn what_is_watched_most_has_a_further_copy_first() {
    for popular in [1, 2] {
        let demand = |number| if number == popular { 2000 } else { 1000 };
        let mut world = World::new(vec![disk(Capacity, 100)])
            .hold(1, 25, 0)
            .hold(2, 25, 0)
            .want(1, 25, demand(1), Capacity)
            .want(2, 25, demand(2), Capacity);
        world.wanted.iter_mut().for_each(|entry| entry.copies = 2);
        assert_eq!(copied(&world.plan()), [(popular, 1)]);
    }
}

#[test]
fn further_copies_go_first_when_room_is_needed() {
    let mut world = wanted_often(3);
    world.apply(&world.plan());
    let world = world.want(2, 40, 1, Capacity);
    let plan = world.plan();
    assert_eq!((fewer(&plan), fetched(&plan)), (vec![(1, 2)], vec![2]));
    assert_eq!((evicted(&plan), copied(&plan)), (vec![], vec![]));
}

#[test]
fn what_moves_leaves_its_copies_behind() {
    let mut world = World::new(vec![disk(Hot, 100), disk(Capacity, 1000)])
        .hold(1, 20, 1)
        .want(1, 20, 1000, Hot);
    world.wanted[0].copies = 2;
    world.held.get_mut(&root(1)).unwrap().copies = 2;
    let plan = world.plan();
    assert_eq!((moved(&plan), copied(&plan)), (vec![1], vec![]));
    world.apply(&plan);
    assert_eq!((world.used(0), world.used(1)), (20, 0));
    assert_eq!(copied(&world.plan()), [(1, 1)]);
}
