//! After a commit: the sidecars of objects whose paths or copies changed say so too. What is pending survives a crash.

use std::io;

use crate::catalog::CopyRecord;
use crate::device::Device;
use crate::entry::PathEntry;
use crate::error::StoreError;
use crate::ids::{Generation, ObjectId};
use crate::sidecar::{BadSidecar, Sidecar};
use crate::staging::StagedFile;
use crate::store::{Step, Store};

impl Store {
    pub(crate) fn settle_after_commit(&mut self) {
        // The commit holds whatever comes now; what is left over is finished at the next commit or open.
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "sidecars could not be rewritten yet");
        }
    }

    /// Makes the sidecars of all pending objects list the paths that the catalog has. An object with a device that is
    /// not here stays pending.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        let edit = self.catalog.edit()?;
        let revision = edit.generation()?;
        let mut work = Vec::new();
        for object in edit.pending()? {
            let live = edit.object(&object)?.into_iter();
            let live = live.flat_map(|live| (0..).zip(live.copies));
            let doomed = edit.doomed_of(&object)?.into_iter();
            let doomed = doomed.flat_map(|doomed| doomed.record.copies);
            let copies: Vec<_> = live
                .map(|(place, copy)| (Some(place), copy))
                .chain(doomed.map(|copy| (None, copy)))
                .collect();
            work.push((object, copies, edit.paths_of(&object)?));
        }
        drop(edit);
        let settled: Vec<_> = work
            .iter()
            .filter(|(object, copies, paths)| {
                let listed = Listed {
                    object: *object,
                    paths,
                    revision,
                };
                self.rewrite_sidecars(copies, &listed)
            })
            .collect();
        if settled.is_empty() {
            return Ok(());
        }
        let mut edit = self.catalog.edit()?;
        if edit.generation()? != revision {
            // Paths were taken away meanwhile; what the sidecars list may be old again.
            return Ok(());
        }
        for (object, ..) in settled {
            edit.clear_pending(object)?;
        }
        edit.commit()?;
        self.done(Step::Settled);
        Ok(())
    }

    /// Whether all sidecars of an object now list its paths, the devices of its columns, and the place of its copy.
    fn rewrite_sidecars(&self, copies: &[(Option<u8>, CopyRecord)], listed: &Listed<'_>) -> bool {
        let mut all = true;
        for (place, copy) in copies {
            let devices = copy.devices.iter();
            for id in devices.filter(|id| !self.intents.is_removed(id)) {
                let rewritten = self
                    .device(id)
                    .map(|device| listed.rewrite(device, *place, copy));
                match rewritten {
                    Some(Ok(())) => self.done(Step::SidecarRewritten),
                    Some(Err(error)) => {
                        tracing::warn!(%error, "a sidecar could not be rewritten");
                        all = false;
                    }
                    None => all = false,
                }
            }
        }
        all
    }
}

/// What the sidecars of an object are to say.
struct Listed<'a> {
    object: ObjectId,
    paths: &'a [PathEntry],
    revision: Generation,
}

impl Listed<'_> {
    /// `place` is that of a published copy among the others.
    fn rewrite(
        &self,
        device: &Device,
        place: Option<u8>,
        copy: &CopyRecord,
    ) -> Result<(), StoreError> {
        let path = device.sidecar_path(&self.object);
        let mut sidecar = match Sidecar::read(&path) {
            // A lost column: when its bytes are written again, its sidecar is too.
            Err(BadSidecar::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(problem) => return Err(StoreError::Sidecar { path, problem }),
            Ok(sidecar) => sidecar,
        };
        let is_of_it = sidecar.placed == copy.placed;
        let place = place.filter(|_| is_of_it).unwrap_or(sidecar.copy);
        let names_devices = !is_of_it || sidecar.devices == copy.devices;
        if sidecar.paths == self.paths && names_devices && sidecar.copy == place {
            return Ok(());
        }
        if !names_devices {
            sidecar.devices.clone_from(&copy.devices);
        }
        sidecar.copy = place;
        sidecar.paths = self.paths.to_vec();
        sidecar.revision = self.revision.0;
        let staged = StagedFile::name(device, &self.object, "meta");
        sidecar
            .replace(&path, staged.path())
            .map_err(StoreError::io("rewrite", &path))
    }
}
