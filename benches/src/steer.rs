//! `oca-bench steer`: how many viewers a core steers, with as many prefixes and appliances as a large fleet has.
//!
//! Sites that share the prefixes evenly and each hear those of the next site from farther away, four appliances in each; every
//! object is held by half of them. One thread asks for viewers at random, one after another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use steering::bgp::Prefix;
use steering::decide::fleet::{Fleet, MemberId, Said, Setup};
use steering::decide::prefix_map::PrefixMap;
use steering::decide::routes::{FeedId, Route, Routes};
use steering::decide::{Question, Scene, decide};
use steering::{State, UnixTime};

use crate::latency::Latencies;
use crate::load::Random;
use crate::setup;

/// Appliances of a site.
const PER_SITE: u32 = 4;

/// What must hold on one core.
const DECISIONS_PER_SECOND: f64 = 10_000.0;
const P99: Duration = Duration::from_millis(1);

/// `oca-bench steer`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Prefixes that all routers together tell; a fifth of them IPv6
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    prefixes: u32,
    /// Appliances
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    appliances: u32,
    /// How long to ask
    #[arg(long, default_value_t = 5.0, value_parser = setup::seconds)]
    seconds: f64,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let sites = arguments.appliances / PER_SITE;
    let begin = Instant::now();
    let routes = routes(sites, arguments.prefixes);
    let built_s = begin.elapsed().as_secs_f64();
    let now = UnixTime::from_seconds(1_790_000_000);
    let fleet = fleet(now, sites * PER_SITE);
    let begin = Instant::now();
    let view = fleet.look(now);
    let looked_us = begin.elapsed().as_micros();
    let scene = Scene {
        view: &view,
        routes: &routes,
        places: &PrefixMap::default(),
    };
    let (latencies, elapsed, nowhere) = ask(scene, arguments, sites);
    let count = latencies.count();
    let per_second = count as f64 / elapsed.as_secs_f64();
    let summary = latencies.summary();
    println!(
        "{} prefixes and {} appliances: {per_second:.0} decisions/s on one core; p50 {} us, p99 {} us, max {} us; {nowhere} of {count} \
         found nobody.",
        routes.len(),
        sites * PER_SITE,
        summary.p50_us,
        summary.p99_us,
        summary.max_us
    );
    println!(
        "The table was made in {built_s:.2} s; a look at the fleet takes {looked_us} us, once a second."
    );
    ensure!(
        per_second >= DECISIONS_PER_SECOND && u128::from(summary.p99_us) < P99.as_micros(),
        "missed: {DECISIONS_PER_SECOND} decisions/s with a p99 below {} us",
        P99.as_micros()
    );
    ensure!(nowhere == 0, "missed: everybody has somebody to ask");
    Ok(())
}

fn ask(scene: Scene<'_>, arguments: &Arguments, sites: u32) -> (Latencies, Duration, u64) {
    let mut random = Random::new(7);
    let all = (0..sites * PER_SITE).map(|number| MemberId(number as u16));
    let [even, odd]: [Vec<MemberId>; 2] =
        [0, 1].map(|half| all.clone().filter(|member| member.0 % 2 == half).collect());
    let (mut latencies, mut nowhere) = (Latencies::default(), 0);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < arguments.seconds {
        let prefix = prefix(random.below(u64::from(arguments.prefixes)) as u32);
        let object = random.below(1_000_000);
        let question = Question {
            client: prefix.address(),
            object,
            holders: if object.is_multiple_of(2) {
                &even
            } else {
                &odd
            },
        };
        let asked = Instant::now();
        let decision = decide(scene, question);
        latencies.record(asked.elapsed());
        nowhere += u64::from(decision.ranked.is_empty());
    }
    (latencies, begin.elapsed(), nowhere)
}

/// The prefix with this number: of lengths from 16 to 24, some within others, or of 32 to 48.
fn prefix(number: u32) -> Prefix {
    let scattered = number.wrapping_mul(2_654_435_761);
    let (address, length) = if number % 5 == 4 {
        let bits = 0x2001_u128 << 112 | u128::from(scattered) << 80;
        (
            IpAddr::V6(Ipv6Addr::from_bits(bits)),
            32 + (number % 17) as u8,
        )
    } else {
        (
            IpAddr::V4(Ipv4Addr::from_bits(scattered)),
            24 - (number % 9) as u8,
        )
    };
    Prefix::of(address, length).expect("short enough for its family")
}

/// A site hears a prefix with one hop, the next site with two.
fn routes(sites: u32, prefixes: u32) -> Routes {
    let told = |site: u32| {
        let heard = move |number: u32| match (number % sites, (number + 1) % sites) {
            (near, _) if near == site => Some(1),
            (_, far) if far == site => Some(2),
            _ => None,
        };
        (0..prefixes).filter_map(move |number| {
            Some(Route {
                prefix: prefix(number),
                hops: heard(number)?,
                med: number % 3,
            })
        })
    };
    Routes::of((0..sites).map(|site| (FeedId(site as u16), told(site))))
}

fn fleet(now: UnixTime, appliances: u32) -> Fleet {
    let mut fleet = Fleet::new(now);
    for number in 0..appliances {
        let member = fleet.enlist(Setup {
            id: format!(
                "c{:03}.s{:03}.example",
                number % PER_SITE,
                number / PER_SITE
            ),
            site: format!("s{:03}.example", number / PER_SITE),
            feed: Some(FeedId((number / PER_SITE) as u16)),
            place: None,
        });
        let said = Said {
            state: State::Ok,
            accepting: true,
            capacity: Some((100_000_000_000, u64::from(number % 90) * 1_000_000_000)),
            reaches: Vec::new(),
        };
        if let Some(member) = member {
            fleet.report(now, member, said);
        }
    }
    fleet
}
