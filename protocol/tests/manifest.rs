//! A manifest is opened by its appliance, with a key that signed it, and by nobody else.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

use protocol::config::TierRole;
use protocol::manifest::keys::{PrivateKey, PublicKey};
use protocol::manifest::{BadSeal, MANIFEST_VERSION, Manifest, Serial, Source, Wanted, seal};
use protocol::root::Root;

fn manifest() -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        appliance: "c001.fra001.example".into(),
        serial: Serial {
            epoch: 1,
            number: 42,
        },
        built_at: 1_790_000_000,
        not_after: 1_790_200_000,
        site_offset_s: None,
        site_rate: None,
        sources: vec![Source::Control],
        objects: vec![Wanted {
            path: "/title/title-stream0.mp4".into(),
            root: Root([7; 32]),
            size: 1 << 20,
            content_type: "video/mp4".into(),
            cache_control: None,
            modified: 1_780_000_000,
            tier: TierRole::Hot,
            demand: 5 << 20,
            copies: 1,
            urgent: false,
            via: None,
        }],
        tombstones: Vec::new(),
    }
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

#[test]
fn what_was_sealed_opens_with_any_key_that_signed() {
    let (old, new) = (key(1), key(2));
    let sealed = seal::seal(&manifest(), &[&old, &new]).unwrap();
    for public in [old.public(), new.public()] {
        let public = PublicKey::from_pem(&public.to_pem()).unwrap();
        let opened: Manifest = seal::open(&sealed, &[public], "c001.fra001.example").unwrap();
        assert_eq!(opened, manifest());
    }
}

#[test]
fn any_changed_byte_is_refused() {
    let signer = key(1);
    let sealed = seal::seal(&manifest(), &[&signer]).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = seal::open::<Manifest>(&changed, &[signer.public()], "c001.fra001.example");
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn others_keys_and_others_manifests_are_refused() {
    let sealed = seal::seal(&manifest(), &[&key(1)]).unwrap();
    let open = |keys: &[PublicKey], appliance: &str| {
        seal::open::<Manifest>(&sealed, keys, appliance)
            .unwrap_err()
            .reason()
    };
    assert_eq!(
        open(&[key(2).public()], "c001.fra001.example"),
        "unknown_key"
    );
    assert_eq!(open(&[key(1).public()], "c002.fra001.example"), "appliance");
    assert!(matches!(
        seal::open::<protocol::manifest::Tombstones>(
            &sealed,
            &[key(1).public()],
            "c001.fra001.example"
        ),
        Err(BadSeal::Form { .. })
    ));
}
