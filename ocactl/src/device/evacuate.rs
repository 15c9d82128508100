//! `ocactl device evacuate`: the fill agent does it; without one, this command.

use std::path::{Path, PathBuf};

use content_store::device::{Blast, Wanted};
use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::{DeviceId, Repaired, Store, StoreError, Stranded};
use protocol::config::Config;
use serde::Serialize;

use super::meant::{Known, Meant};
use super::wanted::{change, intent, tell};
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::EVACUATION_POLL_INTERVAL;
use crate::output::{self, Format, Report, bytes, count};
use crate::store;
use crate::watched::{self, Work};

/// Evacuates.
pub(super) fn run(
    config: &Config,
    format: Format,
    path: &Path,
    wait: bool,
) -> Result<Outcome, Failure> {
    if watched::place()?.is_some() {
        return move_all(config);
    }
    let known = Known::of(config);
    let meant = Meant::by(config, &known, path)?;
    known.must_know(&meant.root)?;
    let Some(device) = &meant.device else {
        return Err(Failure::failed(format!(
            "{} is not here, so nothing can be copied from it; see `ocactl device ls`",
            meant.root.display()
        )));
    };
    let id = device.id();
    let intent = intent(&meant, Some(id), Wanted::Evacuating, None);
    change(config, |intents| intents.want(intent))?;
    let told = tell(config).err();
    let ended = match known.agent {
        None => Some(watched::run(config, &mut Moves)?),
        Some(_) => None,
    };
    let left = match wait && known.agent.is_some() {
        true => await_all(config, &meant.root, id)?,
        false => left_on(config, &meant.root, id)?,
    };
    let goes_on = known.agent.is_some() && !wait;
    let outcome = match left.objects_alone > 0 && !goes_on {
        true => Outcome::Partly,
        false => Outcome::Done,
    };
    output::print(
        format,
        &Evacuated {
            path: meant.root,
            id,
            blast: left,
            agent_running: known.agent.is_some(),
            problem: told,
        },
    )?;
    ended.map_or(Ok(outcome), |ended| ended.with(outcome))
}

/// What has been moved is in the catalog: the next child finds what is left there.
struct Moves;

impl Work for Moves {
    fn begin(&self) -> String {
        String::new()
    }

    fn take(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }
}

/// Waits for the fill agent until nothing lies on the device alone, or nothing changes any more.
fn await_all(config: &Config, root: &Path, id: DeviceId) -> Result<Blast, Failure> {
    let mut before = Blast::default();
    let mut same = 0;
    loop {
        let blast = left_on(config, root, id)?;
        same = if blast == before { same + 1 } else { 0 };
        if blast.objects_alone == 0 || same >= STANDS_STILL {
            return Ok(blast);
        }
        before = blast;
        std::thread::sleep(EVACUATION_POLL_INTERVAL);
    }
}

fn left_on(config: &Config, root: &Path, id: DeviceId) -> Result<Blast, Failure> {
    let known = Known::of(config);
    known.must_know(root)?;
    Ok(known.blast(Some(id)))
}

/// Looks without any change after which it is not waited for any more.
const STANDS_STILL: u32 = 120;

/// Under the writer lock; of each object that is moved it says the name.
fn move_all(config: &Config) -> Result<Outcome, Failure> {
    let mut store = store::open(config)?;
    let stranded = store.stranded()?;
    for batch in stranded.chunks(MAX_BATCH_OBJECTS) {
        let mut moved = Vec::new();
        for stranded in batch {
            moved.extend(copied(&store, stranded)?);
            watched::say(&stranded.object)?;
        }
        if !moved.is_empty() {
            store.finish_repairs(moved)?;
        }
    }
    let oldest = match Daemon::at(config.daemon_socket()).reload() {
        Ok(in_use) => content_store::Generation(in_use.oldest_in_use),
        Err(error) if error.is_not_running() => store.generation()?,
        Err(error) => return Err(error.into()),
    };
    store.reap(oldest)?;
    Ok(Outcome::Done)
}

/// `None` for what stays, which was said.
fn copied(store: &Store, stranded: &Stranded) -> Result<Option<Repaired>, Failure> {
    let begun = match store.vacate(&stranded.object, stranded.placed) {
        Err(error @ StoreError::NoRoom { .. }) => {
            eprintln!("ocactl: {error}");
            None
        }
        begun => begun?,
    };
    let Some(mut repairing) = begun else {
        return Ok(None);
    };
    if !repairing.copy_here()? {
        eprintln!("ocactl: object {} cannot be read", stranded.object);
        return Ok(None);
    }
    Ok(Some(repairing.seal()?))
}

#[derive(Serialize)]
struct Evacuated {
    path: PathBuf,
    id: DeviceId,
    #[serde(flatten)]
    blast: Blast,
    agent_running: bool,
    /// Why it is written down, and not begun yet.
    problem: Option<String>,
}

impl Report for Evacuated {
    fn text(&self) -> String {
        let path = self.path.display();
        let mut text = match (self.blast.objects_alone, self.agent_running) {
            (0, _) => {
                format!(
                    "nothing lies on {path} alone: `ocactl device remove {path}`, then it may be pulled"
                )
            }
            (objects, true) => format!(
                "{path} is being evacuated: it alone holds {} of {} still; `ocactl device ls` says how many",
                count(objects, "object"),
                bytes(self.blast.bytes_alone)
            ),
            (objects, false) => format!(
                "{path} alone holds {} of {}, for which its tier has no other place",
                count(objects, "object"),
                bytes(self.blast.bytes_alone)
            ),
        };
        if let Some(problem) = &self.problem {
            text.push_str(&format!("\nit is written down, but {problem}"));
        }
        text
    }
}
