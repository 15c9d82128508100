//! `ocactl content verify`: every byte, read from the devices.

use std::collections::BTreeMap;
use std::path::Path;

use content_store::ObjectId;
use content_store::catalog::{ObjectRecord, Snapshot};
use content_store::verify::{Verified, VerifiedColumn};
use protocol::config::Config;
use serde::{Deserialize, Serialize};

use super::is_below;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count};
use crate::progress::Progress;
use crate::store;
use crate::watched::{self, Work};

/// Verifies the objects of all paths below `prefix`, each object once.
pub(super) fn run(config: &Config, format: Format, prefix: &str) -> Result<Outcome, Failure> {
    if let Some(place) = watched::place()? {
        return read(config, prefix, place.parse().ok());
    }
    let mut verifying = Verifying {
        report: Verification::default(),
        progress: Progress::new(0),
        read: None,
    };
    let ended = watched::run(config, &mut verifying)?;
    drop(verifying.progress);
    if ended.has_failed() {
        return ended.with(Outcome::Partly);
    }
    output::print(format, &verifying.report)?;
    ended.with(if verifying.report.damaged.is_empty() {
        Outcome::Done
    } else {
        Outcome::Partly
    })
}

/// What a child says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// So many bytes are to be read.
    All(u64),
    /// An object is begun, which one of its paths leads to.
    Reads(String),
    /// So many bytes of it are read.
    Read(u64),
    /// All of it is.
    Is(ObjectId, u64, Option<Damaged>),
}

/// In a child: reads what comes after an object, or all.
fn read(config: &Config, prefix: &str, after: Option<ObjectId>) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let slots = store::devices(config)?;
    let mut wanted = wanted(&snapshot, prefix)?;
    let records = snapshot.objects.iter();
    let mut records: Vec<&ObjectRecord> = records
        .filter(|record| wanted.contains_key(&record.object))
        .collect();
    records.sort_by_key(|record| record.object);
    if after.is_none() {
        let all = records.iter().map(|record| record.size).sum();
        watched::say(&Said::All(all))?;
    }
    for record in records {
        if Some(record.object) <= after {
            continue;
        }
        let paths = wanted.remove(&record.object).unwrap_or_default();
        let first = paths.first().cloned().unwrap_or_default();
        watched::say(&Said::Reads(first))?;
        let mut said = Ok(());
        let verified = content_store::verify::verify(&slots, record, |read| {
            if said.is_ok() {
                said = watched::say(&Said::Read(read));
            }
        });
        said?;
        let found = verified.filter(|verified| !verified.is_good());
        let damaged = found.map(|found| Damaged { paths, found });
        watched::say(&Said::Is(record.object, record.size, damaged))?;
    }
    Ok(Outcome::Done)
}

/// The objects below `prefix`, each with its paths there.
fn wanted(snapshot: &Snapshot, prefix: &str) -> Result<BTreeMap<ObjectId, Vec<String>>, Failure> {
    let mut wanted: BTreeMap<ObjectId, Vec<String>> = BTreeMap::new();
    let paths = snapshot.paths.iter();
    for (object, entry) in paths.filter(|(_, entry)| is_below(&entry.path, prefix)) {
        let paths = wanted.entry(*object).or_default();
        paths.push(entry.path.to_string());
    }
    match wanted.is_empty() && prefix != "/" {
        true => Err(Failure::failed(format!(
            "nothing is published at or below {prefix}"
        ))),
        false => Ok(wanted),
    }
}

/// What children have said.
struct Verifying {
    report: Verification,
    progress: Progress,
    /// The last object of which all was read.
    read: Option<ObjectId>,
}

impl Work for Verifying {
    fn begin(&self) -> String {
        self.read
            .map_or_else(String::new, |object| object.to_string())
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        let progress = &self.progress;
        match serde_json::from_str(line)? {
            Said::All(bytes) => progress.expect(bytes),
            Said::Reads(path) => progress.name("reading", Path::new(&path)),
            Said::Read(bytes) => progress.jump_to(self.report.bytes + bytes),
            Said::Is(object, bytes, damaged) => {
                self.read = Some(object);
                self.report.objects += 1;
                self.report.bytes += bytes;
                self.report.damaged.extend(damaged);
            }
        }
        Ok(())
    }
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

#[derive(Serialize, Deserialize)]
struct Damaged {
    paths: Vec<String>,
    #[serde(flatten)]
    found: Verified,
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
