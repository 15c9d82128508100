//! `ocactl content ls`.

use std::collections::HashMap;

use comfy_table::Cell;
use content_store::ObjectId;
use content_store::catalog::ObjectRecord;
use protocol::config::Config;
use serde::Serialize;

use super::is_below;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, number};
use crate::store;

/// Lists the paths below `prefix`.
pub(super) fn run(config: &Config, format: Format, prefix: &str) -> Result<Outcome, Failure> {
    let snapshot = store::snapshot(config)?;
    let objects: HashMap<ObjectId, &ObjectRecord> = snapshot
        .objects
        .iter()
        .map(|record| (record.object, record))
        .collect();
    let mut paths: Vec<Listed> = snapshot
        .paths
        .iter()
        .filter(|(_, entry)| is_below(&entry.path, prefix))
        .map(|(object, entry)| {
            let record = objects.get(object);
            Listed {
                path: entry.path.to_string(),
                size: record.map_or(0, |record| record.size),
                content_type: entry.content_type.to_string(),
                tier: record.map_or_else(String::new, |record| tiers(record)),
                object: object.to_string(),
            }
        })
        .collect();
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    output::print(
        format,
        &Listing {
            generation: snapshot.generation.0,
            paths,
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
        output::rendered(&table)
    }
}
