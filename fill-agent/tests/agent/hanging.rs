//! A device that hangs in `open(2)`: one of its files is a pipe that nobody writes to. It hangs for good, and can be let go.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use protocol::fill::Activity;
use protocol::manifest::Wanted;

use super::appliance::{Appliance, Running, eventually};
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
