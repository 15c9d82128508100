//! A plan with what it was made from. Made on a thread that may block: it asks the catalog and the devices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use content_store::{DeviceId, ObjectId, StoreError};
use protocol::config::{Config, Fill};
use protocol::fill::{self, PlanTotals};
use protocol::manifest::{Source, Tombstone, Wanted};
use protocol::root::Root;

use super::book::Believed;
use crate::planner::repair::{Repair, repairs};
use crate::planner::{self, Allowance, Amount, Duplicate, Move, Plan, Relief, Situation};
use crate::survey::{self, FoundDevice, Survey};

/// What a plan is made from.
pub struct Task {
    /// The configuration.
    pub config: Arc<Config>,
    /// `[fill]` of it.
    pub fill: Fill,
    /// The manifest.
    pub believed: Arc<Believed>,
    /// What must not be held.
    pub tombstones: Arc<Vec<Tombstone>>,
    /// Devices that the agent does not trust.
    pub failed: HashSet<DeviceId>,
    /// How much may be fetched.
    pub allowance: Allowance,
    /// When this is.
    pub now: u64,
}

/// A plan.
pub struct Planned {
    /// For this manifest.
    pub believed: Arc<Believed>,
    /// When it was made.
    pub as_of: u64,
    /// It.
    pub plan: Plan,
    /// How much it was allowed.
    pub allowance: Allowance,
    /// What is published.
    pub held: Amount,
    /// The devices, as they were found.
    pub devices: Vec<FoundDevice>,
    /// Objects that wait to be unlinked.
    pub doomed: usize,
    /// Columns that leave their devices, in this order.
    pub relief: Vec<Relieved>,
    /// Copies to repair, in this order.
    pub repairs: Vec<Repair>,
    /// Whether they are repaired by this plan; if not, they wait for the window.
    pub repairs_now: bool,
    started: AtomicBool,
    evicted_paths: Vec<String>,
    moved_paths: Vec<String>,
    copied_paths: Vec<String>,
}

/// A column that leaves its device for another one of its tier.
pub struct Relieved {
    /// Its object.
    pub object: ObjectId,
    /// The device.
    pub device: DeviceId,
    /// What is shown of it: one of the paths of the object, and the name of the device.
    path: String,
    from: String,
    bytes: u64,
    tier: usize,
}

impl Task {
    /// Looks at the box and plans.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn plan(self) -> Result<Planned, StoreError> {
        let survey = survey::survey(&self.config)?;
        let held = survey.held(&self.config, &self.failed);
        let tiers = survey.tiers(&self.config, &self.failed);
        let situation = Situation {
            wanted: &self.believed.manifest.objects,
            tombstones: &self.tombstones,
            held: &held,
            tiers: &tiers,
            high_watermark: self.fill.high_watermark,
            low_watermark: self.fill.low_watermark,
            allowance: self.allowance,
            footprint: content_store::space::footprint,
        };
        let mut plan = planner::plan(&situation);
        let repairs = repairs(&mut plan, &situation, survey.damaged(&self.config));
        let names = Names::of(&plan, &held);
        Ok(Planned {
            as_of: self.now,
            allowance: self.allowance,
            held: Plan::amount(held.iter().map(|held| held.size)),
            evicted_paths: names.of_all(plan.evict.iter().map(|one| one.root)),
            moved_paths: names.of_all(plan.moves.iter().map(|one| one.root)),
            copied_paths: names.of_all(plan.duplicates.iter().map(|one| one.root)),
            believed: self.believed,
            doomed: survey.snapshot.doomed.len(),
            relief: relieved(&plan, &survey, &self.failed, &names),
            repairs,
            repairs_now: matches!(self.allowance, Allowance::All(_))
                || self.fill.repair_outside_window,
            started: AtomicBool::new(false),
            devices: survey.devices,
            plan,
        })
    }
}

/// One of the paths of each held object that the plan changes.
struct Names(HashMap<Root, String>);

impl Names {
    fn of(plan: &Plan, held: &[planner::Held<'_>]) -> Self {
        let evicted = plan.evict.iter().map(|one| one.root);
        let moved = plan.moves.iter().map(|one| one.root);
        let copied = plan.duplicates.iter().map(|one| one.root);
        let relieved = plan.relief.iter().map(|one| one.root);
        let changed = evicted.chain(moved).chain(copied).chain(relieved);
        let changed: HashSet<Root> = changed.collect();
        let held = held.iter().filter(|held| changed.contains(&held.root));
        Self(held.map(|held| (held.root, first_path(held))).collect())
    }

    fn name(&self, root: Root) -> String {
        self.0.get(&root).cloned().unwrap_or_default()
    }

    fn of_all(&self, roots: impl Iterator<Item = Root>) -> Vec<String> {
        roots.map(|root| self.name(root)).collect()
    }
}

/// The plan's relief, with the devices.
fn relieved(
    plan: &Plan,
    survey: &Survey,
    failed: &HashSet<DeviceId>,
    names: &Names,
) -> Vec<Relieved> {
    let of = |one: &Relief| {
        let mut devices = survey.well_devices(one.tier, failed);
        let (device, room) = devices.nth(one.from)?;
        Some(Relieved {
            object: ObjectId(one.root.0),
            device: room.id,
            path: names.name(one.root),
            from: device.name(),
            bytes: one.bytes,
            tier: one.tier,
        })
    };
    plan.relief.iter().filter_map(of).collect()
}

fn first_path(held: &planner::Held<'_>) -> String {
    held.paths
        .first()
        .map_or_else(|| held.root.to_string(), |path| path.path.to_owned())
}

impl Planned {
    /// Whether it is being done, or was: a plan is done once.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.is_incomplete() || !self.relief.is_empty()
    }

    /// Whether something is to come, or to go for it.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.plan.is_empty() || !self.repairs().is_empty()
    }

    /// What this plan repairs.
    #[must_use]
    pub fn repairs(&self) -> &[Repair] {
        if self.repairs_now { &self.repairs } else { &[] }
    }

    /// It is being done from now on.
    pub fn start(&self) {
        self.started.store(true, Relaxed);
    }

    /// The manifest's list of what is wanted.
    #[must_use]
    pub fn wanted(&self) -> &[Wanted] {
        &self.believed.manifest.objects
    }

    /// What is moved between tiers, each with one of its paths.
    pub fn moves(&self) -> impl Iterator<Item = (&Move, &str)> {
        let paths = self.moved_paths.iter().map(String::as_str);
        self.plan.moves.iter().zip(paths)
    }

    /// What gets further copies, each with one of its paths.
    pub fn duplicates(&self) -> impl Iterator<Item = (&Duplicate, &str)> {
        let paths = self.copied_paths.iter().map(String::as_str);
        self.plan.duplicates.iter().zip(paths)
    }

    /// Sums of all lists.
    #[must_use]
    pub fn totals(&self) -> PlanTotals {
        let fetch = Plan::amount(self.plan.fetch.iter().map(|one| one.size));
        let between = self.plan.moves.iter().map(|one| one.size);
        let moves = Plan::amount(between.chain(self.relief.iter().map(|one| one.bytes)));
        let copies = self
            .plan
            .duplicates
            .iter()
            .map(|one| one.size * u64::from(one.count));
        let copies = Plan::amount(copies);
        let evict = Plan::amount(self.plan.evict.iter().map(|one| one.size));
        let no_room = self.no_room();
        let repair = Plan::amount(self.repairs.iter().map(|one| one.damaged.bytes));
        PlanTotals {
            repair_objects: repair.objects,
            repair_bytes: repair.bytes,
            fetch_objects: fetch.objects,
            fetch_bytes: fetch.bytes,
            move_objects: moves.objects,
            move_bytes: moves.bytes,
            copy_objects: copies.objects,
            copy_bytes: copies.bytes,
            evict_objects: evict.objects,
            evict_bytes: evict.bytes,
            no_room_objects: no_room.objects,
            no_room_bytes: no_room.bytes,
        }
    }

    /// What is wanted and does not fit.
    #[must_use]
    pub fn no_room(&self) -> Amount {
        Plan::amount(self.plan.without_room.iter().map(|one| one.size))
    }

    /// The document for the operator, with at most `limit` entries of each list.
    #[must_use]
    pub fn document(&self, config: &Config, limit: usize, blocked: String) -> fill::Plan {
        let tier = |index: usize| {
            config
                .tiers
                .get(index)
                .map_or_else(String::new, |tier| tier.name.clone())
        };
        let fetch = self.plan.fetch.iter().take(limit).map(|one| {
            let entry = self.plan.entries(&one.entries, self.wanted()).next();
            fill::PlannedFetch {
                path: entry.map_or_else(|| one.root.to_string(), |entry| entry.path.to_string()),
                bytes: one.size,
                tier: tier(one.tier),
                source: self.first_source(entry),
            }
        });
        let moves = self.moves().map(|(one, path)| fill::PlannedMove {
            path: path.to_owned(),
            bytes: one.size,
            from: tier(one.from),
            to: tier(one.to),
        });
        let relief = self.relief.iter().map(|one| fill::PlannedMove {
            path: one.path.clone(),
            bytes: one.bytes,
            from: one.from.clone(),
            to: tier(one.tier),
        });
        let copies = self.duplicates().take(limit);
        let evict = self.plan.evict.iter().zip(&self.evicted_paths).take(limit);
        fill::Plan {
            as_of: self.as_of,
            serial: Some(self.believed.serial()),
            fetch: fetch.collect(),
            moves: moves.chain(relief).take(limit).collect(),
            copies: copies
                .map(|(one, path)| fill::PlannedCopy {
                    path: path.to_owned(),
                    bytes: one.size,
                    tier: tier(one.tier),
                    count: one.count,
                })
                .collect(),
            evict: evict
                .map(|(one, path)| fill::PlannedEviction {
                    path: path.clone(),
                    bytes: one.size,
                    tier: tier(one.tier),
                })
                .collect(),
            repair: self.shown_repairs(limit),
            totals: self.totals(),
            blocked,
        }
    }

    fn shown_repairs(&self, limit: usize) -> Vec<fill::PlannedRepair> {
        let repairs = self.repairs.iter().take(limit);
        let shown = repairs.map(|Repair { damaged, path, .. }| fill::PlannedRepair {
            path: path.to_string(),
            bytes: damaged.bytes,
            tier: damaged.tier.to_string(),
            is_lost: !damaged.another_is_whole,
            now: self.repairs_now,
        });
        shown.collect()
    }

    /// Where an object comes from first: its peer, else the first source that is none.
    fn first_source(&self, entry: Option<&Wanted>) -> String {
        let sources = &self.believed.manifest.sources;
        let peer = entry
            .and_then(|entry| entry.via)
            .and_then(|via| sources.get(usize::from(via)));
        let far = sources
            .iter()
            .filter(|source| source.kind() != protocol::manifest::SourceKind::Peer)
            .min_by_key(|source| source.kind());
        peer.or(far)
            .map_or_else(String::new, |source: &Source| source.name().to_owned())
    }
}
