//! The pages of `docs/formats/` show what this program reads. Examples in bytes are decoded beside their code.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

use std::fs;

use content_store::device::{
    self, DEVICE_FORMAT, IDENTITY_FILE, INTENT_FILE, Intents, SEEN_FILE, Seen, Wanted,
};
use content_store::{DeviceProblem, StoreError};

/// The blocks of that language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let rest = page.split(fence.as_str()).skip(1).collect::<Vec<_>>();
    let blocks = rest.into_iter().filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

#[test]
fn the_identity_of_a_device() {
    let page = include_str!("../../docs/formats/device.md");
    let text = blocks(page, "toml")[0];
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join(IDENTITY_FILE), text).unwrap();
    write(text);
    let identity = device::open(folder.path()).unwrap().identity().clone();
    assert_eq!(identity.format, DEVICE_FORMAT);
    assert_eq!(identity.id.to_string(), "6f1c0a52b8e94d0f8f3f6f0c9e1d2b7a");
    assert_eq!(
        (identity.created, identity.shared_fs),
        (1_795_000_000, true)
    );
    // The checksum is one.
    write(&text.replace("shared_fs", "shared-fs"));
    let found = device::open(folder.path());
    assert!(matches!(found, Err(DeviceProblem::BadIdentity { .. })));
    // Of before there were checksums, and of a release to come.
    let (_, rest) = text.split_once('\n').unwrap();
    write(rest);
    assert!(device::open(folder.path()).is_ok());
    write(&rest.replace("format = 1", "format = 2\nshape = 3"));
    let found = device::open(folder.path()).unwrap_err().to_string();
    assert!(
        found.contains("newer") && found.contains("install"),
        "{found}"
    );
}

#[test]
fn what_is_wanted_of_devices_and_who_was_where() {
    let page = include_str!("../../docs/formats/devices.md");
    let folder = tempfile::tempdir().unwrap();
    let examples = blocks(page, "json");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(INTENT_FILE, examples[0]);
    write(SEEN_FILE, examples[1]);
    let intents = Intents::read(folder.path()).unwrap();
    let intent = intents.iter().next().unwrap();
    assert_eq!((intent.wanted, &*intent.by), (Wanted::Offline, "ada"));
    let seen = Seen::read(folder.path()).unwrap();
    assert!(seen.at("/srv/oca/nvme0".as_ref()).is_some());
    for name in [INTENT_FILE, SEEN_FILE] {
        write(name, "{\"format\":99,\"shape\":3}\n");
    }
    let newer = |problem: StoreError| {
        let words = problem.to_string();
        assert!(words.contains("install the newer release"), "{words}");
    };
    newer(Intents::read(folder.path()).unwrap_err());
    newer(Seen::read(folder.path()).unwrap_err());
}
