//! Viewers who ask for whole files and read nothing, beside some who read: what the server then holds for all of them.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{self, Check, Load, Object, Range, Rate, Until};
use crate::server::Server;
use crate::server::oca::{metrics, sum_of};

/// Those who read.
const QUICK: usize = 16;

/// For how long they are looked at: longer than a slow viewer is waited for.
const LOOK: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Held {
    pub(super) budget_bytes: u64,
    /// The most that was read and not sent.
    pub(super) most_bytes: u64,
    pub(super) slow_viewers: usize,
    /// What those got who read.
    pub(super) quick_bytes_per_second: f64,
}

pub(super) fn hold(slow: usize, server: &Server, objects: &[Object]) -> Result<Held> {
    let (_, mut waiting) = load::open_all(&server.target, slow, Check::Length, load::SILENCE)?;
    for (number, viewer) in waiting.iter_mut().enumerate() {
        let object = &objects[number % objects.len()];
        // Each begins elsewhere, so that they share no read.
        let offset = number as u64 * (object.size / 2 / slow.max(1) as u64);
        viewer.request(Range {
            object,
            offset,
            length: object.size - offset,
        })?;
    }
    let outcome = load::run(&Load {
        target: &server.target,
        objects,
        connections: QUICK,
        range_bytes: 1 << 20,
        rate: Rate::Full,
        until: Until::Elapsed(LOOK),
        check: Check::Length,
    })?;
    let admin = server.admin.as_ref().context("only ours tells")?;
    let text = metrics(admin.address())?;
    drop(waiting);
    Ok(Held {
        budget_bytes: sum_of(&text, "oca_device_inflight_budget_bytes")?,
        most_bytes: sum_of(&text, "oca_device_inflight_bytes_max")?,
        slow_viewers: slow,
        quick_bytes_per_second: outcome.bytes as f64 / outcome.elapsed.as_secs_f64(),
    })
}
