//! Two network namespaces with a cable between them: the box in one, BIRD in the other.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{Daemon, Plan, Site, eventually};

/// The router's ends of the sessions.
pub(crate) const ROUTER: &str = "10.0.0.1";
pub(crate) const ROUTER_6: &str = "2001:db8:1::1";
/// The box's ends.
pub(crate) const BOX: &str = "10.0.0.2";
pub(crate) const BOX_6: &str = "2001:db8:1::2";
/// Where viewers are served.
pub(crate) const SERVICE: &str = "192.0.2.80";
pub(crate) const SERVICE_6: &str = "2001:db8:5::80";

/// What every BIRD here begins with: prefixes to be served, and a quick temper.
const ROUTES: &str = "
router id 10.0.0.1;
log stderr all;
timeformat protocol iso short ms;
protocol device {}
protocol static served4 {
    ipv4;
    route 198.51.100.0/25 blackhole { bgp_community.add((64496, 1)); };
    route 198.51.100.128/25 blackhole;
    route 0.0.0.0/0 blackhole;
}
protocol static served6 {
    ipv6;
    route 2001:db8:100::/48 blackhole;
}
filter served {
    if source = RTS_STATIC then { bgp_med = 7; accept; }
    reject;
}
template bgp session {
    hold time 9;
    connect delay time 1;
    connect retry time 1;
    error wait time 1, 2;
    ipv4 { import all; export filter served; };
    ipv6 { import all; export filter served; };
}
";

/// The two namespaces; gone when dropped.
pub(crate) struct Network {
    router: String,
    appliance: String,
}

impl Network {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |of: &str| format!("oca-{of}-{}-{number}", std::process::id());
        let network = Self {
            router: name("router"),
            appliance: name("box"),
        };
        ip(&format!("netns add {}", network.appliance));
        for (address, flag) in [
            (format!("{SERVICE}/32"), ""),
            (format!("{SERVICE_6}/128"), " nodad"),
        ] {
            ip(&format!(
                "-n {} addr add {address} dev lo{flag}",
                network.appliance
            ));
        }
        ip(&format!("-n {} link set lo up", network.appliance));
        network.power_on_router();
        network
    }

    /// Gives the router a system of its own, and lays the cable.
    pub(crate) fn power_on_router(&self) {
        let Self { router, appliance } = self;
        ip(&format!("netns add {router}"));
        ip(&format!("-n {router} link set lo up"));
        ip(&format!(
            "-n {router} link add cable type veth peer name cable netns {appliance}"
        ));
        for (space, ends) in [
            (router, [format!("{ROUTER}/29"), format!("{ROUTER_6}/64")]),
            (appliance, [format!("{BOX}/29"), format!("{BOX_6}/64")]),
        ] {
            ip(&format!("-n {space} link set cable up"));
            ip(&format!("-n {space} addr add {} dev cable", ends[0]));
            ip(&format!("-n {space} addr add {} dev cable nodad", ends[1]));
        }
    }

    /// Takes the cable away, so that no last word comes through, and the router's system with all of its connections.
    pub(crate) fn power_off_router(&self) {
        ip(&format!("-n {} link del cable", self.appliance));
        ip(&format!("netns del {}", self.router));
    }

    /// A box with these neighbours.
    pub(crate) fn site(&self, bgp: &str) -> Site {
        self.site_of("", bgp)
    }

    /// A box of a control endpoint, with these neighbours.
    pub(crate) fn site_of(&self, control: &str, bgp: &str) -> Site {
        let site = Site::new(&Plan {
            devices: 1,
            stripe_width: 1,
            control,
            ..Plan::default()
        });
        let text = fs::read_to_string(site.config()).unwrap();
        let text = text.replace("[\"127.0.0.1:0\"]", "[\"0.0.0.0:80\", \"[::]:80\"]");
        let steering = format!(
            "[steering]\nservice_addresses = [\"{SERVICE}\", \"{SERVICE_6}\"]\nhint_lifetime = \"1 s\"\n"
        );
        fs::write(site.config(), format!("{text}{steering}{bgp}")).unwrap();
        site
    }

    /// The daemon of `site` in the box's namespace.
    pub(crate) fn start(&self, site: &Site) -> Daemon {
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &self.appliance,
                env!("CARGO_BIN_EXE_oca-daemon"),
            ])
            .arg("--config")
            .arg(site.config())
            .stdin(Stdio::null());
        Daemon::spawn(command, &site.path("run"))
    }

    /// The daemon's metrics, asked from inside.
    pub(crate) fn scrape(&self, daemon: &Daemon) -> String {
        let url = format!("http://{}/metrics", daemon.admin);
        let output = at(&self.appliance, &format!("curl -sf {url}")).output();
        let output = output.expect("ip runs");
        assert!(output.status.success(), "curl {url}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sum of the daemon's samples of this name whose labels hold `label`.
    pub(crate) fn sample(&self, daemon: &Daemon, name: &str, label: &str) -> f64 {
        let page = self.scrape(daemon);
        let of = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        };
        let lines = page.lines().filter(of);
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// From now on, nobody in the box reaches `address` of it.
    pub(crate) fn cut_off(&self, address: &str) {
        // What is this system's own comes first, unless there is something before it.
        let rules = [
            "add pref 1 lookup local".to_owned(),
            "del pref 0".to_owned(),
            format!("add pref 0 to {address} unreachable"),
        ];
        self.rules(address, &rules);
    }

    /// Takes [`Self::cut_off`] back.
    pub(crate) fn let_in(&self, address: &str) {
        self.rules(address, &["del pref 0".to_owned()]);
    }

    fn rules(&self, address: &str, rules: &[String]) {
        let family = if address.contains(':') { "-6" } else { "-4" };
        for rule in rules {
            ip(&format!("-n {} {family} rule {rule}", self.appliance));
        }
    }

    /// The router sends to the service address as if it had installed the route that it was told.
    pub(crate) fn route_to_service(&self) {
        ip(&format!("-n {} route add {SERVICE} via {BOX}", self.router));
    }

    /// A command that runs in the box's namespace.
    pub(crate) fn at_box(&self, command: &str) -> Command {
        at(&self.appliance, command)
    }

    /// A command that runs in the router's namespace.
    pub(crate) fn at_router(&self, command: &str) -> Command {
        at(&self.router, command)
    }

    /// What is answered at `url` to somebody in the router's namespace.
    pub(crate) fn get(&self, url: &str) -> String {
        let output = self.at_router(&format!("curl -s {url}")).output();
        String::from_utf8(output.expect("ip runs").stdout).unwrap()
    }

    /// The segments that were dropped because their signature was missing or wrong (RFC 2385), or because they came from too far (RFC
    /// 5082), on both sides.
    pub(crate) fn dropped(&self) -> u64 {
        let of = |space: &str| {
            let output = at(space, "nstat -asz TcpExtTCPMD5* TcpExtTCPMinTTLDrop").output();
            let text = String::from_utf8(output.expect("ip runs").stdout).unwrap();
            let counts = text
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1));
            counts
                .filter_map(|count| count.parse::<u64>().ok())
                .sum::<u64>()
        };
        of(&self.router) + of(&self.appliance)
    }

    /// BIRD in the router's namespace; its files lie beside those of `site`.
    pub(crate) fn bird(&self, site: &Site, sessions: &str) -> Bird {
        let configuration = site.path("bird.conf");
        let log = format!("log \"{}\" all;\n", site.path(BIRD_LOG).display());
        fs::write(&configuration, format!("{log}{ROUTES}{sessions}")).unwrap();
        self.start_bird(site, "")
    }

    /// BIRD as it was configured before, with further arguments.
    pub(crate) fn start_bird(&self, site: &Site, arguments: &str) -> Bird {
        let configuration = site.path("bird.conf");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.router, "bird", "-f", "-c"])
            .arg(&configuration)
            .arg("-s")
            .arg(site.path("bird.ctl"))
            .args(arguments.split_whitespace())
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        let bird = Bird {
            child: command.spawn().expect("ip runs"),
            socket: site.path("bird.ctl").display().to_string(),
        };
        eventually("BIRD answers", || {
            bird.asks("show status")
                .contains("Daemon is up")
                .then_some(())
        });
        bird
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in [&self.router, &self.appliance] {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

/// A command that runs in a namespace.
fn at(space: &str, command: &str) -> Command {
    let mut ip = Command::new("ip");
    ip.args(["netns", "exec", space]).args(command.split(' '));
    ip
}

fn ip(arguments: &str) {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    let Output { status, stderr, .. } = ran.expect("ip runs");
    assert!(
        status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&stderr)
    );
}

/// What BIRD says, in the site's folder.
pub(crate) const BIRD_LOG: &str = "bird.log";

/// A running BIRD; killed when dropped.
pub(crate) struct Bird {
    pub(crate) child: Child,
    socket: String,
}

impl Bird {
    /// What `birdc` answers.
    pub(crate) fn asks(&self, question: &str) -> String {
        let mut command = Command::new("birdc");
        command.args(["-s", &self.socket]).args(question.split(' '));
        let output = command.output().expect("birdc runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits for the route to `prefix` to be as `is` wants it; an empty text: there is none.
    pub(crate) fn route(&self, prefix: &str, is: impl Fn(&str) -> bool) -> String {
        eventually(&format!("BIRD's route to {prefix}"), || {
            let said = self.asks(&format!("show route for {prefix} all"));
            let route = if said.contains("BGP") {
                said
            } else {
                String::new()
            };
            is(&route).then_some(route)
        })
    }

    /// The time of the day at which a session has become what it is, by BIRD's own clock.
    pub(crate) fn since(&self, session: &str) -> Duration {
        let said = self.asks(&format!("show protocols {session}"));
        let line = said.lines().find(|line| line.starts_with(session));
        let time = line.and_then(|line| line.split_whitespace().nth(4));
        let [hours, minutes, seconds] = time
            .map(|time| time.splitn(3, ':').map(|part| part.parse::<f64>().unwrap()))
            .and_then(|parts| parts.collect::<Vec<_>>().try_into().ok())
            .unwrap_or_else(|| panic!("no time in {said}"));
        Duration::from_secs_f64((hours * 60.0 + minutes) * 60.0 + seconds)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
