//! What is signed and cannot be, and sources that lie: refused or left, and what is good goes on.

use std::io::Write;

use aws_lc_rs::signature::Ed25519KeyPair;
use protocol::fill::Activity;
use protocol::manifest::{Manifest, Wanted};

use super::appliance::{Appliance, eventually};
use super::endpoint::{Endpoint, key, manifest};
use super::{content, objects, paths};

/// Signs what `protocol` would not.
fn seal(frame: &[u8]) -> Vec<u8> {
    let message = [b"oca manifest 1\0", frame].concat();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signature: String = pair
        .sign(&message)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let head = serde_json::json!({
        "oca": "manifest",
        "version": 1,
        "signatures": [{ "key": key(7).public().id(), "signature": signature }],
    });
    [format!("{head}\n").as_bytes(), frame].concat()
}

fn pack<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    pieces.for_each(|piece| encoder.write_all(piece).unwrap());
    encoder.finish().unwrap()
}

/// 4 GiB of nothing.
fn bomb() -> Vec<u8> {
    let piece = vec![0; 64 << 20];
    pack(std::iter::repeat_n(&*piece, 64))
}

fn sealed(manifest: &Manifest) -> Vec<u8> {
    seal(&pack(std::iter::once(
        &*serde_json::to_vec(manifest).unwrap(),
    )))
}

fn at(wanted: &Wanted, path: &str) -> Wanted {
    Wanted {
        path: path.into(),
        ..wanted.clone()
    }
}

#[test]
fn signed_manifests_that_cannot_be_are_refused_each_with_its_words() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let with = |entry: Wanted| sealed(&manifest(2, vec![wanted[0].clone(), entry]));
    let first = &wanted[0];
    let table = [
        ("invalid", "is there twice", with(first.clone())),
        ("invalid", "segment . or ..", with(at(first, "/../passwd"))),
        ("invalid", "control character", with(at(first, "/a\0b"))),
        (
            "invalid",
            "longer than 1024 bytes",
            with(at(first, &format!("/{}", "a".repeat(10_000)))),
        ),
        (
            "invalid",
            "has two sizes",
            with(Wanted {
                size: first.size + 1,
                ..at(first, "/b.mp4")
            }),
        ),
        (
            "invalid",
            "is larger than",
            with(Wanted {
                size: u64::MAX,
                ..wanted[1].clone()
            }),
        ),
        ("malformed", "expected value at line 1", seal(&bomb())),
        ("malformed", "Unknown frame descriptor", seal(b"no frame")),
    ];
    let mut refused = std::collections::HashMap::new();
    for (at, (reason, words, bytes)) in table.into_iter().enumerate() {
        endpoint.offer_bytes(&at.to_string(), bytes);
        let status = agent.until(words, |status| {
            let problem = &status.control.problem;
            problem.contains("refused") && problem.contains(words)
        });
        assert_eq!(status.manifest.unwrap().serial.number, 1);
        let sample = format!("oca_fill_manifests_refused_total{{reason=\"{reason}\"}}");
        let count = agent.metric(&sample);
        assert!(refused.insert(reason, count) < Some(count), "{words}");
    }
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn sizes_and_roots_that_lie_keep_nothing_else_from_coming() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let good = objects(&endpoint, 0..3);
    let [mut longer, mut shorter, other] =
        [20, 21, 22].map(|seed| endpoint.object(&format!("/lie{seed}"), content(seed, 2_500_000)));
    longer.size += 1 << 20;
    shorter.size -= 1 << 20;
    endpoint.lie(&other, content(23, 2_500_000));
    let lies = [longer, shorter, other];
    let wanted = [&lies[..], &good].concat();
    endpoint.offer(&manifest(1, wanted));
    let agent = appliance.run();
    agent.open();
    eventually("the good ones", || {
        (appliance.published() == paths(&good)).then_some(())
    });
    let status = agent.until("the lies are named", |status| status.failures.len() >= 3);
    assert_ne!(status.activity, Activity::Complete);
    assert_eq!(appliance.published(), paths(&good));
}
