//! `catalog check|rebuild` and `content verify`: what is lost or damaged is found, and said.

mod appliance;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use appliance::{Appliance, text};

fn with_content() -> Appliance {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[1; (5 << 20) + 17]);
    appliance.media("b.m3u8", b"#EXTM3U\n");
    appliance.media("empty.vtt", b"");
    appliance.import_media().done();
    appliance
}

#[test]
fn a_lost_state_folder_is_made_anew_from_the_devices() {
    let appliance = with_content();
    let (_, before) = appliance.json(&["content", "ls"]);
    std::fs::remove_dir_all(appliance.path("state")).unwrap();
    appliance
        .run(&["content", "ls"])
        .failed(1, "ocactl catalog rebuild");
    appliance.import_media().failed(1, "ocactl catalog rebuild");

    let (code, rebuilt) = appliance.json(&["catalog", "rebuild"]);
    assert_eq!(
        (code, &rebuilt["objects"], &rebuilt["paths"]),
        (0, &3.into(), &3.into())
    );
    let (_, after) = appliance.json(&["content", "ls"]);
    assert_eq!(before["paths"], after["paths"]);
    appliance.run(&["catalog", "check"]).done();
    let said = appliance.import_media().done();
    assert!(said.out.contains("unchanged 3 files"), "{said:?}");
}

#[test]
fn a_damaged_catalog_is_refused_and_kept_aside() {
    let appliance = with_content();
    let data = appliance.path("state/catalog/data.mdb");
    std::fs::write(&data, vec![0xA5; 16384]).unwrap();
    for command in [
        &["content", "ls"][..],
        &["catalog", "check"],
        &["content", "rm", "/a.mp4"],
    ] {
        appliance.run(command).failed(1, "ocactl catalog rebuild");
    }
    let (code, checked) = appliance.json(&["check"]);
    assert_eq!(code, 1, "{checked}");
    let said = appliance.run(&["catalog", "rebuild"]).done();
    assert!(said.out.contains("catalog.broken-"), "{said:?}");
    assert_eq!(appliance.published().len(), 3);
    let aside = std::fs::read_dir(appliance.path("state"))
        .unwrap()
        .flatten();
    let kept = aside.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("catalog.broken-")
    });
    assert_eq!(kept.count(), 1);
}

/// Whoever believed that nothing lies on a device would pull it.
#[test]
fn without_a_catalog_no_device_is_said_to_hold_nothing() {
    let appliance = with_content();
    let (data, device) = (
        appliance.path("state/catalog/data.mdb"),
        appliance.path("nvme0"),
    );
    let damage = || std::fs::write(&data, vec![0xA5; 16384]).unwrap();
    let lose = || std::fs::remove_dir_all(appliance.path("state/catalog")).unwrap();
    for harm in [&damage as &dyn Fn(), &lose] {
        harm();
        for command in ["remove", "evacuate"] {
            let said = appliance.run(&["device", command, text(&device)]);
            said.failed(1, "nvme0 is not known: ");
        }
        let listed = appliance
            .run(&["device", "ls"])
            .failed(1, "what the devices hold is not known");
        assert!(listed.err.contains("ocactl catalog rebuild"), "{listed:?}");
        assert!(!listed.out.contains("0 B"), "{listed:?}");
        let (_, listed) = appliance.json(&["device", "ls"]);
        assert_eq!(listed["objects"], serde_json::Value::Null);
        assert!(
            listed["devices"][0].get("objects_alone").is_none(),
            "{listed}"
        );
        appliance.run(&["catalog", "rebuild"]).done();
        appliance
            .run(&["device", "remove", text(&device)])
            .failed(1, "ocactl device evacuate");
    }
    assert_eq!(appliance.published().len(), 3);
}

/// Each file of it in turn is lost, emptied, cut in half, zeroes from its middle on, or has one bit changed there.
#[test]
fn after_the_loss_of_a_part_of_the_state_disk_what_is_said_leads_back_to_all_of_it() {
    let appliance = Appliance::in_memory();
    appliance.media("a.mp4", &[1; (5 << 20) + 17]);
    appliance.media("b.m3u8", b"#EXTM3U\n");
    appliance.import_media().done();
    let empty = appliance.path("hdd1");
    appliance.run(&["device", "evacuate", text(&empty)]).done();
    let names = [
        "catalog/data.mdb",
        "catalog/lock.mdb",
        "devices.json",
        "devices.seen.json",
    ];
    let files = names.map(|name| {
        let path = appliance.path("state").join(name);
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    });
    for (path, bytes) in &files {
        let half = bytes.len() / 2;
        let zeroed = [&bytes[..half], &vec![0; bytes.len() - half]].concat();
        let mut flipped = bytes.clone();
        if let Some(byte) = flipped.get_mut(half) {
            *byte ^= 1;
        }
        for left in [
            None,
            Some(&[][..]),
            Some(&bytes[..half]),
            Some(&zeroed),
            Some(&flipped),
        ] {
            match left {
                None => std::fs::remove_file(path).unwrap(),
                Some(left) => std::fs::write(path, left).unwrap(),
            }
            comes_back(&appliance, path);
            std::fs::remove_dir_all(appliance.path("state")).unwrap();
            std::fs::create_dir_all(appliance.path("state/catalog")).unwrap();
            for (path, bytes) in &files {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// A copy of the catalog is put back that knows nothing of what was published since.
#[test]
fn an_older_catalog_is_told_by_what_the_devices_hold() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[1; (5 << 20) + 17]);
    appliance.import_media().done();
    let data = appliance.path("state/catalog/data.mdb");
    let older = std::fs::read(&data).unwrap();
    appliance.media("b.m3u8", b"#EXTM3U\n");
    appliance.media("c.vtt", b"WEBVTT\n");
    appliance.import_media().done();
    appliance.run(&["catalog", "check"]).done();
    std::fs::write(&data, older).unwrap();

    let said = appliance.run(&["catalog", "check"]);
    assert!(
        said.code == 1 && said.out.contains("the catalog does not know"),
        "{said:?}"
    );
    assert!(said.out.contains("ocactl catalog rebuild"), "{said:?}");
    appliance.run(&["catalog", "rebuild"]).done();
    assert_eq!(appliance.published(), ["/a.mp4", "/b.m3u8", "/c.vtt"]);
    appliance.run(&["catalog", "check"]).done();
    let said = appliance.import_media().done();
    assert!(said.out.contains("unchanged 3 files"), "{said:?}");
}

/// By doing what is said, if anything is.
fn comes_back(appliance: &Appliance, harmed: &std::path::Path) {
    let said = appliance.import_media();
    if said.code != 0 {
        if said.err.contains("devices.") {
            assert!(said.err.contains("remove it"), "{said:?}");
            std::fs::remove_file(harmed).expect("it is there");
        } else {
            assert!(said.err.contains("ocactl catalog rebuild"), "{said:?}");
        }
        appliance.run(&["catalog", "rebuild"]).done();
    }
    assert_eq!(appliance.published(), ["/a.mp4", "/b.m3u8"], "{said:?}");
    appliance.run(&["catalog", "check"]).done();
    appliance.run(&["content", "verify"]).done();
}

#[test]
fn a_rebuild_without_a_device_says_what_is_missing() {
    let appliance = with_content();
    std::fs::rename(appliance.path("nvme1"), appliance.path("gone")).unwrap();
    let said = appliance.run(&["catalog", "rebuild"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("/a.mp4: not published"), "{said:?}");
    assert!(
        said.out.contains("nvme1") && said.out.contains("rebuild again"),
        "{said:?}"
    );

    std::fs::rename(appliance.path("gone"), appliance.path("nvme1")).unwrap();
    appliance.run(&["catalog", "rebuild"]).done();
    assert_eq!(appliance.published().len(), 3);
}

#[test]
fn a_rebuild_without_what_was_removed_for_good_is_whole() {
    let appliance = with_content();
    let (nvme1, pulled) = (appliance.path("nvme1"), appliance.path("pulled"));
    let rebuild = || appliance.run(&["catalog", "rebuild"]);
    let remove = ["device", "remove", text(&nvme1), "--force"];
    appliance.run(&remove).done();
    let said = rebuild().done().out;
    assert!(said.contains("\n/a.mp4: not published"), "{said}");
    assert!(!said.contains('!') && !said.contains("again"), "{said}");
    std::fs::rename(&nvme1, &pulled).unwrap();
    rebuild().done();

    // What took its place is missed.
    std::fs::create_dir(&nvme1).unwrap();
    appliance.run(&["device", "add", text(&nvme1)]).done();
    appliance.import_media().done();
    rebuild().done();
    std::fs::rename(&nvme1, appliance.path("gone")).unwrap();
    let said = rebuild();
    assert!(
        said.code == 1 && said.out.contains("rebuild again"),
        "{said:?}"
    );

    // Unless it is not configured any more.
    let other = format!(", \"{}\"", nvme1.display());
    appliance.configure(|plain| plain.replace(&other, ""));
    let said = rebuild().done().out;
    assert!(said.contains("\n/a.mp4: not published"), "{said}");
}

#[test]
fn every_byte_is_verified_and_a_flipped_one_found() {
    let appliance = with_content();
    let said = appliance.run(&["content", "verify"]).done();
    assert!(
        said.out
            .contains("read 3 objects, 5.00 MiB: every byte is right"),
        "{said:?}"
    );
    appliance
        .run(&["content", "verify", "/nope"])
        .failed(1, "nothing is published at or below /nope");

    let columns = appliance.columns();
    let long = columns
        .iter()
        .find(|path| path.metadata().unwrap().len() > 2 << 20)
        .unwrap();
    let file = OpenOptions::new()
        .write(true)
        .read(true)
        .open(long)
        .unwrap();
    let at = (1 << 20) + 70_000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();

    let said = appliance.run(&["content", "verify"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out
            .contains(&format!("{}: 1 block of 64 KiB wrong", text(long))),
        "{said:?}"
    );
    assert!(
        said.out
            .contains(&format!("the first at byte {}", (1 << 20) + 65_536)),
        "{said:?}"
    );
    let (_, json) = appliance.json(&["content", "verify", "/a.mp4"]);
    assert_eq!(
        json["damaged"][0]["bad_groups"].as_array().unwrap().len(),
        1
    );
    appliance.run(&["content", "verify", "/b.m3u8"]).done();
}

#[test]
fn a_column_that_is_cut_short_is_found() {
    let appliance = with_content();
    let columns = appliance.columns();
    let long = columns
        .iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    OpenOptions::new()
        .write(true)
        .open(long)
        .unwrap()
        .set_len(4096)
        .unwrap();
    let said = appliance.run(&["catalog", "check"]);
    assert!(
        said.code == 1 && said.out.contains("missing or cut short"),
        "{said:?}"
    );
    assert_eq!(appliance.run(&["content", "verify"]).code, 1);
    // The file is still at hand: an import writes what is missing.
    let (code, report) = appliance.json(&["content", "import", text(&appliance.path("media"))]);
    assert_eq!(
        (code, &report["published"], &report["unchanged"]),
        (0, &1.into(), &2.into())
    );
    appliance.run(&["content", "verify"]).done();
}
