//! A disk that hangs, as a disk does: nobody can end who waits for it. Each command says so and ends. Needs root and `/dev/fuse`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod appliance;
#[path = "../../oca-daemon/tests/support/silent.rs"]
mod silent;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use appliance::{Appliance, Said, text};
use silent::SilentFile;

/// The longest that a command may take: some look twice.
const LONGEST: Duration = Duration::from_secs(30);

/// An appliance whose second device hangs.
struct Frozen {
    appliance: Appliance,
    disk: Option<SilentFile>,
}

impl Frozen {
    fn new() -> Self {
        let appliance = Appliance::new();
        appliance.media("a.mp4", &[7; 3 << 20]);
        appliance.import_media().done();
        let identity = appliance.path("nvme1").join("oca-device.toml");
        let disk = SilentFile::over(&identity, &appliance.path("fuse"));
        disk.fall_silent();
        Self {
            appliance,
            disk: Some(disk),
        }
    }

    /// What a command says until it and its pipes end. The disk answers again if they do not, so that the test ends.
    fn run(&mut self, arguments: &[&str]) -> Said {
        let (appliance, disk) = (&self.appliance, &mut self.disk);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || sender.send(appliance.run(arguments)));
            receiver.recv_timeout(LONGEST).unwrap_or_else(|_| {
                drop(disk.take());
                panic!("{arguments:?} has not ended within {LONGEST:?}");
            })
        })
    }
}

#[test]
fn commands_that_look_at_devices_say_which_one_hangs_and_end() {
    let mut frozen = Frozen::new();
    let device = frozen.appliance.path("nvme1");
    let device = text(&device);
    let hangs = "nvme1 has not answered within 3 s";
    let commands: [(&[&str], &str); 9] = [
        (&["device", "ls"], hangs),
        (&["check"], hangs),
        (&["doctor"], hangs),
        (&["content", "stat", "/a.mp4"], "is NOT HERE"),
        (&["content", "verify"], "not here"),
        (&["catalog", "check"], "is not here"),
        (&["device", "add", device], hangs),
        (&["device", "replace", device], hangs),
        (&["catalog", "rebuild"], hangs),
    ];
    for (command, words) in commands {
        let said = frozen.run(command);
        // Without the breaks of lines.
        let text = format!("{} {}", said.out, said.err);
        let text: Vec<&str> = text.split_whitespace().collect();
        assert!(text.join(" ").contains(words), "{command:?}: {said:?}");
    }
}

#[test]
fn other_devices_are_imported_to_and_the_one_that_hangs_is_taken_offline() {
    let mut frozen = Frozen::new();
    let device = frozen.appliance.path("nvme1");
    frozen.appliance.media("b.mp4", &[8; 3 << 20]);
    let media = frozen.appliance.path("media");
    let tier = ["content", "import", text(&media), "--tier", "hdd"];
    frozen.run(&tier).done();
    frozen.run(&["device", "offline", text(&device)]).done();
    let listed = frozen.run(&["device", "ls"]);
    assert!(listed.out.contains("offline"), "{listed:?}");
    let back = frozen.run(&["device", "online", text(&device)]);
    assert!(back.code >= 0, "{back:?}");
}

/// An import that hangs in what it imports, and was killed.
fn killed_import(appliance: &Appliance, disk: &SilentFile) -> Child {
    let import = Command::new(env!("CARGO_BIN_EXE_ocactl"))
        .arg("--config")
        .arg(appliance.path("oca.toml"))
        .args(["content", "import", text(&appliance.path("media"))])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut import = import.unwrap();
    let begun = Instant::now();
    while !disk.is_waited_for() {
        assert!(begun.elapsed() < LONGEST, "it does not hang");
        std::thread::yield_now();
    }
    import.kill().unwrap();
    import
}

#[test]
fn who_is_kept_out_by_a_writer_that_was_killed_and_cannot_end_is_told_what_it_waits_for() {
    let appliance = Appliance::new();
    let file = appliance.media("a.mp4", &[7; 3 << 20]);
    let disk = SilentFile::over(&file, &appliance.path("fuse"));
    disk.fall_silent();
    let mut import = killed_import(&appliance, &disk);
    let holder = std::fs::read_to_string(appliance.path("state/catalog.lock")).unwrap();
    let refused = appliance.run(&["content", "rm", "/a.mp4"]);
    drop(disk);
    import.wait().unwrap();
    appliance.wait_for_writer();

    let refused = refused.failed(1, &format!("{} for ", holder.trim()));
    let waits_for = format!("has an answer from {}: ", file.display());
    assert!(refused.err.contains(&waits_for), "{refused:?}");
    appliance.import_media().done();
}

/// A device that answers until somebody reads a certain file of an object.
struct Falters {
    appliance: Appliance,
    root: PathBuf,
    file: Option<SilentFile>,
    identity: Option<SilentFile>,
}

impl Falters {
    /// With objects on both devices of a tier, of which the first one in the order of reading lies on it; `file` is how the name of the
    /// file ends.
    fn over(file: &str) -> Self {
        let appliance = Appliance::new();
        for number in 0..16 {
            appliance.media(&format!("{number}.mp4"), &[number; 70_000]);
        }
        let media = appliance.path("media");
        let tier = ["content", "import", text(&media), "--tier", "hdd"];
        appliance.run(&tier).done();
        let columns = appliance.columns();
        let first = columns
            .iter()
            .min_by_key(|column| column.file_name().map(OsStr::to_owned));
        let first = first.unwrap();
        let mut roots = ["hdd0", "hdd1"]
            .map(|name| appliance.path(name))
            .into_iter();
        let root = roots.find(|root| first.starts_with(root)).unwrap();
        let file = first.with_extension(file);
        let file = SilentFile::over(&file, &appliance.path("fuse-file"));
        let identity = root.join("oca-device.toml");
        let identity = SilentFile::over(&identity, &appliance.path("fuse-identity"));
        file.fall_silent();
        Self {
            appliance,
            root,
            file: Some(file),
            identity: Some(identity),
        }
    }

    /// What a command says during which the device falls silent; that it does is seen to.
    fn run(&mut self, arguments: &[&str]) -> Said {
        let (sender, receiver) = mpsc::channel();
        let (appliance, file, identity) = (&self.appliance, &mut self.file, &mut self.identity);
        std::thread::scope(|scope| {
            scope.spawn(move || sender.send(appliance.run(arguments)));
            let is_read = || file.as_ref().is_some_and(SilentFile::is_waited_for);
            let begun = Instant::now();
            while !is_read() && begun.elapsed() < LONGEST {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            let was_read = is_read();
            identity.as_ref().unwrap().fall_silent();
            let said = receiver.recv_timeout(LONGEST);
            let said = said.unwrap_or_else(|_| {
                drop((file.take(), identity.take()));
                panic!("{arguments:?} has not ended within {LONGEST:?}");
            });
            assert!(was_read, "{said:?}");
            let stopped = format!("{} stopped answering for 13 s", self.root.display());
            assert!(said.code == 1 && said.err.contains(&stopped), "{said:?}");
            said
        })
    }
}

#[test]
fn a_device_that_begins_to_hang_while_it_is_read_back_is_left_out_and_the_others_are_read() {
    let mut falters = Falters::over("col");
    let said = falters.run(&["content", "verify", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let columns = falters.appliance.columns().into_iter();
    let on_it = columns.filter(|column| column.starts_with(&falters.root));
    let damaged = report["damaged"].as_array().unwrap();
    assert_eq!(report["objects"], 16);
    assert_eq!(damaged.len(), on_it.count());
    for one in damaged {
        assert_eq!(one["columns"][0]["problem"], "its device is not here");
    }
}

#[test]
fn an_evacuation_ends_if_its_device_begins_to_hang() {
    let mut falters = Falters::over("col");
    let root = falters.root.clone();
    falters.run(&["device", "evacuate", text(&root)]);
}

#[test]
fn an_import_ends_if_a_device_begins_to_hang_and_what_was_committed_stays() {
    let mut falters = Falters::over("meta");
    let media = falters.appliance.path("media");
    let under = ["content", "import", text(&media), "--prefix"];
    // The sidecars of what is stored get another path.
    let said = falters.run(&[&under[..], &["/again", "--tier", "hdd"]].concat());
    assert_eq!(falters.appliance.published().len(), 32, "{said:?}");
}

#[test]
fn a_rebuild_ends_if_a_device_begins_to_hang_and_the_catalog_is_the_one_before() {
    let mut falters = Falters::over("meta");
    let before = falters.appliance.published();
    let said = falters.run(&["catalog", "rebuild"]);
    assert_eq!(falters.appliance.published(), before, "{said:?}");
    drop((falters.file.take(), falters.identity.take()));
    falters.appliance.wait_for_writer();
    falters.appliance.run(&["catalog", "rebuild"]).done();
}
