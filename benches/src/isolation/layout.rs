//! The shipped default layout: eight devices in one tier, every object spread over two of them by the stripe map, nothing in memory; and one
//! of the eight falls ill.
//!
//! One viewer watches one object, at a fixed pace. Those whose object has no column on the ill device must notice nothing; of all
//! requests no more may fail than there are viewers of the others, and each failure must be heard soon.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::Run;
use super::case::Illness;
use super::disk::Disk;
use super::mirror::{Mirror, Mood};
use super::place::Ground;
use super::report::{LEAST_RATIO, MOST_MS};
use super::throttle::Rule;
use crate::content::{self, Shape};
use crate::load::Object;
use crate::load::crowd::{Choice, Crowd, Plan, Tally};
use crate::server::appliance::{Appliance, Import, Tier};
use crate::server::{self, Kind, Server, Setting};
use crate::void::undisturbed;

const DEVICES: usize = 8;
/// The stripe width that a tier of role `hot` has when none is configured.
const WIDTH: usize = 2;
/// Of each: the stripe map goes by it.
const DEVICE_BYTES: u64 = 256 << 20;
/// Of the devices.
const ILL: usize = 3;

const SHAPE: Shape = Shape {
    files: 64,
    bytes: 4 << 20,
};
const VIEWERS: usize = 128;
/// With [`RANGE_BYTES`], somewhat more than the slow device gives.
const PACE: Duration = Duration::from_millis(100);
const RANGE_BYTES: u64 = 256 << 10;

/// How long viewers are looked at, before and beside.
const WINDOW: Duration = Duration::from_secs(3);

/// Within this, who asks for what is on the ill device hears of it.
const HEARD_MS: f64 = 1000.0;
/// Within this, the device is said to have failed; and to be well again.
const KNOWN_BOUND: Duration = Duration::from_secs(30);
/// What a device is said to be that is not counted on.
const GONE: [&str; 2] = ["failed", "missing"];

/// What happens to the one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mishap {
    /// 20 MiB/s
    Slow,
    /// reads never end
    Frozen,
    /// nothing ends, neither `open` nor `stat`
    Silent,
    /// it is detached
    Removed,
}

/// What came of it.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Row {
    server: Kind,
    mishap: Mishap,
    /// Requests of viewers without a column on the device, beside per alone.
    ratio: f64,
    worst_alone_ms: f64,
    worst_beside_ms: f64,
    /// Of theirs.
    failed_elsewhere: u64,
    /// Of all requests.
    failed_share: f64,
    /// The longest until a viewer with a column on the device was served or heard that he is not.
    slowest_ms: f64,
    /// Until the daemon says so; none: it is not to say so.
    failed_after_s: Option<f64>,
    well_after_s: f64,
}

impl Row {
    fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        if self.ratio < LEAST_RATIO {
            misses.push(format!("others are served {:.3} of before", self.ratio));
        }
        if self.worst_beside_ms >= self.worst_alone_ms + MOST_MS {
            misses.push(format!(
                "a request of others took {:.1} ms, {:.1} at most before",
                self.worst_beside_ms, self.worst_alone_ms
            ));
        }
        if self.failed_elsewhere > 0 {
            misses.push(format!(
                "{} requests of others failed",
                self.failed_elsewhere
            ));
        }
        let most = WIDTH as f64 / DEVICES as f64 + 0.01;
        if self.failed_share > most {
            misses.push(format!("{:.3} of the requests failed", self.failed_share));
        }
        // A slow device may be slow, as long as it serves.
        if self.mishap != Mishap::Slow && self.slowest_ms > HEARD_MS {
            misses.push(format!("a viewer heard after {:.0} ms", self.slowest_ms));
        }
        let about = |miss| format!("{}, {:?} of eight: {miss}", self.server.name(), self.mishap);
        misses.into_iter().map(about).collect()
    }
}

pub(super) fn misses(rows: &[Row]) -> Vec<String> {
    rows.iter().flat_map(Row::misses).collect()
}

/// To standard output.
pub(super) fn print(rows: &[Row]) {
    for row in rows {
        println!(
            "{:<12} one of eight {:<8} others: {:.3} of before, worst {:.1} ms (before {:.1}), {} failed; failed of all {:.3}, \
             slowest with the device {:.0} ms; failed after {}, well after {:.1} s",
            row.server.name(),
            format!("{:?}", row.mishap).to_lowercase(),
            row.ratio,
            row.worst_beside_ms,
            row.worst_alone_ms,
            row.failed_elsewhere,
            row.failed_share,
            row.slowest_ms,
            row.failed_after_s
                .map_or("-".into(), |after| format!("{after:.1} s")),
            row.well_after_s,
        );
    }
}

/// The device that falls ill.
enum Patient {
    Disk(Disk),
    Mirror(Mirror),
}

/// Eight devices, and objects for them.
pub(super) struct Eight<'g> {
    ground: &'g Ground,
    folder: PathBuf,
    objects: Vec<Object>,
    // Ended before the folder is.
    _others: Vec<Disk>,
    patient: Patient,
    devices: Vec<PathBuf>,
    mishap: Mishap,
}

impl<'g> Eight<'g> {
    pub(super) fn make(ground: &'g Ground, mishap: Mishap) -> Result<Self> {
        let folder = ground.folder("eight")?;
        let mut objects = content::make(&folder.join("source"), SHAPE)?;
        for object in &mut objects {
            object.path = format!("/film{}", object.path);
        }
        let name = |number: usize| format!("nvme{number}");
        let disk = |number: usize| Disk::make(&folder, &name(number), DEVICE_BYTES);
        let mut others = (0..DEVICES)
            .filter(|&number| number != ILL)
            .map(disk)
            .collect::<Result<Vec<_>>>()?;
        others.iter_mut().try_for_each(Disk::settle)?;
        let patient = if mishap == Mishap::Silent {
            Patient::Mirror(Mirror::make(
                &folder.join("behind"),
                &folder.join(name(ILL)),
                DEVICE_BYTES,
            )?)
        } else {
            // It is to be mounted again after it was removed, so its loop devices are kept.
            Patient::Disk(disk(ILL)?)
        };
        Ok(Self {
            ground,
            objects,
            _others: others,
            patient,
            devices: (0..DEVICES)
                .map(|number| folder.join(name(number)))
                .collect(),
            folder,
            mishap,
        })
    }

    fn start(&self, kind: Kind, run: &Run<'_>) -> Result<Server> {
        let folder = self.folder.join(kind.short());
        let appliance = Appliance {
            state: folder.join("state"),
            memory_mib: 0,
            in_flight_mib: None,
            tiers: vec![Tier {
                name: "nvme",
                role: "hot",
                shared_fs: false,
                devices: self.devices.clone(),
            }],
            imports: vec![Import {
                folder: self.folder.join("source"),
                prefix: "/film",
                tier: "nvme",
            }],
        };
        server::start(
            kind,
            &Setting {
                folder: &folder,
                content: &self.folder.join("source"),
                objects: &self.objects,
                place: &run.cores.0.into(),
                host: std::net::Ipv4Addr::LOCALHOST.into(),
                programs: &run.programs,
                tls: run.security.as_ref(),
                appliance: Some(&appliance),
            },
        )
    }

    /// For each object, whether it has a column on the ill device.
    fn touched(&self, server: &Server) -> Result<Vec<bool>> {
        let admin = server.admin.as_ref().context("ours only")?;
        let ill = self.devices[ILL].display().to_string();
        let touched = |object: &Object| -> Result<bool> {
            let stat = admin.ask(&["content", "stat", &object.path])?;
            let columns = stat["copies"][0]["columns"].as_array();
            let columns = columns.context("content stat names no columns")?;
            ensure!(
                columns.len() == WIDTH,
                "an object with {} columns",
                columns.len()
            );
            Ok(columns.iter().any(|column| column["root"] == ill.as_str()))
        };
        let touched = self
            .objects
            .iter()
            .map(touched)
            .collect::<Result<Vec<_>>>()?;
        let both = touched.contains(&true) && touched.contains(&false);
        ensure!(both, "the stripe map does not spread the objects");
        Ok(touched)
    }

    /// Before, beside, and until it is well again.
    pub(super) fn run(&self, kind: Kind, run: &Run<'_>) -> Result<Row> {
        let mut server = self.start(kind, run)?;
        let touched = self.touched(&server)?;
        let crowd = Crowd::gather(Plan {
            target: server.target.clone(),
            viewers: VIEWERS,
            objects: self.objects.clone(),
            choice: Choice::Own,
            range_bytes: RANGE_BYTES,
            pace: Some(PACE),
        })?;
        crowd.ask();
        // Until all files are open.
        std::thread::sleep(WINDOW);
        crowd.take();
        let before = undisturbed(|| Ok(self.look(&crowd, &touched)));
        self.happen()?;
        let begun = Instant::now();
        let beside = undisturbed(|| Ok(self.look(&crowd, &touched)));
        let failed_after_s = match self.mishap {
            Mishap::Slow => None,
            _ => Some(self.await_state(&server, |state| GONE.contains(&state), begun)?),
        };
        self.repair()?;
        let well_after_s = self.await_state(&server, |state| state == "ok", Instant::now())?;
        let after = self.settle(crowd, &touched)?;
        let ended = server.process.ended()?;
        ensure!(ended.is_none(), "the server has ended: {ended:?}");
        let (before, beside) = (before?, beside?);
        let rate = |window: &Window| window.others.served as f64 / window.seconds;
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let requests = beside.others.requests() + beside.theirs.requests();
        let theirs = beside.theirs.join(after.theirs);
        Ok(Row {
            server: kind,
            mishap: self.mishap,
            ratio: rate(&beside) / rate(&before),
            worst_alone_ms: ms(before.others.slowest_served),
            worst_beside_ms: ms(beside.others.slowest_served),
            failed_elsewhere: beside.others.failed() + after.others.failed(),
            failed_share: (beside.others.failed() + beside.theirs.failed()) as f64
                / requests as f64,
            slowest_ms: ms(theirs.slowest_served.max(theirs.slowest_failed)),
            failed_after_s,
            well_after_s,
        })
    }

    fn happen(&self) -> Result<()> {
        let group = &self.ground.group;
        match (&self.patient, self.mishap) {
            (Patient::Disk(disk), Mishap::Removed) => disk.detach(),
            (Patient::Disk(disk), mishap) => {
                let case = match mishap {
                    Mishap::Slow => super::case::Case::Slow,
                    _ => super::case::Case::Frozen,
                };
                let Illness::Held(rule) = case.illness() else {
                    return Ok(());
                };
                disk.hold_back(group, rule)
            }
            (Patient::Mirror(mirror), _) => {
                mirror.set(Mood::Silent);
                Ok(())
            }
        }
    }

    fn repair(&self) -> Result<()> {
        match (&self.patient, self.mishap) {
            (Patient::Disk(disk), Mishap::Removed) => disk.attach_again(),
            (Patient::Disk(disk), _) => disk.hold_back(&self.ground.group, Rule::NONE),
            (Patient::Mirror(mirror), _) => mirror.heal(),
        }
    }

    /// Seconds until the daemon says so.
    fn await_state(
        &self,
        server: &Server,
        is_so: impl Fn(&str) -> bool,
        begun: Instant,
    ) -> Result<f64> {
        let admin = server.admin.as_ref().context("ours only")?;
        loop {
            let status = admin.status()?;
            let state = status["devices"][ILL]["state"].as_str().unwrap_or_default();
            if is_so(state) {
                return Ok(begun.elapsed().as_secs_f64());
            }
            ensure!(
                begun.elapsed() < KNOWN_BOUND,
                "the device is still said to be {state} after {KNOWN_BOUND:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn look(&self, crowd: &Crowd, touched: &[bool]) -> Window {
        let begun = Instant::now();
        std::thread::sleep(WINDOW);
        Window::of(&crowd.take(), touched, begun.elapsed())
    }

    /// What was under way must be answered, or closed.
    fn settle(&self, mut crowd: Crowd, touched: &[bool]) -> Result<Window> {
        crowd.hush();
        let begun = Instant::now();
        while crowd.pending() > 0 {
            ensure!(
                begun.elapsed() < KNOWN_BOUND,
                "a response neither ends nor is closed"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let window = Window::of(&crowd.take(), touched, begun.elapsed());
        crowd.leave()?;
        Ok(window)
    }
}

struct Window {
    seconds: f64,
    /// Of viewers without a column on the ill device.
    others: Tally,
    theirs: Tally,
}

impl Window {
    fn of(tallies: &[Tally], touched: &[bool], elapsed: Duration) -> Self {
        let sum = |wanted: bool| {
            let chosen = tallies
                .iter()
                .zip(touched)
                .filter(|(_, touched)| **touched == wanted);
            chosen.fold(Tally::default(), |sum, (tally, _)| sum.join(*tally))
        };
        Self {
            seconds: elapsed.as_secs_f64(),
            others: sum(false),
            theirs: sum(true),
        }
    }
}
