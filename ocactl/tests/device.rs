//! `device add`, `device ls`, `check`.

mod appliance;

use appliance::{Appliance, text};

#[test]
fn a_folder_becomes_a_device_once() {
    let appliance = Appliance::bare();
    let folder = appliance.path("nvme0");
    let said = appliance.run(&["device", "add", text(&folder)]).done();
    assert!(said.out.contains("of tier nvme"), "{said:?}");
    assert!(folder.join("oca-device.toml").exists());
    appliance
        .run(&["device", "add", text(&folder)])
        .failed(1, "already device");
}

#[test]
fn what_is_not_an_empty_mounted_folder_is_refused() {
    let appliance = Appliance::bare();
    let other = appliance.path("other");
    appliance
        .run(&["device", "add", text(&other)])
        .failed(1, "no such folder");
    std::fs::create_dir(&other).unwrap();
    appliance
        .run(&["device", "add", text(&other)])
        .failed(1, "not the root of its own file system");
    std::fs::write(other.join("letter.txt"), "dear").unwrap();
    appliance
        .run(&["device", "add", text(&other), "--shared-fs"])
        .failed(1, "letter.txt");
    assert_eq!(
        std::fs::read_to_string(other.join("letter.txt")).unwrap(),
        "dear"
    );
}

#[test]
fn a_folder_outside_of_the_configuration_is_said_to_be() {
    let appliance = Appliance::bare();
    let other = appliance.path("other");
    std::fs::create_dir(&other).unwrap();
    let said = appliance
        .run(&[
            "device",
            "add",
            text(&other),
            "--shared-fs",
            "--tier",
            "hdd",
        ])
        .done();
    assert!(
        said.out.contains("not in the configuration yet") && said.out.contains("[[tier]] \"hdd\""),
        "{said:?}"
    );
}

#[test]
fn the_tier_must_be_the_configured_one() {
    let appliance = Appliance::bare();
    let folder = appliance.path("nvme0");
    appliance
        .run(&["device", "add", text(&folder), "--tier", "tape"])
        .failed(2, "allowed: nvme, hdd");
    appliance
        .run(&["device", "add", text(&folder), "--tier", "hdd"])
        .failed(2, "is in tier \"nvme\"");
    assert!(!folder.join("oca-device.toml").exists());
}

#[test]
fn a_list_shows_what_each_device_touches() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[7; 3 << 20]);
    appliance.import_media().done();
    let (code, listed) = appliance.json(&["device", "ls"]);
    assert_eq!(code, 0);
    let objects: Vec<u64> = listed["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["objects"].as_u64().unwrap())
        .collect();
    assert_eq!(objects, [1, 1, 0, 0]);
    let table = appliance.run(&["device", "ls"]).done().out;
    assert!(
        table.contains("100 %") && table.contains("daemon is not running"),
        "{table}"
    );
}

#[test]
fn a_lost_device_is_listed_and_the_rest_goes_on() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[7; 3 << 20]);
    appliance.import_media().done();
    std::fs::rename(appliance.path("nvme1"), appliance.path("gone")).unwrap();
    std::fs::create_dir(appliance.path("nvme1")).unwrap();

    let (code, listed) = appliance.json(&["device", "ls"]);
    assert_eq!(code, 1);
    assert_eq!(listed["devices"][0]["state"], "ok");
    assert_eq!(listed["devices"][1]["state"], "missing");
    assert!(
        listed["devices"][1]["cause"]
            .as_str()
            .unwrap()
            .contains("oca-device.toml"),
        "{listed}"
    );

    let (code, checked) = appliance.json(&["check"]);
    assert_eq!(code, 1);
    let failed: Vec<&str> = checked["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["level"] == "fail")
        .map(|check| check["subject"].as_str().unwrap())
        .collect();
    assert_eq!(failed.len(), 2, "{checked}");
    assert!(
        failed[0].ends_with("/nvme1") && failed[1] == "objects",
        "{failed:?}"
    );

    appliance.run(&["catalog", "check"]).failed(1, "");
    appliance.media("b.m3u8", b"#EXTM3U\n");
    appliance
        .run(&["content", "import", text(&appliance.path("media/b.m3u8"))])
        .done();
}

#[test]
fn two_folders_with_one_identity_are_refused() {
    let appliance = Appliance::new();
    std::fs::copy(
        appliance.path("nvme0/oca-device.toml"),
        appliance.path("nvme1/oca-device.toml"),
    )
    .unwrap();
    for command in [["device", "ls"].as_slice(), &["check"]] {
        let said = appliance.run(command);
        assert!(
            said.code == 1 && said.out.contains("is the same device as"),
            "{said:?}"
        );
    }
    appliance.media("a.mp4", b"a");
    appliance.import_media().failed(1, "are the same device");
}

/// A pipe in the place of the identity file: to open it waits for ever, like a disk that has died.
#[test]
fn a_device_that_hangs_keeps_nobody_waiting() {
    let appliance = Appliance::new();
    let identity = appliance.path("hdd1/oca-device.toml");
    std::fs::remove_file(&identity).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&identity)
            .status()
            .unwrap()
            .success()
    );
    for command in [["device", "ls"].as_slice(), &["check"]] {
        let said = appliance.run(command);
        assert!(
            said.code == 1 && said.out.contains("has not answered within 3 s"),
            "{said:?}"
        );
    }
}

#[test]
fn a_check_of_a_new_appliance_passes_and_says_what_comes_next() {
    let appliance = Appliance::new();
    let said = appliance.run(&["check"]).done();
    assert!(said.out.contains("import content"), "{said:?}");
    assert!(said.out.contains("daemon is not running"), "{said:?}");
}

fn device(appliance: &Appliance, number: usize) -> serde_json::Value {
    let (_, listed) = appliance.json(&["device", "ls"]);
    listed["devices"][number].clone()
}

#[test]
fn a_device_is_evacuated_and_removed() {
    let appliance = Appliance::new();
    for number in 0..8 {
        appliance.media(&format!("{number}.mp4"), &[number; 1 << 20]);
    }
    let media = appliance.path("media");
    appliance
        .run(&["content", "import", text(&media), "--tier", "hdd"])
        .done();
    let alone = |number| {
        device(&appliance, number)["objects_alone"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(alone(2) + alone(3), 8);
    let (number, name) = if alone(2) > 0 {
        (2, "hdd0")
    } else {
        (3, "hdd1")
    };
    let path = appliance.path(name);
    appliance
        .run(&["device", "remove", text(&path)])
        .failed(1, "ocactl device evacuate");
    let said = appliance.run(&["device", "evacuate", text(&path)]).done();
    assert!(said.out.contains("nothing lies on"), "{said:?}");
    let listed = device(&appliance, number);
    assert_eq!(
        (&listed["state"], &listed["objects"]),
        (&"evacuating".into(), &0.into())
    );
    assert!(
        listed["cause"].as_str().unwrap().contains("may be pulled"),
        "{listed}"
    );
    appliance.run(&["device", "remove", text(&path)]).done();
    std::fs::remove_dir_all(&path).unwrap();
    appliance.run(&["content", "verify"]).done();
}
