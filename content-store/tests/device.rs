//! Devices: what makes a folder one, and what keeps it from being used.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::fs;
use std::path::Path;

use content_store::device::{self, IDENTITY_FILE, InitOptions};
use content_store::{DeviceProblem, Store, StoreError, open_devices};
use support::Appliance;

fn shared() -> InitOptions {
    InitOptions {
        now_s: 1_800_000_000,
        tier: Some("nvme".into()),
        shared_fs: true,
    }
}

#[test]
fn an_initialised_folder_is_a_device_and_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let made = device::initialise(folder.path(), &shared()).unwrap();
    let opened = device::open(folder.path()).unwrap();
    assert_eq!(made, opened);
    assert_eq!(opened.identity().created, 1_800_000_000);
    assert_eq!(opened.identity().tier.as_deref(), Some("nvme"));
    opened.probe().unwrap();
    assert!(opened.check_writable().unwrap().total_bytes > 0);
    let again = device::initialise(folder.path(), &shared()).unwrap_err();
    assert!(matches!(again, DeviceProblem::AlreadyInitialised { id, .. } if id == made.id()));
}

#[test]
fn a_folder_that_is_no_device_is_never_one_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert!(matches!(
        device::open(&missing),
        Err(DeviceProblem::Missing { .. })
    ));
    assert!(matches!(
        device::initialise(&missing, &shared()),
        Err(DeviceProblem::Missing { .. })
    ));
    assert!(matches!(
        device::open(folder.path()),
        Err(DeviceProblem::NoIdentity { .. })
    ));
    let own = InitOptions {
        shared_fs: false,
        ..shared()
    };
    let refused = device::initialise(folder.path(), &own).unwrap_err();
    assert!(
        matches!(refused, DeviceProblem::NotMounted { .. }),
        "{refused}"
    );
    fs::write(folder.path().join("film.mp4"), b"somebody's").unwrap();
    let refused = device::initialise(folder.path(), &shared()).unwrap_err();
    assert!(
        matches!(&refused, DeviceProblem::NotEmpty { found, .. } if found == "film.mp4"),
        "{refused}"
    );
}

/// (content of the identity file, what it is taken for)
#[test]
fn table_of_identity_files() {
    let id = "000102030405060708090a0b0c0d0e0f";
    let good = format!("format = 1\nid = \"{id}\"\ncreated = 5\nshared_fs = true\n");
    let folder = tempfile::tempdir().unwrap();
    let open = |text: &[u8]| {
        fs::write(folder.path().join(IDENTITY_FILE), text).unwrap();
        device::open(folder.path())
    };
    assert_eq!(open(good.as_bytes()).unwrap().id().to_string(), id);
    let newer = format!("format = 2\nid = \"{id}\"\nkey_of_format_2 = 1\n");
    assert!(matches!(
        open(newer.as_bytes()),
        Err(DeviceProblem::NewerFormat { found: 2, .. })
    ));
    let own = format!("format = 1\nid = \"{id}\"\ncreated = 5\n");
    assert!(matches!(
        open(own.as_bytes()),
        Err(DeviceProblem::NotMounted { .. })
    ));
    let unknown = format!("{good}surprise = 1\n");
    for bad in [
        b"".as_slice(),
        b"\xff\xfe",
        b"format = 1\nid = \"xyz\"\ncreated = 5\n",
        unknown.as_bytes(),
    ] {
        assert!(matches!(open(bad), Err(DeviceProblem::BadIdentity { .. })));
    }
}

#[test]
fn a_probe_sees_another_device_and_none() {
    let folder = tempfile::tempdir().unwrap();
    let roots = ["a", "b"].map(|name| folder.path().join(name));
    for root in &roots {
        fs::create_dir(root).unwrap();
    }
    let [first, second] =
        [0, 1].map(|number: usize| device::initialise(&roots[number], &shared()).unwrap());
    let swap = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    swap(&roots[0], &folder.path().join("away"));
    assert!(matches!(first.probe(), Err(DeviceProblem::Missing { .. })));
    swap(&roots[1], &roots[0]);
    let problem = first.probe().unwrap_err();
    assert!(
        matches!(problem, DeviceProblem::WrongIdentity { found, .. } if found == second.id()),
        "{problem}"
    );
}

#[test]
fn one_device_at_two_places_is_refused() {
    let appliance = Appliance::new();
    let [first, second, _] = appliance.devices();
    fs::copy(first.join(IDENTITY_FILE), second.join(IDENTITY_FILE)).unwrap();
    assert!(matches!(
        open_devices(&appliance.config()),
        Err(StoreError::SameDevice { .. })
    ));
}

#[test]
fn an_absent_device_does_not_keep_the_others_from_being_used() {
    let appliance = Appliance::new();
    fs::remove_dir_all(&appliance.devices()[0]).unwrap();
    let mut store = appliance.open();
    assert!(store.devices()[0].device.is_err());
    // two columns would be wanted; one device is left
    support::publish(
        &mut store,
        &["/a"],
        &support::bytes(1, 3 * support::MIB),
        "nvme",
    );
    assert_eq!(appliance.snapshot().objects[0].copies[0].layout.width(), 1);
    assert!(
        !appliance.devices()[0].exists(),
        "nothing was written where no device is"
    );
}

#[test]
fn a_configuration_that_makes_no_sense_names_the_tier() {
    let appliance = Appliance::new();
    type Change = fn(&mut content_store::TierConfig);
    let changes: [(Change, &str); 5] = [
        (|tier| tier.stripe_unit = 1 << 19, "stripe_unit"),
        (|tier| tier.read_unit = 3 << 18, "read_unit"),
        (|tier| tier.stripe_width = 3, "devices"),
        (|tier| tier.stripe_width = 0, "stripe_width"),
        (|tier| tier.name = String::new(), "name"),
    ];
    for (change, word) in changes {
        let mut config = appliance.config();
        change(&mut config.tiers[0]);
        let refused = Store::open(config).map(drop).unwrap_err();
        assert!(matches!(refused, StoreError::BadTier { .. }));
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

#[test]
fn a_flipped_bit_in_the_identity_is_found_or_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        now_s: 1_800_000_000,
        tier: Some("nvme".into()),
        shared_fs: true,
    };
    let device = device::initialise(folder.path(), &options).unwrap();
    let path = folder.path().join(IDENTITY_FILE);
    let whole = fs::read(&path).unwrap();
    let head = whole.iter().position(|byte| *byte == b'\n').unwrap() - 8;
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        match device::open(folder.path()) {
            Err(DeviceProblem::BadIdentity { .. }) => {}
            // In the words of the comment.
            Ok(found) => assert!(bit / 8 < head && found == device, "bit {bit}"),
            Err(problem) => panic!("bit {bit}: {problem}"),
        }
    }
}
