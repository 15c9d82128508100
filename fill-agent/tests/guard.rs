//! Manifests that are authentic and still a mistake.

use fill_agent::guard::{Question, Summary, Verdict, evictable_today, judge};
use proptest::prelude::*;
use protocol::config::TierRole;
use protocol::manifest::{MANIFEST_VERSION, Manifest, Serial, Wanted};
use protocol::root::Root;
use protocol::units::Percent;

fn summary(number: u64, objects: std::ops::Range<u32>) -> Summary {
    Summary::of(&manifest(number, objects))
}

fn manifest(number: u64, objects: std::ops::Range<u32>) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        appliance: "c001.fra001.example".to_owned(),
        serial: Serial { epoch: 1, number },
        built_at: 0,
        not_after: 1,
        site_offset_s: None,
        site_rate: None,
        sources: Vec::new(),
        objects: objects.map(wanted).collect(),
        tombstones: Vec::new(),
    }
}

fn wanted(number: u32) -> Wanted {
    Wanted {
        path: format!("/{number}").into(),
        root: Root(*blake3::hash(&number.to_le_bytes()).as_bytes()),
        size: 10,
        content_type: "video/mp4".into(),
        cache_control: None,
        modified: 0,
        tier: TierRole::Capacity,
        demand: 1,
        copies: 1,
        urgent: false,
        via: None,
    }
}

fn question<'a>(last: Option<&'a Summary>, new: &'a Summary) -> Question<'a> {
    Question {
        last,
        new,
        held_objects: 100,
        held_bytes: 1000,
        held_wanted_objects: 50,
        evict_bytes: 0,
        evicted_today_bytes: 0,
        max_evict_per_day: Percent::of(10),
    }
}

#[track_caller]
fn held(question: &Question<'_>, why: &str) {
    let why = why.to_owned();
    assert_eq!(judge(question), Verdict::Hold { why });
}

#[track_caller]
fn accepted(question: &Question<'_>) {
    assert_eq!(judge(question), Verdict::Accept);
}

#[test]
fn a_summary_counts_objects_not_paths() {
    let mut manifest = manifest(1, 0..3);
    let twin = Wanted {
        path: "/twin".into(),
        ..manifest.objects[0].clone()
    };
    manifest.objects.push(twin);
    let summary = Summary::of(&manifest);
    assert_eq!((summary.objects(), summary.bytes), (3, 30));
}

#[test]
fn half_is_enough_and_less_is_held() {
    let last = summary(41, 0..101);
    accepted(&question(Some(&last), &summary(42, 0..51)));
    held(
        &question(Some(&last), &summary(42, 0..50)),
        "it wants 50 objects, fewer than half of the 101 of manifest 1.41",
    );
    held(
        &question(Some(&last), &summary(42, 0..0)),
        "it is empty, where manifest 1.41 wanted 101 objects",
    );
}

#[test]
fn another_catalogue_of_the_same_size_is_held() {
    let last = summary(41, 0..100);
    accepted(&question(Some(&last), &summary(42, 50..150)));
    held(
        &question(Some(&last), &summary(42, 51..151)),
        "it wants only 49 of the 100 objects of manifest 1.41, fewer than half",
    );
    held(
        &question(Some(&last), &summary(42, 1000..3000)),
        "it wants only 0 of the 100 objects of manifest 1.41, fewer than half",
    );
}

#[test]
fn growth_is_accepted() {
    accepted(&question(Some(&summary(1, 0..3)), &summary(2, 0..1000)));
    accepted(&question(Some(&summary(1, 0..0)), &summary(2, 0..1000)));
    accepted(&question(Some(&summary(1, 0..0)), &summary(2, 0..0)));
}

#[test]
fn the_first_manifest() {
    let first = summary(1, 0..10);
    let empty_box = Question {
        held_objects: 0,
        held_bytes: 0,
        held_wanted_objects: 0,
        ..question(None, &first)
    };
    accepted(&empty_box);
    accepted(&question(None, &first));
    held(
        &Question {
            held_wanted_objects: 0,
            ..question(None, &first)
        },
        "it is the first manifest of this box, and wants none of the 100 objects that the box holds",
    );
}

#[test]
fn evictions_of_a_day_count_together() {
    let (last, new) = (summary(41, 0..100), summary(42, 0..100));
    let evicting = |evict_bytes, evicted_today_bytes| Question {
        evict_bytes,
        evicted_today_bytes,
        held_bytes: 1000 - evicted_today_bytes,
        ..question(Some(&last), &new)
    };
    accepted(&evicting(100, 0));
    accepted(&evicting(40, 60));
    held(
        &evicting(41, 60),
        "its plan evicts 41 of the 940 bytes that are held, 60 were evicted today, and fill.max_evict_per_day is 10 %",
    );
    assert_eq!(
        evictable_today(u64::MAX, u64::MAX, Percent::of(100)),
        u64::MAX
    );
    assert_eq!(evictable_today(0, 100, Percent::of(10)), 0);
}

proptest! {
    #[test]
    fn common_is_the_intersection(a in 0..60_u32, b in 0..60_u32, c in 0..60_u32, d in 0..60_u32) {
        let (ours, theirs) = (a.min(b)..a.max(b), c.min(d)..c.max(d));
        let both = ours.clone().filter(|number| theirs.contains(number)).count();
        let (ours, theirs) = (summary(1, ours), summary(2, theirs));
        prop_assert_eq!(ours.common(&theirs), both as u64);
        prop_assert_eq!(theirs.common(&ours), both as u64);
    }
}
