//! Connections that lead nowhere, as a router without power leaves them, beside one with BIRD.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::asked::{LARGE_AS, established, learns, neighbor, of};
use crate::network::{BOX, Network, ROUTER};
use crate::support::{Daemon, Site, eventually};

/// Identifiers of the box: above that of BIRD, so that the box keeps the connections that it opened; and below it.
const IDENTIFIERS: [&str; 2] = ["10.0.0.2", "10.0.0.0"];

fn site(network: &Network, identifier: &str) -> Site {
    let own = format!("[bgp]\nlisten = [\"{BOX}:179\"]\nrouter_id = \"{identifier}\"\n");
    network.site(&(own + &neighbor(ROUTER, "listen", "")))
}

fn session(more: &str) -> String {
    format!(
        "protocol bgp listened from session {{ local {ROUTER} as 64496; neighbor {BOX} as {LARGE_AS}; {more} }}\n"
    )
}

/// A program with a connection over which it says nothing; killed when dropped.
struct Silent(Child);

impl Silent {
    /// In the router's namespace, as `script` of Python says, which prints a line when that is so.
    fn start(network: &Network, script: &str) -> Self {
        let script = format!("import signal, socket\n{script}\nprint(flush=True)\nsignal.pause()");
        let mut python = network.at_router("python3");
        let python = python.args(["-c", &script]).stdin(Stdio::null());
        let mut child = python.stdout(Stdio::piped()).spawn().expect("ip runs");
        let said = child.stdout.take().expect("its output");
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line).unwrap();
        assert_eq!(read, 1, "python3 has ended");
        Self(child)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn waits_for_a_word(daemon: &Daemon) {
    eventually("the box waits for a word", || {
        (of(daemon, ROUTER).state == "open-sent").then_some(())
    });
}

/// The router waits for the box, which has a connection of the router's that is as good as dead.
#[test]
fn a_silent_connection_does_not_keep_the_box_from_connecting() {
    for identifier in IDENTIFIERS {
        let network = Network::new();
        let site = site(&network, identifier);
        let bird = network.bird(&site, &session("passive on; disabled on;"));
        let daemon = network.start(&site);
        let silent = format!("kept = socket.create_connection(('{BOX}', 179))");
        let _silent = Silent::start(&network, &silent);
        waits_for_a_word(&daemon);
        bird.asks("enable listened");
        assert_eq!(established(&daemon, ROUTER).sessions, 1);
    }
}

/// The router had accepted the box's connection, and connects after its power is back.
#[test]
fn a_router_without_power_is_back_beside_the_connection_that_it_left() {
    for identifier in IDENTIFIERS {
        let network = Network::new();
        let site = site(&network, identifier);
        let accept = format!(
            "listener = socket.create_server(('{ROUTER}', 179))\n\
             kept = listener.accept()[0]\n\
             assert kept.recv(1)"
        );
        let daemon = network.start(&site);
        let silent = Silent::start(&network, &accept);
        waits_for_a_word(&daemon);
        network.power_off_router();
        drop(silent);
        network.power_on_router();
        let _bird = network.bird(&site, &session(""));
        learns(
            &daemon,
            ROUTER,
            &["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"],
        );
        assert_eq!(established(&daemon, ROUTER).sessions, 1);
    }
}
