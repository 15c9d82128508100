//! One object from one source into its staging, until it is whole or the source fails.

use std::sync::Arc;

use content_store::{Repaired, Repairing, Sealed, Staging, StoreError};

use super::progress::Transfer;
use super::ranges::Ranges;
use super::target::{Target, copy_here, write};
use super::{Failure, Fill};
use crate::lanes::Lanes;
use crate::source::{Lie, Source, SourceError, Wanted};

/// How it ended.
pub(super) enum Fed {
    /// All bytes are written.
    Whole(Target),
    /// The source failed; what is written stays.
    Left(Target, SourceError),
    /// The disk did.
    Stopped(Failure),
}

/// Feeds groups in order. Every group is verified before it is written, both on the thread of its device. What is good on this box is
/// not asked for.
pub(super) async fn feed(
    fill: &Fill,
    source: &Arc<Source>,
    wanted: &Wanted,
    transfer: &Transfer,
    mut target: Target,
) -> Fed {
    loop {
        target = match copy_here(fill, transfer, target).await {
            Ok(target) => target,
            Err(failure) => return Fed::Stopped(failure),
        };
        if target.is_whole() {
            return Fed::Whole(target);
        }
        target = match feed_parts(fill, source, wanted, transfer, target).await {
            Fed::Whole(target) => target,
            ended => return ended,
        };
        if matches!(target, Target::Object(_)) {
            return Fed::Whole(target);
        }
    }
}

/// The parts that are to be fetched now.
async fn feed_parts(
    fill: &Fill,
    source: &Arc<Source>,
    wanted: &Wanted,
    transfer: &Transfer,
    mut target: Target,
) -> Fed {
    let parts = target.to_fetch();
    let end = parts.last().map_or(0, |part| part.end);
    let mut ranges = Ranges::new(source.clone(), wanted.clone(), parts);
    let mut whole = false;
    while !whole {
        transfer.waits_for("");
        let group = match ranges.next().await {
            Some(Ok(group)) => group,
            Some(Err(error)) => return Fed::Left(target, error),
            None if wanted.size == 0 => Vec::new(),
            None => {
                let (expected, got) = (wanted.size, target.written());
                return Fed::Left(target, SourceError::Cut { expected, got });
            }
        };
        transfer.waits_for("the disk");
        let (after, result) = match write(fill, target, group).await {
            Ok(done) => done,
            Err(failure) => return Fed::Stopped(failure),
        };
        target = after;
        match result {
            Ok(()) => {}
            Err(StoreError::WrongBytes { source, .. }) => {
                return Fed::Left(target, SourceError::Lied(Lie::Bytes(source.group)));
            }
            Err(error) => return Fed::Stopped(error.into()),
        }
        source.health.good();
        ranges.trust();
        transfer.done(target.written());
        whole = target.written() >= end;
    }
    // What was asked for is whole; how the last answer ended is the source's affair.
    if let Some(Err(error)) = ranges.next().await {
        source.failed(&error, (fill.chance)());
    }
    Fed::Whole(target)
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

/// The same of repaired columns.
///
/// # Errors
/// As [`seal`].
pub(super) async fn seal_columns(
    lanes: &Lanes,
    mut repairing: Repairing,
) -> Result<Repaired, Failure> {
    let devices: Vec<_> = repairing.devices().collect();
    for (column, device) in devices.into_iter().enumerate() {
        let sync = move || {
            let synced = repairing.sync_column(column);
            (synced, repairing)
        };
        let (synced, after) = lanes.run(device, 0, sync).await?;
        repairing = after;
        synced?;
    }
    Ok(repairing.seal()?)
}
