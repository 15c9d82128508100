//! Puts the agent together: configuration in, loop and doors out; and what can be checked without it.

use std::path::PathBuf;
use std::sync::Arc;

use command_line::out;
use content_store::device;
use platform::door::Door;
use protocol::config::Config;
use protocol::fill::FILL_SOCKET;
use tokio::sync::mpsc;

use crate::agent::book::Book;
use crate::agent::hours::{Clock, Settings};
use crate::agent::{Agent, Ended, Mode};
use crate::control::{ControlEndpoint, Document};
use crate::daemon::Daemon;
use crate::limits::{DEVICE_WAIT, OPERATOR_QUEUE};
use crate::metrics::Scrapes;
use crate::operator;
use crate::scrub::Places;
use crate::state::StateFolder;
use crate::tls::{Files, Tls};
use crate::{facts, survey};

/// Works until SIGTERM, or until `once` is done.
///
/// # Errors
/// What keeps it from starting, with the way out; and why `once` is not complete.
pub fn work(config: Config, path: PathBuf, mode: Mode) -> anyhow::Result<()> {
    command_line::log::start("oca-fill-agent");
    leave_workers_their_cores(&config);
    let door = Door::open(
        &config.appliance.run_dir.join(FILL_SOCKET),
        "oca-fill-agent",
    )?;
    let scrapes = config
        .fill
        .as_ref()
        .map(|fill| Scrapes::at(fill.metrics))
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let daemon = Daemon::at(&config.daemon_socket());
        let agent = Agent::new(config, path, mode)?;
        let counters = agent.counters();
        let (sender, commands) = mpsc::channel(OPERATOR_QUEUE);
        let way = operator::Agent::new(sender);
        tokio::spawn(operator::serve(door.listener()?, way.clone()));
        if let Some(scrapes) = scrapes {
            tokio::spawn(scrapes.serve(way.clone(), counters.clone()));
        }
        tokio::spawn(facts::tell(way, daemon, counters));
        agent.run(commands).await
    });
    // A thread that hangs on a device is left behind.
    runtime.shutdown_background();
    match ended? {
        Ended::Stopped if mode == Mode::Service => Ok(()),
        Ended::Stopped => anyhow::bail!("stopped before all was here"),
        Ended::Complete(why) => Ok(out::line(why)?),
        Ended::Incomplete(why) => anyhow::bail!(why),
    }
}

/// Stays on the cores that the daemon gives no worker, if there are any: it pins them to the first ones. All threads follow.
fn leave_workers_their_cores(config: &Config) {
    let cores = platform::cpu::usable_cores().unwrap_or_default();
    let Some(workers) = config.workers.count.fixed().map(usize::from) else {
        return;
    };
    let others = cores.get(workers..).unwrap_or_default();
    if !others.is_empty()
        && let Err(error) = platform::cpu::keep_to_cores(others)
    {
        tracing::warn!(%error, "the agent shares the cores of the workers");
    }
}

/// Checks all that can be checked without filling.
///
/// # Errors
/// All that is wrong, a line each.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let mut found = Found::default();
    found.see(config);
    found.notes.iter().try_for_each(out::line)?;
    anyhow::ensure!(found.faults.is_empty(), found.faults.join("\n"));
    Ok(out::line("ok")?)
}

#[derive(Default)]
struct Found {
    notes: Vec<String>,
    faults: Vec<String>,
}

impl Found {
    fn see(&mut self, config: &Config) {
        let tls = Tls::new(&Files::of(config), Arc::default());
        self.faults.extend(tls.problems());
        let control = match ControlEndpoint::of(config, &tls) {
            Ok(Some(control)) => Some(control),
            Ok(None) => {
                self.faults
                    .push("the configuration has no [control], so there is no manifest".to_owned());
                None
            }
            Err(problem) => {
                self.faults.push(problem);
                None
            }
        };
        let folder = match StateFolder::open(&config.appliance.state_dir) {
            Ok(folder) => folder,
            Err(problem) => return self.faults.push(problem.to_string()),
        };
        let replaced = [folder.read::<Places>().err(), folder.check_expected().err()];
        let replaced = replaced.into_iter().flatten();
        self.notes
            .extend(replaced.map(|problem| problem.to_string()));
        let book = Book::read(folder, control.as_ref());
        self.faults.extend(book.damage.iter().cloned());
        self.see_window(config, &book);
        // The look says which one is; no thread of this process is to hang in it.
        device::leave_configured_alone(config, DEVICE_WAIT);
        let devices = survey::devices(config).unwrap_or_else(|problem| {
            self.faults.push(problem.to_string());
            Vec::new()
        });
        for device in devices {
            let name = device.root.display();
            match device.found {
                Ok(room) => self
                    .notes
                    .push(format!("{name}: room for {} bytes", room.room_bytes)),
                Err(problem) => self.faults.push(format!("{name}: {problem}")),
            }
        }
        if let Some(control) = control {
            self.see_control(&control);
        }
    }

    fn see_window(&mut self, config: &Config, book: &Book) {
        let clock = Clock::look(config.fill.as_ref());
        if !clock.synchronised {
            self.notes
                .push("the system's clock is not synchronised".to_owned());
        }
        match Settings::of(config, &book.intent) {
            Ok(settings) => {
                let manifest = book.in_force.as_ref().map(|believed| &believed.manifest);
                let offset = crate::agent::hours::site_offset(config, manifest);
                self.notes
                    .push(settings.decide(&clock, &book.intent, offset).why);
            }
            Err(bad) => self.faults.push(bad.to_string()),
        }
    }

    fn see_control(&mut self, control: &ControlEndpoint) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let asked = match runtime {
            Ok(runtime) => runtime.block_on(control.fetch(Document::Tombstones, None)),
            Err(error) => return self.faults.push(error.to_string()),
        };
        match asked {
            Ok(_) => self
                .notes
                .push(format!("{}: answers, and takes the token", control.url())),
            Err(error) => self.faults.push(error.to_string()),
        }
    }
}
