//! Parts of the state disk are lost, damaged, or older than the rest: nothing that is whole is fetched again, nothing wanted is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fill_agent::survey::store_config;

use super::appliance::Appliance;
use super::endpoint::{Endpoint, manifest};
use super::{objects, paths};

/// Files by their place in a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn put(files: &Files, folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

const FOLDERS: [&str; 3] = ["state", "d0", "d1"];

/// What is left of a file of the state disk, by what befell it.
fn harms(now: &[u8], older: Option<&Vec<u8>>) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let half = now.len() / 2;
    let mut flipped = now.to_vec();
    if let Some(byte) = flipped.get_mut(half) {
        *byte ^= 1;
    }
    let mut harms = vec![
        ("gone", None),
        ("half", Some(now[..half].to_vec())),
        ("flipped", Some(flipped)),
    ];
    harms.extend(older.map(|older| ("older", Some(older.clone()))));
    harms
}

/// Each file of it in turn, and all of them. Whoever does what is said has all again, and nothing was sent twice.
#[test]
fn whatever_is_lost_of_the_state_disk_nothing_is_fetched_again() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    endpoint.offer(&manifest(1, objects(&endpoint, 0..2)));
    assert!(appliance.once().status.success());
    let older = files(&appliance.path("state"));
    let wanted = objects(&endpoint, 0..4);
    endpoint.offer(&manifest(2, wanted.clone()));
    // The second time settles what the first one published.
    assert!(appliance.once().status.success());
    assert!(appliance.once().status.success());
    let now = FOLDERS.map(|name| files(&appliance.path(name)));
    let sent = endpoint.sent_bytes();

    let mut cases = vec![
        ("all", "gone", Files::new()),
        ("all", "older", older.clone()),
    ];
    for (name, bytes) in &now[0] {
        for (harm, left) in harms(bytes, older.get(name)) {
            let mut state = now[0].clone();
            state.remove(name);
            state.extend(left.map(|left| (name.clone(), left)));
            cases.push((name.to_str().unwrap(), harm, state));
        }
    }
    for (name, harm, state) in cases {
        for (folder, files) in FOLDERS.iter().zip(&now) {
            put(files, &appliance.path(folder));
        }
        put(&state, &appliance.path("state"));
        let rebuild = || {
            let config = store_config(&appliance.config());
            let rebuilt = content_store::rebuild(&config, 0, |_| ()).unwrap();
            assert!(rebuilt.incomplete.is_empty(), "{name}, {harm}");
        };
        // As `ocactl catalog check` says of a catalog that is older than the devices.
        if harm == "older" && ["all", "catalog/data.mdb"].contains(&name) {
            rebuild();
        }
        let output = appliance.once();
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            if said.contains("ocactl catalog rebuild") {
                rebuild();
            } else {
                assert!(said.contains(name), "{name}, {harm}: {said}");
                assert!(said.contains("remove"), "{name}, {harm}: {said}");
                fs::remove_file(appliance.path("state").join(name)).unwrap();
            }
            let again = appliance.once();
            assert!(again.status.success(), "{name}, {harm}: {said}{again:?}");
        }
        assert_eq!(appliance.published(), paths(&wanted), "{name}, {harm}");
        assert_eq!(endpoint.sent_bytes(), sent, "{name}, {harm}");
    }
}
