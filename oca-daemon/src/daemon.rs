//! Puts the daemon together: configuration in, threads out; and takes it apart again.
//!
//! Order of the start: what can be refused comes first (catalog, addresses), then the devices, then the first index, and the
//! workers last, so that the first connection finds everything in place.

mod entry;
mod outside;
mod stop;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use command_line::said::in_full;
use content_store::Index;
use content_store::catalog::{CatalogProblem, CatalogReader};
use content_store::device::{self, Intents};
use content_store::limits::DEVICE_WAIT;
use platform::file::memory_bytes;
use platform::reactor::{Backend, choose_backend};
use platform::{cpu, lost_pages, socket};
use protocol::config::{self, Config};
use protocol::status::Sandbox;

use crate::access_log;
use crate::addresses::Addresses;
use crate::admin::words;
use crate::bgp;
use crate::budgets::{Budgets, Needs};
use crate::catalog_watch::CatalogWatch;
use crate::control::self_test::trial;
use crate::control::{Control, Doors};
use crate::devices::{self, Identities};
use crate::interfaces;
use crate::limits::{
    ADDRESS_LEAST, ADDRESS_SHARE, CONNECTIONS_PER_WORKER, FIRST_LOOK, LET_IN_WAIT,
};
use crate::listener::{self, Listeners, ViewerSocket};
use crate::memory_tier::MemoryTier;
use crate::relief::Relief;
use crate::report::Reporter;
use crate::sandbox;
use crate::shared::Shared;
use crate::succession::successor::Legacy;
use crate::tls::Tls;
use crate::worker::{Setup, Worker};

pub use entry::Origin;
use entry::{Entry, Place};
use stop::stop;

/// What `check` found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What an operator may want to know.
    pub notes: Vec<String>,
    /// What keeps the daemon from starting, or a part of it from serving.
    pub faults: Vec<String>,
}

/// Checks all that can be checked without serving, also what is not a successor's to try: another daemon may have it.
pub fn check(config: &Config) -> Findings {
    let mut findings = check_itself(config);
    outside::look(config, &mut findings);
    findings
}

/// Checks what does not depend on who serves now.
pub fn check_itself(config: &Config) -> Findings {
    let mut findings = Findings::default();
    match choose_backend(wanted_backend(config)) {
        Ok(chosen) => findings
            .notes
            .push(format!("backend {}: {}", chosen.backend, chosen.reason)),
        Err(error) => findings.faults.push(error.to_string()),
    }
    let roots: Vec<&Path> = config.devices().map(|(_, root)| root).collect();
    device::leave_silent_alone(&roots, &Intents::default(), DEVICE_WAIT);
    for root in roots {
        match device::open(root) {
            Ok(found) => findings
                .notes
                .push(format!("{}: device {}", root.display(), found.id())),
            Err(problem) => findings.faults.push(problem.to_string()),
        }
    }
    let mut objects = 0;
    match CatalogReader::open(&config.appliance.state_dir).and_then(|mut reader| reader.load()) {
        Ok(read) => {
            objects = read.objects.len() as u64;
            findings
                .notes
                .push(format!("catalog: readable, {objects} objects"));
        }
        Err(CatalogProblem::Missing { .. }) => findings
            .notes
            .push("catalog: none yet; nothing was imported".to_owned()),
        Err(problem) => findings.faults.push(problem.to_string()),
    }
    findings.faults.extend(missing_log_folder(config));
    check_tls(config, &mut findings);
    let bgp = bgp::Setup::of(config);
    let broken = bgp.err().map(|error| in_full(error.as_ref()));
    findings.faults.extend(broken);
    findings.notes.extend(without_effect(config));
    check_memory(config, objects, &mut findings);
    findings
}

/// Serves until SIGTERM.
///
/// # Errors
/// What keeps the daemon from starting, with the way out; and what broke a worker.
pub fn run(config: Config, config_path: PathBuf, origin: Origin) -> anyhow::Result<()> {
    socket::ignore_sigpipe();
    lost_pages::survive().context("the handler of SIGBUS")?;
    let descriptors = socket::raise_descriptor_limit().context("the limit of open descriptors")?;
    let sandbox = enter_sandbox(&config, &config_path);
    let chosen = choose_backend(wanted_backend(&config))?;
    let workers = worker_count(&config);
    let connections = connections_per_worker(&config, workers, descriptors);
    reserve_descriptors(u64::from(connections) * workers as u64, descriptors);
    let budgets = Budgets::of(&config);
    let tls = Tls::of(&config, SystemTime::now().into())?;
    let bgp = bgp::Setup::of(&config)?.map(|setup| (setup.desk(&config), setup));
    let (desk, speaking) = bgp
        .map(|((desk, asked), setup)| (desk, (setup, asked)))
        .unzip();
    let Entry {
        doors,
        listeners,
        legacy,
        place,
    } = Entry::of(origin, &config, workers, tls.as_ref())?;
    let Listeners {
        by_worker,
        addresses,
        ..
    } = listeners;
    let relief = Relief::of(&by_worker).context("another name of each listening socket")?;
    let identities = identities(&config);
    let damage = Arc::default();
    let devices = devices::start(&config, &identities, &damage, budgets.in_flight)?;
    let index = Arc::new(Index::default());
    let config = Arc::new(config);
    let shared = Shared::new(config, index, devices, workers, addresses, chosen)
        .with_tls(tls.map(Arc::new))
        .with_bgp(desk)
        .with_damage(damage)
        .with_relief(relief)
        .with_identities(identities);
    let shared = Arc::new(shared);
    budgets.announce(&shared);
    warn_of_what_lacks(&shared)?;
    let mut watch = CatalogWatch::open(Arc::clone(&shared))?;
    shared.identities.await_first_look(FIRST_LOOK);
    watch.look();
    let mut threads = start_threads(&shared, watch)?;
    let entering = Entering {
        doors,
        config_path,
        sandbox,
        legacy,
        place,
    };
    let (control, workers) = entering.bring_in(&shared, by_worker, connections)?;
    let reporter = Reporter::new(Arc::clone(control.admin()));
    let speaker = speaking
        .and_then(|(setup, asked)| bgp::Speaker::new(Arc::clone(control.admin()), setup, asked));
    threads.extend(start_speaking(reporter, speaker)?);
    tell_where(&shared);
    let result = control.run();
    stop(&shared, workers, threads)?;
    result
}

/// Those of the devices, with what operators want of them.
fn identities(config: &Config) -> Arc<Identities> {
    let identities = Identities::new(config.devices().count());
    match Intents::read(&config.appliance.state_dir) {
        Ok(intents) => identities.obey(intents),
        Err(problem) => tracing::error!(%problem, "all devices are used"),
    }
    identities
}

fn tell_where(shared: &Shared) {
    for listener in &shared.listening {
        let (address, purpose) = (listener.address, listener.purpose);
        tracing::info!(%address, ?purpose, backend = %shared.chosen.backend, reason = shared.chosen.reason, "listening");
    }
}

/// What the control loop is made of.
struct Entering {
    doors: Doors,
    config_path: PathBuf,
    sandbox: Sandbox,
    legacy: Option<Legacy>,
    place: Option<Place>,
}

impl Entering {
    /// Starts the workers, and with the end of it viewers are let in.
    fn bring_in(
        mut self,
        shared: &Arc<Shared>,
        listeners: Vec<Vec<ViewerSocket>>,
        connections: u32,
    ) -> anyhow::Result<(Control, Vec<WorkerThread>)> {
        let Some(place) = self.place.take() else {
            // Before the workers: a drained box refuses viewers from its first moment.
            let control = self.control(shared);
            let none = listeners.iter().map(|_| Vec::new()).collect();
            let workers = start_workers(shared, listeners, none, connections)?;
            return Ok((control, workers));
        };
        let (sockets, tried) = listener::trial(&shared.config.load().listen, shared.workers.len())?;
        let workers = start_workers(shared, listeners, sockets, connections)?;
        trial(&tried)?;
        place.successor.ready()?;
        // Only now, as an operator may have wanted something else meanwhile.
        let mut control = self.control(shared);
        let_in(shared)?;
        control.take_door()?;
        place.successor.serving(&place.parent)?;
        Ok((control, workers))
    }

    fn control(self, shared: &Arc<Shared>) -> Control {
        Control::new(self.doors, shared, self.config_path, self.sandbox).with_legacy(self.legacy)
    }
}

/// Lets viewers in, beside the daemon that has served them so far.
fn let_in(shared: &Shared) -> anyhow::Result<()> {
    shared.let_in();
    let asked = Instant::now();
    while shared.opened() < shared.workers.len() {
        anyhow::ensure!(
            asked.elapsed() < LET_IN_WAIT,
            "a worker does not let viewers in"
        );
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(())
}

/// Before the first thread, so that all are kept to it.
fn enter_sandbox(config: &Config, config_path: &Path) -> Sandbox {
    let entered = sandbox::enter(config, config_path);
    let (enforced, detail) = (entered.enforced, &entered.detail);
    if enforced && detail.is_empty() {
        tracing::info!("kept to its own files by Landlock");
    } else {
        tracing::warn!(enforced, detail, "not kept to its own files alone");
    }
    Sandbox {
        enforced,
        detail: entered.detail,
        no_new_privileges: entered.no_new_privileges,
    }
}

/// Whether the access log has a folder to lie in. The daemon serves without; it loses lines until the folder is there.
fn missing_log_folder(config: &Config) -> Option<String> {
    let folder = config.log.access.as_ref()?.path.parent()?;
    (!folder.is_dir()).then(|| {
        let folder = folder.display();
        format!("log.access: there is no folder {folder}; make it, for the user of the daemon to write to")
    })
}

/// An expired certificate keeps nobody from starting, and is a fault all the same: viewers refuse it.
fn check_tls(config: &Config, findings: &mut Findings) {
    let now = SystemTime::now().into();
    let tls = match Tls::of(config, now) {
        Ok(tls) => tls,
        Err(problem) => return findings.faults.push(problem.to_string()),
    };
    for pair in tls
        .iter()
        .flat_map(|tls| tls.certificates.set().pairs.clone())
    {
        findings.notes.push(format!(
            "{}: {}, {}, until {}",
            pair.files.cert.display(),
            pair.leaf.key_type,
            pair.leaf.names.join(" "),
            words::date(pair.not_after())
        ));
        let problem = pair.out_of_time(now);
        findings.faults.extend(problem.map(|it| it.to_string()));
    }
}

/// Whether all of it fits into this machine when as many viewers come as may.
fn check_memory(config: &Config, objects: u64, findings: &mut Findings) {
    let descriptors = socket::raise_descriptor_limit().unwrap_or(u64::MAX);
    let workers = worker_count(config);
    let each = connections_per_worker(config, workers, descriptors);
    let connections = u64::from(each).saturating_mul(workers as u64);
    let needs = Needs::of(config, memory_bytes(), connections, objects);
    match needs.fault() {
        Some(fault) => findings.faults.push(fault),
        None => findings.notes.push(needs.note()),
    }
    findings.notes.extend(Budgets::of(config).warning);
}

fn worker_count(config: &Config) -> usize {
    let fixed = config.workers.count.fixed();
    fixed.map_or_else(cpu::core_count, usize::from)
}

/// What the configuration asks for and this release does not do yet: said, so that nobody relies on it.
fn without_effect(config: &Config) -> Vec<String> {
    let on_miss = matches!(config.serve.on_miss, config::OnMiss::Redirect(_));
    let asked = [(
        on_miss,
        "serve.on_miss: a path that is not here is answered 404, not redirected, yet",
    )];
    let said = asked.into_iter().filter(|(asked, _)| *asked);
    said.map(|(_, note)| format!("without effect: {note}"))
        .collect()
}

fn warn_of_what_lacks(shared: &Arc<Shared>) -> std::io::Result<()> {
    let config = shared.config.load_full();
    let notes = without_effect(&config);
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    // The state disk may hang.
    let (said, heard) = mpsc::channel::<()>();
    named("oca-look").spawn(move || {
        outside::warn_of_state_dir(&config);
        drop(said);
    })?;
    let _ = heard.recv_timeout(FIRST_LOOK);
    Ok(())
}

fn wanted_backend(config: &Config) -> Option<Backend> {
    config.workers.backend.fixed().map(|backend| match backend {
        config::Backend::Uring => Backend::Uring,
        config::Backend::Epoll => Backend::Epoll,
        config::Backend::Kqueue => Backend::Kqueue,
    })
}

/// Each connection costs a descriptor; some are left for files and everything else.
fn connections_per_worker(config: &Config, workers: usize, descriptors: u64) -> u32 {
    let wanted = config
        .serve
        .max_connections
        .fixed()
        .map_or(u64::from(CONNECTIONS_PER_WORKER), |all| {
            u64::from(all).div_ceil(workers as u64)
        });
    let possible = descriptors.saturating_mul(3) / 4 / workers as u64;
    wanted.min(possible).clamp(1, u64::from(u32::MAX >> 4)) as u32
}

/// A place for each connection, and a third as many for all else, so that no worker ever waits for the kernel's table to grow.
fn reserve_descriptors(connections: u64, most: u64) {
    let wanted = connections.saturating_mul(4) / 3 + 64;
    if let Err(error) = socket::reserve_descriptors(wanted.min(most)) {
        tracing::warn!(%error, "the table of descriptors grows while viewers are served");
    }
}

/// One address may have a good part of all connections, for NATs, and never all of them.
fn connections_per_address(config: &Config, all: u64) -> u32 {
    let wanted = config.serve.max_connections_per_address.fixed();
    wanted.unwrap_or_else(|| (all / ADDRESS_SHARE).max(ADDRESS_LEAST) as u32)
}

fn start_threads(shared: &Arc<Shared>, watch: CatalogWatch) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let tier = MemoryTier::new(Arc::clone(shared));
    let mut threads = vec![
        named("oca-memory").spawn(move || tier.run())?,
        named("oca-catalog").spawn(move || watch.run())?,
    ];
    let looked_at = Arc::clone(shared);
    // Not waited for at the end: a driver may keep it.
    named("oca-interfaces").spawn(move || interfaces::follow(&looked_at))?;
    if let Some(log) = &shared.access_log {
        let writer = access_log::Writer::new(Arc::clone(log));
        threads.push(named("oca-access-log").spawn(move || writer.run())?);
    }
    Ok(threads)
}

/// Those who tell others of this box: one process at a time.
fn start_speaking(
    reporter: Option<Reporter>,
    speaker: Option<bgp::Speaker>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    if let Some(speaker) = speaker {
        threads.push(named("oca-bgp").spawn(move || speaker.run())?);
    }
    if let Some(reporter) = reporter {
        threads.push(named("oca-report").spawn(move || reporter.run())?);
    }
    Ok(threads)
}

fn named(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

type WorkerThread = JoinHandle<std::io::Result<u64>>;

fn start_workers(
    shared: &Arc<Shared>,
    listeners: Vec<Vec<ViewerSocket>>,
    trial: Vec<Vec<ViewerSocket>>,
    connections: u32,
) -> anyhow::Result<Vec<WorkerThread>> {
    let cores = cpu::usable_cores().unwrap_or_default();
    let all = u64::from(connections) * listeners.len() as u64;
    let most = connections_per_address(&shared.config.load(), all);
    let addresses = Arc::new(Addresses::new(most));
    let mut threads = Vec::new();
    for (number, (listeners, trial)) in listeners.into_iter().zip(trial).enumerate() {
        let setup = Setup {
            number,
            cores: cores.clone(),
            backend: shared.chosen.backend,
            connections,
            addresses: Arc::clone(&addresses),
            listeners,
            trial,
            counters: Arc::clone(&shared.workers[number]),
            shared: Arc::clone(shared),
        };
        let core = cores.get(number % cores.len().max(1)).copied();
        let name = format!("oca-worker-{number}");
        threads.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(move || work(core, setup))?,
        );
    }
    Ok(threads)
}

fn work(core: Option<usize>, setup: Setup) -> std::io::Result<u64> {
    if let Some(Err(error)) = core.map(cpu::pin_to_core) {
        tracing::warn!(%error, "the worker is not pinned to a core");
    }
    let shared = Arc::clone(&setup.shared);
    let result = Worker::new(setup).and_then(|mut worker| worker.run());
    if let Err(error) = &result {
        // A box with a dead worker would leave every nth connection without an answer.
        tracing::error!(%error, "a worker cannot go on; the daemon stops");
        shared.change_service(crate::shared::Service::Stopping {
            until: std::time::Instant::now(),
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::paths::LINUX;
    use std::path::Path;

    fn said(more: &str) -> Vec<String> {
        let text = format!(
            "[appliance]\nid = \"c.s.example\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n{more}\n\
             [[tier]]\nname = \"t\"\nrole = \"hot\"\ndevices = [\"/srv/a\"]\n"
        );
        let config = config::parse(&text, Path::new("oca.toml"), &LINUX).unwrap();
        without_effect(&config)
    }

    #[test]
    fn what_is_asked_for_and_not_done_is_said() {
        assert_eq!(said(""), Vec::<String>::new());
        let notes = said("[serve]\non_miss = { redirect = \"https://c.example/\" }");
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("without effect: serve.on_miss: "),
            "{}",
            notes[0]
        );
    }
}
