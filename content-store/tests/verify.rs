//! Reading objects back, and accounting for space.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use content_store::space::account;
use content_store::verify::{Verified, verify};
use content_store::{Store, open_devices};
use support::{Appliance, MIB, bytes, publish};

fn verified(appliance: &Appliance) -> Verified {
    let slots = open_devices(&appliance.config()).unwrap();
    let mut last = 0;
    let verified = verify(&slots, &appliance.snapshot().objects[0], |read| last = read).unwrap();
    assert_eq!(last, verified.size);
    verified
}

fn with_object(length: u64) -> (Appliance, Store) {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, length), "nvme");
    (appliance, store)
}

#[test]
fn a_good_object_is_good() {
    for length in [0, 1, 70_000, MIB, 5 * MIB + 4097] {
        let (appliance, _store) = with_object(length);
        let verified = verified(&appliance);
        assert!(verified.is_good(), "{verified:?}");
    }
}

#[test]
fn a_flipped_bit_is_found_by_block_and_group() {
    let (appliance, _store) = with_object(5 * MIB + 4097);
    let path = verified(&appliance).columns[1].path.clone().unwrap();
    let mut column = std::fs::read(&path).unwrap();
    // column 1 holds units 1 and 3; byte 70 000 of its second unit is in group 3
    column[MIB as usize + 70_000] ^= 1;
    std::fs::write(&path, column).unwrap();
    let verified = verified(&appliance);
    assert_eq!(verified.bad_groups, [3]);
    assert_eq!(verified.columns[1].bad_blocks, [MIB + (64 << 10)]);
    assert!(verified.columns[0].bad_blocks.is_empty());
}

#[test]
fn missing_and_short_columns_are_found() {
    let (appliance, _store) = with_object(4 * MIB);
    let path = verified(&appliance).columns[0].path.clone().unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(MIB)
        .unwrap();
    let short = verified(&appliance);
    assert_eq!(short.bad_groups, [2]);
    assert!(
        short.columns[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("too short")
    );
    std::fs::remove_file(&path).unwrap();
    let missing = verified(&appliance);
    assert_eq!(missing.bad_groups, [0, 2]);
    assert!(missing.columns[0].problem.is_some() && missing.columns[1].problem.is_none());
    std::fs::remove_dir_all(&appliance.devices()[0]).unwrap();
    assert!(!verified(&appliance).is_good());
}

#[test]
fn space_is_accounted_per_device() {
    let (appliance, mut store) = with_object(5 * MIB);
    publish(&mut store, &["/b"], &bytes(2, 1000), "hdd");
    publish(&mut store, &["/b"], &bytes(3, 3000), "hdd");
    let accounts = account(&appliance.snapshot());
    let numbers = store.devices().iter().map(|device| {
        let of = accounts[&device.id().unwrap()];
        (of.objects, of.object_bytes, of.doomed_bytes)
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers[..2].sort();
    assert_eq!(numbers, [(1, 2 * MIB, 0), (1, 3 * MIB, 0), (1, 3000, 1000)]);
}
