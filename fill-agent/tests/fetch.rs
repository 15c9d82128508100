//! Whole objects into a real store, from servers that lie, break off, are busy, or are gone.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use content_store::chunk_tree::ChunkTree;
use content_store::{Content, Stage};
use fill_agent::fetch::Outcome;
use fill_agent::limits::PIECE_BYTES;
use fill_agent::source::{Lie, SourceError, Wanted};
use protocol::manifest::Source as Listed;
use protocol::root::Root;
use support::appliance::{Appliance, Setup, http, job, peer, run, run_one, upstream};
use support::server::{Ask, Reply, Server, Shelf, Then};
use support::{MIB, bytes, wanted};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PATH: &str = "/film.mp4";

/// The control endpoint with an object.
async fn control_of(objects: &[&[u8]]) -> Server {
    let shelf = Shelf::default();
    for (index, object) in objects.iter().enumerate() {
        shelf.put(&index.to_string(), object);
    }
    Server::start(move |ask| shelf.as_control(ask)).await
}

/// An appliance or origin whose answers are spoilt.
async fn spoilt(
    object: &[u8],
    spoil: impl Fn(&Ask, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let shelf = Shelf::of([(PATH, object)]);
    Server::start(move |ask| spoil(ask, shelf.as_appliance(ask))).await
}

fn asked_for_bytes(server: &Server) -> Vec<Ask> {
    let mut asks = server.asks();
    asks.retain(|ask| ask.method == "GET" && !ask.path.starts_with("/v1/trees/"));
    asks
}

#[tokio::test]
async fn objects_of_all_shapes_come_and_are_published() {
    let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 8 * MIB, 21 * MIB + 5];
    let objects: Vec<_> = (0..)
        .zip(sizes)
        .map(|(seed, size)| bytes(seed, size))
        .collect();
    let control = control_of(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let appliance = Appliance::new();
    let fill = appliance.fill(Setup::new(&control.url()).sources(&[Listed::Control]));
    let jobs = objects.iter().enumerate();
    let jobs = jobs
        .map(|(i, object)| job(&wanted(&format!("/{i}"), object), None))
        .collect();
    let outcomes = run(&fill, jobs).await;
    assert_eq!(outcomes.len(), sizes.len());
    for outcome in outcomes {
        let Outcome::Fetched { job, content } = outcome else {
            panic!("an object failed");
        };
        appliance.publish(&job.wanted.path, content);
    }
    for (object, size) in objects.iter().zip(sizes) {
        let id = content_store::ObjectId(wanted("/", object).root.0);
        assert!(
            appliance.store.lock().unwrap().is_stored(&id).unwrap(),
            "{size}"
        );
    }
    // All that is held is not asked for again.
    let before = asked_for_bytes(&control).len();
    let again = run_one(&fill, job(&wanted("/again", &objects[6]), None)).await;
    assert!(matches!(again, Content::Stored(_)));
    assert_eq!(asked_for_bytes(&control).len(), before);
    assert!(fill.progress.transfers().is_empty());
}

#[tokio::test]
async fn a_peer_that_flips_a_bit_is_left_after_one_group_and_nothing_right_is_fetched_twice() {
    let object = bytes(1, 20 * MIB);
    let control = control_of(&[&object]).await;
    let liar = spoilt(&object, |ask, mut reply| {
        // In the fifth group.
        if ask.method == "GET" && ask.range().unwrap().start == 0 {
            reply.body[4 * MIB as usize + 7] ^= 1;
        }
        reply
    })
    .await;
    let upstream_server = spoilt(&object, |_, reply| reply).await;
    let listed = [
        peer(&liar.url()),
        upstream(&upstream_server.url()),
        Listed::Control,
    ];
    let appliance = Appliance::new();
    let fill = appliance.fill(Setup::new(&control.url()).sources(&listed));
    let content = run_one(&fill, job(&wanted(PATH, &object), Some(0))).await;
    appliance.publish(PATH, content);
    let ranges: Vec<_> = asked_for_bytes(&upstream_server)
        .iter()
        .map(|ask| ask.range().unwrap())
        .collect();
    assert_eq!(
        ranges,
        [4 * MIB..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB]
    );
    assert_eq!(upstream_server.body_bytes(), 16 * MIB);
    assert!(
        asked_for_bytes(&control).is_empty(),
        "the long line was not needed"
    );
    let liar = fill.sources.get(0).unwrap();
    let lied = liar
        .counts()
        .errors()
        .find(|(reason, _)| *reason == "lied")
        .unwrap();
    assert_eq!(lied, ("lied", 1));
    let failure = fill.progress.failures().pop().unwrap();
    assert_eq!(failure.source, "c002.fra001.example");
    let lie = SourceError::Lied(Lie::Bytes(4)).to_string();
    assert_eq!((failure.path.as_str(), failure.reason), (PATH, lie));
}

#[tokio::test]
async fn a_source_that_breaks_off_goes_on_where_it_ended() {
    let object = bytes(2, 8 * MIB);
    let control = control_of(&[&object]).await;
    let count = AtomicUsize::new(0);
    let origin = spoilt(&object, move |_, mut reply| {
        if count.fetch_add(1, Ordering::SeqCst) < 2 {
            reply.body.truncate(2 * MIB as usize + 300_000);
            return reply.then(Then::Close);
        }
        reply
    })
    .await;
    let appliance = Appliance::new();
    let fill = appliance.fill(Setup::new(&control.url()).sources(&[http("origin", &origin.url())]));
    let content = run_one(&fill, job(&wanted(PATH, &object), None)).await;
    appliance.publish(PATH, content);
    let starts: Vec<_> = asked_for_bytes(&origin)
        .iter()
        .map(|ask| ask.range().unwrap().start)
        .collect();
    assert_eq!(starts, [0, 2 * MIB, 4 * MIB]);
}

#[tokio::test]
async fn an_object_that_changes_at_the_origin_is_finished_elsewhere() {
    let object = bytes(3, 20 * MIB);
    let control = control_of(&[&object]).await;
    let count = AtomicUsize::new(0);
    let origin = spoilt(&object, move |_, reply| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => reply,
            _ => reply.with("ETag", "\"new\""),
        }
    })
    .await;
    let appliance = Appliance::new();
    let listed = [http("origin", &origin.url()), Listed::Control];
    let fill = appliance.fill(Setup::new(&control.url()).sources(&listed));
    let content = run_one(&fill, job(&wanted(PATH, &object), None)).await;
    appliance.publish(PATH, content);
    let starts: Vec<_> = asked_for_bytes(&control)
        .iter()
        .map(|ask| ask.range().unwrap().start)
        .collect();
    assert_eq!(starts, [8 * MIB, 16 * MIB]);
    let changed = fill.sources.get(0).unwrap().counts().errors();
    assert!(
        changed
            .into_iter()
            .any(|(reason, count)| (reason, count) == ("changed", 1))
    );
}

#[tokio::test]
async fn trees_sizes_and_roots_that_lie_store_nothing() {
    let object = bytes(4, 3 * MIB);
    let control = control_of(&[&object]).await;
    let lying = Server::start(|_| Reply::whole(&[1; 96])).await;
    let origin = spoilt(&object, |_, reply| reply).await;
    let good = wanted(PATH, &object);
    let of_size = |size| Wanted {
        size,
        ..good.clone()
    };
    let empty = Wanted {
        root: Root([7; 32]),
        ..of_size(0)
    };
    let small = Wanted {
        root: Root([7; 32]),
        ..of_size(5)
    };
    let appliance = Appliance::new();
    for (server, wanted, expected) in [
        (
            &control,
            of_size(2 * MIB),
            "control: it lies: its Content-Length is 96, the range has 64 bytes",
        ),
        (
            &control,
            of_size(3 * MIB - 1),
            "origin: it lies: it says that the object has 3145728 bytes; the manifest says 3145727",
        ),
        (
            &lying,
            good.clone(),
            "control: it lies: its chunk tree: the group values do not merge into the object's root",
        ),
        (
            &control,
            empty,
            "origin: it lies: the bytes of group 0 (of 1 MiB) are not those of the object",
        ),
        (
            &control,
            small,
            "origin: it lies: it says that the object has 3145728 bytes; the manifest says 5",
        ),
    ] {
        let listed = [http("origin", &origin.url())];
        let fill = appliance.fill(Setup::new(&server.url()).sources(&listed));
        let outcome = run(&fill, vec![job(&wanted, None)]).await.pop().unwrap();
        let Outcome::Failed { failure, .. } = outcome else {
            panic!("{wanted:?} was stored");
        };
        assert_eq!(failure.to_string(), expected);
    }
}

#[tokio::test]
async fn an_object_waits_for_its_peer_aside_and_comes_from_it() {
    let (late, there) = (bytes(5, 2 * MIB), bytes(6, 2 * MIB));
    let control = control_of(&[&late, &there]).await;
    let shelf = Shelf::of([("/there", &there)]);
    let held = shelf.clone();
    let peer_server = Server::start(move |ask| held.as_appliance(ask)).await;
    let appliance = Appliance::new();
    let mut fill = appliance
        .fill(Setup::new(&control.url()).sources(&[peer(&peer_server.url()), Listed::Control]));
    fill.parallel = 1;
    let jobs = vec![
        job(&wanted("/late", &late), Some(0)),
        job(&wanted("/there", &there), Some(0)),
    ];
    let (sender, mut outcomes) = mpsc::channel(2);
    let running = {
        let fill = fill.clone();
        tokio::spawn(async move { fill.run(jobs, sender, CancellationToken::new()).await })
    };
    // It is behind in the plan, and does not wait for the first.
    assert_eq!(fetched_path(outcomes.recv().await), "/there");
    let sentence = "1 object waits for c002.fra001.example, which has not got it yet";
    until(|| fill.progress.waiting() == [sentence]).await;
    shelf.put("/late", &late);
    assert_eq!(fetched_path(outcomes.recv().await), "/late");
    running.await.unwrap();
    assert!(
        asked_for_bytes(&control).is_empty(),
        "the long line was not needed"
    );
}

#[tokio::test]
async fn a_peer_that_gives_nothing_is_waited_for_so_long_and_no_longer() {
    let object = bytes(7, 2 * MIB);
    let control = control_of(&[&object]).await;
    let without = Server::start(|_| Reply::status(404)).await;
    let gone = Server::start(|_| Reply::status(404)).await.url();
    let patience = Duration::from_millis(300);
    // That nobody answers at an address is known at once, and for longer than it would be waited for.
    // Nor is it waited for when the next ask would come after the end of the patience: so the least time is a part of it.
    for (url, waited) in [(without.url(), patience / 2), (gone, Duration::ZERO)] {
        let appliance = Appliance::new();
        let listed = [Listed::Control, peer(&url)];
        let mut fill = appliance.fill(Setup::new(&control.url()).sources(&listed));
        fill.peer_patience = patience;
        let begun = Instant::now();
        let content = run_one(&fill, job(&wanted(PATH, &object), Some(1))).await;
        assert!(begun.elapsed() >= waited, "{url}");
        appliance.publish(PATH, content);
    }
    assert!(
        without.asks().len() > 2,
        "it is asked again while it is waited for"
    );
}

#[tokio::test]
async fn a_busy_source_is_not_asked_before_it_said() {
    let object = bytes(8, 20 * MIB);
    let control = control_of(&[&object]).await;
    let (begun, count) = (Instant::now(), AtomicUsize::new(0));
    let early = Arc::new(AtomicBool::new(false));
    let was_early = early.clone();
    // The second and third request are too many at once.
    let last_refused = Arc::new(AtomicU64::new(0));
    let server = spoilt(&object, move |ask, reply| {
        if ask.method != "GET" {
            return reply;
        }
        let now = begun.elapsed().as_millis() as u64;
        match count.fetch_add(1, Ordering::SeqCst) {
            1 | 2 => {
                last_refused.store(now, Ordering::SeqCst);
                Reply::status(429).with("Retry-After", "1")
            }
            0 => reply,
            _ => {
                let since = now - last_refused.load(Ordering::SeqCst);
                was_early.fetch_or(since < 990, Ordering::SeqCst);
                reply
            }
        }
    })
    .await;
    let appliance = Appliance::new();
    let fill = appliance
        .fill(Setup::new(&control.url()).sources(&[upstream(&server.url()), Listed::Control]));
    let content = run_one(&fill, job(&wanted(PATH, &object), None)).await;
    appliance.publish(PATH, content);
    assert!(!early.load(Ordering::SeqCst));
    assert!(
        asked_for_bytes(&control).is_empty(),
        "the long line was not needed"
    );
    let starts: Vec<_> = asked_for_bytes(&server)
        .iter()
        .map(|ask| ask.range().unwrap().start)
        .collect();
    assert_eq!(starts[0], 0);
    assert!(
        starts[3..].iter().all(|start| *start >= 8 * MIB),
        "{starts:?}"
    );
}

#[tokio::test]
async fn an_origin_that_is_down_is_waited_for_and_named() {
    let object = bytes(9, MIB);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let appliance = Appliance::new();
    let sources =
        Setup::new("http://127.0.0.1:1").sources(&[http("origin", &format!("http://{address}"))]);
    let fill = appliance.fill(sources);
    let (sender, mut outcomes) = mpsc::channel(1);
    let running = {
        let (fill, job) = (fill.clone(), job(&wanted(PATH, &object), None));
        tokio::spawn(async move { fill.run(vec![job], sender, CancellationToken::new()).await })
    };
    let origin = fill.sources.get(0).unwrap();
    until(|| origin.status(Instant::now(), 1000).retry_at.is_some()).await;
    let status = origin.status(Instant::now(), 1000);
    assert!(
        status.state.starts_with("it cannot be reached"),
        "{}",
        status.state
    );
    until(|| !fill.progress.waiting().is_empty()).await;
    let waiting = fill.progress.waiting();
    assert!(
        waiting[0].starts_with("1 object waits for origin: it cannot be reached"),
        "{waiting:?}"
    );
    // It comes back where it was.
    let shelf = Shelf::of([(PATH, &object)]);
    let _server = Server::start_at(address, move |ask| shelf.as_appliance(ask)).await;
    assert_eq!(fetched_path(outcomes.recv().await), PATH);
    running.await.unwrap();
    assert_eq!(origin.status(Instant::now(), 1000).state, "ok");
}

#[tokio::test]
async fn a_fill_that_is_cancelled_ends_at_once() {
    let object = bytes(10, 4 * MIB);
    let control = control_of(&[&object]).await;
    let origin = spoilt(&object, |_, mut reply| {
        reply.body.truncate(2 * MIB as usize + 5);
        reply.then(Then::Silence)
    })
    .await;
    let appliance = Appliance::new();
    let fill = appliance.fill(Setup::new(&control.url()).sources(&[http("origin", &origin.url())]));
    let (sender, _outcomes) = mpsc::channel(1);
    let cancelled = CancellationToken::new();
    let running = {
        let (fill, job, cancelled) = (
            fill.clone(),
            job(&wanted(PATH, &object), None),
            cancelled.clone(),
        );
        tokio::spawn(async move { fill.run(vec![job], sender, cancelled).await })
    };
    until(|| fill.progress.bytes_in_transfers() == 2 * MIB).await;
    let begun = Instant::now();
    cancelled.cancel();
    running.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(fill.progress.transfers().is_empty());
}

#[tokio::test]
async fn a_fill_that_was_cancelled_has_nothing_in_hand() {
    let object = bytes(11, 2 * MIB);
    let control = control_of(&[&object]).await;
    let appliance = Appliance::new();
    let mut fill = appliance.fill(Setup::new(&control.url()).sources(&[Listed::Control]));
    let (entered, mut staging) = mpsc::channel(1);
    let (release, gate) = std::sync::mpsc::channel();
    let (gate, stage) = (std::sync::Mutex::new(gate), fill.stage.clone());
    fill.stage = Arc::new(move |tree, tier| {
        entered.blocking_send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        stage(tree, tier)
    });
    let (sender, _outcomes) = mpsc::channel(1);
    let cancelled = CancellationToken::new();
    let running = {
        let (job, cancelled) = (job(&wanted(PATH, &object), None), cancelled.clone());
        tokio::spawn(async move { fill.run(vec![job], sender, cancelled).await })
    };
    staging.recv().await.unwrap();
    cancelled.cancel();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished(), "a lane still has it");
    release.send(()).unwrap();
    running.await.unwrap();
    let store = appliance.store.lock().unwrap();
    let Stage::Write(mut staging) = store.stage(ChunkTree::of(&object), "nvme").unwrap() else {
        panic!("it is stored");
    };
    staging.write_group(&object[..MIB as usize]).unwrap();
    drop(staging);
    // Had somebody still had it in hand, this one would not be resumed.
    assert_eq!(store.resumable()[0].written, MIB);
}

/// However busy the machine is, the last piece cannot come earlier. That the rate is reached is shown on a clock that does not run by itself
/// (`tests/rate.rs`).
#[tokio::test]
async fn all_sources_together_keep_to_the_rate() {
    const RATE_BYTES_PER_S: u64 = 4 * MIB;
    let objects: Vec<_> = (0..4).map(|seed| bytes(20 + seed, 2 * MIB)).collect();
    let control = control_of(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    // Before the bucket is made: what it may catch up with begins later.
    let begun = Instant::now();
    let setup = Setup::new(&control.url());
    setup.limiter.set_rate(RATE_BYTES_PER_S * 8);
    let appliance = Appliance::new();
    let fill = appliance.fill(setup.sources(&[Listed::Control]));
    let jobs = objects
        .iter()
        .map(|object| job(&wanted(PATH, object), None))
        .collect();
    assert_eq!(run(&fill, jobs).await.len(), 4);
    let least = (8 * MIB - PIECE_BYTES) as f64 / RATE_BYTES_PER_S as f64;
    let took = begun.elapsed().as_secs_f64();
    assert!(took >= least, "8 MiB came within {took} s");
}

fn fetched_path(outcome: Option<Outcome>) -> String {
    match outcome {
        Some(Outcome::Fetched { job, .. }) => job.wanted.path.into(),
        Some(Outcome::Failed { failure, .. }) => panic!("{failure}"),
        Some(Outcome::Repaired { .. }) | None => panic!("no outcome"),
    }
}

/// Waits for a condition, at most 10 s.
async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it does not come"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
