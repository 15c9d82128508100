//! Answers of steering and what appliances tell for it, as tables used both ways.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use protocol::root::Root;
use protocol::steer::{
    Choice, DrainLease, DrainWish, PassedOver, PathwayClone, ROUTES_VERSION, Rank, RouteTable,
    Steered, SteeringManifest, UriReplacement,
};
use support::line;

fn both_ways<T>(document: &T, text: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let line = line(text);
    assert_eq!(serde_json::to_string(document).unwrap(), line);
    assert_eq!(serde_json::from_str::<T>(&line).unwrap(), *document);
}

#[test]
fn a_decision_has_this_text() {
    let rank = Rank {
        prefix: "192.0.2.0/24".into(),
        hops: Some(1),
        med: Some(100),
        distance_km: None,
        site: "fra001.example".into(),
        load_percent: 42,
        standing: "well".into(),
    };
    let steered = Steered {
        client: "192.0.2.7".parse().unwrap(),
        path: "/vod/t/master.m3u8".into(),
        root: Root([0xa1; 32]),
        ttl_s: 312,
        choices: vec![
            Choice {
                id: "c001.fra001.example".into(),
                url: "https://192.0.2.1:443/vod/t/master.m3u8".into(),
                rank: Some(rank),
                why: "the best rank".into(),
            },
            Choice {
                id: "origin".into(),
                url: "https://origin.example/vod/t/master.m3u8".into(),
                rank: None,
                why: "..".into(),
            },
        ],
        passed_over: vec![PassedOver {
            id: "c002.fra001.example".into(),
            why: "not-held".into(),
        }],
        panic: false,
        why: "in short".into(),
    };
    both_ways(
        &steered,
        r#"{"client":"192.0.2.7","path":"/vod/t/master.m3u8",
            "root":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","ttl_s":312,
            "choices":[{"id":"c001.fra001.example","url":"https://192.0.2.1:443/vod/t/master.m3u8",
            "rank":{"prefix":"192.0.2.0/24","hops":1,"med":100,"distance_km":null,"site":"fra001.example",
            "load_percent":42,"standing":"well"},"why":"the best rank"},
            {"id":"origin","url":"https://origin.example/vod/t/master.m3u8","rank":null,"why":".."}],
            "passed_over":[{"id":"c002.fra001.example","why":"not-held"}],"panic":false,"why":"in short"}"#,
    );
}

/// The names are those of draft-pantos-hls-rfc8216bis, section 7.1, and of ETSI TS 103 998.
#[test]
fn a_steering_manifest_has_the_names_of_its_standards() {
    let pathways = vec!["c001".to_owned(), "origin".to_owned()];
    let manifest = SteeringManifest {
        version: 1,
        ttl: 300,
        pathway_priority: pathways.clone(),
        service_location_priority: pathways,
        pathway_clones: vec![PathwayClone {
            base_id: ".".into(),
            id: "c001".into(),
            uri_replacement: UriReplacement {
                host: "192.0.2.1".into(),
            },
        }],
    };
    both_ways(
        &manifest,
        r#"{"VERSION":1,"TTL":300,"PATHWAY-PRIORITY":["c001","origin"],"SERVICE-LOCATION-PRIORITY":["c001","origin"],
            "PATHWAY-CLONES":[{"BASE-ID":".","ID":"c001","URI-REPLACEMENT":{"HOST":"192.0.2.1"}}]}"#,
    );
}

#[test]
fn drains_and_routes_have_these_texts() {
    let wish = DrainWish {
        by: "ada".into(),
        reason: None,
        force: true,
    };
    both_ways(&wish, r#"{"by":"ada","reason":null,"force":true}"#);
    let lease = DrainLease {
        lease_s: 60,
        answers_expire_s: 360,
    };
    both_ways(&lease, r#"{"lease_s":60,"answers_expire_s":360}"#);
    let table = RouteTable {
        version: ROUTES_VERSION,
        routes: vec![
            ("192.0.2.0/24".into(), 1, 100),
            ("2001:db8::/32".into(), 2, 0),
        ],
    };
    both_ways(
        &table,
        r#"{"version":1,"routes":[["192.0.2.0/24",1,100],["2001:db8::/32",2,0]]}"#,
    );
    assert_eq!(table.lines(), "192.0.2.0/24 1 100\n2001:db8::/32 2 0\n");
}
