//! `ocactl content ls`.

use std::collections::{HashMap, HashSet};

use comfy_table::Cell;
use content_store::catalog::ObjectRecord;
use content_store::{ObjectId, PathEntry};
use protocol::config::Config;
use serde::Serialize;

use super::is_below;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count, number};
use crate::store;

/// Which part of the list is wanted.
pub(super) struct Page {
    /// What comes after this path.
    pub(super) after: Option<String>,
    /// At most so many.
    pub(super) limit: Option<u32>,
}

/// Lists the paths below `prefix`, in order.
pub(super) fn run(
    config: &Config,
    format: Format,
    prefix: &str,
    page: &Page,
) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let after = page.after.as_deref().unwrap_or_default();
    let paths = snapshot.paths.iter();
    let wanted = paths.filter(|(_, entry)| is_below(&entry.path, prefix) && *entry.path > *after);
    let (paths, more) = first(wanted.collect(), page.limit);
    let shown: HashSet<ObjectId> = paths.iter().map(|(object, _)| *object).collect();
    let objects = snapshot.objects.iter();
    let objects: HashMap<ObjectId, &ObjectRecord> = objects
        .filter(|record| shown.contains(&record.object))
        .map(|record| (record.object, record))
        .collect();
    let listed = paths.iter().map(|(object, entry)| {
        let record = objects.get(object);
        Listed {
            path: entry.path.to_string(),
            size: record.map_or(0, |record| record.size),
            content_type: entry.content_type.to_string(),
            tier: record.map_or_else(String::new, |record| tiers(record)),
            object: object.to_string(),
        }
    });
    output::print(
        format,
        &Listing {
            generation: snapshot.generation.0,
            paths: listed.collect(),
            more,
        },
    )?;
    Ok(Outcome::Done)
}

type Found<'a> = &'a (ObjectId, PathEntry);

/// The first so many by path, and how many there are beyond them.
fn first(mut paths: Vec<Found<'_>>, limit: Option<u32>) -> (Vec<Found<'_>>, usize) {
    let count = limit.map_or(paths.len(), |limit| paths.len().min(limit as usize));
    let more = paths.len() - count;
    if more > 0 {
        // Most of a long list is not sorted.
        paths.select_nth_unstable_by(count, |one, other| one.1.path.cmp(&other.1.path));
        paths.truncate(count);
    }
    paths.sort_unstable_by(|one, other| one.1.path.cmp(&other.1.path));
    (paths, more)
}

fn tiers(record: &ObjectRecord) -> String {
    let tiers: Vec<&str> = record.copies.iter().map(|copy| &*copy.tier).collect();
    tiers.join(",")
}

#[derive(Serialize)]
struct Listing {
    generation: u64,
    paths: Vec<Listed>,
    /// Paths after these.
    more: usize,
}

#[derive(Serialize)]
struct Listed {
    path: String,
    size: u64,
    content_type: String,
    tier: String,
    object: String,
}

impl Report for Listing {
    fn text(&self) -> String {
        let mut table = output::table(["PATH", "SIZE", "TYPE", "TIER", "OBJECT"]);
        for listed in &self.paths {
            table.add_row(vec![
                Cell::new(&listed.path),
                number(bytes(listed.size)),
                Cell::new(&listed.content_type),
                Cell::new(&listed.tier),
                Cell::new(listed.object.get(..16).unwrap_or_default()),
            ]);
        }
        let table = output::rendered(&table);
        match self.paths.last() {
            Some(last) if self.more > 0 => {
                let (more, after) = (count(self.more as u64, "more path"), &last.path);
                format!("{table}\n{more}: --after {after}")
            }
            _ => table,
        }
    }
}
