//! `ocactl doctor`: every finding says what, why and how to mend it.

mod appliance;

use appliance::{Appliance, text};
use serde_json::Value;

fn findings(answer: &Value) -> &[Value] {
    answer["findings"].as_array().expect("a list")
}

fn level<'a>(answer: &'a Value, subject: &str) -> &'a str {
    let mut found = findings(answer).iter();
    let found = found.find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("{subject} is not in {answer:#}"))["level"]
        .as_str()
        .expect("a word")
}

#[test]
fn what_is_not_well_has_a_reason_and_a_command() {
    let appliance = Appliance::bare();
    let nvme0 = appliance.path("nvme0");
    let (code, answer) = appliance.json(&["doctor"]);
    assert_eq!(code, 1);
    assert_eq!(level(&answer, &format!("device {}", text(&nvme0))), "fail");
    assert_eq!(level(&answer, "daemon"), "warn");
    for finding in findings(&answer) {
        let said = |key: &str| !finding[key].as_str().expect("a text").is_empty();
        assert!(said("what"), "{finding}");
        let is_ok = finding["level"] == "ok";
        assert!(said("why") != is_ok && said("mend") != is_ok, "{finding}");
    }
}

#[test]
fn a_box_that_could_only_be_better_is_not_ill() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"moving pictures");
    appliance.import_media().done();
    let said = appliance.run(&["doctor"]).done();
    assert!(
        said.out.contains("ok      configuration: is right"),
        "{said:?}"
    );
    assert!(
        said.out.contains("mend: systemctl enable --now oca-daemon"),
        "{said:?}"
    );
    let (_, answer) = appliance.json(&["doctor"]);
    for name in ["nvme0", "hdd1"] {
        let path = appliance.path(name);
        assert_eq!(level(&answer, &format!("device {}", text(&path))), "ok");
    }
}

#[test]
fn secrets_that_others_may_read_are_a_fault() {
    use std::os::unix::fs::PermissionsExt;
    let appliance = Appliance::new();
    let token = appliance.path("token");
    let key = appliance.path("control-1.pub");
    for (path, mode) in [(&token, 0o644), (&key, 0o666)] {
        std::fs::write(path, "some words\n").expect("the folder is writable");
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    }
    appliance.configure(|plain| {
        format!("{plain}[control]\nurl = \"https://control.example/\"\nkeys = [{key:?}]\ntoken_file = {token:?}\n")
    });
    let (code, answer) = appliance.json(&["doctor"]);
    assert_eq!(code, 1);
    assert_eq!(level(&answer, &format!("secret {}", text(&token))), "fail");
    assert_eq!(level(&answer, &format!("file {}", text(&key))), "fail");
}

#[test]
fn a_wrong_configuration_is_a_finding_and_no_end() {
    let appliance = Appliance::bare();
    appliance.configure(|plain| plain.replace("[listen]", "[listen]\nhttp2 = []"));
    let (code, answer) = appliance.json(&["doctor"]);
    assert_eq!(code, 1);
    assert_eq!(level(&answer, "configuration"), "fail");
    assert!(findings(&answer).len() > 1, "{answer:#}");
}
