//! Thirty nights of a library whose popularity drifts: how many bytes come, and how many only change their place. One seed, one result.

use fill_agent::planner::{Allowance, Plan};
use protocol::config::TierRole::{self, Capacity, Hot};

use crate::world::{World, disk, root, wanted};

const NIGHTS: u32 = 30;
/// Until the tiers are full.
const FIRST_NIGHTS: u32 = 10;
const TITLES: u32 = 1500;
/// New ones in a night.
const RELEASES: u32 = 10;
/// Bytes of the tiers, in the unit of titles of 1 to 50.
const HOT_BYTES: u64 = 4_000;
const CAPACITY_BYTES: u64 = 20_000;
/// What the line brings in a night.
const NIGHT_BYTES: u64 = 2_400;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// Evenly in 0..1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Title {
    number: u32,
    size: u64,
    demand: f64,
}

/// All titles, with what is asked for each.
struct Library {
    titles: Vec<Title>,
    random: Random,
}

impl Library {
    fn new(seed: u64) -> Self {
        let mut library = Self {
            titles: Vec::new(),
            random: Random(seed),
        };
        for rank in 1..=TITLES {
            // Zipf's law with 0.8.
            library.add(1e6 / f64::from(rank).powf(0.8));
        }
        library
    }

    fn add(&mut self, demand: f64) {
        let title = Title {
            number: self.titles.len() as u32,
            size: 1 + self.random.next() % 50,
            demand,
        };
        self.titles.push(title);
    }

    /// Each title gains or loses up to a fifth, all lose a little to the new ones.
    fn turn(&mut self) {
        for title in &mut self.titles {
            title.demand *= 0.78 + 0.4 * self.random.share();
        }
        for _ in 0..RELEASES {
            let rank = 1.0 + 100.0 * self.random.share();
            self.add(1e6 / rank.powf(0.8));
        }
    }

    /// What a control endpoint asks of the box: the best per byte that its tiers have room for, the very best of them twice.
    fn manifest(&self, world: &mut World) {
        let mut order: Vec<&Title> = self.titles.iter().collect();
        let per_byte = |title: &Title| title.demand / title.size as f64;
        order.sort_by(|a, b| per_byte(b).total_cmp(&per_byte(a)));
        world.wanted.clear();
        let (mut hot, mut capacity) = (world.high(0), world.high(1));
        let mut twice = hot / 20;
        for title in order {
            let role = if title.size <= hot { Hot } else { Capacity };
            let copies = if role == Hot && title.size <= twice {
                2
            } else {
                1
            };
            let bytes = title.size * u64::from(copies);
            let room: &mut u64 = if role == Hot { &mut hot } else { &mut capacity };
            if bytes > *room {
                continue;
            }
            *room -= bytes;
            twice -= title.size * u64::from(copies - 1);
            self.want(world, title, role, copies);
        }
    }

    fn want(&self, world: &mut World, title: &Title, role: TierRole, copies: u8) {
        let (number, demand) = (title.number, title.demand as u64);
        let path = format!("/{number}");
        let mut entry = wanted(number, &path, title.size, demand, role);
        entry.copies = copies;
        world.wanted.push(entry);
    }
}

/// Shares of what the box holds.
#[derive(Debug, Default, Clone, Copy)]
struct Night {
    fetched: f64,
    moved: f64,
    copied: f64,
    evicted: f64,
}

impl Night {
    fn of(plan: &Plan, held: u64) -> Self {
        let share = |bytes: u64| bytes as f64 / held.max(1) as f64;
        let copies = plan.duplicates.iter();
        Self {
            fetched: share(plan.fetch.iter().map(|one| one.size).sum()),
            moved: share(plan.moves.iter().map(|one| one.size).sum()),
            copied: share(copies.map(|one| one.size * u64::from(one.count)).sum()),
            evicted: share(plan.evict.iter().map(|one| one.size).sum()),
        }
    }
}

fn mean(nights: &[Night], of: fn(&Night) -> f64) -> f64 {
    nights.iter().map(of).sum::<f64>() / nights.len() as f64
}

#[test]
fn little_moves_from_day_to_day() {
    let mut library = Library::new(7);
    let mut world = World::new(vec![disk(Hot, HOT_BYTES), disk(Capacity, CAPACITY_BYTES)]);
    world.allowance = Allowance::All(NIGHT_BYTES);
    let mut nights = Vec::new();
    println!("night  fetched  moved  copied  evicted, in % of what is held");
    for number in 1..=NIGHTS {
        library.manifest(&mut world);
        let held = world.used(0) + world.used(1);
        let plan = world.plan();
        world.apply(&plan);
        let night = Night::of(&plan, held);
        let [fetched, moved, copied, evicted] =
            [night.fetched, night.moved, night.copied, night.evicted].map(|share| share * 100.0);
        println!("{number:5}  {fetched:7.2}  {moved:5.2}  {copied:6.2}  {evicted:7.2}");
        nights.extend((number > FIRST_NIGHTS).then_some(night));
        library.turn();
    }
    let [moved, copied, fetched, evicted] = [
        mean(&nights, |night| night.moved),
        mean(&nights, |night| night.copied),
        mean(&nights, |night| night.fetched),
        mean(&nights, |night| night.evicted),
    ];
    let percent = [fetched, moved, copied, evicted].map(|share| share * 100.0);
    println!("mean from night {}: {percent:.3?}", FIRST_NIGHTS + 1);
    assert!(
        fetched > 0.0 && moved > 0.0 && copied > 0.0,
        "it is a test of nothing"
    );
    assert!(moved < 0.05, "{moved} of what is held moves in a night");
    assert!(
        copied < 0.005,
        "{copied} of what is held is copied in a night"
    );
    assert!(world.held.contains_key(&root(0)));
}

/// Whoever carried out a plan has nothing to do until the manifest changes, however often it is asked.
#[test]
fn the_same_manifest_again_moves_nothing() {
    let mut library = Library::new(11);
    let mut world = World::new(vec![disk(Hot, HOT_BYTES), disk(Capacity, CAPACITY_BYTES)]);
    for _ in 0..3 {
        library.manifest(&mut world);
        let plans = (0..4).map(|_| {
            let plan = world.plan();
            world.apply(&plan);
            plan
        });
        let plans: Vec<Plan> = plans.collect();
        assert!(!plans[0].is_empty());
        assert!(plans[3].is_empty(), "{:?}", Night::of(&plans[3], 1));
        library.turn();
    }
}
