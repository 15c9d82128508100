//! An hour of a fleet: the loss of one of twenty appliances, a crowd, restarts of the control endpoint, a partition. A run that
//! fails is played again by its seed; `cargo run -p steering --example steering-plot -- SEED > plot.svg` draws it.

mod picture;
mod world;

use std::path::Path;

use steering::decide::fleet::Standing;
use world::{BOXES, Event, ORIGIN, PER_SITE, Shares, World, play};

/// What no appliance's share may do, in parts of all viewers.
const MOVES_IN_A_MINUTE: f64 = 0.10;
const REVERSALS_IN_TEN_MINUTES: usize = 2;
/// Smaller moves are those of viewers who come and go.
const REVERSAL: f64 = 0.01;
const ORIGIN_WHILE_ONE_IS_LOST: f64 = 0.05;
/// Until here viewers still find their places.
const BEGIN: usize = 300;

#[test]
fn the_picture_of_the_documentation_is_of_this_hour() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/steering.svg");
    let drawn = picture::drawn(&play(1, |_, _| {}));
    if std::env::var_os("OCA_WRITE_DOCS").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == drawn,
        "docs/steering.svg shows another one: OCA_WRITE_DOCS=1 cargo test -p steering --test simulation"
    );
}

#[test]
fn shares_move_slowly_and_do_not_swing_whatever_happens() {
    for seed in 1..=2 {
        let shares = play(seed, |_, _| {});
        for number in 0..BOXES {
            let of_one: Vec<f64> = shares.iter().map(|Shares(all)| all[number]).collect();
            let of_one = &of_one[BEGIN..];
            let fastest = of_one.windows(61).map(range).fold(0.0, f64::max);
            assert!(
                fastest <= MOVES_IN_A_MINUTE,
                "seed {seed}, appliance {number}: {fastest} in a minute"
            );
            let turns = turns(of_one);
            let most = turns.iter().map(|begin| {
                let window = *begin..*begin + 600;
                turns.iter().filter(|turn| window.contains(turn)).count()
            });
            let most = most.max().unwrap_or(0);
            assert!(
                most <= REVERSALS_IN_TEN_MINUTES,
                "seed {seed}, appliance {number}: turns at {turns:?}"
            );
        }
        // Who cannot be heard keeps his viewers.
        for number in 3 * PER_SITE..4 * PER_SITE {
            let [before, at_the_end] = [2699, 3299].map(|at: usize| shares[at].0[number]);
            assert!(
                at_the_end > 0.7 * before,
                "seed {seed}, appliance {number}: {before} {at_the_end}"
            );
        }
        let lost = &shares[600..1200];
        let origin = lost
            .iter()
            .map(|Shares(all)| all[ORIGIN])
            .fold(0.0, f64::max);
        assert!(
            origin <= ORIGIN_WHILE_ONE_IS_LOST,
            "seed {seed}: {origin} from the origin"
        );
        let shares = shares.iter().map(|Shares(all)| all[7]);
        let [before, without, after] =
            [599, 700, 2000].map(|at| shares.clone().nth(at).unwrap_or(0.0));
        assert!(
            before > 0.03 && without == 0.0 && after > 0.03,
            "seed {seed}: {before} {without} {after}"
        );
    }
}

#[test]
fn a_crowd_overflows_to_the_next_sites_and_not_to_the_origin() {
    let mut fullest: f64 = 0.0;
    let shares = play(4, |_, _| {});
    let (before, during) = (&shares[1490].0, &shares[1900].0);
    let of_site = |all: &[f64], site: usize| all[site * PER_SITE..][..PER_SITE].iter().sum::<f64>();
    assert!(of_site(during, 0) > of_site(before, 0) + 0.05);
    // Without the crowd their shares would be smaller by what it adds to the sum.
    let neighbours = of_site(during, 1) + of_site(during, 4);
    let others = of_site(during, 2) + of_site(during, 3);
    assert!(neighbours > others + 0.01, "{neighbours} {others}");
    for Shares(all) in &shares[1500..2400] {
        fullest = fullest.max(all[ORIGIN]);
    }
    assert!(fullest < 0.02, "{fullest} from the origin");
}

#[test]
fn an_endpoint_that_is_gone_for_an_hour_finds_all_as_they_were() {
    let mut world = World::new(5, 0.5);
    let run = |world: &mut World, seconds: u64| (0..seconds).for_each(|_| world.step());
    run(&mut world, 120);
    world.happens(Event::ControlStops);
    run(&mut world, 3600);
    world.happens(Event::ControlStarts);
    // Nobody has reported yet since.
    assert!((0..BOXES).all(|number| world.standing(number) == Some(Standing::Held)));
    // Who comes in that hour is answered now, and every appliance is offered.
    world.step();
    assert!(world.shares().0[..BOXES].iter().all(|share| *share > 0.0));
    run(&mut world, 15);
    assert!((0..BOXES).all(|number| world.standing(number) == Some(Standing::Well)));
    assert!(world.shares().0[ORIGIN] == 0.0);
}

#[test]
fn a_site_that_cannot_be_heard_is_held_for_an_hour_and_one_appliance_is_not() {
    let mut world = World::new(6, 0.5);
    let run = |world: &mut World, seconds: u64| (0..seconds).for_each(|_| world.step());
    run(&mut world, 60);
    world.happens(Event::Dies(0));
    run(&mut world, 60);
    world.happens(Event::Parts(2));
    for _ in 0..350 {
        run(&mut world, 10);
        for number in 2 * PER_SITE..3 * PER_SITE {
            let standing = world.standing(number).expect("control is there");
            assert!(
                matches!(standing, Standing::Well | Standing::Held),
                "{standing:?}"
            );
        }
    }
    assert_eq!(world.standing(0), Some(Standing::Silent));
    run(&mut world, 200);
    assert_eq!(world.standing(2 * PER_SITE), Some(Standing::Silent));
}

/// From the lowest to the highest.
fn range(shares: &[f64]) -> f64 {
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    shares.iter().copied().fold(0.0, f64::max) - least
}

/// Where a curve turns, moves of less than [`REVERSAL`] left out.
fn turns(curve: &[f64]) -> Vec<usize> {
    let (mut turns, mut rising) = (Vec::new(), None);
    let (mut low, mut high) = ((0, curve[0]), (0, curve[0]));
    for (at, share) in curve.iter().copied().enumerate() {
        if share < low.1 {
            low = (at, share);
        }
        if share > high.1 {
            high = (at, share);
        }
        if rising != Some(true) && share > low.1 + REVERSAL {
            turns.extend(rising.map(|_| low.0));
            (rising, high) = (Some(true), (at, share));
        } else if rising != Some(false) && share < high.1 - REVERSAL {
            turns.extend(rising.map(|_| high.0));
            (rising, low) = (Some(false), (at, share));
        }
    }
    turns
}

#[test]
fn turns_are_found() {
    let curve = [0.05, 0.055, 0.05, 0.07, 0.10, 0.095, 0.08, 0.05, 0.06, 0.08];
    assert_eq!(turns(&curve), [4, 7]);
}
