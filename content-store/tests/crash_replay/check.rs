//! What must hold of a box after anything: all that it publishes is right, nothing lies about, and it can be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use content_store::catalog::{CatalogReader, Snapshot};
use content_store::verify::verify;
use content_store::{Store, StoreError, open_devices, rebuild};

use crate::plan::Tree;
use crate::support::{Appliance, bytes, id, publish};

/// Whatever is wrong, in words.
pub type Verdict = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(format!($($words)*));
        }
    };
}

/// The paths that a box publishes; every byte behind them is read back.
pub fn published(appliance: &Appliance) -> Result<(Tree, Snapshot), String> {
    let mut reader =
        CatalogReader::open(&appliance.state_dir()).map_err(|error| error.to_string())?;
    let snapshot = reader.load().map_err(|error| error.to_string())?;
    let slots = open_devices(&appliance.config()).map_err(|error| error.to_string())?;
    for record in &snapshot.objects {
        // What waits for repair is not read by anybody.
        for copy in record.copies.iter().filter(|copy| copy.bad.is_empty()) {
            let mut one = record.clone();
            one.copies = vec![copy.clone()];
            let verified = verify(&slots, &one, |_| ()).ok_or("an object without a copy")?;
            ensure!(verified.is_good(), "bytes are wrong: {verified:?}");
        }
    }
    let tree: Tree = snapshot
        .paths
        .iter()
        .map(|(object, entry)| (entry.path.to_string(), *object))
        .collect();
    let known = |object| {
        snapshot
            .objects
            .iter()
            .any(|record| record.object == object)
    };
    ensure!(
        tree.values().all(|object| known(*object)),
        "a path leads nowhere: {tree:?}"
    );
    Ok((tree, snapshot))
}

/// After a cut: the catalog is one of `allowed` and stays so, and every byte is right; opened, cleaned and used, nothing is left over, and
/// the sidecars know all of it too.
pub fn survives(appliance: &Appliance, allowed: &[Tree]) -> Verdict {
    let (left, _) = published(appliance)?;
    ensure!(allowed.contains(&left), "neither old nor new: {left:?}");
    is_sound(appliance, &left)
}

/// The store opens, publishes `tree`, and can be cleaned and used.
pub fn is_sound(appliance: &Appliance, tree: &Tree) -> Verdict {
    // Another run of the kernel: what was not synced is not believed.
    let opened = Store::open_in_boot(appliance.config(), None, Some([7; 16]));
    let mut store = opened.map_err(|error| format!("cannot be opened: {error}"))?;
    clean(&mut store, tree).map_err(|error| format!("cannot be cleaned: {error}"))?;
    let (found, snapshot) = published(appliance)?;
    ensure!(found == *tree, "opening it changed {tree:?} into {found:?}");
    has_no_orphans(appliance, &snapshot)?;
    publish(&mut store, &["/used"], &bytes(99, 70_000), "nvme");
    drop(store);
    let mut used = tree.clone();
    used.insert("/used".into(), id(&bytes(99, 70_000)));
    let (found, snapshot) = published(appliance)?;
    ensure!(found == used, "publishing changed {tree:?} into {found:?}");
    has_no_orphans(appliance, &snapshot)?;
    rebuild(&appliance.config(), 0, |_| ())
        .map_err(|error| format!("cannot be rebuilt: {error}"))?;
    let (found, _) = published(appliance)?;
    ensure!(
        found == used,
        "the sidecars say {found:?} instead of {used:?}"
    );
    Ok(())
}

/// The same after the state disk is lost as well: each path leads to what it led to in one of `allowed`, and what all of them have is
/// there.
pub fn survives_without_catalog(appliance: &Appliance, allowed: &[Tree]) -> Verdict {
    std::fs::remove_dir_all(appliance.state_dir()).map_err(|error| error.to_string())?;
    let rebuilt = rebuild(&appliance.config(), 0, |_| ());
    let rebuilt = rebuilt.map_err(|error| format!("cannot be rebuilt: {error}"))?;
    let (mut found, _) = published(appliance)?;
    let known = |path: &String, object| allowed.iter().any(|tree| tree.get(path) == Some(object));
    ensure!(
        found.iter().all(|(path, object)| known(path, object)),
        "rebuilt {found:?} of {allowed:?}"
    );
    for path in allowed[0].keys() {
        let is_everywhere = allowed
            .iter()
            .all(|tree| tree.get(path) == allowed[0].get(path));
        ensure!(
            !is_everywhere || found.contains_key(path),
            "{path} is lost: {rebuilt:?}"
        );
    }
    let opened = Store::open(appliance.config());
    let mut store = opened.map_err(|error| format!("cannot be opened: {error}"))?;
    for path in rebuilt.incomplete.iter().flat_map(|object| &object.paths) {
        match store.remove(&[path]) {
            Ok(_) => drop(found.remove(&**path)),
            Err(StoreError::UnknownPath(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    drop(store);
    is_sound(appliance, &found)
}

fn clean(store: &mut Store, tree: &Tree) -> Result<(), StoreError> {
    let generation = store.generation()?;
    store.reap(generation)?;
    // What comes, and what is being repaired.
    let comes = store.resumable().into_iter().map(|one| one.object);
    for object in comes.chain(tree.values().copied()) {
        store.discard_staging(&object)?;
    }
    Ok(())
}

/// There is no file on any device but those of what is published.
fn has_no_orphans(appliance: &Appliance, snapshot: &Snapshot) -> Verdict {
    let slots = open_devices(&appliance.config()).map_err(|error| error.to_string())?;
    let devices: BTreeMap<_, _> = slots
        .iter()
        .filter_map(|slot| Some((slot.id()?, slot.device.as_ref().ok()?)))
        .collect();
    let mut expected: Vec<PathBuf> = Vec::new();
    for record in &snapshot.objects {
        for id in record.copies.iter().flat_map(|copy| &copy.devices) {
            expected.push(devices[id].column_path(&record.object));
            expected.push(devices[id].sidecar_path(&record.object));
        }
    }
    let files = appliance.files();
    let orphans: Vec<_> = files
        .iter()
        .filter(|file| !expected.contains(&Path::new(file).to_path_buf()))
        .collect();
    ensure!(orphans.is_empty(), "orphans: {orphans:?}");
    ensure!(
        files.len() == expected.len(),
        "files are missing of {expected:?}: {files:?}"
    );
    Ok(())
}
