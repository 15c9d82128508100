//! What is said about each file that is no good.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use oca_daemon::tls;
use protocol::config::Certificate;

use crate::folder::{Folder, GOOD, Issued, NOW, OVER, TO_COME, authority, issue};

fn problem(files: Certificate) -> Option<String> {
    let mut checked = tls::check(vec![files], NOW);
    checked.pop().unwrap().problem
}

/// The pair with one of its two texts replaced.
fn with(folder: &Folder, chain: Option<&str>, key: Option<&str>) -> String {
    let Issued { chain: c, key: k } = folder.issue(&["a.example"], GOOD);
    let chain = chain.map_or(c, str::to_owned);
    let key = key.map_or(k, str::to_owned);
    let files = folder.put("wrong", &Issued { chain, key });
    let said = problem(files).unwrap();
    said.replace(
        &format!("{}/", folder.path("").display()).replace("//", "/"),
        "",
    )
}

#[test]
fn a_good_pair_says_what_it_is() {
    let folder = Folder::new();
    let issued = folder.issue(&["A.example", "*.b.example"], GOOD);
    let checked = tls::check(vec![folder.put("good", &issued)], NOW);
    assert_eq!(checked[0].problem, None);
    let found = checked[0].found.as_ref().unwrap();
    assert_eq!(found.names, ["a.example", "*.b.example"]);
    assert_eq!(found.key_type, "ECDSA P-256");
    assert_eq!(
        (found.not_after, found.loaded),
        (2_493_072_000, NOW.seconds())
    );
}

#[test]
fn the_text_of_a_chain_that_is_no_good() {
    let folder = Folder::new();
    let good = folder.issue(&["a.example"], GOOD).chain;
    let cut = &good[..good.len() - 40];
    let damaged = good.replacen("MII", "M!I", 1);
    let table = [
        ("", "wrong.pem: is empty"),
        (
            "no certificate here",
            "wrong.pem: holds no certificate; allowed: PEM",
        ),
        (
            cut,
            "wrong.pem: is damaged: its end is missing. Copy it again",
        ),
        (&damaged, "wrong.pem: is damaged: "),
        (
            "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
            "wrong.pem: certificate 1 in it is damaged: ",
        ),
    ];
    for (chain, expected) in table {
        let said = with(&folder, Some(chain), None);
        assert!(said.starts_with(expected), "{said}");
    }
    let long = " ".repeat((1 << 20) + 1);
    let said = with(&folder, Some(&long), None);
    assert!(
        said.starts_with("wrong.pem: has more than 1048576 bytes"),
        "{said}"
    );
}

#[test]
fn the_text_of_a_key_that_is_no_good() {
    let folder = Folder::new();
    let other = folder.issue(&["a.example"], GOOD);
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let encrypted = pem("ENCRYPTED PRIVATE KEY", "MAMCAQE=");
    let old = pem(
        "RSA PRIVATE KEY",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAMCAQE=",
    );
    let strange = pem("PRIVATE KEY", "MAMCAQE=");
    let table = [
        ("", "wrong.key: is empty"),
        (
            other.chain.as_str(),
            "wrong.key: holds no private key; allowed: PEM",
        ),
        (
            &encrypted,
            "wrong.key: the key in it is encrypted; allowed: one without a passphrase",
        ),
        (&old, "wrong.key: the key in it is encrypted; "),
        (&strange, "wrong.key: the key in it cannot be used: "),
        (
            &other.key,
            "wrong.key: is not the key of the certificate in wrong.pem; the two must be renewed together",
        ),
    ];
    for (key, expected) in table {
        let said = with(&folder, None, Some(key));
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_chain_begins_with_the_leaf() {
    let folder = Folder::new();
    let Issued { chain, key } = folder.issue(&["a.example"], GOOD);
    let issuer = folder.authority.pem();
    let files = folder.put(
        "chain",
        &Issued {
            chain: chain.clone() + &issuer,
            key: key.clone(),
        },
    );
    assert_eq!(problem(files), None);
    let files = folder.put(
        "chain",
        &Issued {
            chain: issuer + &chain,
            key,
        },
    );
    let said = problem(files.clone()).unwrap();
    let expected = format!(
        "{}: is the key of certificate 2 in {}, which must be the first one there",
        files.key.display(),
        files.cert.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn each_part_of_a_chain_has_its_time() {
    let folder = Folder::new();
    let said = |name: &str, issued: &Issued| problem(folder.put(name, issued)).unwrap();
    let over = said("over", &folder.issue(&["a.example"], OVER));
    assert!(
        over.ends_with(
            "over.pem: certificate 1 in it expired on Wed, 01 Jan 2020 00:00:00 GMT; viewers refuse it. Renew it"
        ),
        "{over}"
    );
    let to_come = said("to-come", &folder.issue(&["a.example"], TO_COME));
    assert!(
        to_come.contains("certificate 1 in it is not valid before Wed, 01 Jan 2048 00:00:00 GMT"),
        "{to_come}"
    );
    let old = authority(OVER);
    let mut issued = issue(&old, &["a.example"], GOOD);
    issued.chain += &old.pem();
    let over = said("old", &issued);
    assert!(over.contains("certificate 2 in it expired on"), "{over}");
}

#[test]
fn what_is_no_file_or_is_open_to_all_is_refused() {
    let folder = Folder::new();
    let good = folder.put("good", &folder.issue(&["a.example"], GOOD));
    let instead = |cert: &str, key: &str| {
        let files = Certificate {
            cert: folder.path(cert),
            key: folder.path(key),
        };
        problem(files).unwrap()
    };
    let said = instead("none.pem", "good.key");
    assert!(
        said.contains("none.pem: cannot be read: No such file or directory"),
        "{said}"
    );
    let said = instead("good.pem", "");
    assert!(said.ends_with(": is not a file"), "{said}");
    // Nobody writes to it: whoever opened it would wait for ever.
    let pipe = std::process::Command::new("mkfifo")
        .arg(folder.path("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    let said = instead("pipe", "good.key");
    assert!(said.ends_with("pipe: is not a file"), "{said}");
    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = problem(good.clone()).unwrap();
    assert!(
        said.contains("anybody on this machine may read the key in it (mode 0644); chmod o-rwx"),
        "{said}"
    );
    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(problem(good), None);
}

#[test]
fn the_start_says_all_that_is_wrong_and_takes_what_has_expired() {
    let folder = Folder::new();
    let over = folder.put("over", &folder.issue(&["a.example"], OVER));
    let tls = folder.tls(std::slice::from_ref(&over), "").unwrap();
    assert!(tls.certificates.set().pairs[0].out_of_time(NOW).is_some());
    let error = folder
        .tls(&[over, folder.files("b"), folder.files("c")], "")
        .unwrap_err()
        .to_string();
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(
        error
            .lines()
            .all(|line| line.starts_with("[tls]: ") && line.contains("No such file")),
        "{error}"
    );
}

#[test]
fn a_key_that_no_suite_goes_with_is_refused() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let rsa = "\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"";
    let error = folder
        .tls(&files, &format!("suites = [{rsa}]"))
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("a.key: no suite of TLS 1.2 in [tls] suites goes with the key in it"),
        "{said}"
    );
    let both = format!("suites = [{rsa}, \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]");
    folder.tls(&files, &both).unwrap();
}

/// Keys and certificates as operators make them.
#[test]
fn keys_of_all_kinds_are_understood() {
    let folder = Folder::new();
    let kinds = [
        (
            "ec:prime256v1",
            "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
            "ECDSA P-256",
        ),
        (
            "ec:secp384r1",
            "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1",
            "ECDSA P-384",
        ),
        ("rsa:2048", "-newkey rsa:2048", "RSA 2048"),
        ("ed25519", "-newkey ed25519", "Ed25519"),
    ];
    for (name, arguments, key_type) in kinds {
        let files = folder.files(name);
        let made = std::process::Command::new("openssl")
            .args("req -x509 -nodes -days 90 -subj /CN=a.example -addext subjectAltName=DNS:a.example,IP:192.0.2.1".split(' '))
            .args(arguments.split(' '))
            .arg("-out").arg(&files.cert)
            .arg("-keyout").arg(&files.key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let checked = tls::check(vec![files], std::time::SystemTime::now().into());
        assert_eq!(checked[0].problem, None, "{name}");
        let found = checked[0].found.as_ref().unwrap();
        assert_eq!(found.key_type, key_type);
        assert_eq!(found.names, ["a.example"]);
    }
}
