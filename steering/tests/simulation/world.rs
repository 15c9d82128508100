//! Twenty appliances in five sites, their viewers, their routers and a control endpoint, on a virtual clock, all from one seed.
//!
//! Viewers ask when they begin and every five minutes; their players try the appliances of the answer in its order. Appliances
//! report every ten seconds. What happens to them is a list of [`Event`]s.

use std::net::{IpAddr, Ipv4Addr};

use steering::decide::fleet::{Fleet, MemberId, Said, Setup, Standing};
use steering::decide::limits::{TTL_S, TTL_SPREAD_PERCENT, ttl_longest};
use steering::decide::origin::OriginBudget;
use steering::decide::prefix_map::PrefixMap;
use steering::decide::routes::{FeedId, Route, Routes};
use steering::decide::{Question, Scene, decide};
use steering::{State, UnixTime};

pub(crate) const SITES: usize = 5;
pub(crate) const PER_SITE: usize = 4;
pub(crate) const BOXES: usize = SITES * PER_SITE;

const CAPACITY: u64 = 2_500_000_000;
pub(crate) const VIEWER: u64 = 5_000_000;
const TITLES: u64 = 1000;
/// The most popular titles are held by all appliances, the others by two of each site.
const HELD_BY_ALL: u64 = 200;
const REPORT_EVERY_S: u64 = 10;
const STAY_MEAN_S: f64 = 1200.0;

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// An appliance loses its power.
    Dies(usize),
    /// It is back.
    Returns(usize),
    /// So many more viewers of one title in the region of one site, over two minutes.
    Crowd { site: usize, viewers: u64 },
    /// The control endpoint stops.
    ControlStops,
    /// It starts again.
    ControlStarts,
    /// The appliances of a site and the control endpoint do not reach each other.
    Parts(usize),
    /// They do again.
    Joins(usize),
}

struct Viewer {
    client: IpAddr,
    title: u64,
    /// In the order of the last answer; the origin is [`ORIGIN`].
    answer: Vec<usize>,
    at: usize,
    asks_at: u64,
    ends_at: u64,
}

/// Where viewers of the origin are.
pub(crate) const ORIGIN: usize = BOXES;

pub(crate) struct World {
    pub(crate) now: u64,
    random: Random,
    control: Option<Fleet>,
    /// As the control endpoint keeps it over a restart.
    last: Vec<Option<(UnixTime, Said)>>,
    routes: Routes,
    origin: OriginBudget,
    alive: [bool; BOXES],
    parted: [bool; SITES],
    viewers: Vec<Viewer>,
    waiting: Vec<Viewer>,
    /// Viewers per second, by the region of a site.
    arrivals: [f64; SITES],
    crowd: Vec<(u64, usize)>,
}

/// How viewers were spread at one second: parts of all, the origin's last.
#[derive(Clone, Copy)]
pub(crate) struct Shares(pub(crate) [f64; BOXES + 1]);

impl World {
    /// With `load` of all capacity in use, spread evenly over the regions.
    pub(crate) fn new(seed: u64, load: f64) -> Self {
        let all = load * (BOXES as u64 * CAPACITY / VIEWER) as f64;
        let mut world = Self {
            now: 1_000_000,
            random: Random(seed),
            control: None,
            last: vec![None; BOXES],
            routes: routes(),
            origin: OriginBudget::new(5_000_000_000, VIEWER, ttl_longest(TTL_S)),
            alive: [true; BOXES],
            parted: [false; SITES],
            viewers: Vec::new(),
            waiting: Vec::new(),
            arrivals: [all / STAY_MEAN_S / SITES as f64; SITES],
            crowd: Vec::new(),
        };
        world.last = (0..BOXES).map(|_| Some((world.time(), said(0)))).collect();
        world.happens(Event::ControlStarts);
        for number in 0..all as usize {
            let viewer = world.newcomer(number % SITES, None);
            world.waiting.push(viewer);
        }
        world
    }

    fn time(&self) -> UnixTime {
        UnixTime::from_seconds(self.now)
    }

    pub(crate) fn happens(&mut self, event: Event) {
        match event {
            Event::Dies(which) => self.alive[which] = false,
            Event::Returns(which) => self.alive[which] = true,
            Event::Crowd { site, viewers } => {
                self.crowd = (0..viewers)
                    .map(|number| (self.now + 120 * number / viewers, site))
                    .collect();
            }
            Event::ControlStops => self.control = None,
            Event::ControlStarts => {
                let mut fleet = Fleet::new(self.time());
                for number in 0..BOXES {
                    let member = fleet.enlist(setup(number)).expect("there are few");
                    if let Some((received, said)) = self.last[number].clone() {
                        fleet.remember(member, received, said);
                    }
                }
                self.control = Some(fleet);
            }
            Event::Parts(site) => self.parted[site] = true,
            Event::Joins(site) => self.parted[site] = false,
        }
    }

    /// One second.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        self.report();
        self.arrive();
        self.leave();
        self.fail_over();
        self.ask();
    }

    pub(crate) fn shares(&self) -> Shares {
        let mut shares = [0.0; BOXES + 1];
        for viewer in &self.viewers {
            shares[viewer.at] += 1.0 / self.viewers.len() as f64;
        }
        Shares(shares)
    }

    pub(crate) fn standing(&self, number: usize) -> Option<Standing> {
        let fleet = self.control.as_ref()?;
        Some(fleet.look(self.time()).standing(MemberId(number as u16)))
    }

    fn report(&mut self) {
        let now = self.time();
        for number in 0..BOXES {
            let is_due = self.now % REPORT_EVERY_S == number as u64 % REPORT_EVERY_S;
            if !is_due || !self.alive[number] || self.parted[number / PER_SITE] {
                continue;
            }
            let viewers = self
                .viewers
                .iter()
                .filter(|viewer| viewer.at == number)
                .count();
            let noise = 0.97 + 0.06 * self.random.unit();
            let said = said((viewers as f64 * VIEWER as f64 * noise) as u64);
            if let Some(fleet) = &mut self.control {
                self.last[number] = Some((now, said.clone()));
                fleet.report(now, MemberId(number as u16), said);
            }
        }
    }

    fn arrive(&mut self) {
        for site in 0..SITES {
            let mut due = self.arrivals[site];
            while due > self.random.unit() {
                let viewer = self.newcomer(site, None);
                self.waiting.push(viewer);
                due -= 1.0;
            }
        }
        let (due, later) = self.crowd.iter().partition(|(at, _)| *at <= self.now);
        self.crowd = later;
        let due: Vec<(u64, usize)> = due;
        for (_, site) in due {
            let viewer = self.newcomer(site, Some(0));
            self.waiting.push(viewer);
        }
    }

    fn newcomer(&mut self, site: usize, title: Option<u64>) -> Viewer {
        let host = self.random.next() as u16;
        // Squared: the first titles are watched most.
        let popular = (self.random.unit().powi(2) * TITLES as f64) as u64;
        let stay = -self.random.unit().ln() * STAY_MEAN_S;
        Viewer {
            client: Ipv4Addr::from_bits(10 << 24 | (site as u32) << 16 | u32::from(host)).into(),
            title: title.unwrap_or(popular),
            answer: Vec::new(),
            at: ORIGIN,
            asks_at: 0,
            ends_at: self.now + stay as u64,
        }
    }

    fn leave(&mut self) {
        let now = self.now;
        self.viewers.retain(|viewer| viewer.ends_at > now);
        self.waiting.retain(|viewer| viewer.ends_at > now);
    }

    /// Players whose appliance is dead take the next one of their answer; with none left they ask at once.
    fn fail_over(&mut self) {
        for viewer in &mut self.viewers {
            if viewer.at != ORIGIN && !self.alive[viewer.at] {
                let alive = viewer
                    .answer
                    .iter()
                    .find(|at| **at == ORIGIN || self.alive[**at]);
                match alive {
                    Some(at) => viewer.at = *at,
                    None => viewer.asks_at = 0,
                }
            }
        }
    }

    /// Whose time has come. Without a control endpoint nobody is answered: those who watch watch on.
    fn ask(&mut self) {
        let Some(fleet) = &self.control else {
            return;
        };
        let now = UnixTime::from_seconds(self.now);
        let view = fleet.look(now);
        let scene = Scene {
            view: &view,
            routes: &self.routes,
            places: &PrefixMap::default(),
        };
        let due = self.viewers.iter_mut().chain(&mut self.waiting);
        for viewer in due.filter(|viewer| viewer.asks_at <= self.now) {
            let decision = decide(
                scene,
                Question {
                    client: viewer.client,
                    object: viewer.title,
                    holders: &holders(viewer.title),
                },
            );
            let ranked = decision
                .ranked
                .iter()
                .map(|ranked| usize::from(ranked.member.0));
            viewer.answer = ranked.collect();
            if decision.wants_origin() && self.origin.grant(now) {
                viewer.answer.insert(decision.busy, ORIGIN);
            }
            let alive = viewer
                .answer
                .iter()
                .find(|at| **at == ORIGIN || self.alive[**at]);
            viewer.at = *alive.unwrap_or(&ORIGIN);
            let spread = f64::from(TTL_SPREAD_PERCENT) / 100.0 * (2.0 * self.random.unit() - 1.0);
            viewer.asks_at = self.now + (f64::from(TTL_S) * (1.0 + spread)) as u64;
        }
        self.viewers.append(&mut self.waiting);
    }
}

fn setup(number: usize) -> Setup {
    Setup {
        id: format!("c{:03}.s{}.example", number % PER_SITE, number / PER_SITE),
        site: format!("s{}.example", number / PER_SITE),
        feed: Some(FeedId((number / PER_SITE) as u16)),
        place: None,
    }
}

fn said(sends: u64) -> Said {
    Said {
        state: State::Ok,
        accepting: true,
        capacity: Some((CAPACITY, sends)),
        reaches: Vec::new(),
    }
}

/// Each site hears its own region from next door, and that of the next site from farther away.
fn routes() -> Routes {
    let route = |region: usize, hops| Route {
        prefix: format!("10.{region}.0.0/16").parse().expect("a prefix"),
        hops,
        med: 0,
    };
    Routes::of((0..SITES).map(|site| {
        let told = [
            route(site, 1),
            route((site + 1) % SITES, 2),
            route((site + 4) % SITES, 2),
        ];
        (FeedId(site as u16), told)
    }))
}

fn holders(title: u64) -> Vec<MemberId> {
    let holds = |number: &u16| {
        let place = u64::from(*number) % PER_SITE as u64;
        title < HELD_BY_ALL || (title + place) % PER_SITE as u64 >= 2
    };
    (0..BOXES as u16).filter(holds).map(MemberId).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// Of (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// An hour in which everything happens.
pub(crate) const STORY: [(u64, Event); 9] = [
    (600, Event::Dies(7)),
    (1200, Event::Returns(7)),
    (
        1500,
        Event::Crowd {
            site: 0,
            viewers: 1100,
        },
    ),
    (2400, Event::ControlStops),
    (2430, Event::ControlStarts),
    (2700, Event::Parts(3)),
    (3300, Event::Joins(3)),
    (3310, Event::ControlStops),
    (3500, Event::ControlStarts),
];

/// How long it goes on, in seconds.
pub(crate) const STORY_S: u64 = 4200;

/// Plays the story; gives the shares of every second.
pub(crate) fn play(seed: u64, mut look: impl FnMut(u64, &World)) -> Vec<Shares> {
    let mut world = World::new(seed, 0.55);
    let begin = world.now;
    let mut shares = Vec::new();
    for second in 0..STORY_S {
        for (_, event) in STORY.iter().filter(|(at, _)| *at == second) {
            world.happens(*event);
        }
        world.step();
        shares.push(world.shares());
        look(world.now - begin, &world);
    }
    shares
}
