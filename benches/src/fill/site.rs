//! One control endpoint, one daemon, one agent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::load::{Object, Target};
use crate::process::Process;
use crate::server::oca::{Admin, metrics, ocactl_json, sum_of};

const START_BOUND: Duration = Duration::from_secs(30);
const APPLIANCE: &str = "bench.local.example";

pub(super) struct Setting<'a> {
    pub(super) folder: &'a Path,
    pub(super) programs: &'a Path,
    /// Content that viewers ask for.
    pub(super) hot: &'a Path,
    /// Content that is filled meanwhile.
    pub(super) fill: &'a Path,
    pub(super) rate_mbit: u64,
    pub(super) server_core: usize,
    pub(super) client_core: usize,
}

pub(super) struct Site {
    /// Where viewers are served.
    pub(super) target: Target,
    ocactl: PathBuf,
    configuration: PathBuf,
    device: PathBuf,
    agent: SocketAddr,
    admin: Admin,
    // Ended in this order.
    _agent: Process,
    _daemon: Process,
    _control: Process,
}

impl Site {
    /// Viewers' content is imported and wanted; the content to fill is wanted and not there.
    pub(super) fn start(setting: &Setting<'_>) -> Result<Self> {
        let folder = setting.folder;
        let program = |name: &str| setting.programs.join(name);
        let (control, control_address) = start_control(setting)?;
        let configuration = folder.join("oca.toml");
        let device = folder.join("nvme0");
        let agent = crate::server::free_address()?;
        std::fs::write(&configuration, box_text(setting, &control_address, agent))?;
        std::fs::create_dir(&device)?;
        let ocactl = program("ocactl");
        ocactl_json(&ocactl, &configuration, &["device", "add", &text(&device)])?;
        ocactl_json(
            &ocactl,
            &configuration,
            &["content", "import", &text(setting.hot)],
        )?;
        let arguments = ["--config", &text(&configuration)];
        let mut daemon = Process::start(
            &program("oca-daemon"),
            &arguments,
            setting.server_core,
            &folder.join("daemon.log"),
        )?;
        let (target, admin) = Admin::of(&mut daemon, ocactl.clone(), configuration.clone(), None)?;
        let arguments = ["--config", &text(&configuration), "run"];
        let mut agent_process = Process::start_idle(
            &program("oca-fill-agent"),
            &arguments,
            setting.server_core,
            &folder.join("agent.log"),
        )?;
        agent_process.wait_until(START_BOUND, || metrics(agent).ok())?;
        Ok(Self {
            target,
            ocactl,
            configuration,
            device,
            agent,
            admin,
            _agent: agent_process,
            _daemon: daemon,
            _control: control,
        })
    }

    pub(super) fn warm(&self, hot: &[Object]) -> Result<()> {
        self.admin.warm(&self.target, hot)
    }

    pub(super) fn pause(&self) -> Result<()> {
        ocactl_json(&self.ocactl, &self.configuration, &["fill", "pause"]).map(drop)
    }

    pub(super) fn resume(&self) -> Result<()> {
        ocactl_json(&self.ocactl, &self.configuration, &["fill", "resume"]).map(drop)
    }

    pub(super) fn fill_status(&self) -> Result<String> {
        run(Command::new(&self.ocactl)
            .arg("--config")
            .arg(&self.configuration)
            .args(["fill", "status"]))
    }

    /// Bytes that came from sources so far.
    pub(super) fn fetched_bytes(&self) -> Result<u64> {
        // No source is listed before the first fill begins; a fill that is not counted at all never reaches its rate.
        Ok(sum_of(&metrics(self.agent)?, "oca_fill_source_bytes_total").unwrap_or(0))
    }

    /// The share of the filled objects' columns that lies in the page cache: `fincore` of util-linux.
    pub(super) fn cached_share(&self, fill: &[Object]) -> Result<f64> {
        let (mut cached, mut size) = (0_u64, 0_u64);
        for object in fill {
            let path = format!("/fill{}", object.path);
            let words = ["content", "stat", &path];
            let Ok(stat) = ocactl_json(&self.ocactl, &self.configuration, &words) else {
                // Not fetched any more before the end.
                continue;
            };
            let id = stat["object"]
                .as_str()
                .context("content stat names no object")?;
            let column = self
                .device
                .join("objects")
                .join(&id[..2])
                .join(&id[2..4])
                .join(format!("{id}.col"));
            let said = run(Command::new("fincore")
                .args(["--bytes", "--noheadings", "--output", "RES,SIZE"])
                .arg(&column))?;
            let mut numbers = said.split_ascii_whitespace().map(str::parse::<u64>);
            let mut number = || {
                numbers
                    .next()
                    .context("fincore says nothing")?
                    .context("fincore")
            };
            cached += number()?;
            size += number()?;
        }
        ensure!(size > 0, "nothing was published: this would prove nothing");
        Ok(cached as f64 / size as f64)
    }
}

/// Keys, the appliance's token, both contents, a manifest; then the server, and where it listens.
fn start_control(setting: &Setting<'_>) -> Result<(Process, String)> {
    let folder = setting.folder;
    let program = setting.programs.join("oca-control");
    let configuration = folder.join("oca-control.toml");
    std::fs::write(&configuration, control_text(folder))?;
    let control = |words: &[&str]| {
        run(Command::new(&program)
            .arg("--config")
            .arg(&configuration)
            .args(words))
    };
    control(&["keygen", &text(&folder.join("control.key"))])?;
    let add = ["appliance", "add", APPLIANCE];
    let token = control(&[&add[..], &["--site", "local", "--cluster", "local"]].concat())?;
    std::fs::write(folder.join("token"), token.trim())?;
    control(&["ingest", &text(setting.hot)])?;
    control(&["ingest", &text(setting.fill), "--prefix", "/fill"])?;
    control(&["build"])?;
    let arguments = ["--config", &text(&configuration), "serve"];
    let log = folder.join("control.log");
    // Idle as well: it is no part of the box, and must not be felt by the clients, whose core it shares.
    let mut process = Process::start_idle(&program, &arguments, setting.client_core, &log)?;
    let address_file = folder.join("control/address");
    let address = process.wait_until(START_BOUND, || {
        let text = std::fs::read_to_string(&address_file).ok()?;
        text.lines().next().map(str::to_owned)
    })?;
    Ok((process, address))
}

fn control_text(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "listen = [\"127.0.0.1:0\"]
state_dir = \"{folder}/control\"
signing_keys = [\"{folder}/control.key\"]
"
    )
}

fn box_text(setting: &Setting<'_>, control: &str, agent: SocketAddr) -> String {
    let (folder, rate) = (setting.folder.display(), setting.rate_mbit);
    format!(
        "[appliance]
id = \"{APPLIANCE}\"
state_dir = \"{folder}/state\"
run_dir = \"{folder}/run\"
[listen]
http = [\"127.0.0.1:0\"]
admin = \"127.0.0.1:0\"
[workers]
count = 1
memory = \"320 MiB\"
[[tier]]
name = \"nvme\"
role = \"hot\"
shared_fs = true
devices = [\"{folder}/nvme0\"]
[control]
url = \"http://{control}/\"
keys = [\"{folder}/control.pub\"]
token_file = \"{folder}/token\"
[fill]
window = \"00:00-24:00\"
rate = \"{rate} Mbit/s\"
metrics = \"{agent}\"
require_synchronised_clock = false
high_watermark = \"99 %\"
low_watermark = \"98 %\"
"
    )
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("what a program said")
}
