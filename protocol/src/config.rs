//! The one file, `oca.toml`, that daemon, fill agent and `ocactl` read.
//!
//! Text -> `Written` (as typed, each section with its defaults) -> [`Config`] (what it means: defaults that depend on
//! the role of a tier or on the system are filled in, relations are checked). An unknown key is an error: a misspelt limit
//! that is silently ignored is found on the evening it was meant for.
//!
//! Sections of programs that are not installed ([`Control`], [`Fill`], [`Bgp`]) are checked as well, so that a file is right
//! or wrong for all programs alike.

mod bgp;
mod error;
mod file;
mod locate;
mod section;
mod tls;
mod validate;
mod value;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::limits::CONFIG_MAX_BYTES;
use crate::paths::Paths;
use crate::units::ByteSize;

use file::Written;
use locate::Document;
use validate::Findings;

pub use bgp::{Bgp, Neighbor, NeighborRole};
pub use error::{ConfigError, Problem};
pub use section::{
    AccessLog, Addresses, Backend, Control, Fill, Listen, Log, Pacing, Scrub, Serve, Steering,
    TierRole, Workers,
};
pub use tls::{Certificate, KernelTls, Suite, Tls, TlsVersion};
pub use value::{Auto, BadPrefix, OnMiss, Prefix};

/// A configuration that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// `[appliance]`: who this box is, and where it keeps its state.
    pub appliance: Appliance,
    /// `[listen]`: the addresses.
    pub listen: Listen,
    /// `[tls]`: certificates; present if `listen.https` has addresses.
    pub tls: Option<Tls>,
    /// `[workers]`: cores and memory.
    pub workers: Workers,
    /// `[[tier]]`: the devices, in the order of the file; at least one.
    pub tiers: Vec<Tier>,
    /// `[serve]`: how viewers are served.
    pub serve: Serve,
    /// `[log]`: what is written down of viewers' requests.
    pub log: Log,
    /// `[control]`: the control endpoint.
    pub control: Option<Control>,
    /// `[fill]`: when and how fast content is fetched.
    pub fill: Option<Fill>,
    /// `[scrub]`: how what is stored is read back.
    pub scrub: Scrub,
    /// `[steering]`: what is told to those who send viewers.
    pub steering: Steering,
    /// `[bgp]`: sessions.
    pub bgp: Bgp,
}

/// `[appliance]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appliance {
    /// Unique name: cache . site . operator, as in `c001.fra001.example`.
    pub id: String,
    /// The site, as in `fra001.example`. Default: the id without its first label.
    pub site: String,
    /// What must survive a restart: catalog, operator's intent. Default: `/var/lib/oca`, on FreeBSD `/var/db/oca`.
    pub state_dir: PathBuf,
    /// Sockets; at most 90 bytes. Default: `/run/oca`, on FreeBSD `/var/run/oca`.
    pub run_dir: PathBuf,
}

/// `[[tier]]`: devices of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// Its name in tables and metrics.
    pub name: String,
    /// What it is for.
    pub role: TierRole,
    /// Bytes of one read: a multiple of 64 KiB. Default: 256 KiB for `hot`, 4 MiB for `capacity`.
    pub read_unit: ByteSize,
    /// Bytes laid on one device before going to the next: a multiple of `read_unit` and of 1 MiB.
    /// Default: 1 MiB for `hot`, 8 MiB for `capacity`. A change affects new objects only.
    pub stripe_unit: ByteSize,
    /// Devices that one object is spread over, at most 4 and at most the number of devices.
    /// Default: 2 for `hot` (1 if it has one device), 1 for `capacity`. A change affects new objects only.
    pub stripe_width: u8,
    /// Folders; each is the root of its own file system, unless `shared_fs`.
    pub devices: Vec<PathBuf>,
    /// How fast each device is, relative to the others of this tier, 1 to 1000: of two of one size, the one that is twice as fast gets
    /// twice as much of what is fetched first. Default: none, all alike. A change affects new objects only.
    pub speeds: Vec<u16>,
    /// Folders of this tier may share a file system (a trial on one disk); they then also share its fate. Default: false.
    pub shared_fs: bool,
}

impl Config {
    /// The BGP identifier: `bgp.router_id`, else the first IPv4 service address. There is one if there are neighbours.
    #[must_use]
    pub fn router_id(&self) -> Option<Ipv4Addr> {
        let addresses = self.steering.service_addresses.iter();
        let mut own = addresses.filter_map(|address| match address {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        self.bgp.router_id.or_else(|| own.next())
    }

    /// Where the daemon listens for `ocactl`.
    #[must_use]
    pub fn daemon_socket(&self) -> PathBuf {
        self.appliance.run_dir.join(crate::operator::DAEMON_SOCKET)
    }

    /// Where the fill agent listens for `ocactl`.
    #[must_use]
    pub fn fill_socket(&self) -> PathBuf {
        self.appliance.run_dir.join(crate::fill::FILL_SOCKET)
    }

    /// How full a device is made, in percent of its size: all of it if nothing fills it.
    #[must_use]
    pub fn high_watermark(&self) -> u8 {
        let high = self.fill.as_ref().map(|fill| fill.high_watermark.percent());
        high.and_then(|high| u8::try_from(high).ok()).unwrap_or(100)
    }

    /// Devices whose speeds are given.
    pub fn speeds(&self) -> impl Iterator<Item = (&Path, u16)> {
        self.tiers.iter().flat_map(|tier| {
            let devices = tier.devices.iter().map(PathBuf::as_path);
            devices.zip(tier.speeds.iter().copied())
        })
    }

    /// Every device with its tier, in the order of the file. The position is the device's index.
    pub fn devices(&self) -> impl Iterator<Item = (&Tier, &Path)> {
        self.tiers.iter().flat_map(|tier| {
            tier.devices
                .iter()
                .map(move |device| (tier, device.as_path()))
        })
    }
}

/// Reads and checks the file, and that the files that it names are there.
///
/// # Errors
/// Everything that is wrong, with lines. A file that cannot be read is said without a line.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path).map_err(|message| ConfigError::of_file(path, message))?;
    check(&text, path, Paths::here(), validate::named_files)
}

/// Checks a text; touches no file. `name` stands in messages, `paths` gives the defaults of `state_dir` and `run_dir`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, name: &Path, paths: &Paths) -> Result<Config, ConfigError> {
    check(text, name, paths, |_, _| ())
}

/// Reads another TOML file in the same manner, for a program with a file of its own. `findings` says what is wrong beyond the
/// form: the key (dots between tables, numbers for members of lists) and a message with what is allowed.
///
/// # Errors
/// As [`load`].
pub fn load_as<T: serde::de::DeserializeOwned>(
    path: &Path,
    findings: impl FnOnce(&T) -> Vec<(String, String)>,
) -> Result<T, ConfigError> {
    let text = read(path).map_err(|message| ConfigError::of_file(path, message))?;
    let fail = |problem| ConfigError::new(path, vec![problem]);
    let document = Document::parse(&text).map_err(|error| fail(not_toml(&text, &error)))?;
    let written: T =
        toml::from_str(&text).map_err(|error| fail(misread(&document, &text, &error)))?;
    let problem = |(key, message): (String, String)| Problem {
        line: Some(document.line_of(&key)),
        key: locate::shown(&key),
        message,
    };
    let problems: Vec<Problem> = findings(&written).into_iter().map(problem).collect();
    if problems.is_empty() {
        Ok(written)
    } else {
        Err(ConfigError::new(path, problems))
    }
}

/// `further` looks at a configuration that is right in itself.
fn check(
    text: &str,
    name: &Path,
    paths: &Paths,
    further: impl FnOnce(&Config, &mut Findings<'_, '_>),
) -> Result<Config, ConfigError> {
    let fail = |problem| ConfigError::new(name, vec![problem]);
    let document = Document::parse(text).map_err(|error| fail(not_toml(text, &error)))?;
    let written: Written =
        toml::from_str(text).map_err(|error| fail(misread(&document, text, &error)))?;
    let mut findings = Findings::new(&document);
    let config = validate::resolve(written, paths, &mut findings);
    if findings.is_empty() {
        further(&config, &mut findings);
    }
    if findings.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::new(name, findings.into_problems()))
    }
}

fn not_toml(text: &str, error: &toml::de::Error) -> Problem {
    Problem {
        line: error.span().map(|span| locate::line_at(text, span.start)),
        key: String::new(),
        message: format!(
            "not TOML: {}",
            error.message().trim_end().replace('\n', " ")
        ),
    }
}

fn misread(document: &Document<'_>, text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let (missing, message) = error::plain_words(error.message());
    let mut path = document.path_at(&span);
    if let Some(key) = missing {
        path = if path.is_empty() {
            key
        } else {
            format!("{path}.{key}")
        };
    }
    Problem {
        line: Some(locate::line_at(text, span.start)),
        key: locate::shown(&path),
        message,
    }
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path)
        .map_err(|error| unreadable(&error))?
        .len();
    if length > CONFIG_MAX_BYTES {
        return Err(format!(
            "is {length} bytes long; at most {CONFIG_MAX_BYTES} are read"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read: {error}; name the configuration file with --config FILE")
}
