//! Viewers and other appliances whose path to the box is long: the send buffer that all connections begin with would bound how fast they are
//! sent to.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

#[path = "../../benches/src/long_path.rs"]
mod long_path;
mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use long_path::{FAR, LongPath, NEAR};
use support::tls::Authority;
use support::{BACKENDS, Daemon, Plan, Site, content};

const ROUND_TRIP: Duration = Duration::from_millis(100);

/// What the kernel makes of a send buffer of 256 KiB.
const SEND_BUFFER: f64 = 512.0 * 1024.0;

const FILM: usize = 24 << 20;

/// A network namespace; gone when dropped.
struct Namespace(String);

impl Namespace {
    fn make() -> Self {
        let it = Self(format!("oca-long-{}", std::process::id()));
        assert!(ip(&["netns", "add", &it.0]) && ip(&["-n", &it.0, "link", "set", "lo", "up"]));
        it
    }

    fn words(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(&self.words()[1..]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).status().unwrap().success()
}

/// A daemon at the near end. What is first goes first.
struct Stand {
    daemon: Daemon,
    _path: LongPath,
    network: Namespace,
    _site: Site,
}

impl Stand {
    fn start(backend: &str) -> Self {
        let site = Site::new(&Plan {
            backend,
            memory: "64 MiB",
            ..Plan::default()
        });
        site.speak_tls(&Authority::new(), "");
        let text = fs::read_to_string(site.config()).unwrap();
        let near = format!("[\"{NEAR}:0\"]");
        fs::write(site.config(), text.replace("[\"127.0.0.1:0\"]", &near)).unwrap();
        site.publish("/film", &content(7, FILM));
        let network = Namespace::make();
        let path = LongPath::make(&network.words(), &site.path(""), ROUND_TRIP).unwrap();
        let mut command = network.inside(env!("CARGO_BIN_EXE_oca-daemon"));
        command
            .arg("--config")
            .arg(site.config())
            .stdin(Stdio::null());
        let daemon = Daemon::spawn(command, &site.path("run"));
        Self {
            daemon,
            _path: path,
            network,
            _site: site,
        }
    }

    /// The film comes twice from `address`, in clear or over TLS, by one connection; bytes/s of each time.
    fn fetch(&self, scheme: &str, address: Ipv4Addr) -> Vec<f64> {
        let port = match scheme {
            "http" => self.daemon.http,
            _ => self.daemon.https.unwrap(),
        }
        .port();
        let url = format!("{scheme}://{address}:{port}/film");
        let mut curl = self.network.inside("curl");
        curl.args(["-skf", "-w", "%{size_download} %{speed_download}\n"]);
        for _ in 0..2 {
            curl.args(["-o", "/dev/null", &url]);
        }
        let output = curl.output().unwrap();
        assert!(output.status.success(), "curl: {:?}", output.status);
        let said = String::from_utf8(output.stdout).unwrap();
        let speed = |line: &str| {
            let (size, speed) = line.split_once(' ').unwrap();
            assert_eq!(size, FILM.to_string());
            speed.parse().unwrap()
        };
        said.lines().map(speed).collect()
    }

    fn grown(&self) -> f64 {
        let url = format!("http://{}/metrics", self.daemon.admin);
        let output = self
            .network
            .inside("curl")
            .args(["-sf", &url])
            .output()
            .unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix("oca_grown_send_buffers_total "));
        value.unwrap().parse().unwrap()
    }
}

/// A send buffer of so many bytes, and no more in a round trip.
#[test]
fn over_a_long_path_the_send_buffer_is_no_bound() {
    for backend in BACKENDS {
        let it = Stand::start(backend);
        for (grown, scheme) in [(0.0, "http"), (1.0, "https")] {
            let speeds = it.fetch(scheme, NEAR);
            assert_eq!(it.grown(), grown, "on loopback: {speeds:?}");
            let speeds = it.fetch(scheme, FAR);
            eprintln!("{scheme} by {backend}: {speeds:?}");
            assert_eq!(it.grown(), grown + 1.0, "of one connection: {speeds:?}");
            let bound = SEND_BUFFER / ROUND_TRIP.as_secs_f64();
            assert!(
                speeds[1] > 1.2 * bound,
                "{speeds:?} B/s, the buffer allows {bound}"
            );
        }
    }
}
