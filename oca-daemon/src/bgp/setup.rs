//! What can be refused is refused before anything runs: files of passwords, addresses to listen at.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use platform::guard;
use protocol::bgp::{Bgp, Feed};
use protocol::config::{self, Config};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use super::peer::Configured;
use super::{Desk, Question};
use crate::limits::BGP_PASSWORD_BYTES;

/// What the speaker starts with.
pub struct Setup {
    pub(super) identifier: Ipv4Addr,
    pub(super) peers: Vec<Configured>,
    pub(super) listeners: Vec<Listening>,
    pub(super) stale_time: Duration,
}

/// A socket that is bound and guarded, and waits for the speaker's runtime.
pub(super) type Listening = TcpSocket;

impl Setup {
    /// `None`: there is no neighbour.
    ///
    /// # Errors
    /// A password that cannot be read, or an address that cannot be had; with the way out.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(identifier) = config
            .router_id()
            .filter(|_| !config.bgp.neighbor.is_empty())
        else {
            return Ok(None);
        };
        let peers = config.bgp.neighbor.iter().map(configured);
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
        let listeners = config
            .bgp
            .listen
            .iter()
            .map(|address| bind(*address, &peers));
        Ok(Some(Self {
            identifier,
            listeners: listeners.collect::<anyhow::Result<_>>()?,
            peers,
            stale_time: config.bgp.stale_time.duration(),
        }))
    }

    /// What the others see of the speaker, before it has begun.
    #[must_use]
    pub fn desk(&self, config: &Config) -> (Arc<Desk>, mpsc::Receiver<Question>) {
        let feed = if config.bgp.static_prefixes.is_empty() {
            Feed::Empty
        } else {
            Feed::Static
        };
        Desk::new(Bgp {
            router_id: self.identifier,
            neighbors: Vec::new(),
            services: Vec::new(),
            feed,
        })
    }
}

fn configured(neighbor: &config::Neighbor) -> anyhow::Result<Configured> {
    let key = neighbor.password_file.as_deref().map(|file| {
        let name = || format!("bgp.neighbor.password_file {}", file.display());
        password(file).with_context(name)
    });
    Ok(Configured {
        neighbor: neighbor.clone(),
        key: key.transpose()?,
    })
}

/// The first line.
fn password(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(file).context("cannot be read by the user of the daemon")?;
    file.take(BGP_PASSWORD_BYTES).read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let key = line.strip_suffix(b"\r").unwrap_or(line);
    let most = guard::KEY_MAX_BYTES;
    anyhow::ensure!(
        (1..=most).contains(&key.len()),
        "its first line has {} bytes; allowed: 1 to {most}",
        key.len()
    );
    Ok(key.to_vec())
}

/// Signed connections are accepted by a listener that knows the key; who has none is let in without.
fn bind(address: SocketAddr, peers: &[Configured]) -> anyhow::Result<Listening> {
    let bound = || -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        let same = |peer: &&Configured| peer.neighbor.address.is_ipv4() == address.is_ipv4();
        for peer in peers.iter().filter(same) {
            let remote = peer.neighbor.address;
            if let Some(key) = &peer.key {
                guard::sign(socket.as_fd(), remote, key)?;
            }
            if peer.neighbor.ttl_security {
                guard::as_direct(socket.as_fd(), remote)?;
            }
        }
        socket.bind(address)?;
        Ok(socket)
    };
    bound().with_context(|| {
        format!("bgp.listen {address}: take an address of this box that no other BGP speaker has")
    })
}

/// In the speaker's runtime.
pub(super) fn listening(socket: Listening) -> io::Result<TcpListener> {
    /// Routers are few.
    const BACKLOG: u32 = 64;
    socket.listen(BACKLOG)
}
