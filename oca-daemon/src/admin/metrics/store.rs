//! What is served, and what of it is in memory.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::page::{Page, counted, holds};
use crate::admin::observation::Observation;
use crate::control::Standing;
use crate::memory_tier::Reason;

pub(super) fn add(page: &mut Page, observed: &Observation, standing: &Standing) {
    add_catalog(page, observed);
    add_damage(page, observed, standing);
    let memory = &observed.memory;
    let gauge = |of: &AtomicU64| of.load(Relaxed) as f64;
    page.gauge(
        "oca_memory_tier_budget_bytes",
        "Content that may be locked in memory.",
        gauge(&memory.budget_bytes),
    );
    page.gauge(
        "oca_memory_tier_locked_bytes",
        "Content that is locked in memory.",
        gauge(&memory.locked_bytes),
    );
    page.gauge(
        "oca_memory_tier_pieces",
        "Pieces of content that are locked in memory.",
        gauge(&memory.pieces),
    );
    page.counter(
        "oca_memory_tier_admissions_total",
        "Pieces that were loaded and locked.",
        memory.admissions.load(Relaxed),
    );
    page.counter(
        "oca_memory_tier_admitted_bytes_total",
        "Content that was loaded and locked: read from devices beside what viewers wait for. What the tier is good for is \
         oca_sent_bytes_total by source: memory is a hit, device a miss.",
        memory.admitted_bytes.load(Relaxed),
    );
    page.counters(
        "oca_memory_tier_refusals_total",
        "Looks at a piece that viewers wanted from its device and that was left there. seldom: not wanted often enough; \
         less_than_held: what is in memory is wanted as much; not_loaded: the device did not bring it, or it could not be locked.",
        Reason::ALL.map(|reason| counted(&[("reason", reason.label())], memory.refusals(reason) as f64)),
    );
    page.counter(
        "oca_memory_tier_evictions_total",
        "Pieces that were given up for others.",
        memory.evictions.load(Relaxed),
    );
    page.gauge(
        "oca_memory_tier_limited",
        "1 if less can be locked than was wanted; /status says why.",
        holds(observed.memory_problem.is_some()),
    );
}

fn add_damage(page: &mut Page, observed: &Observation, standing: &Standing) {
    page.gauge(
        "oca_bad_columns",
        "Columns of objects that are not read, because they are bad, until they are repaired.",
        standing.held.bad_by_device.iter().sum::<u64>() as f64,
    );
    page.counter(
        "oca_bad_columns_found_total",
        "Columns that this program found bad.",
        observed.damage.bad.load(Relaxed),
    );
    page.counter(
        "oca_damage_told_total",
        "Columns that the fill agent was told of: bad ones, and some that could not be read.",
        observed.damage.told.load(Relaxed),
    );
}

fn add_catalog(page: &mut Page, observed: &Observation) {
    let catalog = &observed.catalog;
    page.gauge(
        "oca_objects",
        "Objects that are served.",
        catalog.objects as f64,
    );
    page.gauge(
        "oca_content_bytes",
        "Bytes of the objects that are served.",
        catalog.bytes as f64,
    );
    page.gauge(
        "oca_catalog_generation",
        "The state of the catalog that is served.",
        catalog.generation.0 as f64,
    );
    page.gauge(
        "oca_catalog_oldest_generation_in_use",
        "The oldest state of the catalog that a running answer may still use.",
        catalog.oldest_in_use.0 as f64,
    );
    page.gauge(
        "oca_catalog_age_seconds",
        "Time since the catalog was last seen to be as it is served.",
        observed
            .now
            .saturating_duration_since(catalog.loaded_at)
            .as_secs_f64(),
    );
    page.gauge(
        "oca_catalog_problem",
        "1 if the catalog cannot be followed; what was loaded is served on.",
        holds(catalog.problem.is_some()),
    );
}
