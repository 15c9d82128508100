//! Reading all sidecars of all devices.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Unusable;
use crate::device::Device;
use crate::entry::PathEntry;
use crate::ids::{DeviceId, ObjectId};
use crate::sidecar::Sidecar;
use crate::store::DeviceSlot;
use crate::stripe::StripeLayout;

/// What the sidecars say about one object.
#[derive(Default)]
pub(super) struct Found {
    /// Its placements by the generation in which they were written.
    pub(super) placements: BTreeMap<u64, Placed>,
    /// The highest revision of a path list.
    pub(super) revision: u64,
    /// The paths of that revision.
    pub(super) paths: Vec<PathEntry>,
    /// All sidecars list the same paths, and those of a copy the same devices.
    pub(super) is_settled: bool,
}

/// One placement, and which of its columns are here.
pub(super) struct Placed {
    pub(super) layout: StripeLayout,
    /// Which copy it is.
    pub(super) copy: u8,
    pub(super) tier: Box<str>,
    /// As the sidecars of the highest revision name them: a repair may have moved a column.
    pub(super) devices: Box<[DeviceId]>,
    revision: u64,
    /// Columns that are here, each with its device.
    here: Vec<(usize, DeviceId)>,
    /// Those that have a sidecar there.
    told: Vec<(usize, DeviceId)>,
    /// All its devices are here, so what is missing is lost.
    is_known: bool,
}

impl Placed {
    pub(super) fn is_whole(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Columns that are not here, with their devices.
    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, DeviceId)> {
        let columns = self.devices.iter().copied().enumerate();
        columns.filter(|column| !self.here.contains(column))
    }

    /// A column that has left its device, or was about to, is where it is whole: a crash in between leaves one of both, or both.
    fn stay_where_whole(&mut self) {
        for column in 0..self.devices.len() {
            if self.here.contains(&(column, self.devices[column])) {
                continue;
            }
            let mut here = self.here.iter();
            let elsewhere = here.find(|(at, id)| *at == column && !self.devices.contains(id));
            if let Some((_, id)) = elsewhere {
                self.devices[column] = *id;
            }
        }
    }

    /// The stripe sets with the files of columns that lie on devices where they are not looked for any more.
    pub(super) fn left_behind(&self) -> impl Iterator<Item = Box<[DeviceId]>> {
        let told = self.told.iter();
        let left = told.filter(|(_, id)| !self.devices.contains(id));
        left.map(|(column, id)| {
            let mut devices = self.devices.clone();
            devices[*column] = *id;
            devices
        })
    }

    /// Some columns are lost for good, others are here.
    pub(super) fn can_be_repaired(&self) -> bool {
        self.is_known && !self.here.is_empty()
    }

    /// All columns are lost for good.
    pub(super) fn is_lost(&self) -> bool {
        self.is_known && self.here.is_empty()
    }
}

/// Reads every sidecar; what cannot be used goes to `unusable`.
pub(super) fn scan(
    slots: &[DeviceSlot],
    unusable: &mut Vec<Unusable>,
    mut progress: impl FnMut(u64),
) -> BTreeMap<ObjectId, Found> {
    let mut found: BTreeMap<ObjectId, Found> = BTreeMap::new();
    let mut count = 0;
    for device in slots.iter().filter_map(|slot| slot.device.as_ref().ok()) {
        for path in files(&device.objects(), unusable) {
            let result = match path.extension().and_then(OsStr::to_str) {
                Some("meta") => read(device, &path).and_then(|(sidecar, column)| {
                    add(&mut found, device.id(), sidecar, column.is_ok()).and(column)
                }),
                Some("col") if path.with_extension("meta").exists() => Ok(()),
                Some("col") => Err("it has no sidecar".into()),
                _ => Err("it is no file of the store".into()),
            };
            if let Err(cause) = result {
                unusable.push(Unusable { path, cause });
            }
            count += 1;
            progress(count);
        }
    }
    let here: BTreeSet<_> = slots.iter().filter_map(DeviceSlot::id).collect();
    let placements = found
        .values_mut()
        .flat_map(|found| found.placements.values_mut());
    for placed in placements {
        placed.stay_where_whole();
        placed.is_known = placed.devices.iter().all(|id| here.contains(id));
    }
    found
}

/// All files two folders deep.
pub(super) fn files(objects: &Path, unusable: &mut Vec<Unusable>) -> Vec<PathBuf> {
    let mut level = vec![objects.to_path_buf()];
    for _ in 0..3 {
        level = level
            .iter()
            .flat_map(|folder| entries(folder, unusable))
            .collect();
    }
    level
}

fn entries(folder: &Path, unusable: &mut Vec<Unusable>) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    });
    listed.unwrap_or_else(|error| {
        unusable.push(Unusable {
            path: folder.into(),
            cause: error.to_string(),
        });
        Vec::new()
    })
}

/// A sidecar that is at its place, and why its column is lost, if it is.
fn read(device: &Device, path: &Path) -> Result<(Sidecar, Result<(), String>), String> {
    let sidecar = Sidecar::read(path).map_err(|problem| problem.to_string())?;
    if device.sidecar_path(&sidecar.object) != path {
        return Err(format!("it belongs to object {}", sidecar.object));
    }
    if sidecar.devices.get(usize::from(sidecar.column)) != Some(&device.id()) {
        return Err("it belongs on another device".into());
    }
    let expected = sidecar.column_length();
    let column = match fs::metadata(device.column_path(&sidecar.object)) {
        Ok(found) if found.len() == expected => Ok(()),
        Ok(found) => {
            let found = found.len();
            Err(format!(
                "its column has {found} bytes instead of {expected}"
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("its column is lost".into()),
        // It may be there another time.
        Err(error) => return Err(format!("its column: {error}")),
    };
    Ok((sidecar, column))
}

fn add(
    found: &mut BTreeMap<ObjectId, Found>,
    device: DeviceId,
    sidecar: Sidecar,
    has_column: bool,
) -> Result<(), String> {
    let Sidecar {
        object,
        layout,
        placed,
        revision,
        tier,
        copy,
        column,
        devices,
        paths,
        ..
    } = sidecar;
    let of_object = found.entry(object).or_insert_with(|| Found {
        is_settled: true,
        ..Found::default()
    });
    let placement = of_object
        .placements
        .entry(placed)
        .or_insert_with(|| Placed {
            layout,
            copy,
            tier,
            here: Vec::new(),
            told: Vec::new(),
            is_known: false,
            devices: devices.clone(),
            revision,
        });
    let agrees = placement.devices == devices;
    if placement.layout != layout || !agrees && placement.revision == revision {
        return Err(format!("it contradicts another sidecar of object {object}"));
    }
    let column = (usize::from(column), device);
    placement.told.push(column);
    if has_column {
        placement.here.push(column);
    }
    if revision > placement.revision {
        placement.revision = revision;
        placement.devices = devices;
    }
    of_object.is_settled &= agrees;
    let is_first = of_object.revision == 0;
    of_object.is_settled &= is_first || of_object.paths == paths;
    if is_first || revision > of_object.revision {
        of_object.revision = revision;
        of_object.paths = paths;
    }
    Ok(())
}
