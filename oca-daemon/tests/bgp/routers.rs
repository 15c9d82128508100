//! Routers other than BIRD: GoBGP, FRR and ExaBGP. Each tells the box prefixes over IPv4, and hears it over IPv6.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::network::{BOX_6, Network, ROUTER_6, SERVICE_6};
use crate::support::{Site, eventually};

/// The program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    GoBgp,
    Frr,
    ExaBgp,
}

impl Program {
    pub(crate) fn configuration(self) -> &'static str {
        match self {
            Self::GoBgp => include_str!("routers/gobgpd.toml"),
            Self::Frr => include_str!("routers/bgpd.conf"),
            Self::ExaBgp => include_str!("routers/exabgp.conf"),
        }
    }

    fn guard_mark(self) -> &'static str {
        if self == Self::Frr {
            "! GUARD"
        } else {
            "# GUARD"
        }
    }

    /// The lines of its configuration.
    fn guard(self, guard: Guard<'_>) -> String {
        match (guard, self) {
            (Guard::None, _) => String::new(),
            (Guard::Password(it), Self::GoBgp) => format!("auth-password = \"{it}\""),
            (Guard::Password(it), Self::Frr) => format!(" neighbor box password {it}"),
            (Guard::Password(it), Self::ExaBgp) => format!("md5-password '{it}';"),
            (Guard::Ttl, Self::GoBgp) => {
                "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255".to_owned()
            }
            (Guard::Ttl, Self::Frr) => " neighbor box ttl-security hops 1".to_owned(),
            (Guard::Ttl, Self::ExaBgp) => "outgoing-ttl 255; incoming-ttl 255;".to_owned(),
        }
    }
}

/// What guards both sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard<'g> {
    None,
    /// TCP-MD5 (RFC 2385).
    Password(&'g str),
    /// GTSM (RFC 5082).
    Ttl,
}

/// A running router; killed when dropped.
pub(crate) struct Router {
    program: Program,
    child: Child,
    /// Of its configuration, sockets and log.
    folder: PathBuf,
}

impl Router {
    /// In the router's namespace; its files lie beside those of `site`.
    pub(crate) fn start(
        network: &Network,
        site: &Site,
        program: Program,
        guard: Guard<'_>,
    ) -> Self {
        let configuration = program.configuration();
        let configuration = configuration.replace(program.guard_mark(), &program.guard(guard));
        let router = Self::run(network, site, program, &configuration);
        if program == Program::GoBgp {
            router.add_routes();
        }
        router
    }

    /// With another configuration than it has here.
    pub(crate) fn run(
        network: &Network,
        site: &Site,
        program: Program,
        configuration: &str,
    ) -> Self {
        let folder = site.path("router");
        // What a killed one left: its sockets, and what it had heard.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let configuration = configuration.replace("HEARD", &at("heard"));
        fs::write(folder.join("configuration"), configuration).unwrap();
        let command = match program {
            Program::GoBgp => format!(
                "gobgpd -p --pprof-disable -f {} --api-hosts unix://{}",
                at("configuration"),
                at("api")
            ),
            // Without zebra, and as root: nothing of the system's own FRR is touched.
            Program::Frr => format!(
                "/usr/lib/frr/bgpd -Z -S -A 127.0.0.1 -P 0 -f {} -i {} --vty_socket {}",
                at("configuration"),
                at("pid"),
                at("")
            ),
            Program::ExaBgp => format!(
                "env exabgp.api.cli=false exabgp.daemon.user=root exabgp.log.destination=stderr exabgp {}",
                at("configuration")
            ),
        };
        let log = File::create(folder.join("log")).unwrap();
        let mut starting = network.at_router(&command);
        starting
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap());
        let child = starting.stderr(log).spawn().expect("ip runs");
        Self {
            program,
            child,
            folder,
        }
    }

    /// `gobgpd` reads none from its configuration.
    fn add_routes(&self) {
        for route in [
            "198.51.100.0/25 community 64496:1",
            "198.51.100.128/25",
            "0.0.0.0/0",
            &format!("-a ipv6 2001:db8:100::/48 nexthop {ROUTER_6}"),
        ] {
            eventually(&format!("GoBGP takes {route}"), || {
                self.asks(&format!("global rib add {route} med 7"))
            });
        }
    }

    /// What its own command answers; `None`: it fails.
    pub(crate) fn asks(&self, question: &str) -> Option<String> {
        let (name, at) = match self.program {
            Program::GoBgp => (
                "gobgp",
                format!("--target=unix://{}", self.path("api").display()),
            ),
            Program::Frr => ("vtysh", format!("--vty_socket={}", self.folder.display())),
            Program::ExaBgp => return fs::read_to_string(self.path("heard")).ok(),
        };
        let mut command = Command::new(name);
        command.arg(at);
        match self.program {
            Program::Frr => command.args(["-c", question]),
            Program::GoBgp | Program::ExaBgp => command.args(question.split(' ')),
        };
        let output = command.output().expect("the router's command runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its route to the service address, as it shows it; an empty text: it has none.
    fn shown(&self) -> String {
        let prefix = format!("{SERVICE_6}/128");
        let said = match self.program {
            Program::GoBgp => self.asks(&format!("global rib -a ipv6 {prefix}")),
            Program::Frr => self.asks(&format!("show bgp ipv6 unicast {prefix}")),
            // It keeps no table: the last word about the prefix or the session counts.
            Program::ExaBgp => self.asks("").and_then(|heard| {
                let told =
                    |line: &&str| line.contains(&prefix) || line.contains("\"state\": \"down\"");
                let of_session = |line: &&str| line.contains(&format!("\"peer\": \"{BOX_6}\""));
                let last = heard.lines().filter(of_session).rfind(told)?;
                Some(last.to_owned())
            }),
        };
        let is_there = |said: &String| said.contains(BOX_6) && said.contains(self.marks()[1]);
        said.filter(is_there).unwrap_or_default()
    }

    /// What it shows of a route that is announced as it should be, beside the addresses.
    pub(crate) fn marks(&self) -> [&'static str; 3] {
        match self.program {
            Program::GoBgp => ["4200000001", "{Med: 100}", "{Communities: no-export}"],
            Program::Frr => ["4200000001", "metric 100", "Community: no-export"],
            Program::ExaBgp => [
                "\"as-path\": [ 4200000001 ]",
                "\"med\": 100",
                "\"community\": [ [ 65535, 65281 ] ]",
            ],
        }
    }

    /// Waits until it has a route to the service address, or has none.
    pub(crate) fn hears(&self, is_wanted: bool) -> String {
        let what = format!("{:?} has a route: {is_wanted}", self.program);
        eventually(&what, || {
            let shown = self.shown();
            (shown.is_empty() != is_wanted).then_some(shown)
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("log"));
            eprintln!("{:?}: {}", self.program, log.unwrap_or_default());
        }
    }
}
