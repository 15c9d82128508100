//! Moves between tiers: copied on the box group by group, each verified, then published in the place of the old copy. They take from
//! the same rate as fetches: the devices and viewers of this box feel both alike.

use content_store::limits::{GROUP_BYTES, MAX_BATCH_OBJECTS};
use content_store::{Content, ObjectId, ObjectReader, Staging};

use super::filling::{Ended, Work, reap};
use crate::fetch::{Failure, Transfer, seal};
use crate::planner::Move;
use crate::publish::NotDone;

impl Work {
    /// Moves what the plan moves, in its order; the room of a batch is free before the next one.
    pub(super) async fn move_all(&self, ended: &mut Ended) -> Result<(), NotDone> {
        let moves: Vec<_> = self.planned.moves().collect();
        for batch in moves.chunks(MAX_BATCH_OBJECTS) {
            if self.part.evictions_wait() || self.cancelled.is_cancelled() {
                break;
            }
            if self.move_batch(batch, ended).await? {
                ended.progressed = true;
                self.reload().await;
                reap(&self.publisher, &self.daemon).await?;
            }
        }
        Ok(())
    }

    /// Whether anything was moved.
    async fn move_batch(
        &self,
        batch: &[(&Move, &str)],
        ended: &mut Ended,
    ) -> Result<bool, NotDone> {
        let mut published = Vec::new();
        for (step, path) in batch {
            if self.cancelled.is_cancelled() {
                break;
            }
            match self.copy(step, path).await? {
                Ok(Some(content)) => published.push(self.publisher.publish(content, Vec::new())),
                Ok(None) => {}
                Err(failure) => {
                    ended.failed += 1;
                    tracing::warn!(object = %step.root, %failure, "not moved");
                }
            }
        }
        self.publisher.flush();
        let moved = !published.is_empty();
        for published in published {
            published.await?;
        }
        Ok(moved)
    }

    /// The new copy; `None` if it is there already, or the fill was cancelled.
    async fn copy(
        &self,
        step: &Move,
        path: &str,
    ) -> Result<Result<Option<Content>, Failure>, NotDone> {
        let tiers = &self.config.tiers;
        let (Some(from), Some(tier)) = (tiers.get(step.from), tiers.get(step.to)) else {
            return Ok(Ok(None));
        };
        let tiers = (from.name.as_str(), tier.name.as_str());
        let shown = self.fill.progress.begin_move(path, step.size, tiers);
        let object = ObjectId(step.root.0);
        let begun = self.publisher.restage(object, &tier.name).await?;
        Ok(match begun {
            Some((staging, reader)) => self.copy_groups(staging, reader, &shown).await,
            None => Ok(None),
        })
    }

    /// Each read and each write on the thread of its device.
    async fn copy_groups(
        &self,
        mut staging: Staging,
        mut reader: ObjectReader,
        shown: &Transfer,
    ) -> Result<Option<Content>, Failure> {
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
        Ok(Some(Content::Moved(seal(lanes, staging).await?)))
    }
}
