//! `ocactl status --watch` in a pseudo-terminal of 80 columns and 24 lines: `script` makes it, `stty` its size.

mod appliance;

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use appliance::daemon::{daemon, status};
use appliance::{Appliance, text};
use protocol::operator::Response;
use protocol::status::{State, Status};

/// What runs in a terminal, and all that it has written there.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    out: ChildStdout,
    written: String,
}

impl Terminal {
    /// Runs `ocactl`, then says how it ended, and whether the terminal is set as before.
    fn open(appliance: &Appliance, arguments: &str) -> Self {
        let ocactl = assert_cmd::cargo::cargo_bin("ocactl");
        let config = appliance.path("oca.toml");
        let commands = format!(
            "trap : INT; stty rows 24 cols 80; before=$(stty -g); '{}' --config '{}' {arguments}; \
             echo \"exit $?\"; [ \"$before\" = \"$(stty -g)\" ] && echo 'set as before'",
            text(&ocactl),
            text(&config)
        );
        let mut script = Command::new("script")
            .args(["-q", "-e", "-c", &commands, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is there: apt-get install bsdutils");
        Self {
            keys: script.stdin.take().expect("piped"),
            out: script.stdout.take().expect("piped"),
            script,
            written: String::new(),
        }
    }

    /// Reads on until the last picture holds `words`, which it may do already.
    fn until(&mut self, words: &str) -> String {
        self.until_it(|picture| picture.contains(words))
    }

    fn until_it(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let mut piece = [0; 4096];
        loop {
            let last = self.pictures().pop().unwrap_or_default();
            if fits(&last) {
                return last;
            }
            let read = self.out.read(&mut piece).expect("a terminal");
            assert!(read > 0, "the end came too early: {}", self.written);
            let piece = String::from_utf8_lossy(&piece[..read]);
            self.written.push_str(&piece);
        }
    }

    /// Whole pictures so far.
    fn pictures(&self) -> Vec<String> {
        let pictures = self.written.split("\x1b[H").skip(1);
        let whole = pictures.filter_map(|picture| picture.split_once("\x1b[J"));
        whole
            .map(|(picture, _)| picture.replace("\x1b[K", ""))
            .collect()
    }

    /// What comes after Ctrl-C.
    fn interrupt(mut self) -> String {
        self.keys.write_all(b"\x03").expect("it reads keys");
        let seen = self.written.len();
        self.out.read_to_string(&mut self.written).expect("text");
        assert!(self.script.wait().expect("a child").success());
        self.written.split_off(seen)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A daemon in this state, that says when it was asked first.
fn in_state(appliance: &Appliance, state: State) {
    let as_of = now();
    daemon(appliance, move |_| {
        Response::Status(Box::new(Status {
            as_of,
            ..status(state)
        }))
    });
}

fn age(picture: &str) -> u64 {
    let line = picture.lines().find(|line| line.starts_with("as of "));
    let age = line
        .and_then(|line| line.rsplit_once(", "))
        .expect("an age")
        .1;
    age.split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("seconds")
}

#[test]
fn a_watcher_outlives_the_daemon_and_leaves_the_terminal_clean() {
    let appliance = Appliance::bare();
    let mut terminal = Terminal::open(&appliance, "status --watch");
    terminal.until("the daemon is not running");
    in_state(&appliance, State::Ok);
    let picture = terminal.until("c001.fra001.example: ok: all is well");
    let young = age(&picture);
    assert!(!picture.contains("not running"), "{picture}");

    // It ends: a socket that nobody listens at is as good as none.
    std::fs::remove_file(appliance.path("run/daemon.sock")).unwrap();
    terminal.until("What it said last:");
    terminal.until_it(|picture| picture.contains("not running") && age(picture) > young);
    in_state(&appliance, State::Degraded);
    let picture = terminal.until("c001.fra001.example: degraded");
    assert!(!picture.contains("not running"), "{picture}");

    for picture in terminal.pictures() {
        assert!(picture.lines().count() <= 24, "{picture}");
        let widest = picture.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{picture}");
    }
    let rest = terminal.interrupt();
    let (_, page) = rest
        .split_once("\x1b[?25h\x1b[?1049l")
        .expect("the page from before, with a cursor");
    assert!(page.contains("c001.fra001.example: degraded"), "{page}");
    assert!(page.contains("exit 0\r\nset as before\r\n"), "{page}");
    assert!(!page.contains('\x1b'), "{page}");
}
