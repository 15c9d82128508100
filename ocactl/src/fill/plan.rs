//! What the agent would do, or does, in 80 columns.

use comfy_table::Cell;
use protocol::fill::Plan;

use crate::agent::Aged;
use crate::layout::{end_of, joined, labelled, start_of, wrapped};
use crate::output::{self, Report, bytes, count, number};

/// Columns of a path.
const PATH: usize = 40;

impl Report for Aged<'_, Plan> {
    fn text(&self) -> String {
        let plan = self.answer;
        let serial = plan.serial.map_or_else(
            || "no manifest yet".to_owned(),
            |serial| format!("for manifest {serial}"),
        );
        let parts = [
            wrapped(&format!("{serial}: {}", totals(plan)), 0),
            labelled("blocked", &plan.blocked),
            repairs(plan),
            fetches(plan),
            moves(plan),
            copies(plan),
            evictions(plan),
            self.clock.as_of(plan.as_of),
        ];
        joined(&parts, "\n\n")
    }
}

fn totals(plan: &Plan) -> String {
    let totals = &plan.totals;
    let amount = |words: &str, objects: u64, size: u64| {
        (objects > 0).then(|| format!("{words} {}, {}", count(objects, "object"), bytes(size)))
    };
    let amounts: Vec<String> = [
        amount("repair", totals.repair_objects, totals.repair_bytes),
        amount("fetch", totals.fetch_objects, totals.fetch_bytes),
        amount("move", totals.move_objects, totals.move_bytes),
        amount("copy", totals.copy_objects, totals.copy_bytes),
        amount("evict", totals.evict_objects, totals.evict_bytes),
        amount("no room for", totals.no_room_objects, totals.no_room_bytes),
    ]
    .into_iter()
    .flatten()
    .collect();
    if amounts.is_empty() {
        return "nothing to do".to_owned();
    }
    amounts.join("; ")
}

fn repairs(plan: &Plan) -> String {
    let rows = plan.repair.iter().map(|repair| {
        let state = if repair.is_lost {
            "not served"
        } else {
            "served"
        };
        let (path, tier) = (repair.path.clone(), repair.tier.clone());
        [path, bytes(repair.bytes), tier, state.to_owned()]
    });
    let listed = listed(
        ["REPAIR", "SIZE", "TIER", "UNTIL THEN"],
        rows.collect(),
        plan.totals.repair_objects,
    );
    let waits = plan.repair.iter().any(|repair| !repair.now);
    let waits = if waits {
        "they wait for the window"
    } else {
        ""
    };
    joined(&[listed, waits.to_owned()], "\n")
}

fn fetches(plan: &Plan) -> String {
    let rows = plan.fetch.iter().map(|fetch| {
        [&fetch.path, &bytes(fetch.bytes), &fetch.tier, &fetch.source].map(String::clone)
    });
    listed(
        ["FETCH", "SIZE", "TIER", "FROM"],
        rows.collect(),
        plan.totals.fetch_objects,
    )
}

fn moves(plan: &Plan) -> String {
    let rows = plan
        .moves
        .iter()
        .map(|moved| [&moved.path, &bytes(moved.bytes), &moved.from, &moved.to].map(String::clone));
    listed(
        ["MOVE", "SIZE", "FROM", "TO"],
        rows.collect(),
        plan.totals.move_objects,
    )
}

fn copies(plan: &Plan) -> String {
    let rows = plan.copies.iter().map(|copied| {
        let count = copied.count.to_string();
        [
            copied.path.clone(),
            bytes(copied.bytes),
            copied.tier.clone(),
            count,
        ]
    });
    listed(
        ["COPY", "SIZE", "IN", "TIMES"],
        rows.collect(),
        plan.totals.copy_objects,
    )
}

fn evictions(plan: &Plan) -> String {
    let rows = plan.evict.iter().map(|evicted| {
        [
            &evicted.path,
            &bytes(evicted.bytes),
            &evicted.tier,
            &String::new(),
        ]
        .map(String::clone)
    });
    listed(
        ["EVICT", "SIZE", "TIER", ""],
        rows.collect(),
        plan.totals.evict_objects,
    )
}

/// A table, and how many more there are.
fn listed(headings: [&str; 4], rows: Vec<[String; 4]>, all: u64) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = output::table(headings);
    let more = all.saturating_sub(rows.len() as u64);
    for [path, size, third, fourth] in rows {
        table.add_row(vec![
            Cell::new(end_of(&path, PATH)),
            number(size),
            Cell::new(start_of(&third, 10)),
            Cell::new(start_of(&fourth, 13)),
        ]);
    }
    let more = match more {
        0 => String::new(),
        more => format!("and {more} more: --limit"),
    };
    joined(&[output::rendered(&table), more], "\n")
}
