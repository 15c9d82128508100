//! One request to one source, against servers that answer as they should and as they should not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fill_agent::source::{Body, Lie, Pin, Source, SourceError, Wanted};
use protocol::manifest::Source as Listed;
use support::appliance::{APPLIANCE, Setup, TOKEN, http, peer, upstream};
use support::server::{Ask, Reply, Server, Shelf, Then, appliance_tag};
use support::{MIB, bytes, wanted};

const PATH: &str = "/films/ä b.mp4";
const ENCODED: &str = "/films/%C3%A4%20b.mp4";

async fn read(mut body: Body) -> Result<Vec<u8>, SourceError> {
    let mut all = Vec::new();
    while let Some(piece) = body.next(u64::MAX).await? {
        assert!(piece.len() <= 64 << 10, "{} bytes at once", piece.len());
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

fn source(listed: Listed) -> Arc<Source> {
    let setup = Setup::short("http://127.0.0.1:1");
    setup.sources(&[listed]).get(0).unwrap().clone()
}

/// What comes of asking a source for a range of an object of 3 MiB.
async fn ask(
    source: &Arc<Source>,
    object: &[u8],
    pin: Option<&Pin>,
) -> Result<Vec<u8>, SourceError> {
    let body = source
        .open(&wanted(PATH, object), MIB..2 * MIB, pin)
        .await?;
    read(body).await
}

fn good(ask: &Ask, object: &[u8]) -> Reply {
    Reply::range(ask, object).with("ETag", &appliance_tag(object))
}

#[tokio::test]
async fn each_source_is_asked_in_its_way_and_gives_exactly_the_range() {
    let object = bytes(1, 3 * MIB);
    let shelf = Shelf::of([(ENCODED, &object), ("/media/films/%C3%A4%20b.mp4", &object)]);
    let server = Server::start(move |ask| match ask.path.starts_with("/v1/") {
        true => shelf.as_control(ask),
        false => shelf.as_appliance(ask),
    })
    .await;
    let url = server.url();
    let setup = Setup::new(&url);
    let listed = [
        peer(&url),
        upstream(&format!("{url}/")),
        http("origin", &format!("{url}/media/")),
        Listed::Control,
    ];
    let sources = setup.sources(&listed);
    for index in 0..4 {
        let source = sources.get(index).unwrap();
        let got = ask(source, &object, None).await.unwrap();
        assert!(
            got == object[MIB as usize..2 * MIB as usize],
            "{}",
            source.name()
        );
        assert_eq!(source.counts().bytes(), MIB);
    }
    let asks = server.asks();
    let root = wanted(PATH, &object).root;
    let tag = appliance_tag(&object);
    let control = (format!("/v1/bytes/{root}"), format!("\"{root}\""));
    for (ask, (path, fill, tag, token)) in asks.iter().zip([
        (ENCODED, true, Some(tag.as_str()), false),
        (ENCODED, true, Some(tag.as_str()), false),
        ("/media/films/%C3%A4%20b.mp4", false, None, false),
        (control.0.as_str(), true, Some(control.1.as_str()), true),
    ]) {
        assert_eq!(ask.path, path);
        assert_eq!(ask.header("range"), Some("bytes=1048576-2097151"));
        assert_eq!(
            ask.header("host"),
            Some(server.address.to_string().as_str())
        );
        assert_eq!(ask.header("oca-fill"), fill.then_some(APPLIANCE), "{path}");
        assert_eq!(ask.header("if-match"), tag, "{path}");
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(
            ask.header("authorization"),
            token.then_some(bearer.as_str()),
            "{path}"
        );
    }
    assert_eq!(
        server.connections(),
        1,
        "an answer that was read leaves its connection"
    );
}

/// A name, what the server does to a good answer, and the error that it must give.
type Case = (&'static str, fn(Reply) -> Reply, fn(&SourceError) -> bool);

const BAD: &[Case] = &[
    (
        "not there",
        |_| Reply::status(404),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "gone",
        |_| Reply::status(410),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "another one there",
        |_| Reply::status(412),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "another tag",
        |r| r.with("ETag", "\"0\""),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "no tag",
        |r| r.without("ETag"),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "an appliance that redirects has not got it",
        |_| Reply::status(302).with("Location", "http://127.0.0.1:1/"),
        |e| matches!(e, SourceError::Miss(_)),
    ),
    (
        "busy, in seconds",
        |_| Reply::status(429).with("Retry-After", "7"),
        |e| {
            *e == SourceError::Busy {
                status: 429,
                pause: Duration::from_secs(7),
            }
        },
    ),
    (
        "busy, until a date that has passed",
        |_| Reply::status(503).with("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
        |e| {
            *e == SourceError::Busy {
                status: 503,
                pause: Duration::ZERO,
            }
        },
    ),
    (
        "refused",
        |_| Reply::status(403),
        |e| *e == SourceError::Refused(403),
    ),
    (
        "broken",
        |_| Reply::status(500),
        |e| *e == SourceError::Refused(500),
    ),
    (
        "200 for a range",
        |r| Reply { status: 200, ..r }.without("Content-Range"),
        |e| *e == SourceError::Lied(Lie::WholeForRange),
    ),
    (
        "another range",
        |r| r.with("Content-Range", "bytes 0-1048575/3145728"),
        |e| matches!(e, SourceError::Lied(Lie::Range { .. })),
    ),
    (
        "no range",
        |r| r.without("Content-Range"),
        |e| matches!(e, SourceError::Lied(Lie::Range { .. })),
    ),
    (
        "another size",
        |r| r.with("Content-Range", "bytes 1048576-2097151/99"),
        |e| matches!(e, SourceError::Lied(Lie::Size { found: 99, .. })),
    ),
    (
        "beyond its end",
        |_| Reply::status(416).with("Content-Range", "bytes */5"),
        |e| matches!(e, SourceError::Lied(Lie::Size { found: 5, .. })),
    ),
    (
        "another length",
        |r| r.with("Content-Length", "5"),
        |e| matches!(e, SourceError::Lied(Lie::Length { found: 5, .. })),
    ),
    (
        "compressed",
        |r| r.with("Content-Encoding", "gzip"),
        |e| matches!(e, SourceError::Lied(Lie::Encoded(_))),
    ),
    (
        "short",
        |mut r| {
            r.body.truncate(1000);
            r.then(Then::Close)
        },
        |e| {
            *e == SourceError::Cut {
                expected: MIB,
                got: 1000,
            }
        },
    ),
    (
        "endless, without a length",
        |r| r.without("Content-Length").then(Then::Endless),
        |e| *e == SourceError::Lied(Lie::TooLong),
    ),
    (
        "a head without an end",
        |r| r.then(Then::EndlessHead),
        |e| matches!(e, SourceError::Lied(Lie::Head(_))),
    ),
    (
        "a head of a hundred thousand bytes",
        |r| r.with("X-Long", &"x".repeat(100_000)),
        |e| matches!(e, SourceError::Lied(Lie::Head(_))),
    ),
    (
        "no HTTP",
        |r| r.with("Content-Length", "a lot"),
        |e| matches!(e, SourceError::Lied(Lie::Head(_))),
    ),
    (
        "silent in the middle",
        |mut r| {
            r.body.truncate(1000);
            r.then(Then::Silence)
        },
        |e| matches!(e, SourceError::Slow(_)),
    ),
    (
        "a trickle",
        |mut r| {
            r.body.truncate(1000);
            r.then(Then::Trickle)
        },
        |e| matches!(e, SourceError::Slow(_)),
    ),
];

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_refused_by_its_name() {
    let object = bytes(2, 3 * MIB);
    for (name, spoil, expected) in BAD {
        let held = object.clone();
        let server = Server::start(move |ask| spoil(good(ask, &held))).await;
        let source = source(peer(&server.url()));
        let error = ask(&source, &object, None).await.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        // A peer that goes on for ever is not listened to for ever.
        assert!(source.counts().bytes() <= 2 * MIB, "{name}");
    }
}

#[tokio::test]
async fn an_origin_that_changes_is_told_from_one_that_lies() {
    let object = bytes(3, 3 * MIB);
    let spoils: &[fn(Reply) -> Reply] = &[
        |r| r.with("ETag", "\"two\""),
        |r| r.with("Content-Range", "bytes 1048576-2097151/99"),
        |_| Reply::status(412),
    ];
    for spoil in spoils {
        let (held, count) = (object.clone(), AtomicUsize::new(0));
        let server = Server::start(move |ask| {
            let reply = Reply::range(ask, &held).with("ETag", "\"one\"");
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => reply,
                _ => spoil(reply),
            }
        })
        .await;
        let source = source(http("origin", &server.url()));
        let body = source
            .open(&wanted(PATH, &object), 0..MIB, None)
            .await
            .unwrap();
        let pin = body.pin().clone();
        read(body).await.unwrap();
        let error = ask(&source, &object, Some(&pin)).await.unwrap_err();
        assert!(matches!(error, SourceError::Changed(_)), "{error:?}");
        assert_eq!(server.asks()[1].header("if-match"), Some("\"one\""));
    }
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_not_in_a_loop() {
    let object = bytes(4, 3 * MIB);
    let held = object.clone();
    let server = Server::start(move |ask| {
        let to = |place: &str| Reply::status(302).with("Location", place);
        match ask.path.as_str() {
            "/near/films/%C3%A4%20b.mp4" => to("/b"),
            "/b" => to("/c"),
            "/c" => to("/d"),
            "/d" => Reply::range(ask, &held),
            "/far/films/%C3%A4%20b.mp4" => to("/a"),
            "/a" => to("/b"),
            "/loop/films/%C3%A4%20b.mp4" => to("/e"),
            "/e" => to("/loop/films/%C3%A4%20b.mp4"),
            _ => to("ftp://127.0.0.1/"),
        }
    })
    .await;
    for (base, expected) in [
        ("near", None),
        (
            "far",
            Some("it redirects more than 3 times, lastly to 127.0.0.1"),
        ),
        ("loop", Some("it redirects in a loop, back to 127.0.0.1")),
        ("other", Some("it redirects from http to ftp")),
    ] {
        let source = source(http("origin", &format!("{}/{base}", server.url())));
        let error = ask(&source, &object, None).await.err();
        assert_eq!(
            error.map(|error| error.to_string()).as_deref(),
            expected,
            "{base}"
        );
    }
}

#[tokio::test]
async fn the_token_is_not_told_to_whom_the_control_endpoint_redirects_to() {
    let object = bytes(5, 3 * MIB);
    let shelf = Shelf::of([("/x", &object)]);
    let other = Server::start(move |ask| shelf.as_control(ask)).await;
    let to = other.url();
    let control =
        Server::start(move |ask| Reply::status(307).with("Location", &format!("{to}{}", ask.path)))
            .await;
    let source = Setup::short(&control.url()).sources(&[]).control().clone();
    ask(&source, &object, None).await.unwrap();
    assert!(control.asks()[0].header("authorization").is_some());
    assert_eq!(other.asks()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_source_that_is_not_there_is_left_for_its_next_address() {
    let object = bytes(6, 3 * MIB);
    let held = object.clone();
    let server = Server::start(move |ask| good(ask, &held)).await;
    let gone = Server::start(|_| Reply::status(500)).await.url();
    let both = Listed::Peer {
        appliance: "c002".into(),
        urls: vec![gone.clone(), server.url()],
    };
    let source_of_both = source(both);
    ask(&source_of_both, &object, None).await.unwrap();
    ask(&source_of_both, &object, None).await.unwrap();
    let error = ask(&source(peer(&gone)), &object, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_a_second_try() {
    let object = bytes(7, 3 * MIB);
    let held = object.clone();
    let server = Server::start(move |ask| good(ask, &held).then(Then::Close)).await;
    let source = source(peer(&server.url()));
    for _ in 0..5 {
        ask(&source, &object, None).await.unwrap();
    }
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn a_peer_says_whether_it_holds_an_object() {
    let object = bytes(8, 100);
    let shelf = Shelf::of([("/held", &object), ("/other", &[1, 2, 3])]);
    let server = Server::start(move |ask| shelf.as_appliance(ask)).await;
    let source = source(peer(&server.url()));
    let holds = async |path| source.holds(&wanted(path, &object)).await;
    assert_eq!(holds("/held").await, Ok(()));
    assert!(matches!(holds("/other").await, Err(SourceError::Miss(_))));
    assert!(matches!(holds("/none").await, Err(SourceError::Miss(_))));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_says_what_to_do() {
    let s3 = Listed::S3 {
        name: "store".into(),
        endpoint: "http://127.0.0.1:1".into(),
        region: "eu-central-1".into(),
        bucket: "films".into(),
        prefix: String::new(),
    };
    let mut setup = Setup::short("http://127.0.0.1:1");
    setup.settings.credentials = None;
    let sources = setup.sources(&[s3, http("origin", "gopher://127.0.0.1")]);
    for (index, expected) in [
        (
            0,
            "it cannot be asked: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the agent's environment",
        ),
        (
            1,
            "it cannot be asked: \"gopher://127.0.0.1\" is no address of a source: its scheme is gopher, allowed are http and https",
        ),
    ] {
        let wanted = Wanted {
            size: 3 * MIB,
            ..wanted(PATH, b"x")
        };
        let source = sources.get(index).unwrap();
        let error = source
            .open(&wanted, MIB..2 * MIB, None)
            .await
            .err()
            .unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
