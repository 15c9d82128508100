//! Devices that an operator takes out of use and back, replaces or evacuates, and those that are full or read-only: the daemon follows
//! while it serves.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use content_store::DeviceId;
use content_store::device::{self, InitOptions, Intent, Intents, Wanted};
use protocol::status::{Device, DeviceState};
use support::http::{self, Client};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const FILMS: u64 = 16;

fn site(backend: &str) -> Site {
    Site::new(&Plan {
        backend,
        devices: 2,
        stripe_width: 1,
        memory: "16 MiB",
        ..Plan::default()
    })
}

fn film(number: u64) -> (String, Vec<u8>) {
    (format!("/film{number}"), content(number, MIB + 4321))
}

/// The numbers of the films on each device.
fn publish_films(site: &Site) -> [Vec<u64>; 2] {
    let mut on = [Vec::new(), Vec::new()];
    for number in 0..FILMS {
        let (path, bytes) = film(number);
        site.publish(&path, &bytes);
        on[site.devices_of(&bytes)[0]].push(number);
    }
    assert!(on.iter().all(|films| !films.is_empty()));
    on
}

fn identity(root: &Path) -> DeviceId {
    device::open(root).unwrap().id()
}

fn want(site: &Site, at: usize, id: DeviceId, wanted: Wanted) {
    let intent = Intent {
        root: site.device(at),
        id: Some(id),
        wanted,
        since: 1_800_000_000,
        by: "ada".into(),
        reason: None,
    };
    Intents::change(&site.path("state"), |intents| intents.want(intent)).unwrap();
}

fn await_state(daemon: &Daemon, at: usize, state: DeviceState) -> Device {
    eventually(&format!("device {at} is {}", state.as_str()), || {
        let device = daemon.status().devices.swap_remove(at);
        (device.state == state).then_some(device)
    })
}

fn await_served(daemon: &Daemon, films: &[u64]) {
    for number in films {
        let (path, bytes) = film(*number);
        eventually("the film is served", || {
            let response = http::get(daemon.http, &path, &[]).unwrap();
            (response.status == 200).then(|| assert_same(&response.body, &bytes, &path))
        });
    }
}

fn await_unavailable(daemon: &Daemon, films: &[u64]) {
    for number in films {
        let (path, _) = film(*number);
        eventually("the film cannot be had", || {
            let response = http::get(daemon.http, &path, &[]).unwrap();
            let answered = response.status == 503 && response.field("Retry-After").is_some();
            answered.then_some(())
        });
    }
}

/// Files below `root` that a process has open or mapped.
fn in_use(process: u32, root: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let links = files
        .flatten()
        .filter_map(|it| fs::read_link(it.path()).ok());
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mapped = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    links
        .chain(mapped.map(PathBuf::from))
        .filter(|path| path.starts_with(root))
        .collect()
}

#[test]
fn an_offline_device_is_let_go_of_and_is_taken_back_without_a_restart() {
    for backend in BACKENDS {
        let site = site(backend);
        let on = publish_films(&site);
        let daemon = site.start();
        let id = identity(&site.device(1));
        // Some of it is in memory as well.
        for _ in 0..3 {
            await_served(&daemon, &on[1]);
        }
        want(&site, 1, id, Wanted::Offline);
        let told = await_state(&daemon, 1, DeviceState::Offline);
        assert!(told.cause.contains("ada took it offline"), "{}", told.cause);
        assert_eq!(told.objects, on[1].len() as u64, "what it holds is told");
        await_unavailable(&daemon, &on[1]);
        await_served(&daemon, &on[0]);
        eventually("nothing of it is in use", || {
            in_use(daemon.child.id(), &site.device(1))
                .is_empty()
                .then_some(())
        });
        // As an operator does who has unmounted it, and mounts it again.
        fs::rename(site.device(1), site.path("aside")).unwrap();
        await_served(&daemon, &on[0]);
        fs::rename(site.path("aside"), site.device(1)).unwrap();
        Intents::change(&site.path("state"), |intents| {
            intents.forget(&site.device(1), Some(id));
        })
        .unwrap();
        await_state(&daemon, 1, DeviceState::Ok);
        await_served(&daemon, &on[1]);
    }
}

#[test]
fn what_an_operator_took_offline_stays_so_over_a_restart() {
    let site = site("auto");
    let on = publish_films(&site);
    want(&site, 0, identity(&site.device(0)), Wanted::Offline);
    let daemon = site.start();
    await_state(&daemon, 0, DeviceState::Offline);
    await_unavailable(&daemon, &on[0]);
    await_served(&daemon, &on[1]);
}

#[test]
fn a_viewer_of_a_device_that_goes_offline_is_not_cut() {
    for backend in BACKENDS {
        let site = site(backend);
        let long = content(99, 24 * MIB);
        site.publish("/long", &long);
        let at = site.devices_of(&long)[0];
        let daemon = site.start();
        let mut viewer = Client::connect(daemon.http).unwrap();
        viewer
            .send("GET /long HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        let mut first = [0; 1];
        std::io::Read::read_exact(&mut viewer.stream, &mut first).unwrap();
        want(&site, at, identity(&site.device(at)), Wanted::Offline);
        await_state(&daemon, at, DeviceState::Offline);
        drop(viewer);
        eventually("nothing of it is in use", || {
            in_use(daemon.child.id(), &site.device(at))
                .is_empty()
                .then_some(())
        });
    }
}

#[test]
fn a_new_device_takes_the_place_of_an_old_one_without_a_restart() {
    let site = site("auto");
    let on = publish_films(&site);
    let daemon = site.start();
    await_served(&daemon, &on[0]);
    let old = identity(&site.device(0));
    fs::rename(site.device(0), site.path("aside")).unwrap();
    await_state(&daemon, 0, DeviceState::Missing);
    fs::create_dir(site.device(0)).unwrap();
    let options = InitOptions {
        now_s: 1_800_000_000,
        tier: None,
        shared_fs: true,
    };
    let new = device::initialise(&site.device(0), &options).unwrap().id();
    let told = await_state(&daemon, 0, DeviceState::Empty);
    assert!(
        told.cause.contains("ocactl device replace"),
        "{}",
        told.cause
    );
    want(&site, 0, old, Wanted::Removed);
    let told = await_state(&daemon, 0, DeviceState::Ok);
    assert_eq!(told.id, Some(new.to_string()));
    await_unavailable(&daemon, &on[0]);
    // What is published now lies on it, among others.
    let (path, bytes) = film(100);
    site.publish(&path, &bytes);
    await_served(&daemon, &[100]);
    // The old one is never used again.
    fs::rename(site.device(0), site.path("new")).unwrap();
    fs::rename(site.path("aside"), site.device(0)).unwrap();
    let told = await_state(&daemon, 0, DeviceState::Offline);
    assert!(told.cause.contains("removed for good"), "{}", told.cause);
}

/// A file system of its own for a device; detached when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn over(device: &Path) -> Self {
        run(&["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs"], device);
        let mounted = Self(device.into());
        let options = InitOptions {
            now_s: 1_800_000_000,
            ..InitOptions::default()
        };
        device::initialise(device, &options).unwrap();
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &[&str], path: &Path) {
    let status = Command::new(command[0])
        .args(&command[1..])
        .arg(path)
        .status();
    assert!(status.unwrap().success(), "{command:?} {}", path.display());
}

/// Its root is none of the folders that were there when the daemon was kept to its own files.
#[test]
fn another_file_system_in_the_place_of_one_is_read_without_a_restart() {
    let site = site("auto");
    let [mounted, _other] = [0, 1].map(|at| Mounted::over(&site.device(at)));
    let on = publish_films(&site);
    let daemon = site.start();
    await_served(&daemon, &on[0]);
    let old = identity(&site.device(0));
    drop(mounted);
    let _mounted = Mounted::over(&site.device(0));
    let new = identity(&site.device(0));
    await_state(&daemon, 0, DeviceState::Empty);
    want(&site, 0, old, Wanted::Removed);
    let told = await_state(&daemon, 0, DeviceState::Ok);
    assert_eq!(told.id, Some(new.to_string()));
    let films: Vec<u64> = (100..108).collect();
    let lies_there = films.iter().filter(|number| {
        let (path, bytes) = film(**number);
        site.publish(&path, &bytes);
        site.devices_of(&bytes).contains(&0)
    });
    assert!(lies_there.count() > 0);
    await_served(&daemon, &films);
    drop(daemon);
}

#[test]
fn a_full_and_a_read_only_device_are_read_and_said_to_be_so() {
    let site = site("auto");
    let mounted = [0, 1].map(|at| Mounted::over(&site.device(at)));
    let on = publish_films(&site);
    let daemon = site.start();
    let others = await_state(&daemon, 1, DeviceState::Ok);
    await_state(&daemon, 0, DeviceState::Ok);
    let filler = site.device(0).join("staging/filler");
    let room = platform::file::space(&site.device(0)).unwrap();
    fs::write(&filler, vec![7; room.available_bytes as usize]).unwrap();
    let full = await_state(&daemon, 0, DeviceState::Full);
    assert!(full.cause.starts_with("full"), "{}", full.cause);
    await_served(&daemon, &on[0]);
    run(&["mount", "-o", "remount,ro"], &site.device(0));
    let read_only = await_state(&daemon, 0, DeviceState::ReadOnly);
    assert!(read_only.cause.contains("read-only"), "{}", read_only.cause);
    await_served(&daemon, &on[0]);
    run(&["mount", "-o", "remount,rw"], &site.device(0));
    fs::remove_file(&filler).unwrap();
    want(&site, 0, identity(&site.device(0)), Wanted::Evacuating);
    let evacuated = await_state(&daemon, 0, DeviceState::Evacuating);
    assert!(evacuated.cause.contains("evacuated"), "{}", evacuated.cause);
    await_served(&daemon, &on[0]);
    assert_eq!(daemon.status().devices[1].state, others.state);
    let states = ["ok", "evacuating", "offline", "missing"];
    let shown = states.map(|state| {
        let labels = format!("device=\"nvme0\",state=\"{state}\"");
        daemon.metric("oca_device_state", &labels)
    });
    assert_eq!(shown, [0.0, 1.0, 0.0, 0.0]);
    drop(daemon);
    drop(mounted);
}

/// As systemd mounts everything for a service with `ProtectSystem=strict`: the agent writes there all the same.
#[test]
fn a_device_that_the_daemon_alone_may_not_write_to_is_well() {
    let site = site("auto");
    let mounted = [0, 1].map(|at| Mounted::over(&site.device(at)));
    publish_films(&site);
    run(&["mount", "-o", "remount,bind,ro"], &site.device(0));
    let seen = platform::file::space(&site.device(0)).unwrap();
    assert!(seen.read_only);
    let daemon = site.start();
    let device = "device=\"nvme0\"";
    eventually("its room is known", || {
        (daemon.metric("oca_device_size_bytes", device) > 0.0).then_some(())
    });
    assert_eq!(daemon.metric("oca_device_read_only", device), 0.0);
    await_state(&daemon, 0, DeviceState::Ok);
    drop(daemon);
    drop(mounted);
}

#[test]
fn a_damaged_file_leaves_what_was_wanted_before_and_is_said() {
    let site = site("auto");
    let on = publish_films(&site);
    want(&site, 0, identity(&site.device(0)), Wanted::Offline);
    let daemon = site.start();
    await_state(&daemon, 0, DeviceState::Offline);
    fs::write(site.path("state/devices.json"), "{\"format\":1,").unwrap();
    eventually("it is said", || {
        let problems = daemon.status().catalog.problems;
        let said = problems.iter().any(|it| it.contains("devices.json"));
        said.then_some(())
    });
    await_state(&daemon, 0, DeviceState::Offline);
    await_served(&daemon, &on[1]);
}
