//! Orders that concern devices: those that are back, and those that are evacuated.

use content_store::device::Comparison;
use content_store::{DeviceId, ObjectId, Repaired, Repairing};

use super::{NotDone, Order, Owner, Publisher, Reply};

pub(super) enum DeviceOrder {
    Returned {
        reply: Reply<Vec<Comparison>>,
    },
    Readmit {
        compared: Box<Comparison>,
        reply: Reply<u64>,
    },
    Vacate {
        object: ObjectId,
        placed: u64,
        reply: Reply<Option<Repairing>>,
    },
    Relieve {
        object: ObjectId,
        device: DeviceId,
        reply: Reply<Option<Repairing>>,
    },
    Moved {
        moved: Vec<Repaired>,
        reply: Reply<()>,
    },
}

impl Publisher {
    /// Devices that are back and not compared with the catalog yet.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn returned(&self) -> Result<Vec<Comparison>, NotDone> {
        self.order(|reply| Order::Device(DeviceOrder::Returned { reply }))
            .await
    }

    /// Begins to move the columns of a copy off devices that are being evacuated; `None` if there are none.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn vacate(
        &self,
        object: ObjectId,
        placed: u64,
    ) -> Result<Option<Repairing>, NotDone> {
        self.order(|reply| {
            Order::Device(DeviceOrder::Vacate {
                object,
                placed,
                reply,
            })
        })
        .await
    }

    /// Begins to move the column of an object off a device that is above its high watermark; `None` if there is none.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn relieve(
        &self,
        object: ObjectId,
        device: DeviceId,
    ) -> Result<Option<Repairing>, NotDone> {
        self.order(|reply| {
            Order::Device(DeviceOrder::Relieve {
                object,
                device,
                reply,
            })
        })
        .await
    }

    /// Puts moved columns into their places, in one commit.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn moved(&self, moved: Vec<Repaired>) -> Result<(), NotDone> {
        self.order(|reply| Order::Device(DeviceOrder::Moved { moved, reply }))
            .await
    }

    /// Uses a device again that was compared; returns how many columns it has lost.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn readmit(&self, compared: Comparison) -> Result<u64, NotDone> {
        let compared = Box::new(compared);
        self.order(|reply| Order::Device(DeviceOrder::Readmit { compared, reply }))
            .await
    }
}

impl Owner {
    pub(super) fn tend(&mut self, order: DeviceOrder) {
        // Whoever gave up waiting for an answer has lost interest in it.
        match order {
            DeviceOrder::Returned { reply } => {
                let _ = reply.send(self.returned());
            }
            DeviceOrder::Vacate {
                object,
                placed,
                reply,
            } => {
                let _ = reply.send(self.vacate(&object, placed));
            }
            DeviceOrder::Relieve {
                object,
                device,
                reply,
            } => {
                let _ = reply.send(self.relieve(&object, &device));
            }
            DeviceOrder::Moved { moved, reply } => {
                let _ = reply.send(self.moved(moved));
            }
            DeviceOrder::Readmit { compared, reply } => {
                let _ = reply.send(self.readmit(*compared));
            }
        }
    }

    fn returned(&mut self) -> Result<Vec<Comparison>, NotDone> {
        Ok(self.store()?.returned()?)
    }

    fn vacate(&mut self, object: &ObjectId, placed: u64) -> Result<Option<Repairing>, NotDone> {
        Ok(self.store()?.vacate(object, placed)?)
    }

    fn relieve(
        &mut self,
        object: &ObjectId,
        device: &DeviceId,
    ) -> Result<Option<Repairing>, NotDone> {
        Ok(self.store()?.relieve(object, device)?)
    }

    fn moved(&mut self, moved: Vec<Repaired>) -> Result<(), NotDone> {
        Ok(self.store()?.finish_repairs(moved).map(drop)?)
    }

    fn readmit(&mut self, compared: Comparison) -> Result<u64, NotDone> {
        Ok(self.store()?.readmit(compared)?)
    }
}
