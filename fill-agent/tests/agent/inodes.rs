//! File systems that run out of files before they run out of bytes: what ranks highest is here, and the rest is said to have no room.

use protocol::fill::Activity;
use protocol::manifest::Wanted;

use super::appliance::Appliance;
use super::content;
use super::endpoint::{Endpoint, manifest};
use super::mounts;

/// With room for some twenty-five small objects each: so many files beside those that are kept back.
const FILES: u64 = content_store::limits::DEVICE_RESERVE_INODES + 100;

fn small(endpoint: &Endpoint, number: u16) -> Wanted {
    let mut bytes = content(1, 5000);
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    let object = endpoint.object(&format!("/{number:03}.ts"), bytes);
    // The higher ones are watched more.
    let demand = 1000 + 100 * u64::from(number);
    Wanted { demand, ..object }
}

#[test]
fn short_of_files_it_holds_what_ranks_highest_and_says_what_has_no_room() {
    let test = "short_of_files_it_holds_what_ranks_highest_and_says_what_has_no_room";
    if !mounts::are_own(&format!("inodes::{test}")) {
        return;
    }
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    for name in ["d0", "d1"] {
        mounts::mount(&appliance, name, &format!("size=64m,nr_inodes={FILES}"));
    }
    appliance.configure(&endpoint, |text| {
        text.replace("[fill]\n", "[fill]\nmax_evict_per_day = \"100 %\"\n")
    });
    let wanted: Vec<Wanted> = (0..120).map(|number| small(&endpoint, number)).collect();
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    let status = agent.until("it has done what it can", |status| {
        let settled = matches!(status.activity, Activity::Complete);
        settled && status.progress.objects_without_room > 0
    });
    let published = appliance.published();
    assert!(status.why.contains("no room"), "{}", status.why);
    assert!(
        published.len() > 20 && published.len() < 100,
        "{}",
        published.len()
    );
    let rest = status.progress.objects_without_room;
    assert_eq!(published.len() as u64 + rest, 120, "{}", status.why);
    // The last ones may have overtaken each other.
    let best = &wanted[120 - published.len() + 8..];
    let mut best = super::paths(best).into_iter();
    assert!(best.all(|path| published.contains(&path)), "{published:?}");

    // Other files take their places once they are wanted instead, and nothing else changes.
    let mut other = wanted[60..].to_vec();
    other.extend((200..210).map(|number| small(&endpoint, number)));
    endpoint.offer(&manifest(2, other));
    agent.until("the new ones are here", |_| {
        let published = appliance.published();
        (200..210).all(|number| published.contains(&format!("/{number}.ts")))
    });
}
