//! Room, the writer lock, the day's evictions, the rate: what bounds a fill, and that it says so.

use std::path::{Path, PathBuf};
use std::time::Instant;

use content_store::Store;
use fill_agent::survey;
use protocol::config::TierRole;
use protocol::fill::{Activity, Request, Response};
use protocol::manifest::{Manifest, SiteRate, Wanted};

use super::appliance::{Appliance, eventually};
use super::damage::all_good;
use super::endpoint::{Endpoint, manifest};
use super::{content, mounts, objects, paths};

#[test]
fn what_does_not_fit_is_said_and_the_rest_comes() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let good = objects(&endpoint, 0..3);
    let giants = (0..64).map(|seed| Wanted {
        size: 4 << 40,
        ..endpoint.object(&format!("/giant{seed}"), content(100 + seed, 10))
    });
    let wanted: Vec<Wanted> = giants.chain(good.clone()).collect();
    endpoint.offer(&manifest(1, wanted));
    let agent = appliance.run();
    agent.open();
    let status = agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(status.progress.objects_without_room, 64);
    assert!(
        status.why.contains("64 objects of") && status.why.contains("no room"),
        "{}",
        status.why
    );
    assert_eq!(appliance.published(), paths(&good));
}

#[test]
fn the_window_and_the_rate_are_what_the_manifest_says_of_the_site() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    endpoint.offer(&Manifest {
        site_offset_s: Some(600),
        site_rate: Some(SiteRate {
            bits_per_second: 300_000_000,
            appliances: 3,
        }),
        ..manifest(1, objects(&endpoint, 0..1))
    });
    let agent = appliance.run();
    // Its own is 400 Mbit/s.
    agent.until("its share", |status| status.rate == Some(100_000_000));
    let Response::Window(window) = agent.ask(&Request::Window) else {
        panic!("no window");
    };
    assert_eq!(window.site_offset_s, 600);
    let opens = window.next.iter().find(|change| change.opens).unwrap();
    assert!(opens.local.contains(":10:00"), "{}", opens.local);
}

#[test]
fn another_writer_is_named_and_waited_for() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..3);
    let other = Store::open(survey::store_config(&appliance.config())).unwrap();
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    let process = std::process::id().to_string();
    let status = agent.until("it is named", |status| status.why.contains(&process));
    assert_eq!(status.activity, Activity::Blocked, "{}", status.why);
    drop(other);
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn a_takedown_stops_the_fetch_of_what_it_names() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..4);
    endpoint.offer(&manifest(1, wanted.clone()));
    endpoint.hold_back(true);
    let agent = appliance.run();
    agent.open();
    agent.until("all are being fetched", |status| {
        status.transfers.len() == 4
    });
    let root = wanted[0].root.to_string();
    let is_begun = || {
        let mut files = files(&appliance.path("")).into_iter();
        files.any(|file| file.to_string_lossy().contains(&root))
    };
    eventually("it has a file", || is_begun().then_some(()));
    endpoint.take_down(1, &[&wanted[0]]);
    agent.until("it is not fetched any more", |status| {
        status.transfers.len() == 3
    });
    endpoint.hold_back(false);
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published(), paths(&wanted[1..]));
    // Nothing is left of it either.
    eventually("discarded", || (!is_begun()).then_some(()));
}

#[test]
fn what_is_half_written_and_wanted_no_more_gives_its_room_back() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let mut wanted = objects(&endpoint, 0..3);
    let long = endpoint.object("/long.mp4", content(9, 6_000_000));
    wanted.push(long.clone());
    endpoint.offer(&manifest(1, wanted.clone()));
    endpoint.hold_back(true);
    let agent = appliance.run();
    agent.open();
    let root = long.root.to_string();
    let is_there = || {
        let mut files = files(&appliance.path("")).into_iter();
        files.any(|file| file.to_string_lossy().contains(&root))
    };
    eventually("its tree is known", || is_there().then_some(()));
    // Its first group is right, and then it is another one.
    let mut bytes = content(9, 6_000_000);
    bytes[2_000_000..].fill(0);
    endpoint.lie(&long, bytes);
    endpoint.hold_back(false);
    agent.until("it fails", |status| {
        status
            .failures
            .iter()
            .any(|failure| failure.path == "/long.mp4")
    });
    assert!(is_there());
    wanted.pop();
    wanted.extend(objects(&endpoint, 4..5));
    endpoint.offer(&manifest(2, wanted.clone()));
    agent.until("complete", |status| status.activity == Activity::Complete);
    eventually("discarded", || (!is_there()).then_some(()));
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn a_move_between_tiers_keeps_to_the_rate_and_is_shown() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.add_capacity_tier(&endpoint);
    let in_tier = |tier| Wanted {
        tier,
        ..endpoint.object("/long.mp4", content(1, 6_000_000))
    };
    endpoint.offer(&manifest(1, vec![in_tier(TierRole::Capacity)]));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let slower = Request::SetWindow {
        by: "ada".to_owned(),
        window: None,
        timezone: None,
        rate: Some(8_000_000),
    };
    assert!(matches!(agent.ask(&slower), Response::Window(_)));
    endpoint.offer(&manifest(2, vec![in_tier(TierRole::Hot)]));
    let status = agent.until("it moves, and says so", |status| {
        !status.transfers.is_empty() && status.why.contains("moved between tiers")
    });
    let begun = Instant::now();
    let moved = &status.transfers[0];
    assert_eq!(
        (&*moved.path, &*moved.source, moved.moves_to.as_deref()),
        ("/long.mp4", "disk", Some("nvme"))
    );
    assert_eq!(moved.bytes, 6_000_000);
    // In its middle it can be interrupted, and is gone on with.
    let pause = Request::Pause {
        by: "ada".to_owned(),
        until: None,
    };
    assert!(matches!(agent.ask(&pause), Response::Status(_)));
    agent.until("it stops", |status| status.transfers.is_empty());
    assert_eq!(appliance.tiers(), ["disk"]);
    let resume = Request::Resume {
        by: "ada".to_owned(),
    };
    agent.ask(&resume);
    eventually("moved", || (appliance.tiers() == ["nvme"]).then_some(()));
    // 6 s at the rate, less what it had done before it was seen and what may be caught up with.
    assert!(begun.elapsed().as_secs() >= 3, "{:?}", begun.elapsed());
}

fn files(under: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(under).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.path() {
        folder if folder.is_dir() => files(&folder),
        file => vec![file],
    };
    entries.flat_map(of).collect()
}

#[test]
fn an_object_moves_to_the_tier_where_it_belongs_without_being_fetched_again() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.add_capacity_tier(&endpoint);
    let in_tier = |tier| {
        let wanted = objects(&endpoint, 4..7).into_iter();
        let wanted = wanted.map(|wanted| Wanted { tier, ..wanted });
        wanted.collect::<Vec<_>>()
    };
    endpoint.offer(&manifest(1, in_tier(TierRole::Capacity)));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.tiers(), ["disk"; 3]);
    let sent = endpoint.sent_bytes();
    endpoint.offer(&manifest(2, in_tier(TierRole::Hot)));
    eventually("moved", || (appliance.tiers() == ["nvme"; 3]).then_some(()));
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(endpoint.sent_bytes(), sent);
    assert_eq!(appliance.published().len(), 3);
}

#[test]
fn what_is_watched_less_now_leaves_the_hot_tier_without_being_fetched_again() {
    let test = "what_is_watched_less_now_leaves_the_hot_tier_without_being_fetched_again";
    if !mounts::are_own(&format!("limits::{test}")) {
        return;
    }
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.add_capacity_tier(&endpoint);
    // Beside what is kept back, there is room for one of two.
    for name in ["d0", "d1"] {
        mounts::mount(&appliance, name, "size=48m");
    }
    let with_demands = |demands: [u64; 2]| {
        let seeds = [0, 1].into_iter().zip(demands);
        let wanted = seeds.map(|(seed, demand)| Wanted {
            demand,
            ..endpoint.object(&format!("/{seed}.mp4"), content(seed, 20 << 20))
        });
        wanted.collect::<Vec<_>>()
    };
    let wanted = with_demands([1 << 40, 1 << 30]);
    let with_hot = |hot: usize| {
        let mut tiers = [(&wanted[0].root, "disk"), (&wanted[1].root, "disk")];
        tiers[hot].1 = "nvme";
        tiers.sort();
        tiers.map(|(_, tier)| tier)
    };
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.tiers(), with_hot(0));
    let sent = endpoint.sent_bytes();
    endpoint.offer(&manifest(2, with_demands([1 << 30, 1 << 40])));
    eventually("they have changed places", || {
        (appliance.tiers() == with_hot(1)).then_some(())
    });
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(endpoint.sent_bytes(), sent);
    assert!(all_good(&appliance));
}

#[test]
fn outside_the_window_urgent_objects_come_and_what_came_is_counted() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let ordinary = objects(&endpoint, 0..3);
    let urgent = Wanted {
        urgent: true,
        ..objects(&endpoint, 4..5).remove(0)
    };
    let both = [&ordinary[..], std::slice::from_ref(&urgent)].concat();
    let counted = || -> u64 {
        let text = std::fs::read(appliance.path("state/fill/ledger.json")).unwrap_or_default();
        let ledger: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        ledger.map_or(0, |ledger| find(&ledger, "urgent_bytes"))
    };
    endpoint.offer(&manifest(1, both.clone()));
    endpoint.hold_back(true);
    let agent = appliance.run();
    agent.until("it is asked for", |status| status.transfers.len() == 1);
    assert_eq!(counted(), urgent.size);
    endpoint.offer(&manifest(2, ordinary.clone()));
    // A chunk tree may have come.
    eventually("no object came", || (counted() < 1000).then_some(()));
    endpoint.hold_back(false);
    endpoint.offer(&manifest(3, both));
    eventually("the urgent one", || {
        (appliance.published() == paths(std::slice::from_ref(&urgent))).then_some(())
    });
    let status = agent.until("closed", |status| status.activity == Activity::Closed);
    assert!(!status.window_open);
    assert!((urgent.size..urgent.size + 2000).contains(&counted()));
    assert_eq!(appliance.published().len(), 1);
}

fn find(value: &serde_json::Value, key: &str) -> u64 {
    match value {
        serde_json::Value::Object(map) => match map.get(key) {
            Some(found) => found.as_u64().unwrap(),
            None => map.values().map(|value| find(value, key)).sum(),
        },
        _ => 0,
    }
}

#[test]
fn evictions_stop_at_the_bound_of_a_day_and_why_says_so() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted: Vec<Wanted> = (0..10)
        .map(|seed| endpoint.object(&format!("/{seed}"), content(seed, 100_000)))
        .collect();
    endpoint.offer(&manifest(1, wanted));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published().len(), 10);
    // The file system is fuller than that, so all should go.
    appliance.configure(&endpoint, |text| {
        text.replace("\"99 %\"", "\"2 %\"")
            .replace("\"98 %\"\n", "\"1 %\"\nmax_evict_per_day = \"25 %\"\n")
    });
    agent.hang_up();
    let status = agent.until("the bound is named", |status| {
        status.why.contains("fill.max_evict_per_day of 25 %")
    });
    assert_eq!(status.activity, Activity::Waiting, "{}", status.why);
    assert!(
        status.why.contains("8 objects of 800000 bytes"),
        "{}",
        status.why
    );
    assert_eq!(appliance.published().len(), 8);
    assert_eq!(agent.metric("oca_fill_evicted_objects_total"), 2.0);
}

#[test]
fn sighup_takes_another_rate() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    endpoint.offer(&manifest(1, objects(&endpoint, 0..1)));
    let agent = appliance.run();
    assert_eq!(agent.status().rate, Some(400_000_000));
    appliance.configure(&endpoint, |text| text.replace("400 Mbit/s", "100 Mbit/s"));
    agent.hang_up();
    agent.until("the new rate", |status| status.rate == Some(100_000_000));
    appliance.configure(&endpoint, |text| text.replace("400 Mbit/s", "much"));
    agent.hang_up();
    eventually("it is refused", || {
        let log = appliance.log();
        log.contains("the old one stays in force").then_some(())
    });
    assert_eq!(agent.status().rate, Some(100_000_000));
}
