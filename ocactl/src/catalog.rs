//! `ocactl catalog`: the index of all content.

use std::collections::HashSet;
use std::time::SystemTime;

use content_store::catalog::{CatalogProblem, CatalogReader, ObjectRecord, Snapshot};
use content_store::{Device, DeviceSlot, Incomplete, ObjectId, Rebuilt, unknown_sidecars};
use protocol::config::Config;
use serde::{Deserialize, Serialize};

use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, count};
use crate::progress::Progress;
use crate::store;
use crate::watched::{self, Work};

/// Makes it anew from what the devices hold, and makes the daemon look.
pub(crate) fn rebuild(config: &Config, format: Format) -> Result<Outcome, Failure> {
    if watched::place()?.is_some() {
        return make(config);
    }
    let mut rebuilding = Rebuilding {
        progress: Progress::of("sidecars read"),
        rebuilt: None,
    };
    let ended = watched::run(config, &mut rebuilding)?;
    drop(rebuilding.progress);
    let Some(rebuilt) = rebuilding.rebuilt else {
        return ended.with(Outcome::Partly);
    };
    let on_purpose = |object: &Incomplete| object.gone_on_purpose;
    let lacking = !(rebuilt.incomplete.iter().all(on_purpose)
        && rebuilt.unusable.is_empty()
        && rebuilt.absent.is_empty());
    output::print(format, &Shown(rebuilt))?;
    match Daemon::at(config.daemon_socket()).reload() {
        Ok(_) => {}
        Err(error) if error.is_not_running() => {}
        Err(error) => {
            return Err(Failure::failed(format!(
                "the catalog is made anew, but {error}; restart the daemon"
            )));
        }
    }
    ended.with(if lacking {
        Outcome::Partly
    } else {
        Outcome::Done
    })
}

/// What a child says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// So many sidecars are read.
    Read(u64),
    /// The catalog is made anew.
    Made(Rebuilt),
}

/// Less than are read in [`CHILD_QUIET`](crate::limits::CHILD_QUIET) from a slow disk, and enough not to be felt.
const SIDECARS_PER_LINE: u64 = 64;

/// In a child: makes it.
fn make(config: &Config) -> Result<Outcome, Failure> {
    store::refuse_wrong_user(config)?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // Whether anybody hears of it is found out at the end.
    let progress = |read: u64| {
        if read.is_multiple_of(SIDECARS_PER_LINE) {
            drop(watched::say(&Said::Read(read)));
        }
    };
    let mut rebuilt =
        content_store::rebuild(&store::to_open(config), now.as_millis() as u64, progress)?;
    for file in &mut rebuilt.unusable {
        file.path = watched::sayable(&file.path);
    }
    watched::say(&Said::Made(rebuilt))?;
    Ok(Outcome::Done)
}

/// What children have said.
struct Rebuilding {
    progress: Progress,
    rebuilt: Option<Rebuilt>,
}

impl Work for Rebuilding {
    fn begin(&self) -> String {
        String::new()
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        match serde_json::from_str(line)? {
            Said::Read(sidecars) => self.progress.jump_to(sidecars),
            Said::Made(rebuilt) => self.rebuilt = Some(rebuilt),
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Rebuilt);

impl Report for Shown {
    fn text(&self) -> String {
        let rebuilt = &self.0;
        let mut lines = vec![format!(
            "generation {}: {}, {}, {}",
            rebuilt.generation.0,
            count(rebuilt.paths, "path"),
            count(rebuilt.objects, "object"),
            output::bytes(rebuilt.bytes)
        )];
        if let Some(aside) = &rebuilt.moved_aside {
            lines.push(format!("the old catalog is kept in {}", aside.display()));
        }
        if rebuilt.unreferenced > 0 {
            let unreferenced = count(rebuilt.unreferenced, "object");
            lines.push(format!(
                "{unreferenced} without a path: deleted at the next import or rm"
            ));
        }
        lines.extend(
            rebuilt
                .absent
                .iter()
                .map(|absent| format!("! not here: {}", absent.cause)),
        );
        lines.extend(
            rebuilt
                .unusable
                .iter()
                .map(|file| format!("! {}: {}", file.path.display(), file.cause)),
        );
        lines.extend(rebuilt.incomplete.iter().map(incomplete_line));
        if !rebuilt.absent.is_empty() {
            lines.push("Mount what is not here, then rebuild again.".to_owned());
        }
        lines.join("\n")
    }
}

fn incomplete_line(object: &Incomplete) -> String {
    let missing: Vec<String> = object.missing.iter().map(ToString::to_string).collect();
    let paths = if object.paths.is_empty() {
        object.object.to_string()
    } else {
        object.paths.join(", ")
    };
    let (sign, state) = match (object.can_be_repaired, object.gone_on_purpose) {
        (true, _) => ("! ", "to be repaired, columns are lost on device"),
        (false, false) => ("! ", "not published, columns are missing on device"),
        (false, true) => (
            "",
            "not published, columns were on what was removed or is not configured any more, device",
        ),
    };
    format!("{sign}{paths}: {state} {}", missing.join(", "))
}

/// Reads all of it: every page and every record with its checksum, then what the records say of each other and of the devices.
pub(crate) fn check(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let mut reader = CatalogReader::open(&config.appliance.state_dir)?;
    let contradictions = reader.contradictions()?;
    let slots = store::devices(config)?;
    let mut checked = Checked::new(&reader.load()?, &slots, contradictions);
    let mut seen = store::seen(config);
    seen.find(slots.iter().flat_map(|slot| &slot.device));
    let belongs = |device: &&Device| seen.refuse(device).is_none();
    let devices = slots.iter().flat_map(|slot| &slot.device).filter(belongs);
    checked.problems.extend(unknown(&mut reader, devices)?);
    output::print(format, &checked)?;
    Ok(if checked.problems.is_empty() {
        Outcome::Done
    } else {
        Outcome::Partly
    })
}

#[derive(Serialize)]
struct Checked {
    generation: u64,
    paths: u64,
    objects: u64,
    bytes: u64,
    problems: Vec<String>,
}

impl Checked {
    fn new(snapshot: &Snapshot, slots: &[DeviceSlot], contradictions: Vec<String>) -> Self {
        let broken = snapshot
            .objects
            .iter()
            .filter_map(|record| incomplete(record, slots));
        Self {
            generation: snapshot.generation.0,
            paths: snapshot.paths.len() as u64,
            objects: snapshot.objects.len() as u64,
            bytes: snapshot.objects.iter().map(|record| record.size).sum(),
            problems: contradictions.into_iter().chain(broken).collect(),
        }
    }
}

/// What lies on these devices and the catalog does not know: one sentence for each device.
fn unknown<'a>(
    reader: &mut CatalogReader,
    devices: impl Iterator<Item = &'a Device>,
) -> Result<Vec<String>, CatalogProblem> {
    let known = objects(&reader.load()?);
    let mut problems = Vec::new();
    for device in devices {
        let (mut found, unusable) = unknown_sidecars(device, |object| known.contains(object));
        problems.extend(unusable.into_iter().map(|folder| {
            let path = folder.path.display();
            format!("{path} cannot be looked at: {}", folder.cause)
        }));
        // What came meanwhile is known by now, and what went is not there any more.
        if !found.is_empty() {
            let known = objects(&reader.load()?);
            let still = unknown_sidecars(device, |object| known.contains(object)).0;
            found.retain(|path| still.contains(path));
        }
        if let Some(first) = found.first() {
            problems.push(format!(
                "the catalog does not know {} on {}, such as {}: it is older than what the devices hold, or has lost them. Before anything is \
                 fetched or imported, run `ocactl catalog rebuild`, which takes them in or says why not",
                count(found.len() as u64, "object"),
                device.root().display(),
                first.display()
            ));
        }
    }
    Ok(problems)
}

fn objects(snapshot: &Snapshot) -> HashSet<ObjectId> {
    let doomed = snapshot.doomed.iter().map(|doomed| &doomed.record);
    let all = snapshot.objects.iter().chain(doomed);
    all.map(|record| record.object).collect()
}

/// Why no copy of an object is whole, if none is.
fn incomplete(record: &ObjectRecord, slots: &[DeviceSlot]) -> Option<String> {
    let mut missing = Vec::new();
    for copy in &record.copies {
        let lacking = (0..copy.devices.len()).find_map(|column| {
            let id = copy.devices[column];
            let device = slots
                .iter()
                .filter_map(|slot| slot.device.as_ref().ok())
                .find(|device| device.id() == id);
            let Some(device) = device else {
                return Some(format!("device {id} is not here"));
            };
            let file = device.column_path(&record.object);
            let length = std::fs::metadata(&file).map(|metadata| metadata.len());
            let whole = length.is_ok_and(|length| length == copy.layout.column_length(column));
            (!whole).then(|| format!("{} is missing or cut short", file.display()))
        });
        missing.push(lacking?);
    }
    Some(format!(
        "object {} is not whole: {}",
        record.object,
        missing.join("; ")
    ))
}

impl Report for Checked {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "generation {}: {}, {}, {}",
            self.generation,
            count(self.paths, "path"),
            count(self.objects, "object"),
            output::bytes(self.bytes)
        )];
        lines.extend(self.problems.iter().map(|problem| format!("! {problem}")));
        if self.problems.is_empty() {
            lines.push("every record is right, every file is there".to_owned());
        }
        lines.join("\n")
    }
}
