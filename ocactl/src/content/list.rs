//! `ocactl content ls`.

use comfy_table::Cell;
use content_store::catalog::{CatalogReader, ObjectRecord};
use protocol::config::Config;
use serde::Serialize;

use super::is_below;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count, number};

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
    let after = page.after.as_deref().unwrap_or_default();
    let limit = page.limit.map_or(usize::MAX, |limit| limit as usize);
    let found = CatalogReader::open(&config.appliance.state_dir)?
        .list(limit, |path| is_below(path, prefix) && *path > *after)?;
    let listed = found.paths.iter().map(|(entry, record)| Listed {
        path: entry.path.to_string(),
        size: record.size,
        content_type: entry.content_type.to_string(),
        tier: tiers(record),
        object: record.object.to_string(),
    });
    output::print(
        format,
        &Listing {
            generation: found.generation.0,
            paths: listed.collect(),
            more: found.more,
        },
    )?;
    Ok(Outcome::Done)
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
