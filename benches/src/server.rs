//! The servers that are compared, each alone on the same cores and serving the same files: on loopback, or out of a namespace.

pub(crate) mod appliance;
mod floor;
mod lighttpd;
mod nginx;
pub(crate) mod oca;

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::floor::Source;
use crate::load::{Object, Target};
use crate::process::{Place, Process};
use crate::tls::Security;
use appliance::Appliance;
use oca::{Admin, SentBytes};

/// A server that does not listen so long after its start has failed.
const START_BOUND: Duration = Duration::from_secs(30);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Debian's nginx, sendfile
    Nginx,
    /// Debian's nginx, aio threads and directio
    NginxThreads,
    /// Debian's lighttpd, sendfile
    Lighttpd,
    /// oca-daemon on io_uring
    OcaUring,
    /// oca-daemon on epoll
    OcaEpoll,
    /// The least that a file server can do: a bare loop of receive, send, sendfile
    Floor,
    /// The same for content on a disk: read past the page cache, and send
    FloorDisk,
    /// The same, and a checksum of all that was read
    FloorChecked,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxThreads => "nginx (threads)",
            Self::Lighttpd => "lighttpd",
            Self::OcaUring => "oca (uring)",
            Self::OcaEpoll => "oca (epoll)",
            Self::Floor => "floor",
            Self::FloorDisk => "floor (disk)",
            Self::FloorChecked => "floor (disk, checked)",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::OcaUring | Self::OcaEpoll)
    }

    /// For a folder.
    pub(crate) fn short(self) -> String {
        self.name().replace([' ', '(', ')', ','], "")
    }
}

/// What a server is given.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Empty folder for its configuration and state.
    pub(crate) folder: &'a Path,
    /// Folder of the files that it serves.
    pub(crate) content: &'a Path,
    pub(crate) objects: &'a [Object],
    /// One worker on each core of it.
    pub(crate) place: &'a Place,
    /// Where it listens.
    pub(crate) host: IpAddr,
    /// Folder of our release binaries.
    pub(crate) programs: &'a Path,
    /// None: without TLS.
    pub(crate) tls: Option<&'a Security>,
    /// Ours only: which devices there are and what lies where; none: all content on two devices.
    pub(crate) appliance: Option<&'a Appliance>,
}

/// Ends with this value.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) process: Process,
    /// Ours only.
    pub(crate) admin: Option<Admin>,
}

/// Starts a server and waits until it listens.
///
/// Errors: it is not installed, or does not start; with its own words.
pub(crate) fn start(kind: Kind, setting: &Setting<'_>) -> Result<Server> {
    std::fs::create_dir_all(setting.folder)?;
    let peer = |(process, address)| (process, setting.target(address), None);
    let ours = |(process, target, admin)| (process, target, Some(admin));
    let started = match kind {
        Kind::Nginx => nginx::start(setting, nginx::Reading::Sendfile).map(peer),
        Kind::NginxThreads => nginx::start(setting, nginx::Reading::Threads).map(peer),
        Kind::Lighttpd => lighttpd::start(setting).map(peer),
        Kind::OcaUring => oca::start(setting, "uring").map(ours),
        Kind::OcaEpoll => oca::start(setting, "epoll").map(ours),
        Kind::Floor => floor::start(setting, Source::Memory).map(peer),
        Kind::FloorDisk => floor::start(setting, Source::Disk).map(peer),
        Kind::FloorChecked => floor::start(setting, Source::CheckedDisk).map(peer),
    };
    let (process, target, admin) = started.with_context(|| format!("starting {}", kind.name()))?;
    Ok(Server {
        kind,
        target,
        process,
        admin,
    })
}

impl Setting<'_> {
    fn workers(&self) -> usize {
        self.place.cores.len()
    }

    fn target(&self, address: SocketAddr) -> Target {
        Target {
            address,
            tls: self.tls.map(|security| security.client.clone()),
        }
    }

    fn free_address(&self) -> Result<SocketAddr> {
        Ok((self.host, free_address()?.port()).into())
    }
}

impl Server {
    /// Brings all of `objects` into memory. Peers have them in the page cache, where they were written.
    pub(crate) fn warm(&self, objects: &[Object]) -> Result<()> {
        match &self.admin {
            Some(admin) => admin.warm(&self.target, objects),
            None => Ok(()),
        }
    }

    /// Whether it uses all of its devices. Others do not know what devices are.
    #[cfg(target_os = "linux")]
    pub(crate) fn devices_are_well(&self) -> Result<bool> {
        let Some(admin) = &self.admin else {
            return Ok(true);
        };
        let status = admin.status()?;
        let devices = status["devices"].as_array();
        let devices = devices.context("the status names no devices")?;
        Ok(devices.iter().all(|device| device["state"] == "ok"))
    }

    /// Bytes sent so far, by where they came from; `None` of a server that cannot tell.
    pub(crate) fn sent_bytes(&self) -> Result<Option<SentBytes>> {
        self.admin.as_ref().map(Admin::sent_bytes).transpose()
    }

    /// Bytes that did not come from memory so far, where the server can tell.
    pub(crate) fn device_bytes(&self) -> Result<u64> {
        self.admin.as_ref().map_or(Ok(0), Admin::device_bytes)
    }
}

/// A port that was free a moment ago: for servers that cannot say which one the kernel gave them.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for_listener(process: &mut Process, address: SocketAddr) -> Result<()> {
    process.wait_until(START_BOUND, || TcpStream::connect(address).ok().map(drop))
}
