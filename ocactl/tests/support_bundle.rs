//! `ocactl support-bundle`: a tar file that others can read, and no secret of a full configuration in it.

mod appliance;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use appliance::{Appliance, text};

/// What tar(1) says of the file.
fn tar(option: &str, file: &Path) -> String {
    let output = Command::new("tar").arg(option).arg(file).output();
    let output = output.expect("tar is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("texts")
}

/// Every place of a configuration where a secret is, or is led to. The token also stands where none belongs: it is a device's name,
/// so all that speaks of devices would tell it.
fn full_of_secrets() -> Appliance {
    let appliance = Appliance::new();
    for (file, secret) in [
        ("token", "sesame-token"),
        (
            "viewers.key",
            "-----BEGIN PRIVATE KEY-----\nsesame/viewers/key\n-----END PRIVATE KEY-----",
        ),
        (
            "client.key",
            "-----BEGIN PRIVATE KEY-----\nsesame/client/key\n-----END PRIVATE KEY-----",
        ),
        ("bgp.password", "sesame-bgp"),
        ("some.pem", "public"),
    ] {
        std::fs::write(appliance.path(file), format!("{secret}\n"))
            .expect("the folder is writable");
    }
    let leak = appliance.path("sesame-token");
    std::fs::create_dir(&leak).expect("a new folder");
    appliance.configure(|plain| {
        let folder = appliance.path("").display().to_string();
        let plain = plain
            .replace("[listen]", "# the password is sesame-comment\n[listen]\nhttps = [\"127.0.0.1:0\"]")
            .replace("\"]\nshared_fs = true\n[[tier]]\nname = \"hdd\"", "\", \"LEAK\"]\nshared_fs = true\n[[tier]]\nname = \"hdd\"")
            .replace("LEAK", text(&leak));
        format!(
            "{plain}[serve]\non_miss = {{ redirect = \"https://control.example/v1/play?token=sesame-query\" }}\n\
             [tls]\ncertificates = [{{ cert = \"{folder}some.pem\", key = \"{folder}viewers.key\" }}]\n\
             [control]\nurl = \"https://control.example/\"\nkeys = [\"{folder}some.pem\"]\ntoken_file = \"{folder}token\"\n\
             client = {{ cert = \"{folder}some.pem\", key = \"{folder}client.key\" }}\n\
             [fill]\nwindow = \"02:00-14:00\"\nrate = \"10 Mbit/s\"\nmetrics = \"127.0.0.1:9\"\n\
             [steering]\nservice_addresses = [\"192.0.2.1\"]\n\
             [[bgp.neighbor]]\naddress = \"198.51.100.1\"\nlocal_as = 64512\nremote_as = 64496\nrole = \"listen\"\n\
             password_file = \"{folder}bgp.password\"\n"
        )
    });
    appliance
}

#[test]
fn no_secret_of_a_full_configuration_is_in_it() {
    let appliance = full_of_secrets();
    let file = appliance.path("box.tar");
    let said = appliance
        .run(&["support-bundle", "--output", text(&file)])
        .done();
    assert!(
        said.out.contains("Look into it before you send it"),
        "{said:?}"
    );
    assert_eq!(
        std::fs::metadata(&file).expect("it is there").mode() & 0o777,
        0o600
    );

    let names = tar("-tf", &file);
    for name in [
        "README.txt",
        "configuration.json",
        "ocactl-doctor.json",
        "ocactl-device-ls.json",
        "system/uname-a.txt",
    ] {
        assert!(
            names.contains(&format!("oca-support/{name}\n")),
            "{name} is not in {names}"
        );
    }
    let all = tar("-xOf", &file);
    assert!(all.contains("c001.fra001.example") && all.contains("https://control.example/"));
    assert!(all.contains("REMOVED"));
    assert!(!all.contains("sesame"), "{}", around(&all, "sesame"));
}

/// The text round a word, for the message of a failed test.
fn around<'a>(all: &'a str, word: &str) -> &'a str {
    let at = all.find(word).unwrap_or(0);
    let begin = all[..at].rfind('\n').map_or(0, |at| at + 1);
    all[begin..].lines().next().unwrap_or_default()
}

#[test]
fn a_secret_in_the_wrong_place_is_not_in_it_either() {
    let appliance = Appliance::bare();
    appliance.configure(|plain| {
        format!(
            "{plain}[control]\nurl = \"https://control.example/\"\nkeys = []\ntoken = \"sesame\"\n"
        )
    });
    let file = appliance.path("box.tar");
    appliance
        .run(&["support-bundle", "--output", text(&file)])
        .done();
    let all = tar("-xOf", &file);
    assert!(all.contains("control.token"), "where it is wrong is told");
    assert!(!all.contains("sesame"), "{}", around(&all, "sesame"));
    appliance
        .run(&["support-bundle", "--output", text(&file)])
        .failed(1, "box.tar: File exists");
}
