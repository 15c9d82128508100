//! A damaged or foreign catalog is refused with the way out, and nothing of it is deleted or crashes the program.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::fs;
use std::path::PathBuf;

use content_store::catalog::{CatalogProblem, CatalogReader};
use content_store::{Store, StoreError, rebuild};
use support::{Appliance, publish, tree};

fn data(appliance: &Appliance) -> PathBuf {
    appliance.state_dir().join("catalog/data.mdb")
}

fn filled() -> Appliance {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    for number in 0..12_u8 {
        publish(&mut store, &[&format!("/{number}")], &[number], "hdd");
    }
    store.remove(&["/7"]).unwrap();
    appliance
}

fn refusal(appliance: &Appliance) -> CatalogProblem {
    let read = CatalogReader::open(&appliance.state_dir()).and_then(|mut reader| reader.load());
    read.map(drop).unwrap_err()
}

#[test]
fn garbage_is_refused_kept_and_rebuilt() {
    let appliance = filled();
    let before = tree(&appliance.snapshot());
    for garbage in [&b"garbage"[..], &[0; 100_000], &[0xff; 100_000]] {
        fs::write(data(&appliance), garbage).unwrap();
        let problem = refusal(&appliance);
        assert!(
            matches!(problem, CatalogProblem::Corrupt { .. }),
            "{problem}"
        );
        assert!(
            problem.to_string().contains("`ocactl catalog rebuild`"),
            "{problem}"
        );
        let writer = Store::open(appliance.config()).map(drop).unwrap_err();
        assert!(
            matches!(writer, StoreError::Catalog(CatalogProblem::Corrupt { .. })),
            "{writer}"
        );
        assert_eq!(
            fs::read(data(&appliance)).unwrap(),
            garbage,
            "nothing was changed"
        );
        rebuild(&appliance.config(), 0, |_| ()).unwrap();
        assert_eq!(tree(&appliance.snapshot()), before);
    }
}

#[test]
fn a_short_file_is_refused_instead_of_mapped() {
    let appliance = filled();
    let whole = fs::read(data(&appliance)).unwrap();
    for pages in 1..whole.len() / 4096 {
        fs::write(data(&appliance), &whole[..pages * 4096]).unwrap();
        // LMDB leaves free pages at the end: a file without them is whole.
        if let Err(problem) =
            CatalogReader::open(&appliance.state_dir()).and_then(|mut reader| reader.load())
        {
            assert!(
                matches!(problem, CatalogProblem::Corrupt { .. }),
                "{pages}: {problem}"
            );
        }
    }
}

/// Each flip is refused, or was in a byte that says nothing, and then nothing else is read. A sample of the
/// file, and of its two heads every byte.
#[test]
fn a_flipped_bit_anywhere_is_refused_or_without_effect() {
    let appliance = filled();
    let before = appliance.snapshot();
    let whole = fs::read(data(&appliance)).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    let heads = (0..152).chain(4096..4096 + 152);
    for byte in heads.chain((8192..whole.len()).step_by(29)) {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::write(data(&appliance), &flipped).unwrap();
        match CatalogReader::open(&appliance.state_dir()).and_then(|mut reader| reader.load()) {
            Err(CatalogProblem::Corrupt { .. }) => refused += 1,
            Err(problem) => panic!("byte {byte}: {problem}"),
            // The older of the two heads, free pages, and gaps in pages say nothing.
            Ok(found) => {
                let found = support::sorted(found);
                assert_eq!(
                    (found.paths, found.objects),
                    (before.paths.clone(), before.objects.clone()),
                    "byte {byte}"
                );
                harmless += 1;
            }
        }
    }
    assert!(
        refused > 100,
        "{refused} refused, {harmless} without effect"
    );
}

#[test]
fn what_is_in_the_folder_of_a_lost_catalog_is_not_touched() {
    let appliance = filled();
    let lock = appliance.state_dir().join("catalog/lock.mdb");
    fs::write(&lock, [0xee; 8192]).unwrap();
    let _ = CatalogReader::open(&appliance.state_dir()).map(drop);
    rebuild(&appliance.config(), 5_000, |_| ()).unwrap();
    assert_eq!(tree(&appliance.snapshot()).len(), 11);
    assert!(
        appliance
            .state_dir()
            .join("catalog.broken-5/data.mdb")
            .exists()
    );
}
