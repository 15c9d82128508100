//! `ocactl content rm`: the catalog first, then the daemon lets go, then the files.

use std::collections::BTreeSet;
use std::time::Instant;

use content_store::{Generation, Store};
use protocol::config::Config;
use serde::Serialize;

use super::{Settled, is_below, settle};
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::{LET_GO_TIMEOUT, POLL_INTERVAL};
use crate::output::{self, Format, Report, bytes, count};
use crate::store;

/// Removes paths. All of them are published, or none is removed.
pub(super) fn run(
    config: &Config,
    format: Format,
    paths: &[String],
    recursive: bool,
) -> Result<Outcome, Failure> {
    let mut store = store::open(config)?;
    let wanted = wanted(config, paths, recursive)?;
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let generation = store.remove(&names)?;
    let settled = let_go(config, &mut store, generation)?;
    let removed = Removed {
        generation: generation.0,
        paths: wanted,
        objects: settled.reaped.objects,
        bytes: settled.reaped.bytes,
        waiting: settled.reaped.waiting + settled.reaped.away,
        daemon_running: settled.served,
    };
    output::print(format, &removed)?;
    match settled.problem {
        None => Ok(Outcome::Done),
        Some(problem) => Err(Failure::failed(format!(
            "the paths are removed, but {problem}; their files stay until it answers and the next import or rm ends"
        ))),
    }
}

fn wanted(config: &Config, paths: &[String], recursive: bool) -> Result<BTreeSet<String>, Failure> {
    let snapshot = store::snapshot(config)?;
    let published: BTreeSet<&str> = snapshot
        .paths
        .iter()
        .map(|(_, entry)| &*entry.path)
        .collect();
    let mut wanted = BTreeSet::new();
    for path in paths {
        let matches = |name: &&&str| {
            if recursive {
                is_below(name, path)
            } else {
                **name == path
            }
        };
        let before = wanted.len();
        wanted.extend(
            published
                .iter()
                .filter(matches)
                .map(|name| (*name).to_owned()),
        );
        if wanted.len() == before && !wanted.iter().any(|name| matches(&&name.as_str())) {
            let below = published.iter().any(|name| is_below(name, path));
            let hint = if below {
                "there are paths below it, which --recursive would remove"
            } else {
                "ocactl content ls lists what is"
            };
            return Err(Failure::failed(format!(
                "{path} is not published; {hint}; nothing was removed"
            )));
        }
    }
    Ok(wanted)
}

/// Waits until the daemon uses the removed paths no longer, and unlinks what nothing leads to.
fn let_go(config: &Config, store: &mut Store, generation: Generation) -> Result<Settled, Failure> {
    let mut settled = settle(config, store, generation)?;
    let daemon = Daemon::at(config.daemon_socket());
    let started = Instant::now();
    while settled.served && settled.reaped.waiting > 0 && started.elapsed() < LET_GO_TIMEOUT {
        let oldest = match daemon.generation() {
            Ok(in_use) => Generation(in_use.oldest_in_use),
            Err(error) if error.is_not_running() => generation,
            Err(error) => {
                return Ok(Settled {
                    problem: Some(error),
                    ..settled
                });
            }
        };
        if oldest >= generation {
            let reaped = store.reap(oldest)?;
            settled.reaped.objects += reaped.objects;
            settled.reaped.bytes += reaped.bytes;
            settled.reaped.waiting = reaped.waiting;
            settled.reaped.away = reaped.away;
            break;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(settled)
}

#[derive(Serialize)]
struct Removed {
    generation: u64,
    paths: BTreeSet<String>,
    /// Objects whose files are gone.
    objects: u64,
    bytes: u64,
    /// Objects whose files are still in use, or on a device that is not here.
    waiting: u64,
    daemon_running: bool,
}

impl Report for Removed {
    fn text(&self) -> String {
        let mut text = format!("removed {}", count(self.paths.len() as u64, "path"));
        let freed = format!(
            "; deleted {}, {}",
            count(self.objects, "object"),
            bytes(self.bytes)
        );
        text.push_str(&freed);
        if self.waiting > 0 {
            let waiting = count(self.waiting, "object");
            text.push_str(&format!(
                "\n{waiting} still in use, or on a device that is not here: deleted after a later import or rm"
            ));
        }
        text
    }
}
