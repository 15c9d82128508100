//! One wrong manifest for each way in which one can be wrong.

use super::*;
use crate::config::TierRole;
use crate::manifest::{MANIFEST_VERSION, Serial};

fn wanted(path: &str) -> Wanted {
    Wanted {
        path: path.into(),
        root: Root([7; 32]),
        size: 1 << 20,
        content_type: "video/mp4; codecs=\"av01\"".into(),
        cache_control: None,
        modified: 0,
        tier: TierRole::Hot,
        demand: 0,
        copies: 1,
        urgent: false,
        via: None,
    }
}

fn peer(urls: &[&str]) -> Source {
    Source::Peer {
        appliance: "c002.fra001.example".into(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        appliance: "c001.fra001.example".into(),
        serial: Serial {
            epoch: 1,
            number: 1,
        },
        built_at: 1_000,
        not_after: 2_000,
        site_offset_s: None,
        site_rate: None,
        sources: vec![peer(&["http://192.0.2.1:80"]), Source::Control],
        objects: vec![wanted("/a"), wanted("/b")],
        tombstones: Vec::new(),
    }
}

/// What is said about a manifest that was changed so.
#[track_caller]
fn said(change: impl FnOnce(&mut Manifest)) -> Invalid {
    let mut manifest = manifest();
    assert_eq!(manifest.check(), Ok(()));
    change(&mut manifest);
    manifest.check().unwrap_err()
}

#[test]
fn a_path_that_no_appliance_serves() {
    let long = format!("/{}", "a".repeat(10_000));
    for (path, problem) in [
        ("", "does not begin with /"),
        ("a", "does not begin with /"),
        ("/\0", "has a control character"),
        ("/a\r\nX: y", "has a control character"),
        ("/\u{85}", "has a control character"),
        ("/..", "has a segment . or .."),
        ("/a/../b", "has a segment . or .."),
        ("/a/./b", "has a segment . or .."),
        (&long, "is longer than 1024 bytes"),
    ] {
        let invalid = said(|manifest| manifest.objects[0].path = path.into());
        let Invalid::Path {
            path: shown,
            problem: found,
        } = &invalid
        else {
            panic!("{invalid:?}")
        };
        assert_eq!(*found, problem);
        assert!(shown.chars().count() <= 80 && invalid.to_string().len() < 400);
        let tombstone = Tombstone {
            path: path.into(),
            root: Root([1; 32]),
            at: 0,
        };
        assert_eq!(
            said(|manifest| manifest.tombstones.push(tombstone)),
            invalid
        );
    }
    for path in [
        "/",
        "/a//b",
        "/...",
        "/a..b",
        "/ü/ %2e",
        &format!("/{}", "a".repeat(1023)),
    ] {
        assert_eq!(check_path(path), Ok(()), "{path}");
    }
}

#[test]
fn a_path_twice() {
    let invalid = said(|manifest| manifest.objects.push(wanted("/a")));
    assert_eq!(invalid.to_string(), "the path \"/a\" is there twice");
}

#[test]
fn one_object_of_two_sizes() {
    let invalid = said(|manifest| manifest.objects[1].size = 1);
    assert_eq!(invalid, Invalid::TwoSizes(Root([7; 32])));
}

#[test]
fn an_object_that_is_too_large() {
    let size = OBJECT_MAX_BYTES + 1;
    let invalid = said(|manifest| manifest.objects[0].size = size);
    assert_eq!(
        invalid,
        Invalid::Size {
            root: Root([7; 32]),
            size
        }
    );
}

#[test]
fn no_copies_and_too_many() {
    for copies in [0, COPIES_MAX + 1, 255] {
        let invalid = said(|manifest| manifest.objects[0].copies = copies);
        let path = "/a".to_owned();
        assert_eq!(invalid, Invalid::Copies { path, copies });
    }
}

#[test]
fn what_cannot_stand_in_a_head() {
    let long = "a".repeat(257);
    for value in ["a\r\nX: y", " a", "a ", "é", "a\0", &long] {
        let invalid = said(|manifest| manifest.objects[0].content_type = value.into());
        assert!(matches!(invalid, Invalid::HeaderValue { .. }), "{value:?}");
        let invalid = said(|manifest| manifest.objects[0].cache_control = Some(value.into()));
        assert!(matches!(invalid, Invalid::HeaderValue { .. }), "{value:?}");
    }
}

#[test]
fn via_nowhere_and_via_the_origin() {
    for via in [1, 2, u16::MAX] {
        let invalid = said(|manifest| manifest.objects[0].via = Some(via));
        let path = "/a".to_owned();
        assert_eq!(invalid, Invalid::Via { path, via });
    }
    let mut right = manifest();
    right.objects[0].via = Some(0);
    assert_eq!(right.check(), Ok(()));
}

#[test]
fn wanted_and_taken_down() {
    let tombstone = |root| Tombstone {
        path: "/a".into(),
        root,
        at: 1,
    };
    let invalid = said(|manifest| manifest.tombstones.push(tombstone(Root([7; 32]))));
    assert_eq!(invalid, Invalid::WantedTombstone("/a".into()));
    // Another object has taken the path since.
    let mut right = manifest();
    right.tombstones.push(tombstone(Root([8; 32])));
    assert_eq!(right.check(), Ok(()));
}

#[test]
fn sources_that_cannot_be_asked() {
    let long = format!("http://{}", "a".repeat(SOURCE_URL_MAX_BYTES));
    for urls in [
        &[][..],
        &[""],
        &["ftp://a"],
        &["http://"],
        &["http:///a"],
        &["http://a b"],
        &["http://a\r\n"],
        &[&long],
        &["http://a", "a"],
    ] {
        let invalid = said(|manifest| manifest.sources[0] = peer(urls));
        assert!(
            invalid.to_string().contains("has no address"),
            "{invalid} {urls:?}"
        );
    }
    let bucketless = Source::S3 {
        name: "s3".into(),
        endpoint: "https://s3.example".into(),
        region: "eu-central-1".into(),
        bucket: String::new(),
        prefix: String::new(),
    };
    said(|manifest| manifest.sources.push(bucketless));
    let invalid = said(|manifest| manifest.sources.push(Source::Control));
    assert!(invalid.to_string().contains("is there twice"), "{invalid}");
    let http = |name: String| Source::Http {
        name,
        url: "http://origin.example".into(),
    };
    for name in [String::new(), "n".repeat(254)] {
        let invalid = said(|manifest| manifest.sources.push(http(name)));
        assert!(invalid.to_string().contains("has no name of"), "{invalid}");
    }
    let many = (0..=SOURCES_MAX).map(|number| http(number.to_string()));
    let invalid = said(|manifest| manifest.sources.extend(many));
    assert!(
        invalid.to_string().contains("is one more than"),
        "{invalid}"
    );
}

#[test]
fn contradictions() {
    for not_after in [0, 999, 1_000] {
        let invalid = said(|manifest| manifest.not_after = not_after);
        assert_eq!(invalid.to_string(), "it ends before it was built");
    }
    for (bits_per_second, appliances) in [(0, 1), (1, 0)] {
        let rate = SiteRate {
            bits_per_second,
            appliances,
        };
        said(|manifest| manifest.site_rate = Some(rate));
    }
}
