//! Ours: the files imported by `ocactl` into the devices of an [`Appliance`].

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::appliance::Appliance;
use super::{START_BOUND, Setting};
use crate::load::{self, Check, Load, Object, Rate, Target, Until};
use crate::process::Process;
use crate::tls::Client;

/// The tier takes in what is asked for often; if all of it has not come in by then, something is wrong.
const WARM_BOUND: Duration = Duration::from_secs(120);

/// What can be asked of a running daemon beside content.
pub(crate) struct Admin {
    address: SocketAddr,
    backend: String,
    ocactl: PathBuf,
    configuration: PathBuf,
}

pub(super) fn start(setting: &Setting<'_>, backend: &str) -> Result<(Process, Target, Admin)> {
    let program = |name| {
        let path = setting.programs.join(name);
        ensure!(
            path.exists(),
            "no {}: build with `cargo build --release`",
            path.display()
        );
        Ok(path)
    };
    let (daemon, ocactl) = (program("oca-daemon")?, program("ocactl")?);
    let configuration = setting.folder.join("oca.toml");
    let default = Appliance::of(setting);
    let appliance = setting.appliance.unwrap_or(&default);
    let text = appliance.text(setting, backend);
    std::fs::write(&configuration, text)?;
    appliance.prepare(&ocactl, &configuration)?;

    let log = setting.folder.join("log");
    let arguments = ["--config", &configuration.display().to_string()];
    let mut process = Process::start(&daemon, &arguments, setting.place.clone(), &log)?;
    let client = setting.tls.map(|security| security.client.clone());
    let (target, admin) = Admin::of(&mut process, ocactl, configuration, client)?;
    let used = &admin.backend;
    ensure!(
        used == backend,
        "it runs on {used:?} instead of {backend:?}"
    );
    Ok((process, target, admin))
}

pub(crate) fn ocactl_json(
    ocactl: &Path,
    configuration: &Path,
    words: &[&str],
) -> Result<serde_json::Value> {
    let output = Command::new(ocactl)
        .arg("--config")
        .arg(configuration)
        .args(words)
        .arg("--json")
        .output()?;
    if !output.status.success() {
        bail!(
            "ocactl {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("ocactl {} --json", words.join(" ")))
}

fn listener(status: &serde_json::Value, purpose: &str) -> Result<SocketAddr> {
    status["listeners"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|listener| listener["purpose"] == purpose)
        .and_then(|listener| listener["address"].as_str())
        .with_context(|| format!("the status names no listener for {purpose}"))?
        .parse()
        .context("the address of a listener")
}

impl Admin {
    /// Waits until a daemon listens, for TLS if there is a client for it; where, and what can be asked of it.
    pub(crate) fn of(
        daemon: &mut Process,
        ocactl: PathBuf,
        configuration: PathBuf,
        tls: Option<Client>,
    ) -> Result<(Target, Self)> {
        let purpose = if tls.is_some() { "https" } else { "http" };
        let status = daemon.wait_until(START_BOUND, || {
            let status = ocactl_json(&ocactl, &configuration, &["status"]).ok()?;
            listener(&status, purpose).is_ok().then_some(status)
        })?;
        let admin = Self {
            address: listener(&status, "admin")?,
            backend: status["backend"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            ocactl,
            configuration,
        };
        let address = listener(&status, purpose)?;
        Ok((Target { address, tls }, admin))
    }

    /// Where `/metrics` is.
    #[cfg(target_os = "linux")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the daemon says of itself.
    pub(crate) fn status(&self) -> Result<serde_json::Value> {
        self.ask(&["status"])
    }

    /// What `ocactl` answers.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<serde_json::Value> {
        ocactl_json(&self.ocactl, &self.configuration, words)
    }

    /// Asks for everything until all of it is locked in memory.
    pub(crate) fn warm(&self, target: &Target, objects: &[Object]) -> Result<()> {
        let wanted: u64 = objects.iter().map(|object| object.size).sum();
        let begun = Instant::now();
        for round in 1.. {
            // Each run asks for the same ranges in the same order: only a longer one comes to others.
            load::run(&Load {
                target,
                objects,
                connections: 32,
                range_bytes: 1 << 20,
                rate: Rate::Full,
                until: Until::Elapsed(Duration::from_millis(500) * round),
                check: Check::Length,
            })?;
            let status = self.status()?;
            let locked = status["memory"]["locked"].as_u64().unwrap_or(0);
            if locked >= wanted {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < WARM_BOUND,
                "only {locked} of {wanted} bytes are in memory after {WARM_BOUND:?}: {}",
                status["memory"]["remark"]
            );
        }
        Ok(())
    }

    pub(super) fn sent_bytes(&self) -> Result<SentBytes> {
        let text = metrics(self.address)?;
        let of = |source| sum_where(&text, "oca_sent_bytes_total", source);
        Ok(SentBytes {
            memory: of("source=\"memory\"")?,
            device: of("source=\"device\"")?,
        })
    }

    /// Bytes read from devices so far: while content comes from memory, this stands still.
    pub(crate) fn device_bytes(&self) -> Result<u64> {
        sum_of(&metrics(self.address)?, "oca_device_read_bytes_total")
    }
}

/// Since the daemon started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentBytes {
    memory: u64,
    device: u64,
}

impl SentBytes {
    /// The share of devices in what was sent after `before`.
    pub(crate) fn device_share_since(self, before: Self) -> f64 {
        let device = self.device - before.device;
        let all = device + self.memory - before.memory;
        device as f64 / all.max(1) as f64
    }
}

/// What `/metrics` says, with its head.
pub(crate) fn metrics(address: SocketAddr) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    write!(
        socket,
        "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The sum over all labels of a metric in Prometheus text.
pub(crate) fn sum_of(text: &str, metric: &str) -> Result<u64> {
    sum_where(text, metric, "")
}

/// The sum over those of its lines that hold `label`.
fn sum_where(text: &str, metric: &str, label: &str) -> Result<u64> {
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(metric))
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse().ok())
        .collect();
    ensure!(!values.is_empty(), "/metrics has no {metric}");
    Ok(values.iter().sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE a_total counter\na_total{device=\"x y\"} 40\na_total{device=\"z\"} 2\na_total_b 7\n";
        assert_eq!(sum_of(text, "a_total").unwrap(), 42);
        assert_eq!(sum_where(text, "a_total", "\"z\"").unwrap(), 2);
        assert!(sum_of(text, "missing").is_err());
    }
}
