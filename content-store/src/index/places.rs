//! Where columns are: the devices of an index, and objects made of records.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::IndexDevice;
use super::object::{Column, Object, ObjectCopy};
use super::served::Served;
use crate::catalog::{CopyRecord, ObjectRecord};
use crate::ids::DeviceId;

/// The devices that an index knows. All its objects share it.
#[derive(Debug, Default)]
pub(super) struct Places {
    devices: Box<[IndexDevice]>,
    roots: Box<[Arc<Path>]>,
    /// Devices that are not here, in the order in which records named them. No worker asks for them.
    absent: Mutex<Vec<DeviceId>>,
}

/// A device of a [`Places`]: its number, or the place in the list of those that are not here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u16);

const ABSENT: u16 = 1 << 15;

impl Place {
    pub(super) fn here(self) -> Option<usize> {
        (self.0 & ABSENT == 0).then_some(self.0.into())
    }

    pub(super) fn number(self) -> usize {
        self.here().expect("only of a column that is here")
    }
}

impl Places {
    pub(super) fn new(devices: &[IndexDevice]) -> Self {
        let root = |device: &IndexDevice| device.root.as_path().into();
        Self {
            devices: devices.into(),
            roots: devices.iter().map(root).collect(),
            absent: Mutex::default(),
        }
    }

    pub(super) fn root(&self, place: Place) -> &Arc<Path> {
        &self.roots[place.number()]
    }

    pub(super) fn id(&self, place: Place) -> Option<DeviceId> {
        match place.here() {
            Some(number) => self.devices.get(number)?.id,
            None => self.absent().get(usize::from(place.0 & !ABSENT)).copied(),
        }
    }

    fn absent(&self) -> std::sync::MutexGuard<'_, Vec<DeviceId>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, id: DeviceId) -> Place {
        let mut here = self.devices.iter();
        if let Some(number) = here.position(|device| device.id == Some(id)) {
            return Place(number as u16);
        }
        let mut absent = self.absent();
        let known = absent.iter().position(|known| *known == id);
        let place = known.unwrap_or_else(|| {
            absent.push(id);
            absent.len() - 1
        });
        Place(place as u16 | ABSENT)
    }

    /// The object of a record: the one before, if nothing about it changed.
    pub(super) fn object(
        self: &Arc<Self>,
        record: &ObjectRecord,
        before: Option<&Arc<Object>>,
    ) -> Option<Arc<Object>> {
        let object = match before.filter(|before| self.is_still(record, before)) {
            Some(before) => Arc::clone(before),
            None => self.new_object(record, before.map(|before| &**before))?,
        };
        // Of a column that is known to be bad the device reads nothing, only what is in memory already is of use.
        for (copy, of) in record.copies.iter().zip(object.copies()) {
            for (column, place) in of.columns.iter().enumerate() {
                if copy.bad.contains(column) && place.device().is_some() {
                    object.made(of, column).mark_bad();
                }
            }
        }
        Some(object)
    }

    fn is_still(&self, record: &ObjectRecord, before: &Object) -> bool {
        let is_same = |(copy, of): (&CopyRecord, &ObjectCopy)| {
            let columns = copy.devices.iter().zip(&*of.columns);
            is_same_copy(copy, of)
                && columns
                    .clone()
                    .all(|(id, was)| self.is_at(*id, before, was))
        };
        record.copies.len() == 1 + before.others.len()
            && record.copies.iter().zip(before.copies()).all(is_same)
    }

    /// Whether the column of that object is on this device, which is where it was, or is as absent as it was.
    fn is_at(&self, id: DeviceId, of: &Object, column: &Column) -> bool {
        of.device_of(column) == Some(id)
            && match (column.device(), self.place(id).here()) {
                (None, None) => true,
                (Some(before), Some(now)) => {
                    before == now && self.devices.get(now) == of.devices.devices.get(now)
                }
                _ => false,
            }
    }

    fn new_object(
        self: &Arc<Self>,
        record: &ObjectRecord,
        before: Option<&Object>,
    ) -> Option<Arc<Object>> {
        let mut copies = record.copies.iter().map(|copy| self.copy(copy, before));
        Some(Arc::new(Object {
            served: Served::default(),
            id: record.object,
            devices: Arc::clone(self),
            first: copies.next()?,
            others: copies.collect(),
        }))
    }

    /// A copy, with what it shares with the same one of before.
    fn copy(&self, copy: &CopyRecord, before: Option<&Object>) -> ObjectCopy {
        let same = before.and_then(|before| {
            let mut copies = before.copies();
            Some((before, copies.find(|of| is_same_copy(copy, of))?))
        });
        let column = |(number, id): (usize, &DeviceId)| {
            let was = same.and_then(|(object, of)| Some((object, of.columns.get(number)?)));
            match was.filter(|(object, was)| self.is_at(*id, object, was)) {
                Some((_, was)) => was.again(self.place(*id)),
                None => Column::new(self.place(*id)),
            }
        };
        ObjectCopy {
            layout: copy.layout,
            columns: copy.devices.iter().enumerate().map(column).collect(),
            written: written(copy),
        }
    }
}

/// After a repair nothing is shared: what the file of before has open may be the bad one.
fn is_same_copy(copy: &CopyRecord, of: &ObjectCopy) -> bool {
    copy.layout == of.layout && written(copy) == of.written
}

fn written(copy: &CopyRecord) -> u64 {
    copy.placed.max(copy.repaired)
}
