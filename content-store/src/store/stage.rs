//! Writing an object: begun, gone on with, or given up.

use std::collections::BTreeSet;

use super::Store;
use crate::chunk_tree::ChunkTree;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::MAX_COPIES;
use crate::staging::resume::Partial;
use crate::staging::{Claim, Kind, Staging, Target, files};

/// What [`Store::stage`] found.
pub enum Stage {
    /// The bytes are stored already: publish them under a path.
    Stored(ObjectId),
    /// The bytes are to be written.
    Write(Staging),
}

/// An object that is partly written, or wholly and not yet published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resumable {
    /// The object.
    pub object: ObjectId,
    /// Name of the tier that it is written to.
    pub tier: Box<str>,
    /// Bytes that are written, from its start. After a reboot fewer may turn out to be.
    pub written: u64,
    /// Bytes of the object.
    pub size: u64,
}

impl Store {
    /// Begins to store an object in a tier, or goes on where a staging of it to this tier was interrupted. Fails at once if no
    /// device has room for it. After a reboot this reads back what was written before.
    pub fn stage(&self, tree: ChunkTree, tier: &str) -> Result<Stage, StoreError> {
        let object = tree.object();
        if self.stored(&object)?.is_some() {
            return Ok(Stage::Stored(object));
        }
        self.resume_or_begin(tree, tier).map(Stage::Write)
    }

    /// Like [`stage`](Self::stage), but neither resumes anything nor can be resumed: what is written goes with its owner.
    pub fn stage_anew(&self, tree: ChunkTree, tier: &str) -> Result<Stage, StoreError> {
        let object = tree.object();
        if self.stored(&object)?.is_some() {
            return Ok(Stage::Stored(object));
        }
        self.begin(tree, self.tier(tier)?, None).map(Stage::Write)
    }

    /// Begins to move a stored object to a tier, or goes on with it: its bytes come from [`reader`](Self::reader), from
    /// [`Staging::written`] on, and [`Content::Moved`](crate::Content::Moved) puts them in the place of the old ones.
    pub fn restage(&self, object: &ObjectId, tier: &str) -> Result<Stage, StoreError> {
        let live = self.published(object)?;
        if live.copies.iter().any(|copy| &*copy.tier == tier) {
            return Ok(Stage::Stored(*object));
        }
        let tree = self.reader(object)?.tree().clone();
        self.resume_or_begin(tree, tier).map(Stage::Write)
    }

    /// Begins another copy of a stored object in a tier, on devices that hold none: its bytes come from [`reader`](Self::reader), and
    /// [`Content::Copied`](crate::Content::Copied) puts it beside the others. It cannot be resumed.
    pub fn stage_copy(&self, object: &ObjectId, tier: &str) -> Result<Staging, StoreError> {
        if self.published(object)?.copies.len() >= MAX_COPIES {
            return Err(StoreError::TooManyCopies(*object));
        }
        let tree = self.reader(object)?.tree().clone();
        self.begin(tree, self.tier(tier)?, None)
    }

    fn resume_or_begin(&self, tree: ChunkTree, tier: &str) -> Result<Staging, StoreError> {
        let (tier, object) = (self.tier(tier)?, tree.object());
        let Some(claim) = Claim::take(&self.config.state_dir, &object, Kind::Object) else {
            return self.begin(tree, tier, None);
        };
        let devices = self.devices_here();
        let taken = self.taken(&object)?;
        let claim = match Partial::find(&devices, &object) {
            Some(partial) if self.is_of(&partial, tier, &taken) => {
                let size = partial.head().layout.size();
                let reopened = partial.reopen(tree.clone(), self.boot, claim, self.hook.clone());
                match reopened {
                    Ok(staging) => {
                        tracing::debug!(%object, size, written = staging.written(), "resumed");
                        return Ok(staging);
                    }
                    Err(error) => {
                        tracing::warn!(%object, %error, "cannot be resumed: begun anew");
                        Claim::take(&self.config.state_dir, &object, Kind::Object)
                    }
                }
            }
            _ => Some(claim),
        };
        for device in devices {
            files::remove(device, &object, Kind::Object)?;
        }
        self.begin(tree, tier, claim)
    }

    /// Whether a partial object lies as a new one of that tier may.
    fn is_of(&self, partial: &Partial, tier: usize, taken: &BTreeSet<DeviceId>) -> bool {
        let head = partial.head();
        let in_tier = |id: &DeviceId| {
            let mut slots = self.slots.iter().filter(|slot| slot.tier == tier);
            !taken.contains(id) && slots.any(|slot| slot.id() == Some(*id))
        };
        *head.tier == *self.config.tiers[tier].name && head.devices.iter().all(in_tier)
    }

    fn begin(
        &self,
        tree: ChunkTree,
        tier: usize,
        claim: Option<Claim>,
    ) -> Result<Staging, StoreError> {
        let placement = self.place(&tree.object(), tree.size(), tier)?;
        let devices = placement.devices.iter().filter_map(|id| self.device(id));
        let devices = devices.cloned().collect();
        let target = Target {
            tree,
            layout: placement.layout,
            tier: self.config.tiers[tier].name.as_str().into(),
            devices: placement.devices,
            boot: self.boot,
            claim,
        };
        Staging::create(target, devices, self.hook.clone())
    }

    /// The devices that hold files of an object that is whole: a new placement would write over them.
    pub(crate) fn taken(&self, object: &ObjectId) -> Result<BTreeSet<DeviceId>, StoreError> {
        let edit = self.catalog.edit()?;
        let (live, doomed) = (edit.object(object)?, edit.doomed_of(object)?);
        drop(edit);
        let doomed = doomed
            .into_iter()
            .filter(|doomed| doomed.was_published())
            .map(|doomed| doomed.record);
        Ok(live
            .into_iter()
            .chain(doomed)
            .filter(|record| self.is_complete(record))
            .flat_map(|record| record.copies)
            .flat_map(|copy| copy.devices)
            .collect())
    }

    /// Objects that are partly written, or wholly and not yet published, and that nobody writes just now: [`stage`](Self::stage)
    /// goes on with them. Blocks on the devices.
    pub fn resumable(&self) -> Vec<Resumable> {
        let resumable = |(object, partial): (ObjectId, Partial)| Resumable {
            object,
            tier: partial.head().tier.clone(),
            written: partial.written,
            size: partial.head().layout.size(),
        };
        self.partials().map(resumable).collect()
    }

    /// What nobody has in hand.
    pub(crate) fn partials(&self) -> impl Iterator<Item = (ObjectId, Partial)> {
        let devices = self.devices_here();
        let objects: BTreeSet<_> = devices
            .iter()
            .flat_map(|device| files::journals(device, Kind::Object))
            .collect();
        objects.into_iter().filter_map(move |object| {
            let _claim = Claim::take(&self.config.state_dir, &object, Kind::Object)?;
            Some((object, Partial::find(&devices, &object)?))
        })
    }

    /// Objects of which something is written in `staging/`, whether they come or are repaired, and whether somebody has them in hand or
    /// not. Blocks on the devices.
    pub fn begun_objects(&self) -> BTreeSet<ObjectId> {
        let devices = self.devices_here();
        let kinds = Kind::ALL.into_iter();
        let of = |kind| {
            devices
                .iter()
                .flat_map(move |device| files::journals(device, kind))
        };
        kinds.flat_map(of).collect()
    }

    /// The chunk tree of an object that can be resumed, so that nobody need be asked for it.
    pub fn resumable_tree(&self, object: &ObjectId) -> Option<ChunkTree> {
        let partial = Partial::find(&self.devices_here(), object)?;
        partial.head().tree().ok()
    }

    /// Removes what is written of an object that comes or is repaired; what somebody has in hand stays.
    pub fn discard_staging(&self, object: &ObjectId) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            let Some(_claim) = Claim::take(&self.config.state_dir, object, kind) else {
                continue;
            };
            let mut devices = self.devices_here().into_iter();
            devices.try_for_each(|device| files::remove(device, object, kind))?;
        }
        Ok(())
    }
}
