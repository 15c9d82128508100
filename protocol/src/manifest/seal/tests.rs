//! Sealed bytes, and what is refused of them.

use std::io::Write;

use super::*;
use crate::manifest::Serial;

const BOX: &str = "c001.fra001.example";

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

fn tombstones() -> Tombstones {
    Tombstones {
        version: MANIFEST_VERSION,
        appliance: BOX.into(),
        serial: Serial {
            epoch: 1,
            number: 7,
        },
        built_at: 1_790_000_000,
        tombstones: Vec::new(),
    }
}

/// Signs any frame, as only a holder of the key can.
fn signed(frame: &[u8], version: u32, signatures: usize) -> Vec<u8> {
    signed_as::<Tombstones>(frame, version, signatures)
}

fn signed_as<T: Sealable>(frame: &[u8], version: u32, signatures: usize) -> Vec<u8> {
    let signature = KeySignature {
        key: key().public().id(),
        signature: hex(&key().sign(&message::<T>(frame))),
    };
    let head = Head {
        oca: T::KIND.into(),
        version,
        signatures: (0..signatures)
            .map(|_| KeySignature {
                key: signature.key.clone(),
                signature: signature.signature.clone(),
            })
            .collect(),
    };
    [&serde_json::to_vec(&head).unwrap(), b"\n".as_slice(), frame].concat()
}

fn opened(sealed: &[u8]) -> Result<Tombstones, BadSeal> {
    open(sealed, &[key().public()], BOX)
}

fn frame(json: &[u8]) -> Vec<u8> {
    zstd::encode_all(json, 3).unwrap()
}

/// `count` blanks, packed a thousand times smaller, before `end`.
fn blanks(count: u64, end: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let piece = vec![b' '; 1 << 20];
    let mut left = count;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        encoder
            .write_all(&piece[..usize::try_from(now).unwrap()])
            .unwrap();
        left -= now;
    }
    encoder.write_all(end).unwrap();
    encoder.finish().unwrap()
}

/// The bytes of one sealed document. The frame is as zstd 1.5 writes it: another release may write other bytes, which must
/// open all the same; then only the comparison of what is written is to be taken out.
#[test]
fn a_sealed_document_has_these_bytes() {
    let text: String = include_str!("sealed.hex")
        .split_ascii_whitespace()
        .collect();
    let fixed: Vec<u8> = text
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let sealed = seal(&tombstones(), &[&key()]).unwrap();
    assert_eq!(hex(&sealed), text);
    assert_eq!(opened(&fixed).unwrap(), tombstones());
}

#[test]
fn a_limit_cuts_off_what_is_too_large() {
    let json = serde_json::to_vec(&tombstones()).unwrap();
    let length = json.len() as u64;
    let packed = frame(&json);
    assert!(unpack::<Tombstones>(&packed, length).is_ok());
    for limit in [0, 1, length - 1] {
        let cut = unpack::<Tombstones>(&packed, limit);
        assert!(matches!(cut, Err(BadSeal::TooLarge { limit: said }) if said == limit));
    }
}

/// A list with a limit that a debug build reaches in a moment; everything else is as with any other document.
#[derive(Debug, Serialize, Deserialize)]
struct Short(Tombstones);

impl Sealable for Short {
    const KIND: &'static str = "short";
    const MAX_BYTES: u64 = 1 << 20;
    fn version(&self) -> u32 {
        self.0.version()
    }
    fn appliance(&self) -> &str {
        self.0.appliance()
    }
    fn check(&self) -> Result<(), Invalid> {
        self.0.check()
    }
}

/// A few KiB that would become a gigabyte are left at the limit, without the gigabyte ever being anywhere: what follows the limit
/// is not even looked at.
#[test]
fn a_bomb_is_cut_off() {
    let far = blanks(64 * Short::MAX_BYTES, b"{}");
    assert!(far.len() < 64 << 10, "{}", far.len());
    let damaged_behind = &far[..far.len() / 2];
    let just = blanks(Short::MAX_BYTES + 1, b"{}");
    for bomb in [&far[..], damaged_behind, &just] {
        let sealed = signed_as::<Short>(bomb, MANIFEST_VERSION, 1);
        let refused = open::<Short>(&sealed, &[key().public()], BOX).unwrap_err();
        let is_at_limit =
            matches!(refused, BadSeal::TooLarge { limit } if limit == Short::MAX_BYTES);
        assert!(is_at_limit, "{refused}");
        assert_eq!(refused.reason(), "too_large");
    }
    let json = serde_json::to_vec(&tombstones()).unwrap();
    let sealed = signed_as::<Short>(&blanks(1 << 19, &json), MANIFEST_VERSION, 1);
    assert!(open::<Short>(&sealed, &[key().public()], BOX).is_ok());
}

#[test]
fn real_documents_have_these_limits() {
    assert_eq!(Manifest::MAX_BYTES, MANIFEST_MAX_BYTES);
    assert_eq!(Tombstones::MAX_BYTES, TOMBSTONES_MAX_BYTES);
}

#[test]
fn a_frame_that_asks_for_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder
        .write_all(&serde_json::to_vec(&tombstones()).unwrap())
        .unwrap();
    let refused = opened(&signed(&encoder.finish().unwrap(), MANIFEST_VERSION, 1)).unwrap_err();
    assert!(matches!(refused, BadSeal::Malformed(_)), "{refused}");
}

#[test]
fn what_is_not_whole_or_not_alone_is_refused() {
    let json = serde_json::to_vec(&tombstones()).unwrap();
    let whole = frame(&json);
    let more = [&whole[..], b"x"].concat();
    let twice = [&whole[..], &whole].concat();
    let two_documents = frame(&[&json[..], b"{}"].concat());
    for bad in [
        &whole[..whole.len() - 1],
        &[],
        &more,
        &twice,
        &two_documents,
        &json,
    ] {
        let refused = opened(&signed(bad, MANIFEST_VERSION, 1)).unwrap_err();
        assert!(matches!(refused, BadSeal::Malformed(_)), "{refused}");
    }
    assert!(opened(&signed(&whole, MANIFEST_VERSION, 1)).is_ok());
}

#[test]
fn a_newer_version_is_told_from_a_bad_signature() {
    let newer = signed(&frame(b"{}"), 2, 1);
    let refused = opened(&newer).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "version 2; this program reads version 1: install a newer release"
    );
    let inside = Tombstones {
        version: 2,
        ..tombstones()
    };
    let inside = frame(&serde_json::to_vec(&inside).unwrap());
    let refused = opened(&signed(&inside, MANIFEST_VERSION, 1)).unwrap_err();
    assert!(matches!(refused, BadSeal::Version { theirs: 2 }));
}

#[test]
fn signatures_are_few_and_some() {
    let frame = frame(&serde_json::to_vec(&tombstones()).unwrap());
    assert!(opened(&signed(&frame, MANIFEST_VERSION, SIGNATURES_MAX)).is_ok());
    for count in [0, SIGNATURES_MAX + 1] {
        let refused = opened(&signed(&frame, MANIFEST_VERSION, count)).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("signatures; allowed are 1 to 8"),
            "{refused}"
        );
    }
}

#[test]
fn the_first_line_is_bounded_and_its_words_are_printable() {
    let endless = vec![b' '; SEAL_MAX_BYTES + 2];
    for sealed in [&endless[..], b"", b"\n", b"{}\n", b"null\n", b"\xff\n"] {
        assert!(matches!(opened(sealed), Err(BadSeal::Form { .. })));
    }
    let signature = KeySignature {
        key: format!("\x1b[2J{}", "k".repeat(1000)),
        signature: String::new(),
    };
    let head = Head {
        oca: Tombstones::KIND.into(),
        version: MANIFEST_VERSION,
        signatures: vec![signature],
    };
    let sealed = [&serde_json::to_vec(&head).unwrap()[..], b"\n"].concat();
    let said = opened(&sealed).unwrap_err().to_string();
    assert!(
        said.starts_with("signed by \\u{1b}[2Jkkkkkkkkkkkk;"),
        "{said}"
    );
}

#[test]
fn a_bad_signature_of_an_accepted_key_is_never_overlooked() {
    let (one, other) = (key(), PrivateKey::from_seed(&[2; 32]));
    let sealed = seal(&tombstones(), &[&one, &other]).unwrap();
    let text = String::from_utf8_lossy(&sealed[..400]).into_owned();
    let signature = text.split("\"signature\":\"").nth(1).unwrap()[..128].to_owned();
    let at = text.find(&signature).unwrap();
    let mut changed = sealed;
    changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
    let both = [one.public(), other.public()];
    let refused = open::<Tombstones>(&changed, &both, BOX).unwrap_err();
    assert_eq!(refused.reason(), "signature");
    // Who does not know the first key never looks at its signature.
    assert!(open::<Tombstones>(&changed, &both[1..], BOX).is_ok());
}
