use std::collections::HashMap;

use proptest::prelude::*;
use protocol::config::TierRole;
use protocol::manifest::keys::PrivateKey;
use protocol::manifest::seal;

use super::*;

const LABEL: Label = Label {
    serial: Serial {
        epoch: 1,
        number: 7,
    },
    built_at: 1000,
    not_after: 2000,
};

/// Objects of these sizes, each with one path.
fn library(sizes: &[u64]) -> Library {
    let object = |index: usize, size: u64| Object {
        root: Root(*blake3::hash(&index.to_le_bytes()).as_bytes()),
        size,
        urgent: false,
    };
    let entry = |index: usize| Entry {
        path: format!("/{index}.mp4").into(),
        object: index,
        content_type: "video/mp4".into(),
        cache_control: "".into(),
        modified: 1,
        urgent: false,
    };
    Library {
        objects: sizes
            .iter()
            .enumerate()
            .map(|(index, size)| object(index, *size))
            .collect(),
        entries: (0..sizes.len()).map(entry).collect(),
        tombstones: Vec::new(),
    }
}

fn member(index: usize, objects: usize, room: Room) -> Member {
    Member {
        id: format!("c{index:03}.site.example"),
        alive: true,
        serves_at: vec![format!("http://192.0.2.{index}:80")],
        held: vec![false; objects],
        room,
        copies: Copies::ONE,
        site: Site {
            offset_s: 60,
            rate: None,
        },
        sources: vec![Source::Control],
    }
}

fn cluster(demand: &[u64], rooms: &[Room]) -> Cluster {
    let members = rooms
        .iter()
        .enumerate()
        .map(|(index, room)| member(index, demand.len(), *room));
    Cluster {
        demand: demand.to_vec(),
        members: members.collect(),
    }
}

fn build(library: &Library, cluster: &Cluster, index: usize) -> Manifest {
    let manifest = manifest(
        library,
        cluster,
        &selections(library, cluster),
        index,
        LABEL,
    );
    assert_eq!(manifest.check(), Ok(()));
    manifest
}

fn tiers(manifest: &Manifest) -> Vec<(&str, TierRole)> {
    let tier = |wanted: &Wanted| wanted.tier;
    manifest
        .objects
        .iter()
        .map(|wanted| (&*wanted.path, tier(wanted)))
        .collect()
}

#[test]
fn the_most_asked_for_per_byte_is_hot_the_next_goes_to_capacity_the_rest_is_left() {
    let library = library(&[100, 10, 50, 50]);
    let room = Room {
        hot: 60,
        capacity: 60,
    };
    let cluster = cluster(&[100, 100, 100, 40], &[room]);
    let manifest = build(&library, &cluster, 0);
    assert_eq!(
        tiers(&manifest),
        [
            ("/1.mp4", TierRole::Hot),
            ("/2.mp4", TierRole::Hot),
            ("/3.mp4", TierRole::Capacity),
        ]
    );
}

#[test]
fn the_most_asked_for_has_copies_as_far_as_their_room_goes() {
    let library = library(&[10, 10, 40, 10]);
    let room = Room {
        hot: 100,
        capacity: 0,
    };
    let mut cluster = cluster(&[400, 300, 800, 100], &[room]);
    cluster.members[0].copies = Copies {
        hot: 3,
        capacity: 1,
        room_percent: Percent::of(30),
    };
    let manifest = build(&library, &cluster, 0);
    let copies: Vec<u8> = manifest.objects.iter().map(|of| of.copies).collect();
    // 20 of the 30 bytes for further copies are the first object's; no other's two fit into the rest.
    assert_eq!(copies, [3, 1, 1, 1]);
}

#[test]
fn a_site_is_told_when_and_how_fast() {
    let mut cluster = cluster(&[1], &[Room::UNKNOWN]);
    let rate = SiteRate {
        bits_per_second: 1_000_000_000,
        appliances: 3,
    };
    cluster.members[0].site = Site {
        offset_s: site_offset_s("fra001.example"),
        rate: Some(rate),
    };
    let manifest = build(&library(&[1]), &cluster, 0);
    assert_eq!(manifest.site_rate, Some(rate));
    // As an appliance of that site reckons by itself.
    assert_eq!(manifest.site_offset_s, Some(909));
}

#[test]
fn what_is_urgent_has_its_place() {
    let mut library = library(&[10, 10]);
    library.objects[1].urgent = true;
    library.entries[1].urgent = true;
    let room = Room {
        hot: 10,
        capacity: 0,
    };
    let manifest = build(&library, &cluster(&[1000, 0], &[room]), 0);
    assert_eq!(tiers(&manifest), [("/1.mp4", TierRole::Hot)]);
    assert!(manifest.objects[0].urgent);
}

#[test]
fn an_appliance_of_which_nothing_is_known_is_told_all() {
    let library = library(&[1 << 42, 1 << 42, 0]);
    let manifest = build(&library, &cluster(&[0, 0, 0], &[Room::UNKNOWN]), 0);
    assert_eq!(manifest.objects.len(), 3);
}

#[test]
fn two_paths_of_one_object_need_its_room_once() {
    let mut library = library(&[10, 10]);
    let mut second = library.entries[0].clone();
    second.path = "/again.mp4".into();
    library.entries.push(second);
    let room = Room {
        hot: 20,
        capacity: 0,
    };
    let manifest = build(&library, &cluster(&[5, 1], &[room]), 0);
    assert_eq!(manifest.objects.len(), 3);
}

#[test]
fn a_peer_that_holds_it_is_asked_else_one_for_all_else_the_origin() {
    let library = library(&[10; 3]);
    let mut cluster = cluster(&[3, 2, 1], &[Room::UNKNOWN; 3]);
    cluster.members[2].held[0] = true;
    cluster.members[2].alive = true;
    let of = |cluster: &Cluster, member: usize, object: usize| -> Option<String> {
        let manifest = build(&library, cluster, member);
        let via = manifest.objects[object].via?;
        Some(manifest.sources[usize::from(via)].name().to_owned())
    };
    assert_eq!(of(&cluster, 0, 0).as_deref(), Some("c002.site.example"));
    assert_eq!(of(&cluster, 1, 0).as_deref(), Some("c002.site.example"));
    assert_eq!(of(&cluster, 2, 0), None, "nobody else has it");
    for object in 1..3 {
        let named: Vec<_> = (0..3).map(|member| of(&cluster, member, object)).collect();
        assert_eq!(named.iter().filter(|name| name.is_none()).count(), 1);
    }
    // A holder that does not report is not waited for.
    cluster.members[2].alive = false;
    let named = [0, 1].map(|member| of(&cluster, member, 0));
    assert_eq!(named.iter().filter(|name| name.is_none()).count(), 1);
    assert!(!named.contains(&Some("c002.site.example".to_owned())));
    assert!(
        of(&cluster, 2, 1).is_some(),
        "it asks one of those that are well"
    );
    // Alone, it goes to the origin.
    cluster.members.drain(..2);
    assert_eq!(of(&cluster, 0, 1), None);
}

#[test]
fn upstreams_come_before_the_origin_and_those_without_an_address_are_left() {
    let mut cluster = cluster(&[1], &[Room::UNKNOWN; 2]);
    let upstream = |urls: &[&str]| Source::Upstream {
        appliance: format!("u{}", urls.len()),
        urls: urls.iter().map(ToString::to_string).collect(),
    };
    cluster.members[0].sources = vec![upstream(&[]), upstream(&["http://u"]), Source::Control];
    let manifest = build(&library(&[1]), &cluster, 0);
    let names: Vec<&str> = manifest.sources.iter().map(Source::name).collect();
    assert_eq!(names, ["c001.site.example", "u1", "control"]);
}

#[test]
fn odd_addresses_are_left_out() {
    let reported = [
        "http://192.0.2.1:80",
        "ftp://x",
        "http://a b",
        "",
        "https://[2001:db8::1]",
    ];
    let usable = usable_urls(&reported.map(str::to_owned));
    assert_eq!(usable, ["http://192.0.2.1:80", "https://[2001:db8::1]"]);
}

/// Sizes with demand; members with room, liveness and what they hold.
fn worlds() -> impl Strategy<Value = (Library, Cluster)> {
    let objects = prop::collection::vec((0..1000_u64, 0..1000_u64), 1..40);
    objects.prop_flat_map(|objects| {
        let count = objects.len();
        let held = prop::collection::vec(prop::bool::weighted(0.3), count);
        let member = (
            0..8000_u64,
            0..8000_u64,
            prop::bool::weighted(0.8),
            any::<bool>(),
            held,
        );
        let members = prop::collection::vec(member, 1..6);
        members.prop_map(move |members| {
            let (sizes, demand): (Vec<_>, Vec<_>) = objects.iter().copied().unzip();
            let rooms: Vec<Room> = members
                .iter()
                .map(|(hot, capacity, ..)| Room {
                    hot: *hot,
                    capacity: *capacity,
                })
                .collect();
            let mut cluster = cluster(&demand, &rooms);
            for (member, (_, _, alive, serves, held)) in cluster.members.iter_mut().zip(members) {
                member.copies = Copies {
                    hot: 3,
                    capacity: 2,
                    room_percent: Percent::of(10),
                };
                member.alive = alive;
                member.held = held;
                if !serves {
                    member.serves_at.clear();
                }
            }
            (library(&sizes), cluster)
        })
    })
}

proptest! {
    #[test]
    fn no_tier_is_overfilled_and_no_room_is_left_for_what_is_more_wanted((library, cluster) in worlds()) {
        for (index, member) in cluster.members.iter().enumerate() {
            let manifest = build(&library, &cluster, index);
            let used = |role| manifest.objects.iter().filter(|wanted| wanted.tier == role).map(|wanted| wanted.size * u64::from(wanted.copies)).sum::<u64>();
            let (hot, capacity) = (used(TierRole::Hot), used(TierRole::Capacity));
            prop_assert!(hot <= member.room.hot && capacity <= member.room.capacity);
            let wanted: HashMap<&str, TierRole> = tiers(&manifest).into_iter().collect();
            for (entry, object) in library.entries.iter().zip(&library.objects) {
                if !wanted.contains_key(&*entry.path) {
                    prop_assert!(object.size > member.room.hot - hot && object.size > member.room.capacity - capacity);
                }
            }
        }
    }

    #[test]
    fn the_long_line_carries_each_object_once((library, cluster) in worlds()) {
        let manifests: Vec<Manifest> = (0..cluster.members.len()).map(|index| build(&library, &cluster, index)).collect();
        for (object, entry) in library.entries.iter().enumerate() {
            let counted = |index: &usize| {
                let member = &cluster.members[*index];
                member.alive && !member.serves_at.is_empty()
            };
            let via = |index: usize| -> Option<Option<&str>> {
                let manifest = &manifests[index];
                let wanted = manifest.objects.iter().find(|wanted| wanted.path == entry.path)?;
                Some(wanted.via.map(|via| manifest.sources[usize::from(via)].name()))
            };
            let held = (0..cluster.members.len()).filter(counted).any(|index| cluster.members[index].held[object]);
            let lacking: Vec<Option<&str>> = (0..cluster.members.len())
                .filter(counted)
                .filter(|index| !cluster.members[*index].held[object])
                .filter_map(via)
                .collect();
            let from_afar = lacking.iter().filter(|via| via.is_none()).count();
            prop_assert_eq!(from_afar, usize::from(!held && !lacking.is_empty()));
        }
    }

    #[test]
    fn what_is_built_is_sealed_and_opened_and_the_same_twice((library, cluster) in worlds()) {
        let key = PrivateKey::from_seed(&[7; 32]);
        let manifest = build(&library, &cluster, 0);
        prop_assert_eq!(&manifest, &build(&library, &cluster, 0));
        let sealed = seal::seal(&manifest, &[&key]).unwrap();
        let opened: Manifest = seal::open(&sealed, &[key.public()], &manifest.appliance).unwrap();
        prop_assert_eq!(opened, manifest);
    }
}
