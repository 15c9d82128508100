//! A manifest of a million objects: built, sealed, opened, judged and planned, with the time and the peak of memory of each step.
//!
//! `cargo run --release -p fill-agent --example plan_scale [-- OBJECTS]`

use std::error::Error;
use std::time::Instant;

use fill_agent::guard::{Question, Summary, judge};
use fill_agent::planner::{Allowance, Device, Held, HeldPath, Plan, Situation, Tier, plan};
use protocol::config::TierRole;
use protocol::manifest::keys::PrivateKey;
use protocol::manifest::seal::{open, seal};
use protocol::manifest::{MANIFEST_VERSION, Manifest, Serial, Wanted};
use protocol::root::Root;
use protocol::units::Percent;

const APPLIANCE: &str = "c001.fra001.example";
const TB: u64 = 1_000_000_000_000;

/// Size of the tiers, for each wanted object: it has 250 MB on average.
const HOT_BYTES: u64 = 20_000_000;
const CAPACITY_BYTES: u64 = 220_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let key = PrivateKey::from_seed(&[7; 32]);
    let mut steps = Steps::new();

    let last = Summary::of(&manifest(0..count));
    steps.done("last manifest built and summed up");
    // A fifth of the objects is new.
    let manifest = manifest(count / 5..count + count / 5);
    steps.done("manifest built");
    let sealed = seal(&manifest, &[&key])?;
    drop(manifest);
    steps.done(&format!("sealed, {} MB", sealed.len() / 1_000_000));
    let manifest: Manifest = open(&sealed, &[key.public()], APPLIANCE)?;
    steps.done("opened and checked");

    let paths: Vec<String> = (0..count).map(path).collect();
    let held = held(&paths, count * CAPACITY_BYTES);
    let held_bytes = held.iter().map(|held| held.size).sum();
    let tiers = [
        tier(TierRole::Hot, count * HOT_BYTES, 0),
        tier(TierRole::Capacity, count * CAPACITY_BYTES, held_bytes),
    ];
    steps.done(&format!("{} objects held", held.len()));
    let plan = plan(&Situation {
        wanted: &manifest.objects,
        tombstones: &manifest.tombstones,
        held: &held,
        tiers: &tiers,
        high_watermark: Percent::of(95),
        low_watermark: Percent::of(92),
        allowance: Allowance::All(u64::MAX),
        footprint: content_store::space::footprint,
    });
    steps.done(&in_short(&plan));
    let new = Summary::of(&manifest);
    let verdict = judge(&Question {
        last: Some(&last),
        new: &new,
        held_objects: held.len() as u64,
        held_bytes,
        held_wanted_objects: plan.held_wanted.objects,
        evict_bytes: plan.evict.iter().map(|evict| evict.size).sum(),
        evicted_today_bytes: 0,
        max_evict_per_day: Percent::of(10),
    });
    steps.done(&format!("{verdict:?}"));
    Ok(())
}

/// Time and memory of what was done last.
struct Steps(Instant);

impl Steps {
    fn new() -> Self {
        forget_peak();
        Self(Instant::now())
    }

    fn done(&mut self, what: &str) {
        println!(
            "{:6.2} s  peak {}  {what}",
            self.0.elapsed().as_secs_f64(),
            peak()
        );
        forget_peak();
        self.0 = Instant::now();
    }
}

/// Peak of resident memory (proc_pid_status(5)); other systems tell it through `time -l`.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |peak| peak.trim().to_owned())
}

/// `5` sets the peak to what is resident now (proc_pid_clear_refs(5)).
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A number that belongs to an object.
fn chance(number: u64, what: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(what.as_bytes());
    hasher
        .finalize()
        .as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn path(number: u64) -> String {
    format!(
        "/vod/{:05}/{:02}/1080p/segment-{number:08}.m4s",
        number / 400,
        number % 40
    )
}

fn root(number: u64) -> Root {
    Root(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// 1 to 500 MB.
fn size(number: u64) -> u64 {
    1_000_000 + chance(number, "size") % 499_000_000
}

fn manifest(objects: std::ops::Range<u64>) -> Manifest {
    let wanted = |number: u64| Wanted {
        path: path(number).into(),
        root: root(number),
        size: size(number),
        content_type: "video/mp4".into(),
        cache_control: None,
        modified: 1_700_000_000 + number,
        tier: if chance(number, "tier").is_multiple_of(10) {
            TierRole::Hot
        } else {
            TierRole::Capacity
        },
        // A long tail: few are asked for often.
        demand: TB / (1 + chance(number, "demand") % 1_000_000),
        copies: 1,
        urgent: number.is_multiple_of(10_000),
        via: None,
    };
    Manifest {
        version: MANIFEST_VERSION,
        appliance: APPLIANCE.to_owned(),
        serial: Serial {
            epoch: 1,
            number: objects.start + 1,
        },
        built_at: 1_800_000_000,
        not_after: 1_800_200_000,
        site_offset_s: None,
        site_rate: None,
        sources: Vec::new(),
        objects: objects.map(wanted).collect(),
        tombstones: Vec::new(),
    }
}

/// A tier of eight devices.
fn tier(role: TierRole, total: u64, used: u64) -> Tier {
    let device = Device {
        total_bytes: total / 8,
        room_bytes: (total - used) / 8,
        room_columns: u64::MAX,
    };
    Tier {
        role,
        devices: vec![device; 8],
        stripe_width: 1,
        room_objects: u64::MAX,
    }
}

/// What the last manifest wanted, in capacity, up to its high watermark.
fn held(paths: &[String], capacity: u64) -> Vec<Held<'_>> {
    let mut used = 0;
    let held = (0..).zip(paths).map_while(|(number, path)| {
        let size = size(number);
        used += size;
        (used < capacity / 100 * 95).then(|| Held {
            root: root(number),
            size,
            tier: 1,
            whole: true,
            copies: 1,
            devices: 1 << (number % 8),
            takes_room: true,
            further: 7,
            demand: 0,
            paths: vec![HeldPath {
                path,
                content_type: "video/mp4",
                cache_control: "public, max-age=31536000, immutable",
                modified: 1_700_000_000 + number,
            }],
        })
    });
    held.collect()
}

fn in_short(plan: &Plan) -> String {
    format!(
        "planned: {} evictions, {} moves, {} fetches, {} publications, {} without room, {} later",
        plan.evict.len(),
        plan.moves.len(),
        plan.fetch.len(),
        plan.publish.len(),
        plan.without_room.len(),
        plan.later.objects
    )
}
