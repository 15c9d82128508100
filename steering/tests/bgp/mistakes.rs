//! UPDATEs that are wrong, and what RFC 7606 says each of them costs.

use steering::bgp::packet::attributes::{Encoding, Handling};
use steering::bgp::packet::notification::Reason;
use steering::bgp::packet::update::Update;

const EXTERNAL: Encoding = Encoding {
    four_octet_as: true,
    internal: false,
};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf0];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const ROUTE: &[u8] = &[24, 198, 51, 100];

fn body(withdrawn: &[u8], attributes: &[&[u8]], routes: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let lengths = [withdrawn.len() as u16, attributes.len() as u16].map(u16::to_be_bytes);
    [&lengths[0], withdrawn, &lengths[1], &attributes, routes].concat()
}

/// A good UPDATE with one attribute more.
fn with(attribute: &[u8]) -> Result<Update, Reason> {
    read(&body(&[], &[ORIGIN, PATH, NEXT_HOP, attribute], ROUTE))
}

fn read(body: &[u8]) -> Result<Update, Reason> {
    Update::decode(body, EXTERNAL).map_err(|notification| notification.reason)
}

#[test]
fn without_a_mistake_the_route_is_there() {
    let update = read(&body(&[], &[ORIGIN, PATH, NEXT_HOP], ROUTE)).unwrap();
    assert_eq!(update.announced, ["198.51.100.0/24".parse().unwrap()]);
    assert_eq!((update.mistake, update.attributes.path_length()), (None, 1));
}

/// RFC 1997 and RFC 8092.
#[test]
fn communities_are_read() {
    let large = [0, 0, 0xfb, 0xf0, 0, 0, 0, 1, 0, 0, 0, 2];
    let attributes = [
        &[0xc0, 8, 8, 0xff, 0xff, 0xff, 1, 0xfb, 0xf0, 0, 1][..],
        &[&[0xc0, 32, 12][..], &large].concat(),
    ]
    .concat();
    let update = with(&attributes).unwrap();
    assert_eq!(update.attributes.communities, [0xffff_ff01, 0xfbf0_0001]);
    assert_eq!(update.attributes.large_communities, [[64496, 1, 2]]);
    assert_eq!(update.mistake, None);
}

#[test]
fn mistakes_that_cost_only_the_attribute() {
    let table: [(&str, &[u8]); 8] = [
        ("ORIGIN twice: the first counts", &[0x40, 1, 1, 9]),
        ("LOCAL_PREF from outside", &[0x40, 5, 1, 1]),
        ("ATOMIC_AGGREGATE with a value", &[0x40, 6, 1, 0]),
        (
            "AGGREGATOR of another length",
            &[0xc0, 7, 6, 0, 0, 0, 0, 0, 0],
        ),
        ("ORIGINATOR_ID from outside", &[0x80, 9, 1, 0]),
        ("CLUSTER_LIST from outside", &[0x80, 10, 0]),
        (
            "a family that nobody knows",
            &[0x80, 14, 5, 0, 25, 65, 0, 0],
        ),
        ("another one", &[0x80, 15, 4, 0, 1, 2, 200]),
    ];
    for (what, attribute) in table {
        let update = with(attribute).unwrap();
        assert_eq!(
            update.mistake,
            Some((Handling::Discarded, attribute[1])),
            "{what}"
        );
        assert_eq!(
            (update.announced.len(), update.withdrawn.len()),
            (1, 0),
            "{what}"
        );
    }
}

#[test]
fn attributes_that_mean_nothing_here_are_no_mistake() {
    let table: [&[u8]; 4] = [
        &[0xc0, 17, 1, 9],
        &[0xc0, 18, 1, 9],
        &[0xe0, 200, 2, 1, 2],
        &[0xc0, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for attribute in table {
        let update = with(attribute).unwrap();
        assert_eq!(
            (update.mistake, update.announced.len()),
            (None, 1),
            "{attribute:?}"
        );
    }
}

/// What is wrong, the attributes, and the type of the one that is blamed.
const COSTS_THE_ROUTES: [(&str, &[&[u8]], u8); 20] = [
    (
        "ORIGIN of another length",
        &[&[0x40, 1, 2, 0, 0], PATH, NEXT_HOP],
        1,
    ),
    (
        "ORIGIN without a value",
        &[&[0x40, 1, 0], PATH, NEXT_HOP],
        1,
    ),
    (
        "an ORIGIN that nobody knows",
        &[&[0x40, 1, 1, 3], PATH, NEXT_HOP],
        1,
    ),
    ("ORIGIN as optional", &[&[0xc0, 1, 1, 0], PATH, NEXT_HOP], 1),
    ("no ORIGIN", &[PATH, NEXT_HOP], 1),
    ("no AS_PATH", &[ORIGIN, NEXT_HOP], 2),
    ("no NEXT_HOP", &[ORIGIN, PATH], 3),
    (
        "a segment that is cut short",
        &[ORIGIN, &[0x40, 2, 5, 2, 1, 0, 0, 1], NEXT_HOP],
        2,
    ),
    (
        "a segment without an AS",
        &[ORIGIN, &[0x40, 2, 2, 2, 0], NEXT_HOP],
        2,
    ),
    (
        "a segment that nobody knows",
        &[ORIGIN, &[0x40, 2, 6, 5, 1, 0, 0, 0, 1], NEXT_HOP],
        2,
    ),
    (
        "a confederation from outside",
        &[ORIGIN, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], NEXT_HOP],
        2,
    ),
    (
        "AS 0",
        &[ORIGIN, &[0x40, 2, 6, 2, 1, 0, 0, 0, 0], NEXT_HOP],
        2,
    ),
    (
        "NEXT_HOP of another length",
        &[ORIGIN, PATH, &[0x40, 3, 3, 192, 0, 2]],
        3,
    ),
    (
        "NEXT_HOP that is no host",
        &[ORIGIN, PATH, &[0x40, 3, 4, 224, 0, 0, 1]],
        3,
    ),
    (
        "MED of another length",
        &[ORIGIN, PATH, NEXT_HOP, &[0x80, 4, 1, 1]],
        4,
    ),
    (
        "communities that are cut short",
        &[ORIGIN, PATH, NEXT_HOP, &[0xc0, 8, 3, 1, 1, 1]],
        8,
    ),
    (
        "no communities",
        &[ORIGIN, PATH, NEXT_HOP, &[0xc0, 8, 0]],
        8,
    ),
    (
        "extended communities that are cut short",
        &[ORIGIN, PATH, NEXT_HOP, &[0xc0, 16, 1, 1]],
        16,
    ),
    (
        "large communities that are cut short",
        &[ORIGIN, PATH, NEXT_HOP, &[0xc0, 32, 4, 1, 1, 1, 1]],
        32,
    ),
    (
        "an attribute that goes on behind the end",
        &[ORIGIN, PATH, NEXT_HOP, &[0x80, 4, 9, 1]],
        4,
    ),
];

#[test]
fn mistakes_that_cost_the_routes() {
    for (what, attributes, code) in COSTS_THE_ROUTES {
        let update = read(&body(&[], attributes, ROUTE)).unwrap();
        assert_eq!(update.mistake, Some((Handling::Withdrawn, code)), "{what}");
        assert_eq!(update.announced, [], "{what}");
        assert_eq!(
            update.withdrawn,
            ["198.51.100.0/24".parse().unwrap()],
            "{what}"
        );
    }
}

#[test]
fn mistakes_that_cost_the_session() {
    let reach: &[u8] = &[0x80, 14, 5, 0, 1, 1, 0, 0];
    let table = [
        (
            "lengths that are too long",
            [0, 9, 0, 0].to_vec(),
            Reason::MALFORMED_ATTRIBUTES,
        ),
        (
            "attributes that are too long",
            [0, 0, 0, 9].to_vec(),
            Reason::MALFORMED_ATTRIBUTES,
        ),
        (
            "a withdrawn prefix of 33 bits",
            body(&[33, 1, 2, 3, 4, 5], &[], &[]),
            Reason::BAD_NETWORK,
        ),
        (
            "a prefix that is cut short",
            body(&[], &[ORIGIN, PATH, NEXT_HOP], &[24, 1]),
            Reason::BAD_NETWORK,
        ),
        (
            "MP_REACH_NLRI without a next hop",
            body(&[], &[reach], &[]),
            Reason::OPTIONAL_ATTRIBUTE,
        ),
        (
            "MP_REACH_NLRI that is cut short",
            body(&[], &[&[0x80, 14, 2, 0, 1]], &[]),
            Reason::OPTIONAL_ATTRIBUTE,
        ),
        (
            "MP_UNREACH_NLRI with 129 bits",
            body(&[], &[&[0x80, 15, 4, 0, 2, 1, 129]], &[]),
            Reason::OPTIONAL_ATTRIBUTE,
        ),
        (
            "MP_UNREACH_NLRI twice",
            body(
                &[],
                &[&[0x80, 15, 3, 0, 2, 1], &[0x80, 15, 3, 0, 2, 1]],
                &[],
            ),
            Reason::MALFORMED_ATTRIBUTES,
        ),
        (
            "a well-known attribute that nobody knows",
            body(&[], &[ORIGIN, PATH, NEXT_HOP, &[0x40, 99, 0]], ROUTE),
            Reason::UNRECOGNISED_WELL_KNOWN,
        ),
    ];
    for (what, body, reason) in table {
        assert_eq!(read(&body).unwrap_err(), reason, "{what}");
    }
}
