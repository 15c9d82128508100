//! Further copies of what is wanted more than once: made on the box, shown, and taken away.

use protocol::fill::Activity;
use protocol::manifest::Wanted;

use super::appliance::{Appliance, eventually};
use super::content;
use super::endpoint::{Endpoint, manifest};

#[test]
fn as_many_copies_as_are_asked_for_and_every_byte_is_fetched_once() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    // One lies on one of the two devices, the other one on both: there is no device for another copy of it.
    let often = |copies| {
        let small = endpoint.object("/small.mp4", content(1, 300_000));
        let wide = endpoint.object("/wide.mp4", content(2, 3_000_000));
        vec![Wanted { copies, ..small }, Wanted { copies, ..wide }]
    };
    let copies = |number| {
        eventually("as many copies", || {
            (appliance.tiers().len() == number).then_some(())
        });
    };
    endpoint.offer(&manifest(1, often(2)));
    let agent = appliance.run();
    agent.open();
    copies(3);
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(endpoint.sent_bytes(), 3_300_000);
    assert_eq!(files(&appliance), 8);

    endpoint.offer(&manifest(2, often(1)));
    copies(2);
    eventually("unlinked", || (files(&appliance) == 6).then_some(()));
    assert_eq!(appliance.published(), ["/small.mp4", "/wide.mp4"]);
    endpoint.offer(&manifest(3, often(8)));
    copies(3);
    assert_eq!(endpoint.sent_bytes(), 3_300_000);
}

/// Columns and sidecars.
fn files(appliance: &Appliance) -> usize {
    let mut level = vec![appliance.path("d0/objects"), appliance.path("d1/objects")];
    for _ in 0..3 {
        let below = |folder| std::fs::read_dir(folder).into_iter().flatten();
        level = level
            .iter()
            .flat_map(below)
            .map(|entry| entry.unwrap().path())
            .collect();
    }
    level.len()
}
