//! What keeps the daemon from starting is said with its place and the way out, and nothing is touched.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use content_store::catalog::CATALOG_FORMAT;
use platform::socket::{ListenOptions, bind_listeners};
use support::{Daemon, Plan, Site, content, eventually, http};

/// A start that must end by itself.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    said: String,
}

fn command(site: &Site) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command
        .arg("--config")
        .arg(site.config())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn start(site: &Site) -> Ended {
    wait(command(site).spawn().unwrap())
}

fn wait(mut child: Child) -> Ended {
    let status = eventually("the daemon gives up", || child.try_wait().unwrap());
    let said = child.wait_with_output().unwrap().stderr;
    Ended {
        code: status.code(),
        said: String::from_utf8(said).unwrap(),
    }
}

impl Ended {
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.said.contains(word), "{word:?} is not in {self:?}");
        }
        assert!(!self.said.contains("panicked"), "{self:?}");
    }
}

fn site() -> Site {
    Site::new(&Plan {
        devices: 2,
        ..Plan::default()
    })
}

fn edit(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(site.config()).unwrap();
    assert!(text.contains(from), "{from:?} is in {text}");
    fs::write(site.config(), text.replacen(from, to, 1)).unwrap();
}

/// All files below a folder, with their bytes.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else if !path.ends_with("lock.mdb") {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_wrong_configuration_is_said_with_file_line_and_key() {
    for (from, to, words) in [
        (
            "backend = \"auto\"",
            "backend = \"magic\"",
            ":10: workers.backend: ",
        ),
        ("count = 1", "count = \"many\"", ":9: workers.count: "),
        (
            "[workers]\n",
            "[workers]\nthreads = 4\n",
            ":9: workers.threads: unknown key",
        ),
        ("role = \"hot\"", "role = \"warm\"", "role: "),
        ("127.0.0.1:0", "127.0.0.1:http", "listen.http"),
        ("[workers]", "[workers", "not TOML"),
    ] {
        let site = site();
        edit(&site, from, to);
        let file = site.config();
        start(&site).refused(2, &[file.to_str().unwrap(), words]);
    }
    let site = site();
    fs::remove_file(site.config()).unwrap();
    start(&site).refused(2, &[site.config().to_str().unwrap()]);
}

#[test]
fn a_damaged_catalog_is_refused_and_left_alone() {
    let site = site();
    site.publish("/film", &content(1, 100_000));
    let data = site.path("state").join("catalog/data.mdb");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[..middle].fill(0x5A);
    fs::write(&data, bytes).unwrap();
    let before = snapshot(&site.path("state"));
    start(&site).refused(1, &["catalog is damaged", "ocactl catalog rebuild"]);
    assert!(
        snapshot(&site.path("state")) == before,
        "nothing was changed"
    );
    let rebuilt = site.rebuild();
    assert!(rebuilt.moved_aside.unwrap().join("data.mdb").exists());
    let daemon = site.start();
    assert_eq!(http::get(daemon.http, "/film", &[]).unwrap().status, 200);
}

/// The record of the format, as `docs/formats/catalog.md` says, with a number from the future.
#[test]
fn a_catalog_of_a_newer_format_is_refused_and_left_alone() {
    let site = site();
    site.publish("/film", &content(1, 100_000));
    let data = site.path("state").join("catalog/data.mdb");
    let mut bytes = fs::read(&data).unwrap();
    let old: Vec<u8> = [&b"hformat"[..], &record(CATALOG_FORMAT)].concat();
    let new: Vec<u8> = [&b"hformat"[..], &record(7)].concat();
    // LMDB copies pages on write: older copies of the record may be left in the file.
    let places: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter_map(|(at, window)| (window == old).then_some(at))
        .collect();
    assert!(!places.is_empty(), "the record is where the format says");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(&new);
    }
    fs::write(&data, bytes).unwrap();
    let before = snapshot(&site.path("state"));
    start(&site).refused(
        1,
        &[
            "catalog format 7 is newer",
            "ocactl catalog rebuild",
            "install the newer",
        ],
    );
    assert!(
        snapshot(&site.path("state")) == before,
        "nothing was changed"
    );
}

/// Format and checksum of key and value.
fn record(format: u32) -> Vec<u8> {
    let value = format.to_le_bytes();
    let checksum = crc32(&[&b"hformat"[..], &value].concat());
    [value, checksum.to_le_bytes()].concat()
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    };
    !bytes.iter().fold(!0, byte)
}

#[test]
fn a_port_in_use_is_named() {
    for key in ["http = [\"127.0.0.1:0\"]", "admin = \"127.0.0.1:0\""] {
        let site = site();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        edit(&site, key, &key.replace("127.0.0.1:0", &address));
        start(&site).refused(1, &[&address, "in use"]);
    }
}

/// A daemon that runs keeps nobody from checking what it runs with; nor does a socket unit that waits for it.
#[test]
fn check_says_what_cannot_be_listened_on() {
    let site = site();
    let check = || wait(command(&site).arg("check").spawn().unwrap());
    let free = "http = [\"127.0.0.1:0\"]";
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let key = free.replace("127.0.0.1:0", &address);
    edit(&site, free, &key);
    check().refused(1, &["[listen] http: ", &address, "another program has it"]);
    drop(taken);
    assert_eq!(check().code, Some(0), "{:?}", check());
    let daemon = site.start();
    assert_eq!(check().code, Some(0), "{:?}", check());
    drop(daemon);
    let of_unit = bind_listeners(address.parse().unwrap(), 1, &ListenOptions::default());
    assert_eq!(check().code, Some(0), "{:?}", check());
    drop(of_unit.unwrap());
    // TEST-NET-1, RFC 5737.
    edit(&site, &address, "192.0.2.1:80");
    check().refused(1, &["192.0.2.1:80", "no address of this machine"]);
}

/// Nobody, root neither, makes a file in /proc or reads that one.
#[test]
fn check_says_which_folders_and_files_are_of_no_use() {
    let check = |site: &Site| wait(command(site).arg("check").spawn().unwrap());
    for (name, words) in [
        (
            "state",
            "appliance.state_dir: /proc/oca cannot be written to: ",
        ),
        ("run", "appliance.run_dir: /proc/oca cannot be written to: "),
    ] {
        let site = site();
        edit(&site, &format!("{:?}", site.path(name)), "\"/proc/oca\"");
        check(&site).refused(1, &[words, "let the configuration name another place"]);
    }
    let log = site();
    log.configure("[log]\naccess = { path = \"/proc/access.log\" }\n");
    check(&log).refused(1, &["log.access: /proc cannot be written to: "]);
    let control = Site::new(&Plan {
        control: "https://127.0.0.1:9/",
        ..Plan::default()
    });
    let token = format!("token_file = {:?}", control.path("token"));
    // The file that is there as the key is no certificate either.
    let ca = format!(
        "token_file = \"/proc/self/mem\"\nca = {:?}",
        control.path("control.pub")
    );
    edit(&control, &token, &ca);
    let key = control.path("control.pub").display().to_string();
    check(&control).refused(
        1,
        &["control.token_file /proc/self/mem: ", "[control]: ", &key],
    );
}

#[test]
fn a_run_dir_that_is_too_long_for_sockets_is_refused() {
    let site = site();
    let long = format!("\"/{}\"", "r".repeat(90));
    edit(&site, &format!("{:?}", site.path("run")), &long);
    start(&site).refused(2, &[":4: appliance.run_dir: has 91 bytes; allowed: 90"]);
}

/// It serves all the same: the disk of its state may have failed in a box full of content.
#[test]
fn a_state_dir_that_cannot_be_written_to_is_said_at_the_start() {
    let site = site();
    edit(&site, &format!("{:?}", site.path("state")), "\"/proc/oca\"");
    let log = site.path("log");
    let mut command = command(&site);
    command.stderr(fs::File::create(&log).unwrap());
    let _daemon = Daemon::spawn(command, &site.path("run"));
    let said = fs::read_to_string(&log).unwrap();
    let words = "appliance.state_dir: /proc/oca cannot be written to: ";
    assert!(said.contains(words), "{said}");
    assert!(
        said.contains("let the configuration name another place"),
        "{said}"
    );
}

/// A file that was asked for and is not whole must not look like one that is.
#[test]
fn what_cannot_be_printed_is_no_success() {
    let site = site();
    for arguments in [&["--print-paths"][..], &["--help"], &["check"]] {
        let mut command = command(&site);
        if !arguments[0].starts_with("--") {
            command.args(arguments);
        } else {
            command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
            command.args(arguments).stderr(Stdio::piped());
        }
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        wait(command.stdout(full).spawn().unwrap()).refused(1, &[]);
    }
}

/// Also root cannot make a folder below a file.
#[test]
fn a_state_dir_that_cannot_be_is_said() {
    let site = site();
    site.publish("/film", &content(1, 1000));
    let blocked = site.path("blocked");
    fs::write(&blocked, "a file").unwrap();
    let state = format!("{:?}", site.path("state"));
    edit(&site, &state, &format!("{:?}", blocked.join("state")));
    start(&site).refused(1, &[blocked.to_str().unwrap()]);
}

#[test]
fn what_does_not_fit_into_the_memory_is_refused_by_check() {
    let site = site();
    let check = || wait(command(&site).arg("check").spawn().unwrap());
    assert_eq!(check().code, Some(0), "{:?}", check());
    let text = fs::read_to_string(site.config()).unwrap();
    let memory = text.lines().find(|line| line.starts_with("memory = "));
    edit(&site, memory.unwrap(), "memory = \"1000 TiB\"");
    check().refused(
        1,
        &[
            "1024000.00 GiB locked content",
            "it does not fit",
            "set [workers] memory to at most \"",
        ],
    );
}
