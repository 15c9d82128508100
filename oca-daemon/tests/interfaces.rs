//! Interfaces that serve: the real daemon in a network namespace, with cables whose far ends are taken down. Needs root and iproute2.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use protocol::status::{Interface, SelfTest, State, Status};
use support::{Daemon, Plan, Site, eventually};

/// What a veth says of itself.
const VETH: u64 = 10_000_000_000;

/// A namespace with two cables, both ends of each inside; gone when dropped.
struct Network {
    name: String,
}

impl Network {
    fn new() -> Self {
        let name = format!("oca-interfaces-{}", std::process::id());
        let it = Self { name };
        ip(&format!("netns add {}", it.name));
        it.ip("link set lo up");
        for number in [1, 2] {
            it.ip(&format!(
                "link add cable{number} type veth peer name far{number}"
            ));
            it.ip(&format!("addr add 192.0.2.{number}/32 dev cable{number}"));
            it.ip(&format!("link set cable{number} up"));
            it.ip(&format!("link set far{number} up"));
        }
        it
    }

    fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    fn start(&self, site: &Site) -> Daemon {
        let mut command = self.inside(env!("CARGO_BIN_EXE_oca-daemon"));
        command
            .arg("--config")
            .arg(site.config())
            .stdin(Stdio::null());
        Daemon::spawn(command, &site.path("run"))
    }

    /// The status of what the admin port answers, asked from inside.
    fn asks(&self, daemon: &Daemon, path: &str) -> String {
        let url = format!("http://{}{path}", daemon.admin);
        let mut curl = self.inside("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    }

    fn scrape(&self, daemon: &Daemon) -> String {
        let url = format!("http://{}/metrics", daemon.admin);
        let output = self.inside("curl").args(["-sf", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &str) {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    let ran = ran.expect("ip runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "ip {arguments}: {said}");
}

fn await_status(daemon: &Daemon, what: &str, is: impl Fn(&Status) -> bool) -> Status {
    eventually(what, || Some(daemon.status()).filter(|it| is(it)))
}

/// What is said of interfaces, the worst first.
/// With one device, and another configuration than a site has.
fn site(configured: impl FnOnce(String) -> String) -> Site {
    let site = Site::new(&Plan {
        devices: 1,
        stripe_width: 1,
        ..Plan::default()
    });
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), configured(text)).unwrap();
    site
}

fn said(status: &Status) -> Vec<String> {
    let causes = status
        .causes
        .iter()
        .filter(|it| it.component == "interface");
    causes
        .map(|it| format!("{} {} {}", it.severity, it.subject, it.detail))
        .collect()
}

fn seen(name: &str) -> Interface {
    Interface {
        name: name.into(),
        has_link: true,
        speed: Some(VETH),
        members: 0,
        members_up: 0,
        errors: 0,
        cause: String::new(),
    }
}

#[test]
fn a_link_that_goes_takes_its_part_of_the_capacity_and_the_last_one_takes_the_box() {
    let network = Network::new();
    let steering = "[steering]\nservice_addresses = [\"192.0.2.1\", \"192.0.2.2\"]\n";
    let site = site(|text| text + steering);
    let daemon = network.start(&site);

    let all = 2 * VETH / 100 * 85;
    let status = await_status(&daemon, "both count", |it| it.capacity == Some(all));
    assert_eq!(status.interfaces, [seen("cable1"), seen("cable2")]);
    assert_eq!(status.state, State::Ok);
    let metrics = network.scrape(&daemon);
    for line in [
        "oca_interface_up{interface=\"cable1\"} 1",
        "oca_interface_speed_bytes_per_second{interface=\"cable1\"} 1250000000",
        "oca_capacity_bytes_per_second 2125000000",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in\n{metrics}");
    }

    network.ip("link set far1 down");
    let status = await_status(&daemon, "one is lost", |it| it.state == State::Degraded);
    assert_eq!(said(&status), ["degraded cable1 has no link"]);
    assert_eq!(status.capacity, Some(VETH / 100 * 85));

    network.ip("link del cable2");
    let status = await_status(&daemon, "both are lost", |it| it.state == State::Down);
    assert_eq!(
        said(&status),
        [
            "down  no interface that serves has a link",
            "degraded cable1 has no link",
            "degraded cable2 is not there any more",
        ]
    );
    assert_eq!(status.capacity, Some(0));

    network.ip("link set far1 up");
    let status = await_status(&daemon, "one is back", |it| it.state == State::Degraded);
    assert_eq!(said(&status), ["degraded cable2 is not there any more"]);
}

#[test]
fn a_listener_whose_address_is_gone_takes_the_box_out_until_it_is_back() {
    let network = Network::new();
    let site = site(|text| text.replace("http = [\"127.0.0.1:0\"]", "http = [\"192.0.2.1:80\"]"));
    let daemon = network.start(&site);
    await_status(&daemon, "it serves", |it| it.self_test == SelfTest::Passed);
    assert_eq!(network.asks(&daemon, "/readyz"), "200");

    network.ip("addr del 192.0.2.1/32 dev cable1");
    // Nobody asks for a test: the box looks by itself, every ten seconds.
    let begun = Instant::now();
    while daemon.status().state != State::Down {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it was not found"
        );
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let status = daemon.status();
    let SelfTest::Failed(why) = &status.self_test else {
        panic!("{:?}", status.self_test);
    };
    assert!(
        why.contains("192.0.2.1 is not an address of this system"),
        "{why}"
    );
    assert_eq!(status.causes[0].component, "self-test");
    assert_eq!(network.asks(&daemon, "/healthz"), "503");
    assert_eq!(network.asks(&daemon, "/readyz"), "503");

    network.ip("addr add 192.0.2.1/32 dev cable1");
    await_status(&daemon, "it serves again", |it| it.state == State::Ok);
    assert_eq!(network.asks(&daemon, "/readyz"), "200");
}
