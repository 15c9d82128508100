//! From a router's word to a viewer's way: BIRD tells the daemon a prefix, the daemon reports it, and `/v1/steer` of the real control
//! endpoint sends its viewers here.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use protocol::bgp::Feed;
use protocol::operator::Request;
use protocol::steer::Steered;
use steering::decide::limits::LEASE;
use tempfile::TempDir;

use crate::asked::{LARGE_AS, neighbor, status};
use crate::network::{BOX, Network, ROUTER};
use crate::program;
use crate::support::eventually;

const APPLIANCE: &str = "c001.test.example";
const PLAYLIST: &[u8] = b"#EXTM3U";

/// `oca-control` beside the router; killed when dropped.
struct Control<'n> {
    network: &'n Network,
    folder: TempDir,
    child: Option<Child>,
}

impl<'n> Control<'n> {
    /// With a playlist, and an appliance whose token is given as well.
    fn start(network: &'n Network) -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut control = Self {
            network,
            folder,
            child: None,
        };
        let at = |name: &str| control.folder.path().join(name);
        let text = format!(
            "listen = [\"{ROUTER}:0\"]\nstate_dir = {:?}\nsigning_keys = [{:?}]\n\
             [[operator]]\nname = \"isp\"\nsites = [\"test.example\"]\n\
             prefixes = [\"198.51.100.0/24\", \"203.0.113.0/24\", \"2001:db8::/32\"]\n",
            at("state"),
            at("control-1.key")
        );
        fs::write(at("oca-control.toml"), text).unwrap();
        fs::write(at("title.m3u8"), PLAYLIST).unwrap();
        control.done(&format!("keygen {}", control.folder.path().display()));
        control.done(&format!("ingest {}", at("title.m3u8").display()));
        let add = format!("appliance add {APPLIANCE} --site test.example --cluster test");
        let token = control.done(&add);
        let mut serve = network.at_router(&control.command("serve"));
        let serve = serve.stdout(Stdio::null()).stderr(Stdio::inherit());
        control.child = Some(serve.spawn().expect("ip runs"));
        eventually("the control endpoint listens", || {
            control
                .folder
                .path()
                .join("state/address")
                .exists()
                .then_some(())
        });
        (control, token)
    }

    fn command(&self, arguments: &str) -> String {
        let program = program::of("control-endpoint", "oca-control");
        let config = self.folder.path().join("oca-control.toml");
        format!(
            "{} --config {} {arguments}",
            program.display(),
            config.display()
        )
    }

    /// Runs it to its good end; gives what it printed.
    fn done(&self, arguments: &str) -> String {
        let output = self.network.at_router(&self.command(arguments)).output();
        let output = output.expect("ip runs");
        assert!(output.status.success(), "{arguments}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.trim_end().to_owned()
    }

    fn url(&self) -> String {
        let addresses = fs::read_to_string(self.folder.path().join("state/address"));
        format!("http://{}/", addresses.unwrap().lines().next().unwrap())
    }

    fn steer(&self, client: &str) -> Steered {
        let url = format!("{}v1/steer?client={client}&path=/title.m3u8", self.url());
        let answer = self.network.get(&url);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Waits until the viewer is sent to the box, or nowhere. A box tells of its routes every 30 s at most.
    fn steers(&self, client: &str, is_here: bool) -> Steered {
        let begun = Instant::now();
        loop {
            let steered = self.steer(client);
            if steered.choices.is_empty() != is_here {
                return steered;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{steered:?}");
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn viewers_of_a_prefix_come_while_a_router_tells_it() {
    let network = Network::new();
    let (control, token) = Control::start(&network);
    let site = network.site_of(&control.url(), &neighbor(ROUTER, "listen", ""));
    fs::write(site.path("token"), token).unwrap();
    site.publish("/title.m3u8", PLAYLIST);
    let session = format!(
        "protocol bgp told from session {{ local {ROUTER} as 64496; neighbor {BOX} as {LARGE_AS}; }}\n"
    );
    let mut bird = network.bird(&site, &session);
    let daemon = network.start(&site);

    let steered = control.steers("198.51.100.7", true);
    let choice = &steered.choices[0];
    assert_eq!(choice.id, APPLIANCE);
    assert_eq!(choice.url, "http://192.0.2.80:80/title.m3u8");
    let rank = choice.rank.as_ref().unwrap();
    assert_eq!(
        (rank.prefix.as_str(), rank.hops, rank.med),
        ("198.51.100.0/25", Some(1), Some(7))
    );
    control.steers("2001:db8:100::7", true);
    // Registered, and no router tells it.
    assert!(control.steer("203.0.113.7").choices.is_empty());

    // A drain of the box, and an undrain right behind it: nobody waits for the lease to end.
    let by = || "ada".to_owned();
    daemon.ask(&Request::Drain {
        by: by(),
        reason: None,
        force: true,
    });
    assert!(control.steer("198.51.100.7").choices.is_empty());
    let begun = Instant::now();
    daemon.ask(&Request::Undrain { by: by() });
    control.steers("198.51.100.7", true);
    assert!(begun.elapsed() < LEASE / 2, "{:?}", begun.elapsed());

    bird.asks("disable served4");
    control.steers("198.51.100.7", false);
    control.steers("198.51.100.200", false);
    assert!(!control.steer("2001:db8:100::7").choices.is_empty());

    // A router that dies withdraws nothing.
    bird.kill();
    eventually("the box has noticed", || {
        (status(&daemon).feed == Feed::Stale).then_some(())
    });
    let answered = || daemon.status().report?.answered;
    let before = answered();
    eventually("a report of it is answered", || {
        (answered() > before).then_some(())
    });
    assert!(!control.steer("2001:db8:100::7").choices.is_empty());
}
