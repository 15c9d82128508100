//! Devices that an operator takes out of use or evacuates: the agent follows, and fetches nothing.

use std::fs;
use std::path::Path;

use content_store::DeviceId;
use content_store::device::{self, InitOptions, Intent, Intents, Wanted};
use protocol::fill::{Activity, Request, Response};
use protocol::status::DeviceState;

use super::appliance::{Appliance, Running, eventually};
use super::endpoint::{Endpoint, manifest};
use super::{objects, paths};

/// With a third device in the tier.
fn appliance(endpoint: &Endpoint) -> Appliance {
    let appliance = Appliance::new(endpoint);
    let third = appliance.path("d2");
    fs::create_dir(&third).unwrap();
    let options = InitOptions {
        now_s: 1,
        tier: Some("nvme".into()),
        shared_fs: true,
    };
    device::initialise(&third, &options).unwrap();
    appliance.configure(endpoint, |text| {
        text.replace("/d1\"]", &format!("/d1\", {third:?}]"))
    });
    appliance
}

fn want(appliance: &Appliance, name: &str, wanted: Wanted) -> DeviceId {
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

fn tell(agent: &Running<'_>) {
    assert!(matches!(agent.ask(&Request::Devices), Response::Status(_)));
}

fn until_state(agent: &Running<'_>, name: &str, state: DeviceState) {
    agent.until(&format!("{name} is {}", state.as_str()), |status| {
        let mut devices = status.devices.iter();
        devices.any(|device| device.name == name && device.verdict == Some(state))
    });
}

fn until_complete(agent: &Running<'_>, number: u64) {
    agent.until("complete", |status| {
        let serial = status.manifest.as_ref().map(|of| of.serial.number);
        serial == Some(number) && status.activity == Activity::Complete
    });
}

fn columns(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else {
        return usize::from(root.extension().is_some_and(|end| end == "col"));
    };
    entries.flatten().map(|entry| columns(&entry.path())).sum()
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
