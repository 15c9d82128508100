//! `device add`, `device ls`, `device evacuate`, `device replace`, `check`.

mod appliance;

use std::os::unix::fs::MetadataExt;

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

#[test]
fn what_has_no_other_place_is_said_and_is_no_success() {
    let appliance = Appliance::new();
    appliance.media("striped.mp4", &[7; 3 << 20]);
    let media = appliance.path("media");
    appliance
        .run(&["content", "import", text(&media), "--tier", "nvme"])
        .done();
    let path = appliance.path("nvme0");
    let said = appliance
        .run(&["device", "evacuate", text(&path)])
        .failed(1, "has no room");
    assert!(said.out.contains("its tier has no other place"), "{said:?}");
}

const OBJECTS: u8 = 32;

/// Objects that lie each on one of the two devices of this tier: some on both, but once in 2^31.
fn with_objects() -> Appliance {
    let appliance = Appliance::new();
    for number in 0..OBJECTS {
        appliance.media(&format!("{number}.mp4"), &[number; 1 << 12]);
    }
    import(&appliance);
    appliance
}

fn import(appliance: &Appliance) {
    let media = appliance.path("media");
    appliance
        .run(&["content", "import", text(&media), "--tier", "hdd"])
        .done();
}

/// Takes the disk in this place out.
fn pull(appliance: &Appliance, name: &str) {
    std::fs::rename(appliance.path(name), appliance.path("pulled")).expect("the folder is there");
}

fn condition(appliance: &Appliance, number: usize) -> (String, String) {
    let listed = device(appliance, number);
    let word = |key: &str| listed[key].as_str().expect("a text").to_owned();
    (word("state"), word("cause"))
}

/// Objects that a device touches, those that it alone holds, and the bytes of each.
fn blast(appliance: &Appliance, number: usize) -> [u64; 4] {
    let listed = device(appliance, number);
    ["objects", "objects_alone", "bytes", "bytes_alone"]
        .map(|key| listed[key].as_u64().expect("a number"))
}

/// What a device of [`with_objects`] touches, by what lies on it: all of it lies there alone.
fn lies_on(appliance: &Appliance, name: &str) -> [u64; 4] {
    let root = appliance.path(name);
    let columns = appliance.columns().into_iter();
    let here: Vec<_> = columns.filter(|column| column.starts_with(&root)).collect();
    let lengths = here
        .iter()
        .map(|column| column.metadata().expect("a column"));
    let (objects, bytes) = (here.len() as u64, lengths.map(|column| column.len()).sum());
    assert!(objects > 0 && objects < u64::from(OBJECTS));
    [objects, objects, bytes, bytes]
}

#[test]
fn a_new_device_takes_the_place_of_one_that_died() {
    let appliance = with_objects();
    let path = appliance.path("hdd0");
    let old = device(&appliance, 2);
    let touched = lies_on(&appliance, "hdd0");
    let lost = touched[1];
    appliance
        .run(&["device", "replace", text(&path)])
        .failed(1, "must be empty (mkfs)");
    pull(&appliance, "hdd0");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(condition(&appliance, 2).0, "missing");
    assert_eq!(device(&appliance, 2)["id"], old["id"]);
    assert_eq!(blast(&appliance, 2), touched);
    let (code, said) = appliance.json(&["device", "replace", text(&path), "--shared-fs"]);
    assert_eq!(
        (code, &said["done"], &said["objects_alone"]),
        (0, &"replaced".into(), &lost.into())
    );
    let new = device(&appliance, 2);
    assert_eq!((&new["state"], &new["objects"]), (&"ok".into(), &0.into()));
    assert!(new["id"] == said["id"] && new["id"] != old["id"]);
    // What was on the old one comes again, and nothing of it is used any more.
    import(&appliance);
    appliance.run(&["content", "verify"]).done();
    assert_eq!(appliance.published().len(), usize::from(OBJECTS));
    std::fs::rename(&path, appliance.path("new")).unwrap();
    std::fs::rename(appliance.path("pulled"), &path).unwrap();
    let (state, cause) = condition(&appliance, 2);
    assert_eq!(state, "offline");
    assert!(cause.contains("removed for good"), "{cause}");
}

#[test]
fn an_empty_device_in_the_place_of_another_one_is_not_used_until_it_is_to_replace_it() {
    let appliance = with_objects();
    let path = appliance.path("hdd0");
    let touched = lies_on(&appliance, "hdd0");
    pull(&appliance, "hdd0");
    std::fs::create_dir(&path).unwrap();
    let add = ["device", "add", text(&path), "--shared-fs"];
    appliance.run(&add).done();
    let (state, cause) = condition(&appliance, 2);
    assert_eq!(state, "empty");
    assert!(cause.contains("ocactl device replace"), "{cause}");
    assert_eq!(blast(&appliance, 2), touched);
    // A writer does not use it either.
    appliance.media("more.mp4", b"more");
    import(&appliance);
    assert_eq!(condition(&appliance, 2).0, "empty");
    assert!(!path.join("objects").read_dir().unwrap().any(|_| true));
    let said = appliance.run(&["device", "replace", text(&path)]).done();
    assert!(said.out.contains("are lost"), "{said:?}");
    assert_eq!(condition(&appliance, 2).0, "ok");
}

/// The disk of hdd0 was put where hdd1 was, which is gone, and one of another appliance where it had been itself.
#[test]
fn a_device_that_is_elsewhere_is_not_removed_with_its_former_place() {
    let (ours, other) = (with_objects(), with_objects());
    let [one, two] = ["hdd0", "hdd1"].map(|name| ours.path(name));
    pull(&ours, "hdd1");
    std::fs::rename(&one, &two).unwrap();
    std::fs::rename(other.path("hdd0"), &one).unwrap();
    assert_eq!(condition(&ours, 2).0, "swapped");
    let said = ours.run(&["catalog", "check"]).out;
    assert!(!said.contains("does not know"), "{said}");
    let remove = ["device", "remove", text(&one), "--force"];
    ours.run(&remove).done();
    assert_eq!(condition(&ours, 3).0, "ok");
}

#[test]
fn a_device_of_another_appliance_is_said_to_be_swapped_and_not_touched() {
    let (ours, other) = (with_objects(), with_objects());
    let path = ours.path("hdd0");
    let touched = lies_on(&ours, "hdd0");
    pull(&ours, "hdd0");
    std::fs::rename(other.path("hdd0"), &path).unwrap();
    let (state, cause) = condition(&ours, 2);
    assert_eq!(state, "swapped");
    assert!(cause.contains("mount the right one"), "{cause}");
    // Of ours, not of what lies on the other one.
    assert_eq!(blast(&ours, 2), touched);
    ours.run(&["device", "replace", text(&path)])
        .failed(1, "must be empty (mkfs)");
    let before = ours.columns();
    // This alone: what cannot be read would come again with the rest.
    let more = ours.media("more.mp4", b"more");
    ours.run(&["content", "import", text(&more), "--tier", "hdd"])
        .done();
    let here = |columns: Vec<std::path::PathBuf>| -> Vec<_> {
        let on_it = columns.into_iter();
        on_it.filter(|column| column.starts_with(&path)).collect()
    };
    assert_eq!(here(ours.columns()), here(before));
    // The right one is back, and compared, since somebody wrote meanwhile.
    std::fs::rename(&path, other.path("hdd0")).unwrap();
    std::fs::rename(ours.path("pulled"), &path).unwrap();
    assert_eq!(condition(&ours, 2).0, "returned");
    assert_eq!(blast(&ours, 2), touched);
    ours.run(&["device", "online", text(&path)]).done();
    assert_eq!(condition(&ours, 2).0, "ok");
    ours.run(&["content", "verify"]).done();
}

/// What a device holds is told whatever keeps it from being read: it does not answer, or its identity cannot be read.
#[test]
fn a_failed_device_is_listed_with_what_it_touches_and_what_has_no_other_copy() {
    let appliance = with_objects();
    let touched = lies_on(&appliance, "hdd0");
    let identity = appliance.path("hdd0/oca-device.toml");
    let kept = appliance.path("kept");
    std::fs::rename(&identity, &kept).expect("it is there");
    let made = std::process::Command::new("mkfifo").arg(&identity).status();
    assert!(made.expect("mkfifo is installed").success());
    assert_eq!(condition(&appliance, 2).0, "failed");
    assert_eq!(blast(&appliance, 2), touched);
    std::fs::remove_file(&identity).expect("the pipe is there");
    std::fs::write(&identity, "format = 1\nid = \"spoilt").expect("the folder is writable");
    let (state, cause) = condition(&appliance, 2);
    assert_eq!(state, "failed");
    assert!(cause.contains("oca-device.toml"), "{cause}");
    assert_eq!(blast(&appliance, 2), touched);
    // The words of the table, which most people read.
    let table = appliance.run(&["device", "ls"]).out;
    let share = format!("{} %", (touched[0] * 100).div_ceil(u64::from(OBJECTS)));
    let row = table.lines().find(|line| line.contains("/hdd0"));
    assert!(row.is_some_and(|row| row.contains(&share)), "{table}");
    std::fs::rename(&kept, &identity).expect("it was kept");
    assert_eq!(condition(&appliance, 2).0, "ok");
}

/// In a namespace of mounts of its own, so that nothing stays mounted.
#[test]
fn a_full_and_a_read_only_device_are_said_to_be_so_with_what_they_touch() {
    let appliance = Appliance::new();
    for name in ["hdd0", "hdd1"] {
        std::fs::remove_file(appliance.path(name).join("oca-device.toml")).unwrap();
    }
    for number in 0..OBJECTS {
        appliance.media(&format!("{number}.mp4"), &[number; 1 << 12]);
    }
    let script = r#"
        ocactl=$1 folder=$2
        run() { "$ocactl" --config "$folder/oca.toml" "$@"; }
        for device in hdd0 hdd1; do
            mount -t tmpfs -o size=40m tmpfs "$folder/$device"
            run device add "$folder/$device" >&2
        done
        run content import "$folder/media" --tier hdd >&2
        head -c 39m /dev/zero >"$folder/hdd0/staging/foreign" || true
        run device ls --json || true
        mount -o remount,ro "$folder/hdd0"
        run device ls --json || true
    "#;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = if is_root {
        None
    } else {
        Some("--map-root-user")
    };
    let output = std::process::Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-ec", script, "sh"])
        .arg(assert_cmd::cargo::cargo_bin!("ocactl"))
        .arg(appliance.path(""))
        .output()
        .expect("unshare is installed");
    let said = appliance::Said::of(&output).done();
    let mut documents = serde_json::Deserializer::from_str(&said.out).into_iter();
    for state in ["full", "read-only"] {
        let listed: serde_json::Value = documents.next().expect("a document").expect("JSON");
        let device = &listed["devices"][2];
        assert_eq!(device["state"], state, "{listed}");
        let cause = device["cause"].as_str().expect("a text");
        assert!(
            cause.contains("bytes are left") || cause.contains("read-only"),
            "{cause}"
        );
        let alone = device["objects_alone"].as_u64().expect("a number");
        assert!(alone > 0 && alone < u64::from(OBJECTS), "{listed}");
    }
}
