//! Moves between tiers, and further copies: copied on the box group by group, each verified, then published in the place of the old
//! copy or beside it. They take from the same rate as fetches: the devices and viewers of this box feed both alike.

use content_store::limits::{GROUP_BYTES, MAX_BATCH_OBJECTS};
use content_store::{Content, ObjectId, ObjectReader, Sealed, Staging};

use super::filling::{Ended, Work, reap};
use super::planning::Relieved;
use crate::fetch::{Failure, Transfer, copy_columns, seal};
use crate::planner::{Duplicate, Move};
use crate::publish::NotDone;

/// What is to be copied.
struct Copying<'a> {
    object: ObjectId,
    size: u64,
    path: &'a str,
    /// Indices of the tiers; equal if the copy shall lie beside the others.
    from: usize,
    to: usize,
}

impl<'a> Copying<'a> {
    fn of_move((step, path): &(&Move, &'a str)) -> Self {
        Self {
            object: ObjectId(step.root.0),
            size: step.size,
            path,
            from: step.from,
            to: step.to,
        }
    }

    fn beside((one, path): &(&Duplicate, &'a str)) -> Self {
        Self {
            object: ObjectId(one.root.0),
            size: one.size,
            path,
            from: one.tier,
            to: one.tier,
        }
    }
}

impl Work {
    /// Moves what the plan moves, in its order; the room of a batch is free before the next one.
    pub(super) async fn move_all(&self, ended: &mut Ended) -> Result<(), NotDone> {
        let moves: Vec<_> = self
            .planned
            .moves()
            .map(|one| Copying::of_move(&one))
            .collect();
        for batch in moves.chunks(MAX_BATCH_OBJECTS) {
            if self.part.evictions_wait() || self.cancelled.is_cancelled() {
                break;
            }
            if self.copy_batch(batch, ended).await? {
                ended.progressed = true;
                self.reload().await;
                reap(&self.publisher, &self.daemon).await?;
            }
        }
        Ok(())
    }

    /// Makes the further copies of the plan: one of each object after the other, since each is placed beside those that are published.
    pub(super) async fn copy_all(&self, ended: &mut Ended) -> Result<(), NotDone> {
        for round in 0..u8::MAX {
            let duplicates = self.planned.duplicates();
            let due = duplicates.filter(|(one, _)| one.count > round);
            let due: Vec<_> = due.map(|one| Copying::beside(&one)).collect();
            if due.is_empty() {
                break;
            }
            for batch in due.chunks(MAX_BATCH_OBJECTS) {
                if self.part.evictions_wait() || self.cancelled.is_cancelled() {
                    return Ok(());
                }
                if self.copy_batch(batch, ended).await? {
                    ended.progressed = true;
                    self.reload().await;
                }
            }
        }
        Ok(())
    }

    /// Moves columns off devices that are above their high watermark; they come from this box alone.
    pub(super) async fn relieve_all(&self, ended: &mut Ended) -> Result<(), NotDone> {
        for batch in self.planned.relief.chunks(MAX_BATCH_OBJECTS) {
            if self.part.evictions_wait() || self.cancelled.is_cancelled() {
                break;
            }
            if self.relieve_batch(batch).await? {
                ended.progressed = true;
                self.reload().await;
                reap(&self.publisher, &self.daemon).await?;
            }
        }
        Ok(())
    }

    /// Whether anything was moved.
    async fn relieve_batch(&self, batch: &[Relieved]) -> Result<bool, NotDone> {
        let mut moved = Vec::new();
        for Relieved { object, device, .. } in batch {
            if self.cancelled.is_cancelled() {
                break;
            }
            let begun = match self.publisher.relieve(*object, *device).await {
                Err(not_done) if not_done.is_full => None,
                begun => begun?,
            };
            let Some(repairing) = begun else { continue };
            match copy_columns(&self.fill.lanes, repairing, Some(&self.limiter)).await {
                Ok(repaired) => moved.extend(repaired),
                Err(failure) => tracing::warn!(%object, %failure, "not moved to another device"),
            }
        }
        let is_any = !moved.is_empty();
        if is_any {
            tracing::info!(
                objects = moved.len(),
                "moved to other devices of their tier"
            );
            self.publisher.moved(moved).await?;
        }
        Ok(is_any)
    }

    /// Whether anything was copied.
    async fn copy_batch(&self, batch: &[Copying<'_>], ended: &mut Ended) -> Result<bool, NotDone> {
        let mut published = Vec::new();
        for copying in batch {
            if self.cancelled.is_cancelled() {
                break;
            }
            match self.copy(copying).await {
                Ok(Ok(Some(content))) => {
                    published.push(self.publisher.publish(content, Vec::new()));
                }
                Ok(Ok(None)) => {}
                Ok(Err(failure)) => {
                    ended.failed += 1;
                    tracing::warn!(object = %copying.object, %failure, "not copied");
                }
                // No device has room for it, or it is taken down.
                Err(not_done) if !not_done.is_locked => {
                    ended.failed += 1;
                    tracing::warn!(object = %copying.object, %not_done, "not copied");
                }
                Err(not_done) => return Err(not_done),
            }
        }
        self.publisher.flush();
        let copied = !published.is_empty();
        for published in published {
            published.await?;
        }
        Ok(copied)
    }

    /// The new copy; `None` if it is there already, or the fill was cancelled.
    async fn copy(
        &self,
        copying: &Copying<'_>,
    ) -> Result<Result<Option<Content>, Failure>, NotDone> {
        let tiers = &self.config.tiers;
        let (Some(from), Some(to)) = (tiers.get(copying.from), tiers.get(copying.to)) else {
            return Ok(Ok(None));
        };
        let names = (from.name.as_str(), to.name.as_str());
        let shown = self
            .fill
            .progress
            .begin_move(copying.path, copying.size, names);
        let (begun, content): (_, fn(Sealed) -> Content) = if copying.from == copying.to {
            let begun = self.publisher.copy(copying.object, names.1).await?;
            (Some(begun), Content::Copied)
        } else {
            let begun = self.publisher.restage(copying.object, names.1).await?;
            (begun, Content::Moved)
        };
        let Some((staging, reader)) = begun else {
            return Ok(Ok(None));
        };
        let sealed = self.copy_groups(staging, reader, &shown).await;
        Ok(sealed.map(|sealed| sealed.map(content)))
    }

    /// Each read and each write on the thread of its device.
    async fn copy_groups(
        &self,
        mut staging: Staging,
        mut reader: ObjectReader,
        shown: &Transfer,
    ) -> Result<Option<Sealed>, Failure> {
        let lanes = &self.fill.lanes;
        loop {
            shown.done(staging.written());
            shown.waits_for("its turn");
            let turn = self.limiter.take(GROUP_BYTES.min(staging.rest()));
            if self.cancelled.run_until_cancelled(turn).await.is_none() {
                // What is written is gone on with by the next plan.
                return Ok(None);
            }
            shown.waits_for("");
            let device = reader.next_device();
            let read = move || {
                let group = reader.next_group().map(|group| group.map(<[u8]>::to_vec));
                (group, reader)
            };
            let (group, after) = lanes.run(device, 0, read).await?;
            reader = after;
            let Some(group) = group? else { break };
            let (device, bytes) = (staging.next_device(), group.len() as u64);
            let write = move || {
                let written = staging.write_group(&group);
                (written, staging)
            };
            let (written, after) = lanes.run(device, bytes, write).await?;
            staging = after;
            written?;
        }
        shown.waits_for("the disk");
        Ok(Some(seal(lanes, staging).await?))
    }
}
