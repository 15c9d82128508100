use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const PIECE: u64 = 2 << 20;
const QUANTUM: u64 = 256 << 10;

/// A memory of so many pieces.
fn policy(pieces: u64) -> Policy<u32> {
    Policy::new(pieces * PIECE, 7)
}

/// A viewer's read of a part of a piece, from wherever it is; what is admitted is loaded at once.
fn read(policy: &mut Policy<u32>, piece: u32, bytes: u64) -> Decision<u32> {
    let decision = policy.wanted(&Wanted {
        piece,
        piece_bytes: PIECE,
        read_bytes: bytes,
        expected_share: 0.0,
    });
    policy.loaded(&piece);
    decision
}

/// A viewer plays a piece from end to end.
fn play(policy: &mut Policy<u32>, piece: u32) {
    for _ in 0..PIECE / QUANTUM {
        read(policy, piece, QUANTUM);
    }
}

fn held(policy: &Policy<u32>, pieces: impl Iterator<Item = u32>) -> usize {
    pieces.filter(|piece| policy.holds(piece)).count()
}

#[test]
fn what_is_read_once_stays_on_its_device() {
    let mut policy = policy(100);
    (0..1000).for_each(|piece| play(&mut policy, piece));
    assert_eq!(policy.used_bytes(), 0);
    play(&mut policy, 1000);
    assert_eq!(
        read(&mut policy, 1000, QUANTUM),
        Decision::Leave(Refusal::Seldom)
    );
    assert_eq!(
        read(&mut policy, 1000, QUANTUM),
        Decision::Admit { evict: vec![] }
    );
    assert_eq!(read(&mut policy, 1000, QUANTUM), Decision::Held);
}

#[test]
fn a_full_memory_gives_its_least_used_piece_for_one_that_is_used_more() {
    let mut policy = policy(2);
    for (piece, plays) in [(1, 6), (2, 3)] {
        (0..plays).for_each(|_| play(&mut policy, piece));
    }
    let mut taken = Vec::new();
    for plays in 1.. {
        for _ in 0..PIECE / QUANTUM {
            if let Decision::Admit { evict } = read(&mut policy, 3, QUANTUM) {
                taken.push((plays, evict));
            }
        }
        if !taken.is_empty() {
            break;
        }
    }
    // More than the three of the other, by more than two.
    assert_eq!(taken, [(6, vec![2])]);
    assert_eq!(held(&policy, [1, 3].into_iter()), 2);
}

#[test]
fn a_piece_that_is_being_loaded_is_not_given_up_and_one_that_failed_leaves_room() {
    let mut policy = policy(1);
    let wanted = |piece| Wanted {
        piece,
        piece_bytes: PIECE,
        read_bytes: 2 * PIECE,
        expected_share: 0.0,
    };
    assert_eq!(policy.wanted(&wanted(1)), Decision::Admit { evict: vec![] });
    for _ in 0..9 {
        assert_eq!(
            policy.wanted(&wanted(2)),
            Decision::Leave(Refusal::LessThanHeld)
        );
    }
    policy.gone(&1);
    assert_eq!(policy.used_bytes(), 0);
    assert_eq!(policy.wanted(&wanted(2)), Decision::Admit { evict: vec![] });
    policy.loaded(&2);
    policy.gone(&1);
    assert!(policy.holds(&2), "the books know who is gone");
}

#[test]
fn a_memory_that_may_not_grow_still_changes_what_it_holds() {
    let mut policy = policy(10);
    (0..2).for_each(|_| play(&mut policy, 1));
    policy.stop_growing();
    (0..2).for_each(|_| play(&mut policy, 2));
    assert!(policy.holds(&1) && !policy.holds(&2));
    (0..4).for_each(|_| play(&mut policy, 2));
    assert!(policy.holds(&2) && policy.used_bytes() == PIECE);
}

#[test]
fn what_the_plan_expects_comes_in_at_the_first_touch_and_a_wrong_plan_is_forgotten() {
    let mut policy = policy(10);
    let budget = policy.budget_bytes() as f64;
    let planned = |piece, reads: f64| Wanted {
        piece,
        piece_bytes: PIECE,
        read_bytes: QUANTUM,
        expected_share: reads / (budget * FADING_BUDGETS as f64),
    };
    assert_eq!(
        policy.wanted(&planned(0, 1.0)),
        Decision::Leave(Refusal::Seldom)
    );
    for piece in 1..=10 {
        assert_eq!(
            policy.wanted(&planned(piece, 8.0)),
            Decision::Admit { evict: vec![] }
        );
        policy.loaded(&piece);
    }
    assert_eq!(
        policy.wanted(&planned(11, 8.0)),
        Decision::Leave(Refusal::LessThanHeld)
    );
    let better = policy.wanted(&planned(12, 12.0));
    assert!(
        matches!(better, Decision::Admit { ref evict } if evict.len() == 1),
        "{better:?}"
    );
    policy.loaded(&12);
    // Nobody ever comes for them: others do, several times the memory of traffic.
    for _ in 0..40 {
        (100..110).for_each(|piece| play(&mut policy, piece));
    }
    assert_eq!(held(&policy, 100..110), 10);
}

/// What was watched very often gives way to what is watched less often now: a memory of traffic is a memory of some time.
#[test]
fn what_was_hot_yesterday_goes() {
    let mut policy = policy(2);
    for _ in 0..200 {
        (1..=2).for_each(|piece| play(&mut policy, piece));
    }
    assert_eq!(held(&policy, 1..3), 2);
    for _ in 0..50 {
        (3..=4).for_each(|piece| play(&mut policy, piece));
    }
    assert_eq!(held(&policy, 3..5), 2, "after a quarter as many");
}

/// Room for 250 pieces; a hot set of 100 of them that everybody watches.
fn with_hot_set(seed: u64) -> (Policy<u32>, std::ops::Range<u32>) {
    let mut policy = Policy::new(250 * PIECE, seed);
    for _ in 0..4 {
        (0..100).for_each(|piece| play(&mut policy, piece));
    }
    assert_eq!(held(&policy, 0..100), 100);
    (policy, 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Hot set of 40 % of memory, 3 x memory of one-time traffic: the hot set stays, whether or not it is watched meanwhile.
    #[test]
    fn one_time_traffic_does_not_empty_a_memory_in_use(seed: u64, once in 750u32..3000, watched: bool) {
        let (mut policy, hot) = with_hot_set(seed);
        for piece in 1000..1000 + once {
            play(&mut policy, piece);
            if watched {
                read(&mut policy, piece % 100, QUANTUM);
            }
        }
        prop_assert!(held(&policy, hot) >= 95, "{}", held(&policy, 0..100));
    }

    /// The same while the rest of the memory is filled by what was watched twice.
    #[test]
    fn not_even_traffic_that_comes_twice_does(seed: u64) {
        let (mut policy, hot) = with_hot_set(seed);
        for piece in 1000..1750 {
            play(&mut policy, piece);
            play(&mut policy, piece);
            read(&mut policy, piece % 100, QUANTUM);
        }
        prop_assert_eq!(policy.used_bytes(), policy.budget_bytes());
        prop_assert!(held(&policy, hot) >= 95, "{}", held(&policy, 0..100));
    }

    /// Yesterday's hot set goes when today's has been watched as much.
    #[test]
    fn a_memory_in_use_follows_what_is_watched(seed: u64) {
        let (mut policy, _) = with_hot_set(seed);
        for _ in 0..25 {
            (5000..5250).for_each(|piece| play(&mut policy, piece));
        }
        prop_assert!(held(&policy, 5000..5250) >= 240, "{}", held(&policy, 5000..5250));
    }

    #[test]
    fn the_books_agree_with_every_decision(
        calls in prop::collection::vec((0u32..40, 1u64..=PIECE, 0u8..20), 1..600),
        sizes in prop::collection::vec(1u64..=PIECE, 40),
    ) {
        let budget = 6 * PIECE;
        let mut policy = Policy::new(budget, 1);
        let mut books = HashSet::new();
        for (piece, bytes, what) in calls {
            let piece_bytes = sizes[piece as usize];
            match what {
                0 => {
                    policy.gone(&piece);
                    books.remove(&piece);
                }
                1 => policy.loaded(&piece),
                2 => { policy.used(&piece, piece_bytes, bytes); }
                _ => {
                    let wanted = Wanted { piece, piece_bytes, read_bytes: bytes, expected_share: 1e-9 * f64::from(piece) };
                    match policy.wanted(&wanted) {
                        Decision::Admit { evict } => {
                            for gone in evict {
                                prop_assert!(books.remove(&gone), "what goes was there");
                            }
                            prop_assert!(books.insert(piece), "what comes was not");
                            if what > 4 {
                                policy.loaded(&piece);
                            }
                        }
                        Decision::Held => prop_assert!(books.contains(&piece)),
                        Decision::Leave(_) => prop_assert!(!books.contains(&piece)),
                    }
                }
            }
            let bytes: u64 = books.iter().map(|&piece| sizes[piece as usize]).sum();
            prop_assert_eq!(policy.used_bytes(), bytes);
            prop_assert!(bytes <= budget);
            prop_assert!((0..40).all(|piece| policy.holds(&piece) == books.contains(&piece)));
        }
    }
}
