//! A network namespace with a veth pair to it (MTU 1500), for loads that shall cross something more like a network than loopback is.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Removed, and its link with it, when this value ends.
pub(crate) struct Namespace {
    name: String,
    /// Where servers in it listen.
    pub(crate) inside: IpAddr,
}

impl Namespace {
    /// Makes one of the name `oca-bench-<process>` and the net 10.213.0.0/30.
    ///
    /// Errors: not root, no `ip` (Debian's iproute2), or another run has made the same net.
    pub(crate) fn make() -> Result<Self> {
        let (outside, inside) = (Ipv4Addr::new(10, 213, 0, 1), Ipv4Addr::new(10, 213, 0, 2));
        let name = format!("oca-bench-{}", std::process::id());
        let (near, far) = ("oca-bench0", "oca-bench1");
        ip(&format!("netns add {name}"))?;
        let namespace = Self {
            name,
            inside: inside.into(),
        };
        let name = &namespace.name;
        ip(&format!(
            "link add {near} mtu 1500 type veth peer name {far} mtu 1500 netns {name}"
        ))?;
        ip(&format!("addr add {outside}/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        ip(&format!("-n {name} addr add {inside}/30 dev {far}"))?;
        ip(&format!("-n {name} link set {far} up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // One end of the pair goes with the namespace, the other with its peer.
        if let Err(error) = ip(&format!("netns del {}", self.name)) {
            eprintln!("{error}");
        }
    }
}

fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .context("cannot start ip (Debian's iproute2)")?;
    ensure!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
