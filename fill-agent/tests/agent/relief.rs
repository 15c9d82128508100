//! A device that is above its high watermark gives up wanted objects to others of its tier, and nothing is fetched for that.

use std::fs;
use std::path::Path;

use content_store::device;
use content_store::space::room_bytes;

use super::damage::{MIB, all_good};
use super::devices::{column_files, tell, three_devices, until_complete};
use super::endpoint::{Endpoint, manifest};
use super::{appliance::eventually, content, mounts, paths};

const HIGH_PERCENT: u64 = 60;

/// Bytes by which a device is above its high watermark, as `statvfs` tells.
fn above(root: &Path) -> i64 {
    let space = device::open(root).unwrap().space().unwrap();
    let kept = space.total_bytes / 100 * (100 - HIGH_PERCENT);
    kept as i64 - room_bytes(&space) as i64
}

#[test]
fn what_is_wanted_leaves_a_device_above_its_mark_and_nothing_is_fetched_again() {
    let test = "what_is_wanted_leaves_a_device_above_its_mark_and_nothing_is_fetched_again";
    if !mounts::are_own(&format!("relief::{test}")) {
        return;
    }
    let endpoint = Endpoint::start();
    let appliance = three_devices(&endpoint, |text| {
        let text = text.replace("\"99 %\"", &format!("\"{HIGH_PERCENT} %\""));
        text.replace("\"98 %\"", "\"50 %\"")
    });
    let names = ["d0", "d1", "d2"];
    for name in names {
        mounts::mount(&appliance, name, "size=160m");
    }
    let roots = names.map(|name| appliance.path(name));
    let mut wanted = Vec::new();
    for seed in 0..24 {
        // On one device, and on two.
        let length = if seed % 2 == 0 { MIB } else { 3 * MIB + 7 };
        wanted.push(endpoint.object(&format!("/{seed}.mp4"), content(seed, length)));
    }
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    until_complete(&agent, 1);
    let columns = || {
        let files = roots.iter().map(|root| column_files(&root.join("objects")));
        files.map(|files| files.len()).collect::<Vec<_>>()
    };
    let (before, sent) = (columns(), endpoint.sent_bytes());

    // Something else takes room on one of them.
    let foreign = roots[0].join("foreign");
    let rest = usize::try_from(-above(&roots[0])).unwrap();
    fs::write(&foreign, vec![1; rest + 5 * MIB]).unwrap();
    assert!(above(&roots[0]) > 0 && above(&roots[1]) < 0 && above(&roots[2]) < 0);
    tell(&agent);
    eventually("it is below its mark", || {
        assert_eq!(appliance.published(), paths(&wanted));
        (above(&roots[0]) <= 0).then_some(())
    });
    // What was moved is nowhere twice in the end.
    let after = eventually("unlinked where it was", || {
        let after = columns();
        (after.iter().sum::<usize>() == before.iter().sum::<usize>()).then_some(after)
    });
    assert!(after[0] < before[0], "{before:?} {after:?}");
    for root in &roots {
        assert!(above(root) <= 0, "{} is above its mark", root.display());
    }
    assert!(all_good(&appliance));
    until_complete(&agent, 1);
    assert_eq!(
        (appliance.published(), endpoint.sent_bytes()),
        (paths(&wanted), sent)
    );
    assert_eq!(foreign.metadata().unwrap().len() as usize, rest + 5 * MIB);
}
