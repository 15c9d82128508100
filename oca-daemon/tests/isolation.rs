//! A device that goes away, or is not what it was, hurts nobody but the viewers of its own objects.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::status::{Device, DeviceState};
use support::http::{self, Client, Response};
use support::load::{Audience, Film, Met};
use support::publish::publish;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
/// So many that the map, which is another one for each site, spreads them: with 40, one site of 100 000 has a device without any.
const FILMS: u64 = 40;
const VIEWERS: u64 = 6;
/// The viewers of a lost device hear of it within this.
const HEARD: Duration = Duration::from_secs(1);
/// How often a device leaves before it counts that viewers heard too late: the machine may be busy with other things.
const DEPARTURES: usize = 4;

/// How a device leaves and comes back.
trait Door {
    fn leave(&self, device: &Path);
    fn come_back(&self, device: &Path);
}

/// Its folder is renamed away.
struct Renamed;

fn aside(device: &Path) -> PathBuf {
    device.with_extension("aside")
}

impl Door for Renamed {
    fn leave(&self, device: &Path) {
        fs::rename(device, aside(device)).unwrap();
    }

    fn come_back(&self, device: &Path) {
        fs::rename(aside(device), device).unwrap();
    }
}

/// A real mount, detached while files of it are in use.
struct Unmounted;

impl Door for Unmounted {
    fn leave(&self, device: &Path) {
        run("umount", &["-l", text(device)]).unwrap();
    }

    fn come_back(&self, device: &Path) {
        run("mount", &["--bind", text(&aside(device)), text(device)]).unwrap();
    }
}

impl Unmounted {
    /// The device's folder becomes a mount point; an error if this user or place may not mount.
    fn prepare(device: &Path) -> Result<(), String> {
        fs::rename(device, aside(device)).unwrap();
        fs::create_dir(device).unwrap();
        run("mount", &["--bind", text(&aside(device)), text(device)]).inspect_err(|_| {
            fs::remove_dir(device).unwrap();
            fs::rename(aside(device), device).unwrap();
        })
    }
}

/// Detaches what a test has mounted, also if it fails.
struct Detach(PathBuf);

impl Drop for Detach {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.0)]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn films(site: &Site) -> Arc<Vec<Film>> {
    let films: Vec<Film> = (0..FILMS)
        .map(|number| Film::new(number, 2 * MIB + 300_000))
        .collect();
    let mut store = site.store();
    films
        .iter()
        .for_each(|film| publish(&mut store, &film.path, &film.bytes));
    Arc::new(films)
}

/// Everything comes from the devices: what is in memory would be served without them.
fn plan(backend: &str, stripe_width: u8) -> Plan<'_> {
    Plan {
        backend,
        stripe_width,
        workers: 2,
        memory: "0 B",
        ..Plan::default()
    }
}

fn device(daemon: &Daemon, at: usize) -> Device {
    daemon.status().devices.swap_remove(at)
}

fn is_unavailable(response: &Response) -> bool {
    response.status == 503 && response.field("Retry-After").is_some()
}

/// Device 1 leaves and comes back, under load.
fn leave_and_come_back(site: &Site, door: &dyn Door) {
    let films = films(site);
    let lost: Vec<bool> = films
        .iter()
        .map(|film| site.devices_of(&film.bytes).contains(&1))
        .collect();
    assert!(
        lost.contains(&true) && lost.contains(&false),
        "the stripe map spreads the films"
    );
    let daemon = site.start();
    let audience = Audience::new(daemon.http, &films, VIEWERS, 700_000);
    audience.await_served(40);
    let mut heard = Duration::MAX;
    let mut absences = Vec::new();
    for _ in 0..DEPARTURES {
        door.leave(&site.device(1));
        let left = Instant::now();
        await_statuses(&daemon, &films, &lost, is_unavailable);
        heard = heard.min(left.elapsed());
        let known = Instant::now();
        audience.await_served(40);
        let seen = device(&daemon, 1);
        assert_eq!(seen.state, DeviceState::Missing);
        assert!(!seen.cause.is_empty(), "the cause is said");
        absences.push((left, known, Instant::now()));
        door.come_back(&site.device(1));
        let back = Instant::now();
        await_statuses(&daemon, &films, &lost, |response| response.status == 200);
        assert!(back.elapsed() < Duration::from_secs(10), "it comes back");
        audience.await_served(40);
        if heard < HEARD {
            break;
        }
    }
    assert!(heard < HEARD, "viewers heard only after {heard:?}");
    assert_eq!(device(&daemon, 1).state, DeviceState::Ok);
    let visits = audience.end();
    let others = visits.iter().filter(|visit| !lost[visit.film]);
    let hurt: Vec<_> = others.filter(|visit| visit.met != Met::Right).collect();
    assert!(hurt.is_empty(), "viewers of other devices: {hurt:?}");
    // Whole seconds before and after, everything was served; in between nothing was begun that could not be finished.
    for visit in visits.iter().filter(|visit| lost[visit.film]) {
        let absent = |(left, known, back): &(Instant, Instant, Instant)| {
            let settled = *known < visit.asked && visit.asked < *back;
            assert!(
                !(settled && visit.met == Met::Cut),
                "a head was sent for bytes that were known not to be here"
            );
            // The daemon needs a moment to trust a device again.
            *left - Duration::from_secs(2) < visit.asked
                && visit.asked < *back + Duration::from_secs(10)
        };
        assert!(
            visit.met == Met::Right || absences.iter().any(absent),
            "{visit:?} while the device was here"
        );
    }
}

/// Asks for every whole film that has a unit on the device until the answer is as expected.
fn await_statuses(
    daemon: &Daemon,
    films: &[Film],
    lost: &[bool],
    expected: impl Fn(&Response) -> bool,
) {
    let wanted = films.iter().zip(lost).filter(|(_, lost)| **lost);
    for (film, _) in wanted {
        eventually(
            &format!("the device's state decides on {}", film.path),
            || {
                // The answer to a read that was under way when the device left may be a close.
                let response = http::get(daemon.http, &film.path, &[]).ok()?;
                if response.status == 200 {
                    assert_same(&response.body, &film.bytes, &film.path);
                }
                expected(&response).then_some(())
            },
        );
    }
}

#[test]
fn a_folder_that_is_gone_stops_its_own_objects_only_width_1() {
    for backend in BACKENDS {
        leave_and_come_back(&Site::new(&plan(backend, 1)), &Renamed);
    }
}

#[test]
fn a_folder_that_is_gone_stops_its_own_objects_only_width_2() {
    for backend in BACKENDS {
        leave_and_come_back(&Site::new(&plan(backend, 2)), &Renamed);
    }
}

#[test]
fn a_detached_mount_stops_its_own_objects_only() {
    for backend in BACKENDS {
        let site = Site::new(&plan(backend, 2));
        let mounted = Unmounted::prepare(&site.device(1));
        let Err(why) = mounted else {
            let _detach = Detach(site.device(1));
            leave_and_come_back(&site, &Unmounted);
            continue;
        };
        // Only root can mount; anybody else has the other tests of this file.
        eprintln!("nothing can be mounted here, so the folder is renamed: {why}");
        leave_and_come_back(&site, &Renamed);
    }
}

/// The devices 0 and 1 are not as they were after `change`, with `cause` in their status; the objects of 2 and 3 are served
/// without an error; all is as before after `repair`.
fn misfit(
    state: DeviceState,
    cause: &str,
    devices: &[usize],
    change: impl Fn(&Site),
    repair: impl Fn(&Site),
) {
    let site = Site::new(&plan("auto", 1));
    let films = films(&site);
    let lost: Vec<bool> = films
        .iter()
        .map(|film| devices.contains(&site.devices_of(&film.bytes)[0]))
        .collect();
    let daemon = site.start();
    let audience = Audience::new(daemon.http, &films, VIEWERS, 300_000);
    audience.await_served(20);
    change(&site);
    // The status first: under load a slow answer of the device alone makes its objects unavailable for a moment.
    for at in devices {
        eventually("the status names the cause", || {
            let seen = device(&daemon, *at);
            (seen.state == state && seen.cause.contains(cause)).then_some(())
        });
    }
    await_statuses(&daemon, &films, &lost, is_unavailable);
    audience.await_served(20);
    repair(&site);
    await_statuses(&daemon, &films, &lost, |response| response.status == 200);
    let visits = audience.end();
    let hurt = |visit: &&support::load::Visit| !lost[visit.film] && visit.met != Met::Right;
    assert!(!visits.iter().any(|visit| hurt(&visit)), "the rest serves");
}

#[test]
fn swapped_devices_serve_nothing_until_they_are_swapped_back() {
    let swap = |site: &Site| {
        let aside = site.path("swap");
        fs::rename(site.device(0), &aside).unwrap();
        fs::rename(site.device(1), site.device(0)).unwrap();
        fs::rename(aside, site.device(1)).unwrap();
    };
    misfit(
        DeviceState::Swapped,
        "another disk is mounted",
        &[0, 1],
        swap,
        swap,
    );
}

#[test]
fn a_device_without_its_identity_file_is_absent() {
    let identity = |site: &Site| site.device(0).join("oca-device.toml");
    misfit(
        DeviceState::Missing,
        "no oca-device.toml",
        &[0],
        |site| fs::rename(identity(site), site.path("kept.toml")).unwrap(),
        |site| fs::rename(site.path("kept.toml"), identity(site)).unwrap(),
    );
}

/// A box that starts without a device serves the rest, and the device's objects once it comes.
#[test]
fn a_device_that_is_absent_at_the_start_is_taken_in_when_it_comes() {
    let site = Site::new(&plan("auto", 2));
    let films = films(&site);
    let lost: Vec<bool> = films
        .iter()
        .map(|film| site.devices_of(&film.bytes).contains(&1))
        .collect();
    Renamed.leave(&site.device(1));
    let daemon = site.start();
    eventually("the status names the device", || {
        (device(&daemon, 1).state == DeviceState::Missing).then_some(())
    });
    for (film, lost) in films.iter().zip(&lost) {
        let response = http::get(daemon.http, &film.path, &[]).unwrap();
        assert_eq!(
            is_unavailable(&response),
            *lost,
            "{}: {}",
            film.path,
            response.head
        );
    }
    Renamed.come_back(&site.device(1));
    await_statuses(&daemon, &films, &lost, |response| response.status == 200);
}

/// Whoever has a file mapped that becomes shorter is sent a signal when it looks there.
#[test]
fn a_state_disk_whose_files_are_emptied_stops_nothing() {
    for backend in BACKENDS {
        let site = Site::new(&plan(backend, 2));
        let films = films(&site);
        let mut daemon = site.start();
        let audience = Audience::new(daemon.http, &films, VIEWERS, 300_000);
        audience.await_served(20);
        for name in ["data.mdb", "lock.mdb"] {
            let file = site.path("state/catalog").join(name);
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(0).unwrap();
        }
        let said = eventually("the status says so", || {
            assert!(
                daemon.child.try_wait().unwrap().is_none(),
                "the daemon lives"
            );
            daemon.status().catalog.problems.into_iter().next()
        });
        assert!(said.contains("ocactl catalog rebuild"), "{said}");
        audience.await_served(40);
        site.rebuild();
        eventually("the rebuilt catalog is used", || {
            daemon.status().catalog.problems.is_empty().then_some(())
        });
        audience.await_served(20);
        let visits = audience.end();
        assert!(visits.iter().all(|visit| visit.met == Met::Right));
    }
}

/// One byte of a column is not what was written.
#[test]
fn a_flipped_byte_is_never_served() {
    for backend in BACKENDS {
        let site = Site::new(&plan(backend, 1));
        let (bytes, other) = (content(1, 2 * MIB), content(2, MIB));
        site.publish("/flipped", &bytes);
        site.publish("/whole", &other);
        site.flip(&bytes, MIB + 12_345);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).unwrap();
        // The part before the block is right, and is served.
        let before = client.get("/flipped", &["Range: bytes=0-99999"]).unwrap();
        assert_same(&before.body, &bytes[..100_000], "before the block");
        let first = client
            .get("/flipped", &["Range: bytes=1060000-1070000"])
            .unwrap();
        assert!(is_unavailable(&first), "{}", first.head);
        let mut whole = Client::connect(daemon.http).unwrap();
        match whole.get("/flipped", &[]) {
            Ok(response) => assert!(is_unavailable(&response), "{}", response.head),
            Err(_) => assert!(whole.is_closed(), "nothing short without a close"),
        }
        assert!(daemon.metric("oca_device_errors_total", "kind=\"checksum\"") >= 1.0);
        let status = daemon.status();
        let failures: u64 = status.devices.iter().map(|it| it.checksum_failures).sum();
        assert!(failures >= 1);
        let whole = client.get("/whole", &[]).unwrap();
        assert_same(&whole.body, &other, "another object");
    }
}

/// A viewer who is in the middle of a film when the bad block comes gets right bytes, and then a close.
#[test]
fn a_flipped_byte_in_the_middle_of_a_film_ends_the_connection() {
    for backend in BACKENDS {
        let site = Site::new(&plan(backend, 1));
        let bytes = content(1, 8 * MIB);
        site.publish("/flipped", &bytes);
        site.flip(&bytes, 7 * MIB + 1);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).unwrap();
        let range = format!("Range: bytes=0-{}", bytes.len() - 1);
        let error = client.get("/flipped", &[&range]).unwrap_err();
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it hangs");
        let got = client.unfinished_body().unwrap();
        assert!(got.len() <= 7 * MIB, "the bad block was sent");
        assert_same(got, &bytes[..got.len()], "up to the bad block");
    }
}
