//! The access log of the real daemon: what its lines say, and that neither a full disk, nor one that hangs, nor an operator who moves
//! the file is felt by a viewer.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::http::{self, Client};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const FILM_BYTES: usize = 3_000_000;
/// More than the kernel takes for a peer that does not read.
const LARGE: usize = 48 << 20;

/// A box with an access log in `folder`, and a film.
struct Logged {
    site: Site,
    daemon: Daemon,
    film: Vec<u8>,
    path: PathBuf,
}

impl Logged {
    /// `log` are further keys of the access log, `serve` is the section of that name.
    fn new(plan: &Plan<'_>, folder: Option<&Path>, log: &str, serve: &str) -> Self {
        let site = Site::new(plan);
        let path = folder.map_or_else(|| site.path("access.log"), |at| at.join("access.log"));
        let mut config = OpenOptions::new().append(true).open(site.config()).unwrap();
        write!(
            config,
            "[serve]\n{serve}\n[log]\naccess = {{ path = {path:?}{log} }}\n"
        )
        .unwrap();
        let film = content(7, FILM_BYTES);
        site.publish("/film", &film);
        let daemon = site.start();
        Self {
            site,
            daemon,
            film,
            path,
        }
    }

    fn ask(&self, fields: &[&str]) -> http::Response {
        http::get(self.daemon.http, "/film", fields).unwrap()
    }

    /// Small requests, all answered well, on one connection.
    fn ask_often(&self, count: usize) {
        let mut client = Client::connect(self.daemon.http).unwrap();
        for _ in 0..count {
            let response = client.get("/film", &["Range: bytes=0-9"]).unwrap();
            assert_same(&response.body, &self.film[..10], "a small range");
        }
    }

    /// The lines so far of the file, whole and right JSON, once there are `count`.
    fn lines(&self, count: usize) -> Vec<Value> {
        lines(&self.path, count)
    }

    /// The line of the `count`th answer that was cut, once it is there.
    fn cut(&self, count: usize) -> Value {
        eventually("the line of an answer that was cut", || {
            let text = fs::read_to_string(&self.path).ok()?;
            let lines = text.ends_with('\n').then(|| parsed(&text))?;
            let mut cut = lines.into_iter().filter(|line| line["end"] != "complete");
            cut.nth(count - 1)
        })
    }

    fn dropped(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.daemon.metric("oca_access_log_dropped_total", &label)
    }

    fn signal(&self, name: &str) {
        let pid = self.daemon.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

fn lines(path: &Path, count: usize) -> Vec<Value> {
    let lines = eventually("the lines are written", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.ends_with('\n').then(|| parsed(&text))?;
        (lines.len() >= count).then_some(lines)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// The lines of viewers: the daemon's own test of its listeners has one too.
fn parsed(text: &str) -> Vec<Value> {
    let line =
        |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}")) };
    let lines = text.lines().map(line);
    lines.filter(|line| line["method"] != "OPTIONS").collect()
}

#[test]
fn a_line_says_who_asked_for_what_and_what_came_of_it() {
    for backend in BACKENDS {
        let plan = Plan {
            backend,
            memory: "0 B",
            ..Plan::default()
        };
        let logged = Logged::new(&plan, None, "", "");
        let mut viewer = Client::connect(logged.daemon.http).unwrap();
        let query = "/film?CMCD=br%3D3200%2Cbs%2Csid%3D%22a%20b%22&t=secret";
        let fields = ["Range: bytes=5-1000004", "User-Agent: a \"player\"/1"];
        assert_eq!(viewer.get(query, &fields).unwrap().body.len(), 1_000_000);
        let fields = ["CMCD-Session: v=1,st=v", "CMCD-Object: d=4000,br=fast"];
        viewer.request("HEAD", "/film", &fields).unwrap();
        viewer.get("/gone\u{1b}", &[]).unwrap();

        let lines = logged.lines(3);
        let field = |at: usize, name: &str| &lines[at][name];
        for at in 0..3 {
            assert_eq!(field(at, "client"), "127.0.0.0");
            assert_eq!(field(at, "connection"), field(0, "connection"));
            assert!(field(at, "time").as_str().unwrap().ends_with('Z'));
        }
        let expected = [
            ("method", "\"GET\""),
            ("path", "\"/film\""),
            ("range", "\"bytes=5-1000004\""),
            ("status", "206"),
            ("end", "\"complete\""),
            ("bytes", "1000000"),
            ("memory_bytes", "0"),
            ("device_bytes", "1000000"),
            ("user_agent", "\"a \\\"player\\\"/1\""),
            ("cmcd", "{\"br\":3200,\"bs\":true,\"sid\":\"a b\"}"),
        ];
        for (name, value) in expected {
            assert_eq!(field(0, name).to_string(), value, "{name}");
        }
        let seconds = |name: &str| field(0, name).as_f64().unwrap();
        assert!(0.0 < seconds("first_byte_s") && seconds("first_byte_s") <= seconds("duration_s"));
        assert_eq!(
            (field(1, "method"), field(1, "bytes")),
            (&"HEAD".into(), &0.into())
        );
        assert_eq!(
            field(1, "cmcd").to_string(),
            "{\"d\":4000,\"st\":\"v\",\"v\":1}"
        );
        // What is no request is shown as far as it can be, and does no harm to a terminal.
        assert_eq!(
            (field(2, "method"), field(2, "status")),
            (&"GET".into(), &400.into())
        );
        assert_eq!(field(2, "path"), "/gone\u{fffd}");
        assert_eq!(logged.daemon.metric("oca_cmcd_malformed_total", ""), 1.0);
        eventually(
            "the lines are counted, and that of the daemon's own test",
            || (logged.daemon.metric("oca_access_log_lines_total", "") == 4.0).then_some(()),
        );
    }
}

#[test]
fn a_line_says_what_came_from_memory() {
    for backend in BACKENDS {
        let plan = Plan {
            backend,
            ..Plan::default()
        };
        let logged = Logged::new(&plan, None, "", "");
        eventually("the film comes from memory", || {
            assert_same(&logged.ask(&[]).body, &logged.film, "the film");
            let text = fs::read_to_string(&logged.path).ok()?;
            let lines = parsed(&text[..text.rfind('\n')? + 1]);
            let both =
                |line: &Value| (line["memory_bytes"].as_u64(), line["device_bytes"].as_u64());
            let whole = (Some(FILM_BYTES as u64), Some(0));
            lines.iter().any(|line| both(line) == whole).then_some(())
        });
    }
}

#[test]
fn a_line_says_why_an_answer_was_cut() {
    for backend in BACKENDS {
        let plan = Plan {
            backend,
            ..Plan::default()
        };
        let serve = "send_timeout = \"3 s\"\nstop_bound = \"0 s\"";
        let mut logged = Logged::new(&plan, None, "", serve);
        logged.site.publish("/large", &content(8, LARGE));
        let begin = || {
            let mut viewer = Client::connect(logged.daemon.http).unwrap();
            viewer
                .send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            eventually("the answer has begun", || {
                viewer.stream.peek(&mut [0; 1]).ok()
            });
            viewer
        };
        eventually("the object is served", || {
            let head = http::get(logged.daemon.http, "/large", &["Range: bytes=0-0"]);
            (head.ok()?.status == 206).then_some(())
        });
        drop(begin());
        let peer = logged.cut(1);
        let slow = begin();
        let slow_line = logged.cut(2);
        drop(slow);
        let stopped = begin();
        logged.signal("TERM");
        eventually("the daemon ends", || {
            logged.daemon.child.try_wait().unwrap()
        });
        drop(stopped);
        // All that had ended before the daemon did is in the file.
        for (line, end) in [
            (&peer, "peer"),
            (&slow_line, "slow"),
            (&logged.cut(3), "stop"),
        ] {
            assert_eq!(line["end"], end, "{line}");
            assert!(line["bytes"].as_u64().unwrap() < LARGE as u64, "{line}");
        }
        let waited = slow_line["duration_s"].as_f64().unwrap();
        assert!(
            waited >= 3.0,
            "the time-out is part of the duration: {waited}"
        );
    }
}

#[test]
fn a_device_that_fails_in_the_middle_is_named() {
    for backend in BACKENDS {
        let plan = Plan {
            backend,
            devices: 1,
            stripe_width: 1,
            memory: "0 B",
            ..Plan::default()
        };
        let logged = Logged::new(&plan, None, "", "");
        logged.site.flip(&logged.film, FILM_BYTES - 1);
        http::get(logged.daemon.http, "/film", &[]).unwrap_err();
        let line = logged.cut(1);
        assert_eq!(
            (&line["end"], &line["status"]),
            (&"device".into(), &200.into())
        );
        let bytes = line["bytes"].as_u64().unwrap();
        assert!(0 < bytes && bytes < FILM_BYTES as u64, "{line}");
    }
}

#[test]
fn a_reload_changes_the_share_of_connections() {
    let logged = Logged::new(&Plan::default(), None, ", sample = \"1 %\"", "");
    let config = fs::read_to_string(logged.site.config()).unwrap();
    fs::write(logged.site.config(), config.replace("\"1 %\"", "\"100 %\"")).unwrap();
    logged.signal("HUP");
    // Two connections one after the other are never in a sample of 1 %.
    eventually("connections one after the other are written", || {
        logged.ask_often(1);
        let text = fs::read_to_string(&logged.path).ok()?;
        let numbers = parsed(&text[..text.rfind('\n')? + 1])
            .into_iter()
            .map(|line| {
                let connection = line["connection"].as_str().unwrap();
                connection[2..].parse::<u64>().unwrap()
            });
        let numbers: Vec<u64> = numbers.collect();
        let follows = |pair: &[u64]| pair[1] == pair[0] + 1;
        numbers.windows(2).any(follows).then_some(())
    });
}

#[test]
fn all_requests_of_the_sampled_share_of_connections_are_written() {
    let mut logged = Logged::new(&Plan::default(), None, ", sample = \"10 %\"", "");
    for _ in 0..200 {
        logged.ask_often(2);
    }
    logged.signal("TERM");
    eventually("the daemon ends", || {
        logged.daemon.child.try_wait().unwrap()
    });
    let lines = parsed(&fs::read_to_string(&logged.path).unwrap());
    for pair in lines.chunks(2) {
        assert_eq!(pair[0]["connection"], pair[1]["connection"]);
    }
    assert!((18..=22).contains(&(lines.len() / 2)), "{}", lines.len());
}

#[test]
fn the_file_is_opened_anew_at_a_signal() {
    let logged = Logged::new(&Plan::default(), None, ", addresses = \"full\"", "");
    for (at, signal) in ["USR1", "HUP"].into_iter().enumerate() {
        logged.ask(&[]);
        assert_eq!(logged.lines(1)[0]["client"], "127.0.0.1");
        let aside = logged.site.path(&format!("aside-{at}"));
        fs::rename(&logged.path, &aside).unwrap();
        logged.signal(signal);
        eventually("there is a new file", || logged.path.exists().then_some(()));
        assert_eq!(lines(&aside, 1).len(), 1);
    }
    logged.ask(&[]);
    logged.lines(1);
}

#[test]
fn a_long_file_is_put_aside() {
    const LONGEST: usize = 1 << 20;
    let log = ", rotate = \"1 MiB\", keep = 2";
    let logged = Logged::new(&Plan::default(), None, log, "");
    let aside = |number: u32| logged.site.path(&format!("access.log.{number}"));
    eventually(
        "the log is put aside more often than files are kept",
        || {
            logged.ask_often(1000);
            let written = logged.daemon.metric("oca_access_log_lines_total", "");
            (aside(2).exists() && written > 15_000.0).then_some(())
        },
    );
    for path in [&logged.path, &aside(1), &aside(2)] {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.len() <= LONGEST, "{} bytes", text.len());
        parsed(&text);
    }
    assert!(!aside(3).exists());
    assert_eq!(logged.dropped("file"), 0.0);
}

/// A file system of 256 KiB, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this user or place may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(&at)
            .status()
            .unwrap();
        mounted.success().then_some(Self(at))
    }

    /// A file that takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Needs nobody who may mount.
#[test]
fn a_device_that_is_always_full_costs_lines_until_the_log_lies_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let logged = Logged::new(&Plan::default(), Some(folder.path()), "", "");
    logged.ask_often(10);
    eventually(
        "all lines are lost, also that of the daemon's own test",
        || (logged.dropped("file") == 11.0).then_some(()),
    );
    fs::remove_file(&path).unwrap();
    logged.signal("USR1");
    eventually("there is a new file", || path.exists().then_some(()));
    logged.ask_often(1);
    logged.lines(1);
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(folder.path().join("log")) else {
            eprintln!("nothing can be mounted here; the device that is always full has to do");
            return;
        };
        let plan = Plan {
            backend,
            ..Plan::default()
        };
        let logged = Logged::new(&plan, Some(&disk.0), "", "");
        logged.ask_often(1);
        logged.lines(1);
        let filler = disk.fill();
        eventually("lines are lost", || {
            logged.ask_often(100);
            (logged.dropped("file") > 100.0).then_some(())
        });
        let mut full = fs::read_to_string(&logged.path).unwrap();
        // The part of a line that found no room is taken back, maybe just now.
        full.truncate(full.rfind('\n').unwrap() + 1);
        fs::remove_file(filler).unwrap();
        eventually("lines are written again", || {
            logged.ask_often(1);
            let text = fs::read_to_string(&logged.path).ok()?;
            (text.len() > full.len() && text.ends_with('\n')).then_some(())
        });
        let text = fs::read_to_string(&logged.path).unwrap();
        assert!(text.starts_with(&full), "what was written stays");
        parsed(&text[..=text.rfind('\n').unwrap()]);
    }
}

fn make_pipe(at: &Path) {
    let made = Command::new("mkfifo").arg(at).status();
    assert!(made.unwrap().success());
}

/// A pipe that nobody reads hangs as a dead disk does: first in `open`, then, when it is full, in `write`.
#[test]
fn a_disk_that_hangs_costs_lines_and_nothing_else() {
    /// More than the records of a worker.
    const MANY: usize = 6000;
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("access.log");
        make_pipe(&pipe);
        let plan = Plan {
            backend,
            ..Plan::default()
        };
        let mut logged = Logged::new(&plan, Some(folder.path()), "", "");
        logged.ask_often(MANY);
        let dropped = logged.dropped("queue");
        assert!(dropped > 1000.0, "open hangs: {dropped}");
        let mut reader = fs::File::open(&pipe).unwrap();
        reader.read_exact(&mut [0; 1]).unwrap();
        logged.ask_often(MANY);
        assert!(logged.dropped("queue") > dropped, "write hangs");
        // It goes on when the disk does, and the end does not wait for it.
        let reading = std::thread::spawn(move || {
            let mut text = "{".to_owned();
            reader.read_to_string(&mut text).unwrap();
            parsed(&text).len()
        });
        let expected = 2.0 * MANY as f64 - logged.dropped("queue");
        eventually("all is written", || {
            let written = logged.daemon.metric("oca_access_log_lines_total", "");
            // One more is the line of the daemon's own test.
            (written == expected + 1.0).then_some(())
        });
        logged.signal("TERM");
        eventually("the daemon ends", || {
            logged.daemon.child.try_wait().unwrap()
        });
        assert_eq!(reading.join().unwrap() as f64, expected);
    }
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access.log");
    make_pipe(&pipe);
    let mut logged = Logged::new(&Plan::default(), Some(folder.path()), "", "");
    logged.ask_often(1);
    let begun = Instant::now();
    logged.signal("TERM");
    let status = eventually("the daemon ends", || {
        logged.daemon.child.try_wait().unwrap()
    });
    assert!(status.success() && begun.elapsed() < Duration::from_secs(10));
}
