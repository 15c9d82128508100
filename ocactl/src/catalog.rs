//! `ocactl catalog`: the index of all content.

use std::collections::HashSet;

use content_store::catalog::{ObjectRecord, Snapshot};
use content_store::{DeviceSlot, ObjectId};
use protocol::config::Config;
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, count};
use crate::store;

/// Reads all of it: every page and every record with its checksum, then what the records say of each other and of the devices.
pub(crate) fn check(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let slots = store::devices(config)?;
    let checked = Checked::new(&snapshot, &slots);
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
    fn new(snapshot: &Snapshot, slots: &[DeviceSlot]) -> Self {
        let known: HashSet<ObjectId> = snapshot
            .objects
            .iter()
            .map(|record| record.object)
            .collect();
        let astray = snapshot
            .paths
            .iter()
            .filter(|(object, _)| !known.contains(object));
        let astray = astray.map(|(object, entry)| {
            format!(
                "{} leads to object {object}, which is not known",
                entry.path
            )
        });
        let broken = snapshot
            .objects
            .iter()
            .filter_map(|record| incomplete(record, slots));
        Self {
            generation: snapshot.generation.0,
            paths: snapshot.paths.len() as u64,
            objects: snapshot.objects.len() as u64,
            bytes: snapshot.objects.iter().map(|record| record.size).sum(),
            problems: astray.chain(broken).collect(),
        }
    }
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
