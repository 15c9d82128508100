//! A box in a folder with two devices, the real `oca-fill-agent` as a process, and what it has on its disks.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use content_store::catalog::Snapshot;
use content_store::device::{self, InitOptions, Intent, Intents, Wanted};
use content_store::limits::GROUP_BYTES;
use content_store::staging::journal::Journal;
use content_store::verify::verify;
use content_store::{DeviceId, ObjectId, open_devices};
use fill_agent::survey;
use protocol::fill::{Activity, Request, Response, Status};
use protocol::operator;
use tempfile::TempDir;

use super::control::{APPLIANCE, Control, end};
use super::eventually;
use super::repair::Wrong;

/// Objects that are fetched at once.
pub(crate) const PARALLEL: u64 = 2;

pub(crate) struct Appliance {
    folder: TempDir,
    running: Option<Child>,
}

impl Appliance {
    pub(crate) fn new(control: &Control) -> Self {
        let appliance = Self {
            folder: tempfile::tempdir().unwrap(),
            running: None,
        };
        for name in ["d0", "d1", "state", "run"] {
            fs::create_dir(appliance.path(name)).unwrap();
        }
        for name in ["d0", "d1"] {
            let options = InitOptions {
                now_s: 1,
                tier: Some("nvme".into()),
                shared_fs: true,
            };
            device::initialise(&appliance.path(name), &options).unwrap();
        }
        fs::write(appliance.path("token"), &control.token).unwrap();
        let folder = appliance.folder.path().display();
        let text = format!(
            "[appliance]\nid = \"{APPLIANCE}\"\nstate_dir = \"{folder}/state\"\nrun_dir = \"{folder}/run\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\n\
             [control]\nurl = \"http://{}\"\nkeys = [{:?}]\ntoken_file = \"{folder}/token\"\n\
             [fill]\nwindow = \"00:00-24:00\"\nrate = \"800 Mbit/s\"\nparallel = {PARALLEL}\nmetrics = \"127.0.0.1:0\"\n\
             manifest_interval = \"1 s\"\ntakedown_interval = \"1 s\"\nrequire_synchronised_clock = false\n\
             high_watermark = \"99 %\"\nlow_watermark = \"98 %\"\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\ndevices = [\"{folder}/d0\", \"{folder}/d1\"]\nshared_fs = true\n",
            control.address(),
            control.path("control-1.pub"),
        );
        fs::write(appliance.path("oca.toml"), text).unwrap();
        appliance
    }

    /// A tier of capacity, with devices of its own. Before it runs.
    pub(crate) fn add_capacity_tier(&self, names: &[&str]) {
        let roots = names.iter().map(|name| self.path(name));
        let roots: Vec<PathBuf> = roots.collect();
        for root in &roots {
            fs::create_dir(root).unwrap();
            let options = InitOptions {
                now_s: 1,
                tier: Some("disk".into()),
                shared_fs: true,
            };
            device::initialise(root, &options).unwrap();
        }
        let mut config = fs::read_to_string(self.path("oca.toml")).unwrap();
        config.push_str(&format!(
            "[[tier]]\nname = \"disk\"\nrole = \"capacity\"\ndevices = {roots:?}\nshared_fs = true\n"
        ));
        fs::write(self.path("oca.toml"), config).unwrap();
    }

    /// Where the object behind a path lies: its copies, each with its tier and its devices.
    pub(crate) fn copies(&self, path: &str) -> Vec<(String, Vec<DeviceId>)> {
        let snapshot = self.snapshot();
        let mut paths = snapshot.paths.iter();
        let object = paths.find(|(_, entry)| &*entry.path == path);
        let records = snapshot.objects.iter();
        let of_it = records.filter(|record| object.is_some_and(|(id, _)| *id == record.object));
        of_it
            .flat_map(|record| &record.copies)
            .map(|copy| (copy.tier.to_string(), copy.devices.to_vec()))
            .collect()
    }

    /// As `ocactl device evacuate` does.
    pub(crate) fn evacuate(&self, name: &str) {
        let intent = Intent {
            root: self.path(name),
            id: Some(self.device(name)),
            wanted: Wanted::Evacuating,
            since: 1,
            by: "ada".into(),
            reason: None,
        };
        Intents::change(&self.path("state"), |intents| intents.want(intent)).unwrap();
        self.tell(&Request::Devices);
    }

    pub(crate) fn device(&self, name: &str) -> DeviceId {
        device::open(&self.path(name)).unwrap().id()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&mut self) {
        let mut log = fs::File::options();
        let log = log.create(true).append(true).open(self.path("log"));
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("oca-fill-agent"));
        command.arg("--config").arg(self.path("oca.toml"));
        let child = command
            .arg("run")
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.running = Some(child.spawn().unwrap());
    }

    /// SIGKILL, and it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        end(&mut self.running);
    }

    /// `None` while it does not answer.
    fn try_ask(&self, request: &Request) -> Option<Response> {
        let mut stream = UnixStream::connect(self.path("run/fill.sock")).ok()?;
        stream.write_all(&operator::encode(request)).ok()?;
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).ok()?;
        operator::decode(&line).ok()
    }

    pub(crate) fn tell(&self, request: &Request) {
        let response = eventually("the agent answers", || self.try_ask(request));
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
    }

    pub(crate) fn status(&self) -> Status {
        eventually("the agent says how it is", || {
            match self.try_ask(&Request::Status)? {
                Response::Status(status) => Some(*status),
                other => panic!("{other:?}"),
            }
        })
    }

    pub(crate) fn is(&self, activity: Activity) -> bool {
        self.status().activity == activity
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::read_or_empty(&self.path("state")).unwrap()
    }

    /// The catalog opens, it contradicts itself nowhere, and every byte of every published object is right.
    pub(crate) fn check(&self) {
        let snapshot = self.snapshot();
        let config = protocol::config::load(&self.path("oca.toml")).unwrap();
        let slots = open_devices(&survey::store_config(&config)).unwrap();
        let known: HashSet<ObjectId> = snapshot.objects.iter().map(|one| one.object).collect();
        for (object, entry) in &snapshot.paths {
            assert!(known.contains(object), "{} leads nowhere", entry.path);
        }
        for record in &snapshot.objects {
            let verified = verify(&slots, record, |_| ()).unwrap();
            assert!(verified.is_good(), "{verified:?}");
        }
    }

    pub(crate) fn published_objects(&self) -> usize {
        self.snapshot().objects.len()
    }

    /// Bytes that need not be fetched again: published, or noted in a journal.
    pub(crate) fn verified_bytes(&self) -> u64 {
        let objects = self.snapshot().objects;
        let known: HashSet<ObjectId> = objects.iter().map(|one| one.object).collect();
        let published: u64 = objects.iter().map(|one| one.size).sum();
        let journals = ["d0/staging", "d1/staging"].map(|folder| self.journals(folder));
        let staged = journals.iter().flatten();
        let staged = staged.filter(|journal| !known.contains(&journal.head.object));
        let bytes = staged.map(|one| (one.written * GROUP_BYTES).min(one.head.column_length()));
        published + bytes.sum::<u64>()
    }

    /// Columns that are bad by the catalog.
    pub(crate) fn bad_columns(&self) -> usize {
        let records = self.snapshot().objects;
        let copies = records.iter().flat_map(|record| &record.copies);
        copies.filter(|copy| !copy.bad.is_empty()).count()
    }

    /// Makes every byte of the columns of a device wrong. While the agent does not run.
    pub(crate) fn spoil(&self, name: &str) -> Vec<Wrong> {
        assert!(self.running.is_none());
        let (device, snapshot) = (device::open(&self.path(name)).unwrap(), self.snapshot());
        let records = snapshot.objects.iter();
        let here = records.filter(|record| {
            let mut copies = record.copies.iter();
            record.size > 0 && copies.any(|copy| copy.devices.contains(&device.id()))
        });
        here.map(|record| {
            let place = device.column_path(&record.object);
            let good = fs::read(&place).unwrap();
            fs::write(&place, good.iter().map(|byte| !byte).collect::<Vec<u8>>()).unwrap();
            Wrong {
                object: record.object,
                device: device.id(),
                generation: snapshot.generation.0,
                place,
                staging: device.staging(),
                good,
            }
        })
        .collect()
    }

    pub(crate) fn has_nothing_staged(&self) -> bool {
        let staged = |name: &str| fs::read_dir(self.path(name)).unwrap().count();
        ["d0/staging", "d1/staging"].map(staged) == [0, 0]
    }

    fn journals(&self, folder: &str) -> Vec<Journal> {
        let files = fs::read_dir(self.path(folder)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == "journal"));
        // One that is being made when its writer is killed has no head yet, and no group.
        files
            .filter_map(|file| Journal::decode(&fs::read(file).ok()?).ok())
            .collect()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        end(&mut self.running);
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            eprintln!("{log}");
        }
    }
}
