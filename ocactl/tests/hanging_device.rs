//! A disk that hangs, as a disk does: nobody can end who waits for it. Each command says so and ends. Needs root and `/dev/fuse`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod appliance;
#[path = "../../oca-daemon/tests/support/silent.rs"]
mod silent;

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
    let process = import.id();
    let refused = appliance.run(&["content", "rm", "/a.mp4"]);
    drop(disk);
    import.wait().unwrap();

    let refused = refused.failed(1, &format!("pid {process} (ocactl) for "));
    let waits_for = format!("has an answer from {}: ", file.display());
    assert!(refused.err.contains(&waits_for), "{refused:?}");
    appliance.import_media().done();
}
