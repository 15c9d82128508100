//! Devices that an operator takes out of use, evacuates or replaces, and devices that go away and come back: the agent follows, and fetches
//! no more than what is lost.

use std::fs;
use std::path::{Path, PathBuf};

use content_store::DeviceId;
use content_store::device::{self, InitOptions, Intent, Intents, Wanted};
use protocol::fill::{Activity, Request, Response};
use protocol::manifest::Wanted as WantedObject;
use protocol::status::DeviceState;

use super::appliance::{Appliance, Running, eventually};
use super::damage::{MIB, all_good, copies, file};
use super::endpoint::{Endpoint, manifest};
use super::hanging::{Hanging, SOON, is_taken_down};
use super::{mounts, objects, paths};

/// With a third device in the tier, and the configuration changed.
pub(crate) fn three_devices(
    endpoint: &Endpoint,
    change: impl FnOnce(String) -> String,
) -> Appliance {
    appliance_with(endpoint, &["d2"], change)
}

fn appliance(endpoint: &Endpoint) -> Appliance {
    three_devices(endpoint, |text| text)
}

/// With further devices in the tier.
fn appliance_with(
    endpoint: &Endpoint,
    further: &[&str],
    change: impl FnOnce(String) -> String,
) -> Appliance {
    let appliance = Appliance::new(endpoint);
    let mut devices = String::from("/d1\"");
    for name in further {
        let root = appliance.path(name);
        initialise(&root);
        devices.push_str(&format!(", {root:?}"));
    }
    appliance.configure(endpoint, |text| {
        change(text.replace("/d1\"]", &format!("{devices}]")))
    });
    appliance
}

fn initialise(root: &Path) {
    fs::create_dir(root).unwrap();
    let options = InitOptions {
        now_s: 1,
        tier: Some("nvme".into()),
        shared_fs: true,
    };
    device::initialise(root, &options).unwrap();
}

pub(crate) fn want(appliance: &Appliance, name: &str, wanted: Wanted) -> DeviceId {
    let root = appliance.path(name);
    let id = device::open(&root).unwrap().id();
    let intent = Intent {
        root,
        id: Some(id),
        wanted,
        since: 1,
        by: "ada".into(),
        reason: None,
    };
    Intents::change(&appliance.path("state"), |intents| intents.want(intent)).unwrap();
    id
}

pub(crate) fn tell(agent: &Running<'_>) {
    assert!(matches!(agent.ask(&Request::Devices), Response::Status(_)));
}

fn until_state(agent: &Running<'_>, name: &str, state: DeviceState) {
    agent.until(&format!("{name} is {}", state.as_str()), |status| {
        let mut devices = status.devices.iter();
        devices.any(|device| device.name == name && device.verdict == Some(state))
    });
}

pub(crate) fn until_complete(agent: &Running<'_>, number: u64) {
    agent.until("complete", |status| {
        let serial = status.manifest.as_ref().map(|of| of.serial.number);
        serial == Some(number) && status.activity == Activity::Complete
    });
}

fn columns(root: &Path) -> usize {
    column_files(root).len()
}

pub(crate) fn column_files(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else {
        let is_column = root.extension().is_some_and(|end| end == "col");
        return is_column.then(|| root.to_path_buf()).into_iter().collect();
    };
    let below = entries.flatten();
    below
        .flat_map(|entry| column_files(&entry.path()))
        .collect()
}

#[test]
fn what_a_device_alone_holds_is_copied_before_it_is_pulled_and_nothing_is_fetched() {
    let endpoint = Endpoint::start();
    let appliance = appliance(&endpoint);
    let wanted = objects(&endpoint, 0..12);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let on_it = columns(&appliance.path("d0/objects"));
    assert!(on_it > 0);
    let sent = endpoint.sent_bytes();
    // Outside the window; another device does not answer.
    let agent = appliance.run();
    until_state(&agent, "d0", DeviceState::Ok);
    want(&appliance, "d0", Wanted::Evacuating);
    tell(&agent);
    until_state(&agent, "d0", DeviceState::Evacuating);
    eventually("nothing lies on it", || {
        (columns(&appliance.path("d0/objects")) == 0).then_some(())
    });
    want(&appliance, "d0", Wanted::Removed);
    fs::remove_dir_all(appliance.path("d0")).unwrap();
    tell(&agent);
    agent.open();
    until_complete(&agent, 1);
    assert_eq!(
        (appliance.published(), endpoint.sent_bytes()),
        (paths(&wanted), sent)
    );
}

#[test]
fn nothing_is_fetched_in_the_place_of_an_offline_device() {
    let endpoint = Endpoint::start();
    let appliance = appliance(&endpoint);
    let mut wanted = objects(&endpoint, 0..8);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    until_complete(&agent, 1);
    let sent = endpoint.sent_bytes();
    let offline = want(&appliance, "d0", Wanted::Offline);
    tell(&agent);
    until_state(&agent, "d0", DeviceState::Offline);
    let before = columns(&appliance.path("d0/objects"));
    let new = objects(&endpoint, 8..12);
    let more: u64 = new.iter().map(|wanted| wanted.size).sum();
    wanted.extend(new);
    endpoint.offer(&manifest(2, wanted.clone()));
    until_complete(&agent, 2);
    assert_eq!(endpoint.sent_bytes(), sent + more);
    assert_eq!(columns(&appliance.path("d0/objects")), before);
    // It is taken back, and compared first, since the catalog has changed.
    Intents::change(&appliance.path("state"), |intents| {
        intents.forget(&appliance.path("d0"), Some(offline));
    })
    .unwrap();
    tell(&agent);
    until_state(&agent, "d0", DeviceState::Ok);
    until_complete(&agent, 2);
    assert_eq!(endpoint.sent_bytes(), sent + more);
}

#[test]
fn what_a_removed_device_held_comes_again_and_nothing_else() {
    let endpoint = Endpoint::start();
    let appliance = appliance(&endpoint);
    let wanted = objects(&endpoint, 0..12);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let lost = column_files(&appliance.path("d0/objects")).into_iter();
    let lost: u64 = lost.map(|file| file.metadata().unwrap().len()).sum();
    assert!(lost > 0);
    let sent = endpoint.sent_bytes();
    want(&appliance, "d0", Wanted::Removed);
    fs::remove_dir_all(appliance.path("d0")).unwrap();
    let agent = appliance.run();
    agent.open();
    // Of what lay on two devices, the lost column alone.
    eventually("it comes", || {
        (endpoint.sent_bytes() - sent >= lost).then_some(())
    });
    until_complete(&agent, 1);
    assert_eq!(appliance.published(), paths(&wanted));
    assert_eq!(endpoint.sent_bytes() - sent, lost);
    assert!(copies(&appliance).iter().all(|copy| copy.bad.is_empty()));

    // A new one in its place is used for what comes.
    initialise(&appliance.path("d0"));
    tell(&agent);
    until_state(&agent, "d0", DeviceState::Ok);
    let mut more = wanted;
    more.extend(objects(&endpoint, 12..30));
    endpoint.offer(&manifest(2, more.clone()));
    until_complete(&agent, 2);
    assert_eq!(appliance.published(), paths(&more));
    assert!(columns(&appliance.path("d0/objects")) > 0);
}

#[test]
fn a_device_that_was_away_loses_what_was_taken_down_meanwhile() {
    let endpoint = Endpoint::start();
    let appliance = appliance(&endpoint);
    let wanted = objects(&endpoint, 0..8);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    until_complete(&agent, 1);
    let on_it = |of: &&WantedObject| file(&appliance, "d0", of, "col").exists();
    let gone: Vec<_> = wanted.iter().filter(on_it).take(2).collect();
    assert_eq!(gone.len(), 2);
    let (root, aside) = (appliance.path("d0"), appliance.path("aside"));
    fs::rename(&root, &aside).unwrap();
    endpoint.take_down(1, &gone);
    for stone in &gone {
        assert!(is_taken_down(&appliance, stone) < SOON);
    }
    // Whatever waits for the device, waits for nothing else.
    eventually("the store is let go", || {
        let config = fill_agent::survey::store_config(&appliance.config());
        content_store::Store::lock(&config).ok()
    });
    fs::rename(&aside, &root).unwrap();
    tell(&agent);
    for stone in &gone {
        for end in ["col", "meta"] {
            eventually("it is unlinked", || {
                let is_there = file(&appliance, "d0", stone, end).exists();
                (!is_there).then_some(())
            });
        }
    }
    let left = wanted.iter().filter(|one| !gone.contains(one)).cloned();
    assert_eq!(appliance.published(), paths(&left.collect::<Vec<_>>()));
}

#[test]
fn a_device_that_hangs_while_it_is_evacuated_delays_nothing_on_another() {
    let endpoint = Endpoint::start();
    let appliance = appliance_with(&endpoint, &["d2", "d3"], |text| text);
    let mut wanted = small(&endpoint, 0..32);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let on_it = column_files(&appliance.path("d0/objects"));
    assert!(!on_it.is_empty() && columns(&appliance.path("d1/objects")) > 0);
    let hanging = Hanging::at(&appliance, on_it[0].clone());
    let agent = appliance.run();
    want(&appliance, "d0", Wanted::Evacuating);
    want(&appliance, "d1", Wanted::Evacuating);
    tell(&agent);
    eventually("the other one is empty", || {
        (columns(&appliance.path("d1/objects")) == 0).then_some(())
    });
    // Takedowns and fills go on too, while it hangs.
    let is_on_it = |one: &&WantedObject| file(&appliance, "d0", one, "col").exists();
    let elsewhere = wanted.iter().find(|one| !is_on_it(one)).unwrap().clone();
    endpoint.take_down(1, &[&elsewhere]);
    assert!(is_taken_down(&appliance, &elsewhere) < SOON);
    wanted.retain(|one| one.path != elsewhere.path);
    wanted.extend(small(&endpoint, 40..44));
    endpoint.offer(&manifest(2, wanted.clone()));
    agent.open();
    until_published(&appliance, &wanted);
    assert!(columns(&appliance.path("d0/objects")) > 0);
    hanging.end();
    tell(&agent);
    eventually("nothing lies on it", || {
        (columns(&appliance.path("d0/objects")) == 0).then_some(())
    });
    assert_eq!(appliance.published(), paths(&wanted));
}

/// Each device is a file system of 96 MiB of its own.
fn appliance_of_small_devices(endpoint: &Endpoint) -> Appliance {
    let appliance = appliance(endpoint);
    for name in ["d0", "d1", "d2"] {
        mounts::mount(&appliance, name, "size=96m");
    }
    appliance
}

#[test]
fn a_read_only_and_a_full_device_keep_what_they_hold_and_are_given_nothing() {
    let test = "a_read_only_and_a_full_device_keep_what_they_hold_and_are_given_nothing";
    if !mounts::are_own(&format!("devices::{test}")) {
        return;
    }
    let endpoint = Endpoint::start();
    let appliance = appliance_of_small_devices(&endpoint);
    let mut wanted = small(&endpoint, 0..12);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    until_complete(&agent, 1);
    let sent = endpoint.sent_bytes();
    let on = |name: &str| column_files(&appliance.path(name).join("objects"));
    let (read_only, full) = (on("d0"), on("d1"));
    assert!(!read_only.is_empty() && !full.is_empty());

    mounts::remount(&appliance, "d0", "ro");
    let foreign = appliance.path("d1/foreign");
    let space = device::open(&appliance.path("d1")).unwrap().space();
    let most = space.unwrap().available_bytes as usize - MIB;
    fs::write(&foreign, vec![1; most]).unwrap();
    tell(&agent);
    until_state(&agent, "d0", DeviceState::ReadOnly);
    until_state(&agent, "d1", DeviceState::Full);
    let is_on_it = |one: &&WantedObject| file(&appliance, "d0", one, "col").exists();
    let gone = wanted.iter().find(is_on_it).unwrap().clone();
    endpoint.take_down(1, &[&gone]);
    assert!(is_taken_down(&appliance, &gone) < SOON);
    let new = small(&endpoint, 12..20);
    let more: u64 = new.iter().map(|one| one.size).sum();
    wanted.retain(|one| one.path != gone.path);
    wanted.extend(new);
    endpoint.offer(&manifest(2, wanted.clone()));
    until_complete(&agent, 2);
    assert_eq!(
        (appliance.published(), endpoint.sent_bytes()),
        (paths(&wanted), sent + more)
    );
    assert_eq!(on("d0"), read_only);
    // What is wanted may leave the full one, and nothing comes to it.
    assert!(on("d1").iter().all(|file| full.contains(file)));

    mounts::remount(&appliance, "d0", "rw");
    fs::remove_file(foreign).unwrap();
    tell(&agent);
    until_state(&agent, "d0", DeviceState::Ok);
    until_state(&agent, "d1", DeviceState::Ok);
    until_complete(&agent, 2);
    eventually("what was taken down is unlinked", || {
        (!is_on_it(&&gone)).then_some(())
    });
    assert_eq!(endpoint.sent_bytes(), sent + more);
    assert!(all_good(&appliance));
}

/// The plan of before stays in force for minutes.
#[test]
fn a_device_that_fills_up_is_shown_as_full_between_two_plans_and_beside_a_pause() {
    let test = "a_device_that_fills_up_is_shown_as_full_between_two_plans_and_beside_a_pause";
    if !mounts::are_own(&format!("devices::{test}")) {
        return;
    }
    let endpoint = Endpoint::start();
    let appliance = appliance_of_small_devices(&endpoint);
    endpoint.offer(&manifest(1, small(&endpoint, 0..4)));
    let agent = appliance.run();
    agent.open();
    until_complete(&agent, 1);
    let pause = Request::Pause {
        by: "ada".to_owned(),
        until: None,
    };
    assert!(matches!(agent.ask(&pause), Response::Status(_)));
    until_state(&agent, "d1", DeviceState::Ok);
    let foreign = appliance.path("d1/foreign");
    let space = device::open(&appliance.path("d1")).unwrap().space();
    let most = space.unwrap().available_bytes as usize - MIB;
    fs::write(&foreign, vec![1; most]).unwrap();
    let status = agent.until("d1 is full", |status| {
        status.devices[1].verdict == Some(DeviceState::Full)
    });
    assert_eq!(status.devices[1].room, 0);
    assert_eq!(status.devices[0].verdict, Some(DeviceState::Ok));
    fs::remove_file(foreign).unwrap();
    until_state(&agent, "d1", DeviceState::Ok);
}

/// Objects that lie on one device each.
pub(crate) fn small(endpoint: &Endpoint, seeds: std::ops::Range<u8>) -> Vec<WantedObject> {
    let object = |seed: u8| endpoint.object(&format!("/{seed}.mp4"), super::content(seed, 300_000));
    seeds.map(object).collect()
}

pub(crate) fn until_published(appliance: &Appliance, wanted: &[WantedObject]) {
    eventually("published", || {
        (appliance.published() == paths(wanted)).then_some(())
    });
}
