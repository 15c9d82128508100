//! Messages as bytes: tables that are used both ways, and anything at all.

use proptest::collection::vec;
use proptest::prelude::*;
use steering::bgp::announcement::{Offer, ServicePrefix, Wire, announce, end_of_rib, withdraw};
use steering::bgp::packet::attributes::{Encoding, Hop};
use steering::bgp::packet::notification::{Notification, Reason};
use steering::bgp::packet::open::{Capabilities, GracefulRestart, Open};
use steering::bgp::packet::update::Update;
use steering::bgp::packet::{Message, decode, keepalive, route_refresh};
use steering::bgp::{ConnectionId, Event, Family, Role};

use crate::pair::{OURS, Pair, THEIRS, import, offers, settings};

const EXTERNAL: Encoding = Encoding {
    four_octet_as: true,
    internal: false,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn framed(text: &str) -> Vec<u8> {
    [[0xff; 16].to_vec(), hex(text)].concat()
}

fn read(bytes: &[u8]) -> Message {
    let (message, length) = decode(bytes, EXTERNAL).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    message
}

#[test]
fn opens_both_ways() {
    let least = Open {
        autonomous_system: 64496,
        hold_time: 30,
        identifier: [192, 0, 2, 1].into(),
        capabilities: Capabilities::default(),
    };
    let most = Open {
        autonomous_system: 4_200_000_000,
        hold_time: 180,
        identifier: [10, 0, 0, 1].into(),
        capabilities: Capabilities {
            families: vec![Family::Ipv4, Family::Ipv6],
            four_octet_as: true,
            route_refresh: true,
            graceful_restart: Some(GracefulRestart {
                restarting: true,
                seconds: 120,
                families: vec![Family::Ipv6],
            }),
        },
    };
    let table = [
        (least, "001d 01 04 fbf0 001e c0000201 00"),
        (
            most,
            "0043 01 04 5ba0 00b4 0a000001 26 \
             0206 0104 00010001 0206 0104 00020001 0202 0200 0208 4006 8078 0002 01 00 0206 4104 fa56ea00",
        ),
    ];
    for (open, bytes) in table {
        assert_eq!(open.encode(), framed(bytes));
        assert_eq!(read(&framed(bytes)), Message::Open(open));
    }
}

#[test]
fn other_messages_both_ways() {
    let notification = Notification::with(Reason::HOLD_TIMER_EXPIRED, [7]);
    let table = [
        (keepalive(), "0013 04", Message::Keepalive),
        (
            notification.encode(),
            "0016 03 0400 07",
            Message::Notification(notification),
        ),
        (
            route_refresh(Family::Ipv6),
            "0017 05 0002 00 01",
            Message::RouteRefresh(Some(Family::Ipv6)),
        ),
    ];
    for (encoded, bytes, message) in table {
        assert_eq!(encoded, framed(bytes));
        assert_eq!(read(&encoded), message);
    }
    assert_eq!(
        read(&framed("0017 05 0001 00 80")),
        Message::RouteRefresh(None)
    );
}

/// Extended lengths (RFC 9072), several capabilities in one parameter, and capabilities that nobody knows.
#[test]
fn opens_in_other_forms() {
    let Message::Open(open) = read(&framed(
        "0036 01 04 5ba0 00b4 0a000001 ff ff 0016 02 0013 0104 00010001 0600 4104 00010000 ff03 010203",
    )) else {
        panic!("not an OPEN");
    };
    assert_eq!(open.autonomous_system, 65536);
    assert_eq!(open.capabilities.families, [Family::Ipv4]);
}

#[test]
fn headers_and_opens_that_are_wrong() {
    let table = [
        ("0013 06", "01 03 06"),
        ("0012 04", "01 02 0012"),
        ("1001 02", "01 02 1001"),
        ("0014 04 00", "01 02 0014"),
        ("001c 01", "01 02 001c"),
        ("0018 05 0001000100", "01 02 0018"),
        ("001d 01 03 fbf0 001e c0000201 00", "02 01 0004"),
        ("001d 01 04 fbf0 001e c0000201 01", "02 00"),
        ("001f 01 04 fbf0 001e c0000201 02 0100", "02 04"),
        ("0020 01 04 fbf0 001e c0000201 03 0201 41", "02 00"),
        ("0023 01 04 fbf0 001e c0000201 06 0204 4102 fbf0", "02 00"),
    ];
    for (bytes, told) in table {
        let told = hex(told);
        let (reason, data) = told.split_at(2);
        let notification = decode(&framed(bytes), EXTERNAL).unwrap_err();
        assert_eq!(
            [notification.reason.code, notification.reason.subcode],
            reason,
            "{bytes}"
        );
        assert_eq!(notification.data, data, "{bytes}");
    }
    assert_eq!(
        decode(&[0xff, 0xfe], EXTERNAL).unwrap_err().reason,
        Reason::NOT_SYNCHRONISED
    );
    assert_eq!(decode(&framed("0013"), EXTERNAL), Ok(None));
}

fn wire(next_hop: &str) -> Wire {
    Wire {
        local_as: 4_200_000_000,
        internal: false,
        four_octet_as: true,
        next_hop: next_hop.parse().unwrap(),
    }
}

fn service(addresses: &[&str]) -> Vec<ServicePrefix> {
    let prefixes = addresses
        .iter()
        .map(|it| ServicePrefix::of(it.parse().unwrap()));
    prefixes.collect::<Option<_>>().unwrap()
}

#[test]
fn announcements_byte_by_byte() {
    let table = [
        (
            announce(
                &wire("192.0.2.1"),
                Offer::Present,
                &service(&["198.51.100.1"]),
            ),
            "003e 02 0000 0022 400101 00 400206 0201 fa56ea00 400304 c0000201 800404 00000064 c00804 ffffff01 20 c6336401",
        ),
        (
            announce(
                &wire("192.0.2.1"),
                Offer::Leaving,
                &service(&["198.51.100.1"]),
            ),
            "0042 02 0000 0026 400101 00 400206 0201 fa56ea00 400304 c0000201 800404 000001f4 c00808 ffff0000 ffffff01 20 c6336401",
        ),
        (
            announce(
                &wire("2001:db8::2"),
                Offer::Present,
                &service(&["2001:db8::1"]),
            ),
            "005c 02 0000 0045 900e0026 0002 01 10 20010db8000000000000000000000002 00 80 20010db8000000000000000000000001 \
             400101 00 400206 0201 fa56ea00 800404 00000064 c00804 ffffff01",
        ),
        (
            withdraw(Family::Ipv4, &service(&["198.51.100.1"])),
            "001c 02 0005 20 c6336401 0000",
        ),
        (
            withdraw(Family::Ipv6, &service(&["2001:db8::1"])),
            "002f 02 0000 0018 900f0014 000201 80 20010db8000000000000000000000001",
        ),
        (end_of_rib(Family::Ipv4), "0017 02 0000 0000"),
        (end_of_rib(Family::Ipv6), "001d 02 0000 0006 800f03 000201"),
    ];
    for (encoded, bytes) in table {
        assert_eq!(encoded, framed(bytes), "{bytes}");
    }
}

fn update(bytes: &[u8], encoding: Encoding) -> Update {
    match decode(bytes, encoding).unwrap().unwrap().0 {
        Message::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_announced_is_read_as_it_was_meant() {
    let v4 = update(
        &announce(
            &wire("192.0.2.1"),
            Offer::Leaving,
            &service(&["198.51.100.1"]),
        ),
        EXTERNAL,
    );
    assert_eq!(v4.announced, ["198.51.100.1/32".parse().unwrap()]);
    assert_eq!(
        (v4.attributes.med, v4.attributes.is_leaving()),
        (Some(500), true)
    );
    assert_eq!(v4.attributes.next_hop, Some([192, 0, 2, 1].into()));
    let v6 = update(
        &announce(
            &wire("2001:db8::2"),
            Offer::Present,
            &service(&["2001:db8::1"]),
        ),
        EXTERNAL,
    );
    assert_eq!(v6.announced, ["2001:db8::1/128".parse().unwrap()]);
    assert_eq!(
        v6.attributes.next_hop_ipv6,
        Some("2001:db8::2".parse().unwrap())
    );
    assert_eq!((v4.mistake, v6.mistake), (None, None));
    for family in Family::ALL {
        let end = update(&end_of_rib(family), EXTERNAL);
        assert_eq!(end.end_of_rib, Some(family));
    }
    let gone = update(
        &withdraw(Family::Ipv6, &service(&["2001:db8::1"])),
        EXTERNAL,
    );
    assert_eq!((gone.withdrawn.len(), gone.end_of_rib), (1, None));
}

/// RFC 6793: to a neighbour with two octets, the number goes in AS4_PATH, and is put back.
#[test]
fn as_numbers_survive_a_neighbour_with_two_octets() {
    let old = Wire {
        four_octet_as: false,
        ..wire("192.0.2.1")
    };
    let encoding = Encoding {
        four_octet_as: false,
        ..EXTERNAL
    };
    let read = update(
        &announce(&old, Offer::Present, &service(&["198.51.100.1"])),
        encoding,
    );
    assert_eq!(read.attributes.as_path, [Hop::As(4_200_000_000)]);
    assert_eq!(read.mistake, None);
}

#[test]
fn within_one_as_the_path_is_empty_and_local_pref_is_there() {
    let internal = Wire {
        internal: true,
        ..wire("192.0.2.1")
    };
    let encoding = Encoding {
        internal: true,
        ..EXTERNAL
    };
    let read = update(
        &announce(&internal, Offer::Present, &service(&["198.51.100.1"])),
        encoding,
    );
    assert_eq!(read.attributes.local_preference, Some(100));
    assert_eq!((read.attributes.path_length(), read.mistake), (0, None));
}

#[test]
fn sixteen_prefixes_fit_in_one_message() {
    let many: Vec<String> = (0..16).map(|at| format!("2001:db8::{at:x}1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let read = update(
        &announce(&wire("2001:db8::2"), Offer::Leaving, &service(&many)),
        EXTERNAL,
    );
    assert_eq!(read.announced.len(), 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_update_is_read_or_refused(body in vec(any::<u8>(), 4..200), four_octet_as: bool, internal: bool) {
        let mut bytes = vec![0xff; 16];
        bytes.extend((body.len() as u16 + 19).to_be_bytes());
        bytes.push(2);
        bytes.extend(body);
        let _ = decode(&bytes, Encoding { four_octet_as, internal });
    }

    #[test]
    fn a_good_update_with_spoilt_bytes_is_read_or_refused(at in vec((19_usize..92, any::<u8>()), 1..4)) {
        let mut bytes = announce(&wire("2001:db8::2"), Offer::Present, &service(&["2001:db8::1"]));
        for (at, with) in at {
            bytes[at] = with;
        }
        let _ = decode(&bytes, EXTERNAL);
    }

    /// A whole session against anything that a neighbour may send.
    #[test]
    fn a_neighbour_lives_through_anything(pieces in vec((1_u8..7, vec(any::<u8>(), 0..60)), 0..20)) {
        let mut pair = Pair::new(
            (settings(64512, 64496, OURS), Role::listen(import(64512))),
            (settings(64496, 64512, THEIRS), Role::Announce(offers(&[]))),
        );
        pair.settle();
        for (kind, body) in pieces {
            let mut bytes = vec![0xff; 16];
            bytes.extend((body.len() as u16 + 19).to_be_bytes());
            bytes.push(kind);
            bytes.extend(body);
            for connection in [ConnectionId(1), ConnectionId(2)] {
                pair.tell(0, Event::Received { connection, bytes: &bytes });
            }
            pair.pass(std::time::Duration::from_secs(1));
        }
    }
}
