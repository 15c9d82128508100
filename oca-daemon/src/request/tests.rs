//! What no socket is needed for. The rules of HTTP, one by one, are in `tests/http/`.

use super::*;
use proptest::prelude::*;

#[test]
fn a_repeated_range_is_no_range() {
    let head = b"GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nRange: bytes=4-5\r\n\r\n";
    let Parsed::Complete(request, _) = parse(head) else {
        panic!("not served")
    };
    assert_eq!(request.range, None);
}

#[test]
fn targets() {
    let table: &[(&str, Option<&str>)] = &[
        ("/a/b?q=/c", Some("/a/b")),
        ("//a", Some("//a")),
        ("http://h:80/a/b?q", Some("/a/b")),
        ("HTTPS://[2001:db8::1]:443/a", Some("/a")),
        ("https://h", Some("/")),
        ("http://h?q=/a", Some("/")),
        ("a", None),
        ("*", None),
        ("h:80", None),
        ("ftp://h/a", None),
        ("http:///a", None),
        ("http://user@h/a", None),
        ("http://h:port/a", None),
        ("/a#b", None),
    ];
    for (target, path) in table {
        let found = target::path_of(target.as_bytes(), Method::Get);
        assert_eq!(found, path.map(str::as_bytes), "{target}");
    }
    assert_eq!(target::path_of(b"*", Method::Options), Some(&b"*"[..]));
}

#[test]
fn percent_encoding() {
    let mut scratch = [0; HEAD_BYTES];
    let table: &[(&str, &[u8])] = &[
        ("/plain", b"/plain"),
        ("/a%20b", b"/a b"),
        ("/%25", b"/%"),
        // A slash that is encoded is no slash; dots and overlong forms of them name nothing special.
        ("/a%2Fb%2f", b"/a%2Fb%2f"),
        ("/%2e%2e/a", b"/../a"),
        ("/%c0%ae", b"/\xc0\xae"),
    ];
    for (path, decoded) in table {
        assert_eq!(decode_path(path.as_bytes(), &mut scratch), Some(*decoded));
    }
    for bad in ["/%", "/%4", "/%zz", "/%00", "/%+1"] {
        assert_eq!(decode_path(bad.as_bytes(), &mut scratch), None, "{bad:?}");
    }
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "(GET|HEAD|OPTIONS|POST|X) (/a|\\*|http://h/a|a)(%[0-9a-g]{2}|\\?b|#)? HTTP/(1.[01]|2.0|1)\r?\n",
        "(Host|Range|If-Match|Transfer-Encoding|Content-Length|Expect|A) ?: ?(h|bytes=[0-9,-]{1,9}|chunked|[0-9]|\r)?\r?\n",
        Just("\r\n".to_owned()),
        ".{0,4}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    /// What the fuzz target `request` does, for a while.
    #[test]
    fn however_a_head_is_cut_it_is_read_the_same(input in heads()) {
        exercise(&input);
    }

    #[test]
    fn no_bytes_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        exercise(&input);
        decode_path(&input, &mut [0; HEAD_BYTES]);
    }
}
