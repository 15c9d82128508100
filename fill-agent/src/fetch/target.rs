//! What groups are written to: an object that comes, or columns of a copy that are repaired.

use std::ops::Range;

use content_store::{DeviceId, Repaired, Repairing, Staging, StoreError};

use super::feed::seal_columns;
use super::{Failure, Fill};
use crate::fetch::Transfer;
use crate::lanes::{Lanes, Late};
use crate::rate::Limiter;

/// Takes groups in order.
pub(super) enum Target {
    /// An object.
    Object(Staging),
    /// Columns of a copy.
    Columns(Repairing),
}

impl Target {
    /// The offset of the next group.
    pub(super) fn written(&self) -> u64 {
        match self {
            Self::Object(staging) => staging.written(),
            Self::Columns(repairing) => repairing.written(),
        }
    }

    /// Whether nothing is missing. An object without bytes has one group as well, and its root is checked by it.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Object(staging) => staging.rest() == 0 && staging.written() > 0,
            Self::Columns(repairing) => repairing.missing().is_empty(),
        }
    }

    /// What a source is to be asked for next.
    pub(super) fn to_fetch(&self) -> Vec<Range<u64>> {
        match self {
            Self::Object(staging) => {
                let start = staging.written();
                std::iter::once(start..start + staging.rest()).collect()
            }
            Self::Columns(repairing) => repairing.to_fetch(),
        }
    }

    fn next_device(&self) -> DeviceId {
        match self {
            Self::Object(staging) => staging.next_device(),
            Self::Columns(repairing) => repairing.next_device(),
        }
    }

    fn write_group(&mut self, group: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Object(staging) => staging.write_group(group),
            Self::Columns(repairing) => repairing.write_group(group),
        }
    }
}

/// Writes a group on the thread of the device that it goes to. If that is late, the target stays with it.
pub(super) async fn write(
    fill: &Fill,
    mut target: Target,
    group: Vec<u8>,
) -> Result<(Target, Result<(), StoreError>), Failure> {
    let device = target.next_device();
    let bytes = group.len() as u64;
    let job = move || {
        let result = target.write_group(&group);
        (target, result)
    };
    Ok(fill.lanes.run(device, bytes, job).await?)
}

/// Writes what is good on this box, as far as the next group is. Each read on the thread of its device; like moves it takes from the rate.
pub(super) async fn copy_here(
    fill: &Fill,
    transfer: &Transfer,
    mut target: Target,
) -> Result<Target, Failure> {
    loop {
        let (after, group) = read_group(fill, target).await?;
        target = after;
        let Some(group) = group else {
            return Ok(target);
        };
        transfer.waits_for("its turn");
        fill.sources.control().pace(group.len() as u64).await;
        transfer.waits_for("the disk");
        let (after, result) = write(fill, target, group).await?;
        result?;
        target = after;
        transfer.done(target.written());
    }
}

async fn read_group(fill: &Fill, target: Target) -> Result<(Target, Option<Vec<u8>>), Failure> {
    match target {
        Target::Columns(repairing) if !repairing.missing().is_empty() => {
            let (repairing, group) = read_here(&fill.lanes, repairing).await?;
            Ok((Target::Columns(repairing), group))
        }
        other => Ok((other, None)),
    }
}

/// The next group as a device of this box has it, if one has it that is well. Each read on the thread of its device.
async fn read_here(
    lanes: &Lanes,
    mut repairing: Repairing,
) -> Result<(Repairing, Option<Vec<u8>>), Late> {
    for device in repairing.holders() {
        if lanes.problem(device).is_some() {
            continue;
        }
        let read = move || {
            let group = repairing.read_here(device);
            (group, repairing)
        };
        let (group, after) = lanes.run(device, 0, read).await?;
        repairing = after;
        if group.is_some() {
            return Ok((repairing, group));
        }
    }
    Ok((repairing, None))
}

/// Writes all that is missing from what this box has, and syncs it; within the rate, if there is one. `None` if no device that is well has
/// good bytes.
pub(crate) async fn copy_columns(
    lanes: &Lanes,
    mut repairing: Repairing,
    limiter: Option<&Limiter>,
) -> Result<Option<Repaired>, Failure> {
    while repairing.rest() > 0 {
        let (mut after, group) = read_here(lanes, repairing).await?;
        let Some(group) = group else { return Ok(None) };
        let (device, bytes) = (after.next_device(), group.len() as u64);
        if let Some(limiter) = limiter {
            limiter.take(bytes).await;
        }
        let write = move || {
            let written = after.write_group(&group);
            (written, after)
        };
        let (written, after) = lanes.run(device, bytes, write).await?;
        written?;
        repairing = after;
    }
    Ok(Some(seal_columns(lanes, repairing).await?))
}
