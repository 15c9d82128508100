//! What the agent says of itself: one word, one sentence, and the numbers behind them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use content_store::device::Complaint;
use protocol::config::Config;
use protocol::fill::{
    Activity, DeviceFill, Held, ManifestFacts, Plan, PlanTotals, Progress, Status,
};
use protocol::status::DeviceState;

use super::book::Believed;
use super::{Agent, Ended, Mode};
use crate::lanes::{LaneState, LaneStatus};
use crate::survey::{FoundDevice, Room};
use crate::window::{Decision, Reason};

impl Agent {
    /// What keeps it from filling whatever the window says; `None`: nothing.
    pub(super) fn blocked(&self) -> Option<String> {
        if let Some(problem) = self.book.damage.first() {
            return Some(problem.clone());
        }
        if self.control.is_none() {
            return Some("the configuration has no [control], so there is no manifest".to_owned());
        }
        let Some(in_force) = &self.book.in_force else {
            return Some(
                match (&self.book.held, self.contacts.last.problem.as_str()) {
                    (Some(held), _) => held_words(held),
                    (None, "") => {
                        "the control endpoint has not been asked for a manifest yet".to_owned()
                    }
                    (None, problem) => format!("there is no manifest yet: {problem}"),
                },
            );
        };
        let over = self.clock.trusted && in_force.manifest.not_after <= self.clock.seconds();
        over.then(|| {
            format!(
                "manifest {} has ended, and there is no newer one{}; what is held is served",
                in_force.serial(),
                because(&self.contacts.last.problem)
            )
        })
    }

    /// In one word and one sentence.
    pub(super) fn activity(&self) -> (Activity, String) {
        let decision = self.decision();
        if decision.reason == Reason::Paused {
            return (Activity::Paused, decision.why);
        }
        if matches!(
            decision.reason,
            Reason::NoFill | Reason::NoRate | Reason::Clock
        ) {
            return (Activity::Blocked, decision.why);
        }
        if let Some(why) = self.blocked() {
            return (Activity::Blocked, why);
        }
        let (activity, mut why) = self.inside(&decision);
        if let Some(problem) = &self.following.takedown_problem {
            why = format!("{problem}; {why}");
        }
        if let Some(held) = &self.book.held {
            why = format!("{why}; {}", held_words(held));
        }
        (activity, why)
    }

    fn inside(&self, decision: &Decision) -> (Activity, String) {
        if self.following.is_filling() {
            return self.filling(decision);
        }
        if !decision.open {
            let waiting = self.repairs_waiting();
            return (Activity::Closed, format!("{}{waiting}", decision.why));
        }
        if let Some(problem) = &self.following.plan_problem {
            return (Activity::Blocked, problem.clone());
        }
        if let Some(not_done) = &self.following.store_problem {
            return (Activity::Blocked, not_done.to_string());
        }
        // One of before the window opened wants only what is urgent.
        let planned = self.planned.as_ref();
        let Some(planned) = planned.filter(|planned| self.may_begin(planned, decision)) else {
            return (Activity::Waiting, "a plan is being made".to_owned());
        };
        let totals = planned.totals();
        if let Some(why) = self.evictions_wait() {
            return (Activity::Waiting, why);
        }
        if planned.is_incomplete() || planned.plan.later.objects > 0 {
            let failures = match self.following.failed {
                0 => String::new(),
                failed => format!("; {failed} could not be fetched and are tried again"),
            };
            let moves = match totals.move_objects {
                0 => String::new(),
                objects => format!(", {objects} to be moved"),
            };
            let repairs = match totals.repair_objects {
                0 => String::new(),
                objects => format!(", {objects} to be repaired"),
            };
            let left = totals.fetch_objects + planned.plan.later.objects;
            return (
                Activity::Waiting,
                format!("{left} objects are to be fetched{moves}{repairs}{failures}"),
            );
        }
        let no_room = match totals.no_room_objects {
            0 => String::new(),
            objects => format!(
                " but {objects} objects of {} bytes, for which there is no room",
                totals.no_room_bytes
            ),
        };
        (
            Activity::Complete,
            format!(
                "all that manifest {} wants is here{no_room}",
                planned.believed.serial()
            ),
        )
    }

    /// What is bad or lost and not repaired outside the window, as the end of a sentence.
    fn repairs_waiting(&self) -> String {
        let planned = self.planned.as_ref();
        match planned.map_or(0, |planned| planned.totals().repair_objects) {
            0 => String::new(),
            objects => {
                format!("; {objects} objects have lost or bad columns and wait to be repaired")
            }
        }
    }

    fn evictions_wait(&self) -> Option<String> {
        let waiting = self.following.waiting_evictions;
        let share = self.config.fill.as_ref()?.max_evict_per_day;
        (waiting.objects > 0).then(|| {
            format!(
                "{} objects of {} bytes are to be evicted, and fill.max_evict_per_day of {share} allows no more of them today; fetches wait for their room. `ocactl fill plan` shows both",
                waiting.objects, waiting.bytes
            )
        })
    }

    fn filling(&self, decision: &Decision) -> (Activity, String) {
        let transfers = self.means.progress.transfers();
        let waiting = self.means.progress.waiting();
        let comes = transfers
            .iter()
            .any(|transfer| transfer.waits_for.is_empty() || transfer.moves_to.is_some());
        match waiting.first() {
            Some(waits) if !comes => (Activity::Waiting, format!("{waits}; {}", decision.why)),
            _ => {
                let moved = transfers
                    .iter()
                    .find(|transfer| transfer.moves_to.is_some());
                let doing = match (transfers.len(), moved) {
                    (0, _) => "objects are being evicted or published".to_owned(),
                    (_, Some(_)) => "objects are being moved between tiers".to_owned(),
                    (1, None) => "1 object is being fetched".to_owned(),
                    (count, None) => format!("{count} objects are being fetched"),
                };
                (Activity::Filling, format!("{doing}, {}", decision.why))
            }
        }
    }

    /// The document of `fill status`.
    pub(super) fn document(&self) -> Status {
        let (activity, why) = self.activity();
        let decision = self.decision();
        let now = self.clock.seconds();
        let progress = self.progress();
        let sources: Vec<_> = self
            .means
            .sources
            .iter()
            .flat_map(|sources| sources.all())
            .map(|source| source.status(Instant::now(), now))
            .collect();
        let rate_now: u64 = sources.iter().map(|source| source.rate).sum();
        let left = progress.bytes.saturating_sub(progress.bytes_done);
        let manifest = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.manifest);
        Status {
            as_of: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            activity,
            why,
            window_open: decision.open,
            window_changes: decision
                .until
                .and_then(|at| u64::try_from(at.as_second()).ok()),
            rate: self.settings.rate(manifest),
            rate_now,
            eta: (self.following.is_filling() && rate_now > 0)
                .then(|| now + left.saturating_mul(8) / rate_now.max(1)),
            clock_synchronised: self.clock.synchronised,
            manifest: self
                .book
                .in_force
                .as_deref()
                .map(|believed| self.manifest_facts(believed)),
            held: self.book.held.as_deref().map(|held| Held {
                serial: held.serial(),
                since: held.note.at,
                why: held.note.why.clone(),
            }),
            control: self.contacts.last.clone(),
            pause: self.book.intent.pause.clone(),
            progress,
            transfers: self.means.progress.transfers(),
            sources,
            devices: self.devices(),
            waiting: self.means.progress.waiting(),
            failures: self.means.progress.failures(),
        }
    }

    fn progress(&self) -> Progress {
        let Some(planned) = &self.planned else {
            return Progress::default();
        };
        let totals = planned.totals();
        let done = &self.following.done;
        Progress {
            objects: totals.fetch_objects,
            objects_done: done.objects.load(Relaxed),
            bytes: totals.fetch_bytes,
            bytes_done: (done.fetched.load(Relaxed) + self.means.progress.bytes_in_transfers())
                .min(totals.fetch_bytes),
            objects_without_room: totals.no_room_objects,
            bytes_without_room: totals.no_room_bytes,
        }
    }

    fn manifest_facts(&self, believed: &Believed) -> ManifestFacts {
        let planned = self
            .planned
            .as_ref()
            .filter(|planned| planned.believed.serial() == believed.serial());
        let held = planned
            .map(|planned| planned.plan.held_wanted)
            .unwrap_or_default();
        let done = &self.following.done;
        ManifestFacts {
            serial: believed.serial(),
            built_at: believed.manifest.built_at,
            not_after: believed.manifest.not_after,
            objects: believed.summary.objects(),
            bytes: believed.summary.bytes,
            objects_held: held.objects + done.objects.load(Relaxed),
            bytes_held: held.bytes + done.bytes.load(Relaxed),
        }
    }

    /// As they were found last, with what the catalog had on them at the last plan, and what the agent's own writes tell.
    fn devices(&self) -> Vec<DeviceFill> {
        let Some(planned) = &self.planned else {
            return Vec::new();
        };
        let lanes = self.means.lanes.status();
        planned
            .devices
            .iter()
            .map(|device| {
                let mut looked = self.following.looked.iter();
                let looked = looked.find(|looked| looked.root == device.root);
                let found = &looked.unwrap_or(device).found;
                device_fill(&self.config, device, found, &lanes)
            })
            .collect()
    }

    /// Whether `once` is over.
    pub(super) fn conclusion(&self) -> Option<Ended> {
        if !matches!(self.mode, Mode::Once { .. })
            || !self.contacts.has_tried()
            || self.following.is_busy()
        {
            return None;
        }
        let (activity, why) = self.activity();
        match activity {
            Activity::Complete => Some(Ended::Complete(why)),
            Activity::Closed | Activity::Paused | Activity::Blocked => Some(Ended::Incomplete(why)),
            Activity::Waiting if self.following.fruitless > 0 => Some(Ended::Incomplete(why)),
            Activity::Filling | Activity::Waiting => None,
        }
    }
}

/// `found` may be newer than the rest of `device`.
fn device_fill(
    config: &Config,
    device: &FoundDevice,
    found: &Result<Room, Complaint>,
    lanes: &[LaneStatus],
) -> DeviceFill {
    let room = found.as_ref().ok();
    let lane = room.and_then(|room| lanes.iter().find(|lane| lane.device == room.id));
    let (verdict, state) = match (found, lane.map(|lane| &lane.state)) {
        (Err(wrong), _) => (
            DeviceState::of_word(wrong.condition.as_str()),
            wrong.words.clone(),
        ),
        (Ok(_), Some(LaneState::Failed { cause, .. })) => (DeviceState::Failed, cause.clone()),
        (Ok(room), _) if room.is_evacuating => {
            (DeviceState::Evacuating, "it is being evacuated".to_owned())
        }
        (Ok(room), _) if room.room_bytes == 0 => {
            (DeviceState::Full, "it has no room left".to_owned())
        }
        (Ok(_), _) => (DeviceState::Ok, "ok".to_owned()),
    };
    DeviceFill {
        name: device.name(),
        tier: config
            .tiers
            .get(device.tier)
            .map_or_else(String::new, |tier| tier.name.clone()),
        path: device.root.clone(),
        verdict: Some(verdict),
        state,
        rate: lane.map_or(0, |lane| lane.rate),
        queue: lane.map_or(0, |lane| lane.queue as u64),
        room: room.map_or(0, |room| room.room_bytes),
        total: room.map_or(0, |room| room.total_bytes),
        object_bytes: device.account.object_bytes,
        doomed_bytes: device.account.doomed_bytes,
        used_bytes: device.account.used_bytes,
    }
}

/// The document of `fill plan` while there is none.
pub(super) fn no_plan(now: u64, blocked: String) -> Plan {
    Plan {
        as_of: now,
        serial: None,
        fetch: Vec::new(),
        moves: Vec::new(),
        copies: Vec::new(),
        evict: Vec::new(),
        repair: Vec::new(),
        totals: PlanTotals::default(),
        blocked: if blocked.is_empty() {
            "a plan is being made".to_owned()
        } else {
            blocked
        },
    }
}

fn held_words(held: &Believed) -> String {
    format!(
        "manifest {0} is held: {1}. `ocactl fill accept {0}` lets it through",
        held.serial(),
        held.note.why
    )
}

fn because(problem: &str) -> String {
    match problem {
        "" => String::new(),
        problem => format!(" ({problem})"),
    }
}
