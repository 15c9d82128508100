//! `ocactl content verify`: every byte, read from the devices.

use std::collections::BTreeMap;
use std::path::Path;

use content_store::ObjectId;
use content_store::catalog::ObjectRecord;
use content_store::verify::{Verified, VerifiedColumn};
use protocol::config::Config;
use serde::Serialize;

use super::is_below;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count};
use crate::progress::Progress;
use crate::store;

/// Verifies the objects of all paths below `prefix`, each object once.
pub(super) fn run(config: &Config, format: Format, prefix: &str) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let slots = store::devices(config)?;
    let mut wanted: BTreeMap<ObjectId, Vec<String>> = BTreeMap::new();
    for (object, entry) in snapshot
        .paths
        .iter()
        .filter(|(_, entry)| is_below(&entry.path, prefix))
    {
        wanted
            .entry(*object)
            .or_default()
            .push(entry.path.to_string());
    }
    if wanted.is_empty() && prefix != "/" {
        return Err(Failure::failed(format!(
            "nothing is published at or below {prefix}"
        )));
    }
    let records: Vec<&ObjectRecord> = snapshot
        .objects
        .iter()
        .filter(|record| wanted.contains_key(&record.object))
        .collect();
    let mut report = Verification::default();
    let progress = Progress::new(records.iter().map(|record| record.size).sum());
    for record in records {
        let paths = wanted.remove(&record.object).unwrap_or_default();
        progress.name(
            "reading",
            Path::new(paths.first().map_or("", String::as_str)),
        );
        let verified = content_store::verify::verify(&slots, record, progress.counter());
        report.add(record, paths, verified);
    }
    drop(progress);
    output::print(format, &report)?;
    Ok(if report.damaged.is_empty() {
        Outcome::Done
    } else {
        Outcome::Partly
    })
}

#[derive(Default, Serialize)]
struct Verification {
    /// Objects that were read.
    objects: u64,
    /// Their bytes.
    bytes: u64,
    /// Objects that are not right.
    damaged: Vec<Damaged>,
}

#[derive(Serialize)]
struct Damaged {
    paths: Vec<String>,
    #[serde(flatten)]
    found: Verified,
}

impl Verification {
    fn add(&mut self, record: &ObjectRecord, paths: Vec<String>, verified: Option<Verified>) {
        self.objects += 1;
        self.bytes += record.size;
        if let Some(found) = verified.filter(|verified| !verified.is_good()) {
            self.damaged.push(Damaged { paths, found });
        }
    }
}

impl Report for Verification {
    fn text(&self) -> String {
        let read = format!(
            "read {}, {}",
            count(self.objects, "object"),
            bytes(self.bytes)
        );
        if self.damaged.is_empty() {
            return format!("{read}: every byte is right");
        }
        let mut lines = vec![format!("{read}: {} damaged", self.damaged.len())];
        for damaged in &self.damaged {
            lines.push(format!("! {}", damaged.paths.join(", ")));
            lines.extend(damaged.found.columns.iter().filter_map(column_line));
            if !damaged.found.bad_groups.is_empty() {
                let bad = count(damaged.found.bad_groups.len() as u64, "MiB group");
                lines.push(format!("    {bad} not as published; import the file anew"));
            }
        }
        lines.join("\n")
    }
}

/// What is wrong with a column, if anything is.
fn column_line(column: &VerifiedColumn) -> Option<String> {
    let place = match &column.path {
        Some(path) => path.display().to_string(),
        None => format!("device {}", column.device),
    };
    if let Some(problem) = &column.problem {
        return Some(format!("    {place}: {problem}"));
    }
    let first = column.bad_blocks.first()?;
    let bad = count(column.bad_blocks.len() as u64, "block");
    Some(format!(
        "    {place}: {bad} of 64 KiB wrong, the first at byte {first}"
    ))
}
