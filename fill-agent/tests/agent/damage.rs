//! Bits that flip on the disks under a real agent: found by the scrub, marked, and repaired with as little as must be fetched.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use content_store::catalog::{CopyRecord, Snapshot};
use content_store::staging::journal::Journal;
use content_store::verify::verify;
use content_store::{ObjectId, open_devices};
use fill_agent::survey;
use protocol::fill::{Activity, Request, Response, Scrub};
use protocol::limits::OBJECT_MAX_BYTES;
use protocol::manifest::Wanted;

use super::appliance::{Appliance, Running, eventually};
use super::endpoint::{Endpoint, manifest};
use super::{content, many};

pub(crate) const MIB: usize = 1 << 20;

/// Objects of two columns.
pub(crate) fn films(endpoint: &Endpoint, count: u8) -> Vec<Wanted> {
    let film = |seed: u8| endpoint.object(&format!("/{seed}.mp4"), content(seed, 5 * MIB + 7));
    (0..count).map(film).collect()
}

pub(crate) fn with_scrub(endpoint: &Endpoint, appliance: &Appliance, fill: &str) {
    appliance.configure(endpoint, |text| {
        let text = text.replace("[fill]\n", &format!("[fill]\n{fill}"));
        format!("{text}[scrub]\nrate = \"4 Gbit/s\"\nevery = \"1 d\"\n")
    });
}

pub(crate) fn copies(appliance: &Appliance) -> Vec<CopyRecord> {
    let snapshot = Snapshot::read_or_empty(&appliance.path("state")).unwrap();
    let records = snapshot.objects.into_iter();
    records.flat_map(|record| record.copies).collect()
}

/// A file of an object on a device.
pub(crate) fn file(appliance: &Appliance, device: &str, of: &Wanted, end: &str) -> PathBuf {
    let name = ObjectId(of.root.0).to_string();
    let folder = appliance.path(device).join("objects");
    let folder = folder.join(&name[..2]).join(&name[2..4]);
    folder.join(format!("{name}.{end}"))
}

/// Flips a bit, so many bytes before the end if `at` is negative.
pub(crate) fn flip(appliance: &Appliance, device: &str, of: &Wanted, end: &str, at: i64) {
    let path = file(appliance, device, of, end);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let length = file.metadata().unwrap().len();
    let at = if at < 0 {
        length - at.unsigned_abs()
    } else {
        at.unsigned_abs()
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn ask_scrub(agent: &Running<'_>, request: &Request) -> Scrub {
    match agent.ask(request) {
        Response::Scrub(scrub) => *scrub,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn start(agent: &Running<'_>) {
    let by = "ada".to_owned();
    ask_scrub(agent, &Request::ScrubStart { by, device: None });
}

fn has_read_all(agent: &Running<'_>) -> Scrub {
    eventually("all was read back", || {
        let scrub = ask_scrub(agent, &Request::ScrubStatus);
        let mut devices = scrub.devices.iter();
        let is_over = devices.all(|device| device.began.is_none() && device.ended.is_some());
        is_over.then_some(scrub)
    })
}

pub(crate) fn all_good(appliance: &Appliance) -> bool {
    let slots = open_devices(&survey::store_config(&appliance.config())).unwrap();
    let snapshot = Snapshot::read_or_empty(&appliance.path("state")).unwrap();
    let mut records = snapshot.objects.iter();
    records.all(|record| verify(&slots, record, |_| ()).unwrap().is_good())
}

fn repaired(appliance: &Appliance, count: usize) {
    eventually("repaired", || {
        let copies = copies(appliance);
        let done = copies
            .iter()
            .filter(|copy| copy.repaired > 0 && copy.bad.is_empty());
        (done.count() == count).then_some(())
    });
}

#[test]
fn one_pass_finds_every_flip_and_only_the_bad_mib_is_fetched() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_scrub(&endpoint, &appliance, "");
    let wanted = films(&endpoint, 5);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let sent = endpoint.sent_bytes();

    flip(&appliance, "d0", &wanted[0], "col", MIB as i64 + 9);
    // The sums of the blocks are the end of a sidecar, the tree stands before them, the names at its head.
    flip(&appliance, "d0", &wanted[1], "meta", -6);
    flip(&appliance, "d1", &wanted[2], "meta", -4 * (32 + 1) - 9);
    flip(&appliance, "d1", &wanted[3], "meta", 30);
    start(&agent);
    repaired(&appliance, 4);
    assert_eq!(endpoint.sent_bytes() - sent, MIB as u64);
    assert!(all_good(&appliance));

    start(&agent);
    let scrub = eventually("a second pass", || {
        let scrub = has_read_all(&agent);
        let read: u64 = scrub.devices.iter().map(|device| device.columns).sum();
        (read == 10 && scrub.devices.iter().all(|device| device.bad == 0)).then_some(scrub)
    });
    assert!(scrub.devices.iter().all(|device| device.bytes > 0));
    assert_eq!(agent.metric("oca_fill_repaired_copies_total"), 4.0);
    let label = "oca_scrub_bad_columns{tier=\"nvme\",device=\"d0\"}";
    assert_eq!(agent.metric(label), 0.0);
}

/// As after the way back to an older release.
#[test]
fn what_a_newer_release_has_written_is_said_and_left_alone() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = films(&endpoint, 1);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let sent = endpoint.sent_bytes();
    let sidecar = file(&appliance, "d0", &wanted[0], "meta");
    let mut newer = fs::read(&sidecar).unwrap();
    newer.truncate(newer.len() - 4);
    newer[8] += 1;
    let checksum = crc32fast::hash(&newer);
    newer.extend_from_slice(&checksum.to_le_bytes());
    fs::write(&sidecar, &newer).unwrap();

    with_scrub(&endpoint, &appliance, "");
    let agent = appliance.run();
    agent.open();
    let problem = eventually("it is said", || {
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        let mut states = scrub.devices.into_iter().map(|device| device.state);
        states.find(|state| state.contains("newer"))
    });
    let name = sidecar.display().to_string();
    for words in [&*name, "format 2 is newer", "install a newer version"] {
        assert!(problem.contains(words), "{problem}");
    }
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert!(copies(&appliance).iter().all(|copy| copy.bad.is_empty()));
    assert_eq!(fs::read(&sidecar).unwrap(), newer);
    assert_eq!(endpoint.sent_bytes(), sent);
}

#[test]
fn outside_the_window_what_is_bad_waits_and_is_said() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_scrub(&endpoint, &appliance, "");
    let wanted = films(&endpoint, 1);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let agent = appliance.run();
    fs::remove_file(file(&appliance, "d1", &wanted[0], "col")).unwrap();
    start(&agent);
    let status = agent.until("it waits", |status| {
        status.why.contains("wait to be repaired")
    });
    assert_eq!(status.activity, Activity::Closed);
    assert!(copies(&appliance)[0].repaired == 0);
    agent.open();
    repaired(&appliance, 1);
    assert!(all_good(&appliance));
}

/// It takes a while to plan for so many objects, which have no room.
#[test]
fn when_the_window_opens_it_is_not_complete_before_it_is_repaired() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_scrub(&endpoint, &appliance, "");
    let mut wanted = films(&endpoint, 1);
    let large = many(&endpoint, 20_000).into_iter();
    wanted.extend(large.map(|one| Wanted {
        size: OBJECT_MAX_BYTES,
        ..one
    }));
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let agent = appliance.run();
    fs::remove_file(file(&appliance, "d1", &wanted[0], "col")).unwrap();
    start(&agent);
    agent.until("it waits", |status| {
        status.why.contains("wait to be repaired")
    });
    agent.open();
    let complete = agent.until("complete", |status| status.activity == Activity::Complete);
    assert!(copies(&appliance)[0].bad.is_empty(), "{}", complete.why);
    assert!(all_good(&appliance));
}

#[test]
fn it_may_be_repaired_outside_the_window() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_scrub(&endpoint, &appliance, "repair_outside_window = true\n");
    let wanted = films(&endpoint, 1);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let sent = endpoint.sent_bytes();
    let agent = appliance.run();
    flip(&appliance, "d1", &wanted[0], "col", 9);
    start(&agent);
    repaired(&appliance, 1);
    assert!(all_good(&appliance));
    assert_eq!(endpoint.sent_bytes() - sent, MIB as u64);
    assert_eq!(agent.status().activity, Activity::Closed);
}

#[test]
fn what_was_written_of_a_repair_goes_with_what_is_taken_down() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = [endpoint.object("/0.mp4", content(0, 64 * MIB))];
    endpoint.offer(&manifest(1, wanted.to_vec()));
    assert!(appliance.once().status.success());
    // Slowly: it is in the midst of it when the takedown comes.
    appliance.configure(&endpoint, |text| text.replace("400 Mbit/s", "16 Mbit/s"));
    let agent = appliance.run();
    fs::remove_file(file(&appliance, "d1", &wanted[0], "col")).unwrap();
    start(&agent);
    agent.open();
    let name = ObjectId(wanted[0].root.0);
    let journal = appliance.path(&format!("d1/staging/{name}.repair.journal"));
    eventually("something is written", || {
        Journal::read(&journal)
            .ok()
            .filter(|journal| journal.written > 1)
    });
    endpoint.take_down(1, &[&wanted[0]]);
    eventually("nothing is left", || {
        let mut staged = fs::read_dir(appliance.path("d1/staging")).unwrap();
        (appliance.published().is_empty() && staged.next().is_none()).then_some(())
    });
}

#[test]
fn a_pause_survives_a_restart_and_the_pass_goes_on_where_it_was() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.configure(&endpoint, |text| {
        format!("{text}[scrub]\nrate = \"16 Mbit/s\"\n")
    });
    endpoint.offer(&manifest(1, films(&endpoint, 4)));
    assert!(appliance.once().status.success());
    let agent = appliance.run();
    let read = |scrub: &Scrub| {
        scrub
            .devices
            .iter()
            .map(|device| device.columns)
            .sum::<u64>()
    };
    eventually("some columns were read", || {
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        (read(&scrub) > 0).then_some(())
    });
    let pause = Request::ScrubPause {
        by: "ada".to_owned(),
        until: None,
    };
    ask_scrub(&agent, &pause);
    let kept = eventually("it is kept", || {
        let kept = fs::read_to_string(appliance.path("state/fill/scrub.json")).ok()?;
        let kept: serde_json::Value = serde_json::from_str(&kept).ok()?;
        let places = kept["devices"].as_object()?.values();
        let columns: u64 = places.filter_map(|place| place["columns"].as_u64()).sum();
        (columns > 0).then_some(columns)
    });
    agent.kill();
    let agent = appliance.run();
    let scrub = eventually("it knows its devices", || {
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        (read(&scrub) >= kept).then_some(scrub)
    });
    assert!(scrub.devices.iter().all(|device| device.state == "paused"));
    assert!(scrub.pause.is_some_and(|pause| pause.by == "ada"));
    let by = "ada".to_owned();
    ask_scrub(&agent, &Request::ScrubResume { by });
    let scrub = has_read_all(&agent);
    assert_eq!(read(&scrub), 8);
    let by = "ada".to_owned();
    let device = Some("d7".to_owned());
    let unknown = agent.ask(&Request::ScrubStart { by, device });
    assert!(matches!(unknown, Response::Refused(refusal) if refusal.message.contains("d7")));
}
