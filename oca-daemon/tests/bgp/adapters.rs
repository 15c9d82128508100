//! A box whose daemon does not speak BGP: the shipped adapter feeds ExaBGP or BIRD beside it from `/steering`, and a router hears it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use protocol::operator::Request;

use crate::asked::LARGE_AS;
use crate::network::{BOX, BOX_6, Bird, Network, ROUTER, ROUTER_6, SERVICE, SERVICE_6};
use crate::support::{Daemon, Site, eventually};

const ADAPTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/examples/routers/oca-routes"
);

/// A program of the box; killed when dropped.
struct Running(Child);

impl Running {
    /// What it says goes into a file of `site`.
    fn start(mut command: Command, site: &Site, name: &str) -> Self {
        let log = File::create(site.path(&format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().expect("ip runs"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A session of the router with each end of the box.
fn router(network: &Network, site: &Site) -> Bird {
    let session = |name: &str, ours: &str, theirs: &str| {
        format!(
            "protocol bgp {name} from session {{ local {theirs} as 64496; neighbor {ours} as {LARGE_AS}; }}\n"
        )
    };
    network.bird(
        site,
        &(session("told4", BOX, ROUTER) + &session("told6", BOX_6, ROUTER_6)),
    )
}

fn hears_every_change(router: &Bird, mut daemon: Daemon) {
    let both_are = |marks: &[&str]| {
        for address in [SERVICE, SERVICE_6] {
            router.route(address, |route| {
                marks.iter().all(|mark| route.contains(mark))
            });
        }
    };
    both_are(&["BGP.med: 100", "(65535,65281)", "BGP.as_path: 4200000001"]);
    let by = || "ada".to_owned();
    daemon.drain();
    both_are(&["BGP.med: 500", "(65535,0)", "(65535,65281)"]);
    daemon.ask(&Request::Undrain { by: by() });
    both_are(&["BGP.med: 100"]);
    // The hint that was the last one expires.
    daemon.kill();
    for address in [SERVICE, SERVICE_6] {
        router.route(address, str::is_empty);
    }
}

#[test]
fn exabgp_is_fed() {
    let network = Network::new();
    let site = network.site("");
    let router = router(&network, &site);
    let daemon = network.start(&site);
    let neighbor = |ours: &str, theirs: &str, family: &str| {
        format!(
            "neighbor {theirs} {{ router-id {BOX}; local-address {ours}; local-as {LARGE_AS}; peer-as 64496; hold-time 9;\n\
             family {{ {family} unicast; }} api {{ processes [ oca ]; }} }}\n"
        )
    };
    let text = format!(
        "process oca {{ run {ADAPTER} exabgp http://{}/steering; encoder text; }}\n{}{}",
        daemon.admin,
        neighbor(BOX, ROUTER, "ipv4"),
        neighbor(BOX_6, ROUTER_6, "ipv6")
    );
    fs::write(site.path("exabgp.conf"), text).unwrap();
    let settings = "exabgp.api.cli=false exabgp.daemon.user=root exabgp.log.destination=stderr";
    let file = site.path("exabgp.conf");
    let command = network.at_box(&format!("env {settings} exabgp {}", file.display()));
    let _exabgp = Running::start(command, &site, "exabgp");
    hears_every_change(&router, daemon);
}

#[test]
fn bird_is_fed() {
    let network = Network::new();
    let site = network.site("");
    let router = router(&network, &site);
    let daemon = network.start(&site);
    let at = |name: &str| site.path(name).display().to_string();
    let session = |name: &str, ours: &str, theirs: &str, family: &str| {
        format!(
            "protocol bgp {name} {{ local {ours} as {LARGE_AS}; neighbor {theirs} as 64496; hold time 9; connect delay time 1;\n\
             {family} {{ import none; export filter oca_service; }}; }}\n"
        )
    };
    let text = format!(
        "router id {BOX};\nprotocol device {{}}\ninclude \"{}\";\n{}{}",
        at("oca-routes.conf"),
        session("router4", BOX, ROUTER, "ipv4"),
        session("router6", BOX_6, ROUTER_6, "ipv6")
    );
    fs::write(at("box.conf"), text).unwrap();
    let command = format!(
        "{ADAPTER} bird http://{}/steering {} birdc -s {} configure",
        daemon.admin,
        at("oca-routes.conf"),
        at("box.ctl")
    );
    let _adapter = Running::start(network.at_box(&command), &site, "adapter");
    eventually("there is what BIRD includes", || {
        site.path("oca-routes.conf").exists().then_some(())
    });
    let command = format!("bird -f -c {} -s {}", at("box.conf"), at("box.ctl"));
    let _bird = Running::start(network.at_box(&command), &site, "box-bird");
    hears_every_change(&router, daemon);
}
