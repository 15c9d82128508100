//! What came of it, for a reader.

use comfy_table::{Table, presets};
use content_store::limits::MAX_BATCH_OBJECTS;

use super::FILES;
use super::stand::{Committing, Facts};
use super::steps::Steps;
use crate::latency::{Summary, median};

#[derive(serde::Serialize)]
pub(super) struct Report {
    pub(super) objects: u32,
    pub(super) few: Facts,
    pub(super) many: Facts,
    /// Seconds of a page of `ocactl content ls`.
    pub(super) listed: f64,
    pub(super) steps: Steps,
    /// Of each round: few, many.
    pub(super) samples: Vec<(Summary, Summary)>,
    pub(super) committing: Committing,
}

impl Report {
    /// Median over the rounds of the median latency with many objects, over that with few.
    pub(super) fn ratio(&self) -> f64 {
        let ratio = |(few, many): &(Summary, Summary)| {
            f64::from(many.p50_us) / f64::from(few.p50_us.max(1))
        };
        median(self.samples.iter().map(ratio))
    }

    /// Memory of the daemon for each further object, beside that of the kernel for files.
    fn object_bytes(&self) -> u64 {
        let more = u64::from(self.objects - FILES.files);
        let own = |facts: &Facts| facts.memory.anonymous_bytes;
        own(&self.many).saturating_sub(own(&self.few)) / more
    }

    pub(super) fn print(&self) {
        println!("{}", self.table());
        let Steps {
            open_s,
            read_s,
            build_s,
            changes_s,
            follow_s,
            drop_s,
            lookup_ns,
        } = self.steps;
        println!(
            "latency with many objects: {:.2} of that with few. Memory of the daemon for each object: {} B.",
            self.ratio(),
            self.object_bytes()
        );
        println!(
            "{} commits were served after {:.2} s (median); meanwhile p50 {} us, p99 {} us, max {} us.",
            self.committing.served_s.len(),
            median(self.committing.served_s.iter().copied()),
            self.committing.latency.p50_us,
            self.committing.latency.p99_us,
            self.committing.latency.max_us
        );
        println!(
            "one by one: open {open_s:.2} s, read {read_s:.2} s, index {build_s:.2} s. A commit of {MAX_BATCH_OBJECTS} objects: read \
             {:.1} ms, index {:.1} ms, drop the one before {:.1} ms. {lookup_ns:.0} ns to find a path.",
            changes_s * 1e3,
            follow_s * 1e3,
            drop_s * 1e3
        );
        println!(
            "ocactl content ls --limit 100 --after ..: {:.2} s",
            self.listed
        );
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "objects",
            "start s",
            "own MiB",
            "files MiB",
            "peak MiB",
            "own MiB at the end",
            "p50 us",
            "p99 us",
        ]);
        let few = self.samples.iter().map(|(few, _)| few);
        let many = self.samples.iter().map(|(_, many)| many);
        let rows: [(u32, Facts, Vec<&Summary>); 2] = [
            (FILES.files, self.few, few.collect()),
            (self.objects, self.many, many.collect()),
        ];
        for (objects, facts, samples) in rows {
            let of = |value: fn(&Summary) -> u32| {
                median(samples.iter().map(|sample| f64::from(value(sample))))
            };
            table.add_row([
                objects.to_string(),
                format!("{:.2}", facts.start_s),
                (facts.memory.anonymous_bytes >> 20).to_string(),
                (facts.memory.mapped_bytes >> 20).to_string(),
                (facts.memory_at_end.peak_bytes >> 20).to_string(),
                (facts.memory_at_end.anonymous_bytes >> 20).to_string(),
                format!("{:.0}", of(|sample| sample.p50_us)),
                format!("{:.0}", of(|sample| sample.p99_us)),
            ]);
        }
        table
    }
}
