//! `ocactl content stat`.

use content_store::catalog::{CopyRecord, ObjectRecord};
use content_store::{DeviceSlot, PathEntry};
use protocol::config::Config;
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes};
use crate::store;

/// Says all about one path.
pub(super) fn run(config: &Config, format: Format, path: &str) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let not_published = || {
        Failure::failed(format!(
            "{path} is not published; what is, lists: ocactl content ls"
        ))
    };
    let (object, entry) = snapshot
        .paths
        .iter()
        .find(|(_, entry)| *entry.path == *path)
        .ok_or_else(not_published)?;
    let record = snapshot
        .objects
        .iter()
        .find(|record| record.object == *object);
    let record = record.ok_or_else(|| {
        Failure::failed(format!("{path} leads to object {object}, which the catalog does not know; run: ocactl catalog check"))
    })?;
    let slots = store::devices(config)?;
    let aliases = snapshot
        .paths
        .iter()
        .filter(|(of, other)| of == object && other.path != entry.path);
    let stat = Stat::new(
        entry,
        record,
        &slots,
        aliases.map(|(_, other)| other.path.to_string()).collect(),
    );
    output::print(format, &stat)?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Stat {
    path: String,
    object: String,
    etag: String,
    size: u64,
    content_type: String,
    cache_control: String,
    /// Seconds since 1970.
    modified: u64,
    /// The generation that set the path.
    serial: u64,
    /// Other paths of the same object.
    aliases: Vec<String>,
    copies: Vec<Copy>,
}

#[derive(Serialize)]
struct Copy {
    tier: String,
    stripe_unit: u64,
    /// Whether all its columns are present and good: only then it counts.
    whole: bool,
    /// The generation that repaired a column of it last; none if none was.
    repaired: Option<u64>,
    columns: Vec<Column>,
}

#[derive(Serialize)]
struct Column {
    device: String,
    /// Where it is mounted; `None` if it is not here.
    root: Option<String>,
    length: u64,
    /// Whether the file is there with that length.
    present: bool,
    /// It was found bad: nobody reads it until it is repaired.
    bad: bool,
}

impl Stat {
    fn new(
        entry: &PathEntry,
        record: &ObjectRecord,
        slots: &[DeviceSlot],
        aliases: Vec<String>,
    ) -> Self {
        Self {
            path: entry.path.to_string(),
            object: record.object.to_string(),
            etag: record.object.etag().to_string(),
            size: record.size,
            content_type: entry.content_type.to_string(),
            cache_control: entry.cache_control.to_string(),
            modified: entry.modified_s,
            serial: entry.serial,
            aliases,
            copies: record
                .copies
                .iter()
                .map(|copy| Copy::new(record, copy, slots))
                .collect(),
        }
    }
}

impl Copy {
    fn new(record: &ObjectRecord, copy: &CopyRecord, slots: &[DeviceSlot]) -> Self {
        let columns = copy.devices.iter().enumerate().map(|(index, id)| {
            let length = copy.layout.column_length(index);
            let here = slots.iter().find(|slot| slot.id() == Some(*id));
            let file = here
                .and_then(|slot| slot.device.as_ref().ok())
                .map(|device| device.column_path(&record.object));
            let found = file.and_then(|file| std::fs::metadata(file).ok());
            Column {
                device: id.to_string(),
                root: here.map(|slot| slot.root.display().to_string()),
                length,
                present: found.is_some_and(|found| found.len() == length),
                bad: copy.bad.contains(index),
            }
        });
        let columns: Vec<Column> = columns.collect();
        Self {
            tier: copy.tier.to_string(),
            stripe_unit: copy.layout.stripe_unit(),
            whole: columns.iter().all(|column| column.present && !column.bad),
            repaired: Some(copy.repaired).filter(|generation| *generation > 0),
            columns,
        }
    }
}

impl Report for Stat {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("path           {}", self.path),
            format!("object         {}", self.object),
            format!("etag           {}", self.etag),
            format!("size           {} bytes ({})", self.size, bytes(self.size)),
            format!("content-type   {}", self.content_type),
            format!("cache-control  {}", self.cache_control),
            format!("modified       {}", output::utc(self.modified)),
            format!("set            in generation {}", self.serial),
        ];
        lines.extend(
            self.aliases
                .iter()
                .map(|alias| format!("also           {alias}")),
        );
        for copy in &self.copies {
            let unit = bytes(copy.stripe_unit);
            let repaired = copy
                .repaired
                .map(|generation| format!(", repaired in generation {generation}"));
            lines.push(format!(
                "copy           tier {}, stripe unit {unit}, {} wide{}",
                copy.tier,
                copy.columns.len(),
                repaired.unwrap_or_default()
            ));
            lines.extend(
                copy.columns
                    .iter()
                    .enumerate()
                    .map(|(index, column)| column.line(index)),
            );
        }
        lines.join("\n")
    }
}

impl Column {
    fn line(&self, index: usize) -> String {
        let place = match (&self.root, self.present) {
            (Some(root), true) if self.bad => {
                format!("{root}: BAD, waits for its repair (ocactl fill plan)")
            }
            (Some(root), true) => root.clone(),
            (Some(root), false) => format!("{root}: MISSING or cut short"),
            (None, _) => format!("device {} is NOT HERE", self.device),
        };
        format!("  column {index}     {} on {place}", bytes(self.length))
    }
}
