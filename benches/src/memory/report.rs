//! What is said of a run: tables for people, JSON for programs.

use comfy_table::{Table, presets};

use super::simulate;
use super::trace::Shape;
use crate::server::Kind;

#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    pub(super) shape: Shape,
    pub(super) simulated: Vec<simulate::Outcome>,
    pub(super) live: Option<Live>,
}

/// What each server did with the same trace in the same memory.
#[derive(Debug, serde::Serialize)]
pub(super) struct Live {
    pub(super) shape: Shape,
    pub(super) limit_mib: u64,
    pub(super) outcomes: Vec<Served>,
}

/// A day is looked at in so many parts.
pub(super) const PARTS_OF_A_DAY: usize = 8;

/// What one server did.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Served {
    pub(super) server: Kind,
    /// Bytes that the disk was read for each byte sent, after the first day.
    pub(super) device_ratio: f64,
    /// The same for each part of each day, the first one too.
    pub(super) parts: Vec<f64>,
    /// The most that the control group has used, in MiB.
    pub(super) memory_mib: u64,
}

impl Report {
    pub(super) fn print(&self) {
        let mut table = table(&["memory", "", "sent from memory", "read from devices"]);
        for outcome in &self.simulated {
            table.add_row([
                percent(outcome.memory_share),
                outcome.who.name().to_owned(),
                percent(outcome.hit_ratio),
                percent(outcome.device_ratio),
            ]);
        }
        println!("{table}");
        if let Some(live) = &self.live {
            live.print();
        }
    }
}

impl Live {
    fn print(&self) {
        let mut table = table(&["server", "not read from the disk", "memory used"]);
        for outcome in &self.outcomes {
            table.add_row([
                outcome.server.name().to_owned(),
                percent(1.0 - outcome.device_ratio),
                format!("{} of {} MiB", outcome.memory_mib, self.limit_mib),
            ]);
        }
        println!("{table}");
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(head);
    table
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
