//! One object from one source into its staging, until it is whole or the source fails.

use std::sync::Arc;

use content_store::{Sealed, Staging, StoreError};

use super::progress::Transfer;
use super::ranges::Ranges;
use super::{Failure, Fill};
use crate::lanes::Lanes;
use crate::source::{Lie, Source, SourceError, Wanted};

/// How it ended.
pub(super) enum Fed {
    /// All bytes are written.
    Whole(Staging),
    /// The source failed; what is written stays.
    Left(Staging, SourceError),
    /// The disk did.
    Stopped(Failure),
}

/// Feeds groups in order. Every group is verified before it is written, both on the thread of its device.
pub(super) async fn feed(
    fill: &Fill,
    source: &Arc<Source>,
    wanted: &Wanted,
    transfer: &Transfer,
    mut staging: Staging,
) -> Fed {
    let mut ranges = Ranges::new(source.clone(), wanted.clone(), staging.written());
    // An object without bytes has one group as well, and its root is checked by it.
    let mut whole = wanted.size > 0 && staging.written() == wanted.size;
    while !whole {
        transfer.waits_for("");
        let group = match ranges.next().await {
            Some(Ok(group)) => group,
            Some(Err(error)) => return Fed::Left(staging, error),
            None if wanted.size == 0 => Vec::new(),
            None => {
                let (expected, got) = (wanted.size, staging.written());
                return Fed::Left(staging, SourceError::Cut { expected, got });
            }
        };
        transfer.waits_for("the disk");
        let (after, result) = match write(fill, staging, group).await {
            Ok(done) => done,
            Err(failure) => return Fed::Stopped(failure),
        };
        staging = after;
        match result {
            Ok(()) => {}
            Err(StoreError::WrongBytes { source, .. }) => {
                return Fed::Left(staging, SourceError::Lied(Lie::Bytes(source.group)));
            }
            Err(error) => return Fed::Stopped(error.into()),
        }
        source.health.good();
        ranges.trust();
        transfer.done(staging.written());
        whole = staging.written() == wanted.size;
    }
    // The object is whole; how the last answer ended is the source's affair.
    if let Some(Err(error)) = ranges.next().await {
        source.failed(&error, (fill.chance)());
    }
    Fed::Whole(staging)
}

/// Writes a group on the thread of the device that it goes to. If that is late, the staging stays with it.
async fn write(
    fill: &Fill,
    mut staging: Staging,
    group: Vec<u8>,
) -> Result<(Staging, Result<(), StoreError>), Failure> {
    let device = staging.next_device();
    let bytes = group.len() as u64;
    let job = move || {
        let result = staging.write_group(&group);
        (staging, result)
    };
    Ok(fill.lanes.run(device, bytes, job).await?)
}

/// Syncs what is written, each column on the thread of its device.
///
/// # Errors
/// A device that does not answer; what the store says.
pub async fn seal(lanes: &Lanes, mut staging: Staging) -> Result<Sealed, Failure> {
    let devices: Vec<_> = staging.devices().collect();
    for (column, device) in devices.into_iter().enumerate() {
        let sync = move || {
            let synced = staging.sync_column(column);
            (synced, staging)
        };
        let (synced, after) = lanes.run(device, 0, sync).await?;
        staging = after;
        synced?;
    }
    Ok(staging.seal()?)
}
