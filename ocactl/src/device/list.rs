//! `ocactl device ls`.

use std::path::{Path, PathBuf};

use comfy_table::Cell;
use content_store::DeviceId;
use content_store::device::Blast;
use protocol::config::Config;
use protocol::fill::DeviceFill;
use protocol::smart::Disk;
use protocol::status::DeviceState;
use serde::Serialize;

use super::meant::Known;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, number};
use crate::status::share;
use crate::store::Probed;

/// Lists the devices.
pub(super) fn run(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let known = Known::of(config);
    let listed = Devices {
        objects: known
            .snapshot
            .as_ref()
            .ok()
            .map(|snapshot| snapshot.objects.len() as u64),
        daemon_running: !matches!(&known.daemon, Err(error) if error.is_not_running()),
        daemon_problem: known.daemon.as_ref().err().map(ToString::to_string),
        devices: known
            .probed
            .iter()
            .map(|device| Listed::new(config, device, &known))
            .collect(),
    };
    output::print(format, &listed)?;
    if let Err(Failure::Failed(problem) | Failure::Usage(problem)) = &known.snapshot {
        eprintln!("ocactl: what the devices hold is not known: {problem}");
    }
    let mut devices = listed.devices.iter();
    let all_well = devices.all(|device| device.state == DeviceState::Ok);
    Ok(match all_well && known.snapshot.is_ok() {
        true => Outcome::Done,
        false => Outcome::Partly,
    })
}

#[derive(Serialize)]
struct Devices {
    /// All objects of the appliance; none if the catalog cannot be read.
    objects: Option<u64>,
    daemon_running: bool,
    /// Why the daemon does not say how they are.
    daemon_problem: Option<String>,
    devices: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    path: PathBuf,
    tier: String,
    id: Option<DeviceId>,
    /// The worst verdict.
    state: DeviceState,
    /// Why it is not `ok`.
    cause: String,
    /// What the disks below it said of their wear; none if nobody has asked them.
    wear: Vec<Disk>,
    /// The daemon's verdict; none if it does not run.
    daemon: Option<DeviceState>,
    /// The fill agent's verdict; none if it does not run.
    agent: Option<DeviceState>,
    total_bytes: Option<u64>,
    available_bytes: Option<u64>,
    /// What it holds; none if the catalog cannot be read.
    #[serde(flatten)]
    blast: Option<Blast>,
}

impl Listed {
    /// What this program sees, and what daemon and agent say; the worst counts.
    fn new(config: &Config, device: &Probed, known: &Known) -> Self {
        let judged = known.judged(&device.root);
        let filled = filled(known.agent.as_deref().unwrap_or_default(), &device.root);
        let verdicts = [
            Some(own(device)),
            judged.map(|judged| (judged.state, judged.cause.clone())),
            filled.and_then(|fill| Some((fill.verdict?, fill.state.clone()))),
        ];
        // The first of equals: what this program sees, now.
        let worst = verdicts.into_iter().flatten().rev();
        let (state, cause) = worst
            .max_by_key(|(state, _)| *state)
            .unwrap_or((DeviceState::Ok, String::new()));
        let space = device.found.as_ref().ok().map(|(_, space)| space);
        let id = known.id(device);
        let blast = known.snapshot.is_ok().then(|| known.blast(id));
        Self {
            path: device.root.clone(),
            tier: config.tiers[device.tier].name.clone(),
            id,
            state,
            cause: match state {
                DeviceState::Ok => String::new(),
                DeviceState::Evacuating if blast.is_some_and(|blast| blast.objects_alone == 0) => {
                    "nothing lies on it alone: remove it, then it may be pulled".to_owned()
                }
                _ => cause,
            },
            wear: judged.map(|judged| judged.wear.clone()).unwrap_or_default(),
            daemon: judged.map(|judged| judged.state),
            agent: filled.and_then(|fill| fill.verdict),
            total_bytes: space.map(|space| space.total_bytes),
            available_bytes: space.map(|space| space.available_bytes),
            blast,
        }
    }
}

impl Listed {
    /// The cause; of a device that is well, what its disks warn of.
    fn remark(&self) -> String {
        if !self.cause.is_empty() {
            return self.cause.clone();
        }
        let warned = self.wear.iter().filter(|disk| !disk.warnings.is_empty());
        let said = warned.map(|disk| format!("{}: {}", disk.name, disk.warnings.join("; ")));
        said.collect::<Vec<_>>().join("; ")
    }
}

fn own(device: &Probed) -> (DeviceState, String) {
    match &device.found {
        Err(wrong) => (
            DeviceState::of_word(wrong.condition.as_str()),
            wrong.words.clone(),
        ),
        Ok(_) if device.is_evacuating => (
            DeviceState::Evacuating,
            "nothing new is written to it, and what it alone holds is copied to others".to_owned(),
        ),
        Ok((_, space)) if content_store::space::room_bytes(space) == 0 => (
            DeviceState::Full,
            format!("{} bytes are left", space.available_bytes),
        ),
        Ok(_) => (DeviceState::Ok, String::new()),
    }
}

/// The fill agent's words on the device at `root`.
fn filled<'a>(devices: &'a [DeviceFill], root: &Path) -> Option<&'a DeviceFill> {
    devices
        .iter()
        .find(|device| device.path.components().eq(root.components()))
}

impl Report for Devices {
    fn text(&self) -> String {
        let mut table = output::table([
            "DEVICE", "TIER", "STATE", "FREE", "SIZE", "OBJECTS", "TOUCHES", "ALONE", "", "ID",
            "CAUSE",
        ]);
        let amount = |amount: Option<u64>| number(amount.map_or("-".to_owned(), bytes));
        for device in &self.devices {
            let id = device.id.map_or("-".to_owned(), |id| id.to_string());
            let held = |of: fn(&Blast) -> u64| device.blast.as_ref().map(of);
            let count = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
            let objects = held(|blast| blast.objects);
            let touched = objects.zip(self.objects);
            table.add_row(vec![
                Cell::new(device.path.display()),
                Cell::new(&device.tier),
                Cell::new(device.state.as_str()),
                amount(device.available_bytes),
                amount(device.total_bytes),
                number(count(objects)),
                number(touched.map_or("-".to_owned(), |(some, all)| share(some, all))),
                number(count(held(|blast| blast.objects_alone))),
                amount(held(|blast| blast.bytes_alone)),
                Cell::new(id),
                Cell::new(device.remark()),
            ]);
        }
        let mut text = output::rendered(&table);
        if let Some(problem) = &self.daemon_problem {
            text.push_str(&format!("\n\nStates are as seen from here: {problem}"));
        }
        text
    }
}
