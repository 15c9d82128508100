//! A device that hangs in `open(2)`: one of its files is a pipe that nobody writes to. It hangs for good, and can be let go.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use protocol::fill::{Activity, Request};
use protocol::manifest::Wanted;

use super::appliance::{Appliance, Running, eventually};
use super::damage::{ask_scrub, copies, file, flip, start, with_scrub};
use super::devices::{column_files, small, until_published};
use super::endpoint::{Endpoint, manifest};
use super::{objects, paths};

pub(crate) struct Hanging {
    file: PathBuf,
    kept: PathBuf,
}

impl Hanging {
    fn begin(appliance: &Appliance, device: &str) -> Self {
        Self::at(appliance, appliance.path(device).join("oca-device.toml"))
    }

    /// Whoever opens this file waits.
    pub(crate) fn at(appliance: &Appliance, file: PathBuf) -> Self {
        let kept = appliance.path("kept");
        fs::rename(&file, &kept).unwrap();
        let made = Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
        let (sender, receiver) = mpsc::channel();
        let pipe = file.clone();
        std::thread::spawn(move || sender.send(fs::read(pipe)));
        let heard = receiver.recv_timeout(Duration::from_secs(2));
        assert!(heard.is_err(), "it does not hang");
        Self { file, kept }
    }

    /// It answers again, with what it said before; whoever waits is let go.
    pub(crate) fn end(self) {
        let pipe = self.file.with_extension("pipe");
        fs::rename(&self.file, &pipe).unwrap();
        fs::rename(&self.kept, &self.file).unwrap();
        // Opened to read as well, it does not wait for a reader.
        drop(OpenOptions::new().read(true).write(true).open(&pipe));
        fs::remove_file(&pipe).unwrap();
    }
}

pub(crate) fn is_taken_down(appliance: &Appliance, stone: &Wanted) -> Duration {
    let begun = Instant::now();
    eventually("taken down", || {
        let published = appliance.published();
        (!published.contains(&stone.path.to_string())).then_some(())
    });
    begun.elapsed()
}

fn complete_with(agent: &Running<'_>, number: u64) {
    agent.until("complete", |status| {
        let serial = status.manifest.as_ref().map(|of| of.serial.number);
        serial == Some(number) && status.activity == Activity::Complete
    });
}

/// Shorter than the hang of any real device that comes back, and far below a minute.
pub(crate) const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_device_that_hangs_keeps_neither_takedowns_nor_the_fill_of_others() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..6);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let hanging = Hanging::begin(&appliance, "d1");

    // From its start on.
    let agent = appliance.run();
    endpoint.take_down(1, &[&wanted[0]]);
    assert!(is_taken_down(&appliance, &wanted[0]) < SOON);
    agent.open();
    let status = agent.until("it is named", |status| {
        status
            .devices
            .iter()
            .any(|device| device.name == "d1" && device.state.contains("has not answered within"))
    });
    assert_eq!(status.devices.len(), 2);
    // All that is wanted is on the other one in the end, what had a part on the one that hangs as well.
    complete_with(&agent, 1);
    assert_eq!(appliance.published(), paths(&wanted[1..]));

    // When it is back, the next plan has it.
    hanging.end();
    endpoint.offer(&manifest(2, wanted.clone()));
    agent.until("it is back", |status| {
        let mut devices = status.devices.iter();
        devices.any(|device| device.name == "d1" && device.state == "ok")
    });
}

#[test]
fn a_device_that_begins_to_hang_in_the_middle_of_a_fill_keeps_no_takedown() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let mut wanted = objects(&endpoint, 0..4);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    complete_with(&agent, 1);
    endpoint.hold_back(true);
    wanted.extend(objects(&endpoint, 4..8));
    endpoint.offer(&manifest(2, wanted.clone()));
    agent.until("the store is in use", |status| status.transfers.len() == 4);
    let hanging = Hanging::begin(&appliance, "d0");
    endpoint.take_down(1, &[&wanted[0]]);
    assert!(is_taken_down(&appliance, &wanted[0]) < SOON);
    endpoint.hold_back(false);
    endpoint.take_down(2, &[&wanted[0], &wanted[1]]);
    assert!(is_taken_down(&appliance, &wanted[1]) < SOON);
    hanging.end();
    complete_with(&agent, 2);
    assert_eq!(appliance.published(), paths(&wanted[2..]));
}

/// Only answers that wait for nothing come so soon.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_device_that_hangs_while_it_is_read_back_delays_neither_scrub_nor_plan_nor_publication() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_scrub(&endpoint, &appliance, "");
    let mut wanted = small(&endpoint, 0..16);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let columns = column_files(&appliance.path("d0/objects"));
    let is_on_d1 = |one: &&Wanted| file(&appliance, "d1", one, "col").exists();
    let bad = wanted.iter().find(is_on_d1).unwrap().clone();
    flip(&appliance, "d1", &bad, "col", 9);
    let hanging = Hanging::at(&appliance, columns[0].clone());

    let agent = appliance.run();
    start(&agent);
    let pass_of = |name: &str| {
        let asked = Instant::now();
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        assert!(asked.elapsed() < AT_ONCE);
        let mut devices = scrub.devices.into_iter();
        devices.find(|device| device.name == name).unwrap()
    };
    eventually("the other one is read", || {
        let pass = pass_of("d1");
        (pass.ended.is_some() && pass.bad == 1).then_some(())
    });
    let hangs = pass_of("d0");
    assert!(hangs.began.is_some() && hangs.ended.is_none(), "{hangs:?}");
    let asked = Instant::now();
    agent.ask(&Request::Plan { limit: 10 });
    assert!(asked.elapsed() < AT_ONCE);
    // What is bad is repaired, and what is new comes.
    agent.open();
    wanted.extend(small(&endpoint, 20..28));
    endpoint.offer(&manifest(2, wanted.clone()));
    until_published(&appliance, &wanted);
    eventually("repaired", || {
        let copies = copies(&appliance);
        copies.iter().any(|copy| copy.repaired > 0).then_some(())
    });
    assert!(pass_of("d0").ended.is_none());
    hanging.end();
    eventually("it is read to its end", || pass_of("d0").ended);
}
