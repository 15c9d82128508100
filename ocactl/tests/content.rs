//! `content import|ls|stat|rm` on real folders.

mod appliance;

use std::os::unix::ffi::OsStrExt;

use appliance::{Appliance, text};

#[test]
fn files_are_published_under_their_paths_with_their_types() {
    let appliance = Appliance::new();
    appliance.media("title.mpd", b"<MPD/>");
    appliance.media("v/1080p.mp4", &[1; 5 << 20]);
    appliance.media("empty.m4s", b"");
    let dir = appliance.path("media");
    let (code, report) =
        appliance.json(&["content", "import", text(&dir), "--prefix", "/shows/one/"]);
    assert_eq!(
        (code, &report["published"], &report["bytes"]),
        (0, &3.into(), &((5_u64 << 20) + 6).into())
    );
    let (_, listing) = appliance.json(&["content", "ls", "/shows"]);
    let listed: Vec<(&str, &str, u64)> = listing["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| {
            let text = |key: &str| path[key].as_str().unwrap();
            (
                text("path"),
                text("content_type"),
                path["size"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("/shows/one/empty.m4s", "video/iso.segment", 0),
            ("/shows/one/title.mpd", "application/dash+xml", 6),
            ("/shows/one/v/1080p.mp4", "video/mp4", 5 << 20),
        ]
    );
    let (_, stat) = appliance.json(&["content", "stat", "/shows/one/v/1080p.mp4"]);
    assert_eq!(stat["cache_control"], "public, max-age=31536000, immutable");
    assert_eq!(stat["copies"][0]["tier"], "nvme");
    assert_eq!(stat["copies"][0]["columns"].as_array().unwrap().len(), 2);
    assert_eq!(stat["copies"][0]["columns"][0]["present"], true);
    appliance.run(&["catalog", "check"]).done();
}

#[test]
fn what_is_published_is_not_written_again_and_what_changed_is() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[1; 1000]);
    let playlist = appliance.media("a.m3u8", b"one");
    appliance.import_media().done();
    let said = appliance.import_media().done();
    assert!(
        said.out.contains("published 0 files") && said.out.contains("unchanged 2 files"),
        "{said:?}"
    );

    std::fs::write(playlist, b"two").unwrap();
    let (code, report) = appliance.json(&["content", "import", text(&appliance.path("media"))]);
    assert_eq!(
        (code, &report["published"], &report["unchanged"]),
        (0, &1.into(), &1.into())
    );
    // The old playlist is deleted, as no daemon runs that could use it.
    assert_eq!(appliance.columns().len(), 2);
}

#[test]
fn equal_files_are_stored_once() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[1; 3 << 20]);
    appliance.media("b.mp4", &[1; 3 << 20]);
    let (_, report) = appliance.json(&[
        "content",
        "import",
        text(&appliance.path("media")),
        "--tier",
        "hdd",
    ]);
    assert_eq!(
        (&report["published"], &report["stored_before"]),
        (&2.into(), &1.into())
    );
    assert_eq!(appliance.columns().len(), 1);
    let (_, stat) = appliance.json(&["content", "stat", "/a.mp4"]);
    assert_eq!(
        (&stat["aliases"][0], &stat["copies"][0]["tier"]),
        (&"/b.mp4".into(), &"hdd".into())
    );
}

#[test]
fn what_cannot_be_published_is_said_skipped_and_counted() {
    let appliance = Appliance::new();
    appliance.media("good.mp4", b"good");
    appliance.media(".part", b"half");
    let media = appliance.path("media");
    std::os::unix::fs::symlink("good.mp4", media.join("link.mp4")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", media.join("dangling.mp4")).unwrap();
    std::fs::write(
        media.join(std::ffi::OsStr::from_bytes(b"\xff.mp4")),
        b"name",
    )
    .unwrap();
    std::fs::write(media.join("line\nbreak.mp4"), b"name").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(media.join("socket")).unwrap();

    let said = appliance.import_media();
    for words in [
        "link.mp4: is a symbolic link",
        "dangling.mp4: is a symbolic link",
        ".mp4: its name is not UTF-8",
        "no control character",
        "socket: is not a file",
    ] {
        assert!(said.err.contains(words), "{words:?} is not in {said:?}");
    }
    assert_eq!(said.code, 1);
    assert!(said.out.contains("skipped   5 files"), "{said:?}");
    assert!(said.out.contains("left out  1 name with a dot"), "{said:?}");
    assert_eq!(appliance.published(), ["/good.mp4"]);
}

/// Linux has a file that gives EIO to everybody, and one that is never the same twice and longer than it says.
#[test]
fn a_file_that_fails_or_changes_is_skipped_and_the_others_are_published() {
    let appliance = Appliance::new();
    appliance.media("good.mp4", b"good");
    appliance.import_media().done();
    for (file, reason) in [
        ("/proc/self/mem", "mem: cannot be read: Input/output error"),
        ("/proc/uptime", "uptime: has changed while it was read"),
    ] {
        if std::path::Path::new(file).exists() {
            let said = appliance
                .run(&["content", "import", file])
                .failed(1, reason);
            assert!(said.out.contains("published 0 files"), "{said:?}");
        }
    }
    assert_eq!(appliance.published(), ["/good.mp4"]);
}

#[test]
fn wrong_words_publish_nothing() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    let dir = appliance.path("media");
    appliance
        .run(&["content", "import", text(&dir), "--tier", "tape"])
        .failed(2, "allowed: nvme, hdd");
    appliance
        .run(&["content", "import", text(&dir), "--prefix", "/a/../b"])
        .failed(2, "--prefix");
    appliance
        .run(&["content", "import", "/nonexistent/dir"])
        .failed(1, "/nonexistent/dir: cannot import");
    appliance
        .run(&["content", "ls"])
        .failed(1, "there is no catalog");
    appliance
        .run(&["content", "stat", "/a.mp4"])
        .failed(1, "there is no catalog");
    assert!(appliance.columns().is_empty());
}

#[test]
fn a_tier_without_devices_is_said_with_each_device() {
    let appliance = Appliance::bare();
    appliance.media("a.mp4", b"a");
    let said = appliance
        .import_media()
        .failed(1, "a.mp4: tier \"nvme\" has no room");
    assert!(said.err.contains("ocactl device add"), "{said:?}");
}

#[test]
fn the_second_writer_is_told_who_writes() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    let lock =
        content_store::catalog::WriterLock::take(&appliance.path("state"), "a test").unwrap();
    let holder = format!("pid {} (a test)", std::process::id());
    appliance.import_media().failed(1, &holder);
    drop(lock);
    appliance.import_media().done();
}

#[test]
fn removed_paths_are_gone_and_their_files_too() {
    let appliance = Appliance::new();
    appliance.media("t/a.mp4", &[1; 100]);
    appliance.media("t/b.mp4", &[2; 100]);
    appliance.media("tea.mp4", &[3; 100]);
    appliance.import_media().done();
    assert_eq!(appliance.columns().len(), 3);

    appliance
        .run(&["content", "rm", "/t/a.mp4", "/nope"])
        .failed(1, "/nope is not published");
    appliance
        .run(&["content", "rm", "/t"])
        .failed(1, "--recursive");
    assert_eq!(appliance.published().len(), 3);

    let (code, removed) = appliance.json(&["content", "rm", "/t/a.mp4"]);
    assert_eq!(
        (code, &removed["objects"], &removed["waiting"]),
        (0, &1.into(), &0.into())
    );
    assert_eq!(appliance.columns().len(), 2);
    appliance
        .run(&["content", "rm", "--recursive", "/t"])
        .done();
    assert_eq!(appliance.published(), ["/tea.mp4"]);
    assert_eq!(appliance.columns().len(), 1);
    appliance.run(&["catalog", "check"]).done();
}

#[test]
fn a_reader_that_goes_early_is_no_error() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    appliance.import_media().done();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin!("ocactl"))
        .arg("--config")
        .arg(appliance.path("oca.toml"))
        .args(["content", "ls"])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_long_list_comes_in_pages_and_in_order() {
    let appliance = Appliance::new();
    for number in 0..7_u8 {
        appliance.media(&format!("{number}.m4s"), &[number; 10]);
    }
    appliance.import_media().done();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = ["content", "ls", "/", "--limit", "3", "--after", &after];
        let (_, listing) = appliance.json(&page);
        let paths = listing["paths"].as_array().unwrap().iter();
        found.extend(paths.map(|path| path["path"].as_str().unwrap().to_owned()));
        let more = listing["more"].as_u64().unwrap();
        assert_eq!(found.len() as u64 + more, 7);
        after = found.last().unwrap().clone();
        if more == 0 {
            break;
        }
    }
    let all: Vec<String> = (0..7).map(|number| format!("/{number}.m4s")).collect();
    assert_eq!(found, all);
    let said = appliance.run(&["content", "ls", "--limit", "6"]).done().out;
    assert!(said.ends_with("1 more path: --after /5.m4s\n"), "{said}");
    let said = appliance
        .run(&["content", "ls", "--after", "/6.m4s"])
        .done()
        .out;
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_bad_column_is_said_to_be_bad() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", &[7; 3 << 20]);
    appliance.import_media().done();
    let stat = |appliance: &Appliance| appliance.json(&["content", "stat", "/a.mp4"]).1;
    assert_eq!(stat(&appliance)["copies"][0]["whole"], true);
    let config = protocol::config::load(&appliance.path("oca.toml")).unwrap();
    let mut store = content_store::Store::open(content_store::StoreConfig {
        state_dir: config.appliance.state_dir.clone(),
        tiers: config
            .tiers
            .iter()
            .map(|tier| content_store::TierConfig {
                name: tier.name.clone(),
                role: content_store::TierRole::Hot,
                stripe_unit: tier.stripe_unit.bytes(),
                read_unit: 256 << 10,
                stripe_width: tier.stripe_width,
                devices: tier.devices.clone(),
            })
            .collect(),
        program: "a test".into(),
    })
    .unwrap();
    let device = stat(&appliance)["copies"][0]["columns"][1]["device"].clone();
    let bad = content_store::BadColumn {
        object: stat(&appliance)["object"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
        device: device.as_str().unwrap().parse().unwrap(),
        seen: store.generation().unwrap(),
    };
    store.quarantine(&[bad]).unwrap().unwrap();
    drop(store);
    let copy = stat(&appliance)["copies"][0].clone();
    assert_eq!(copy["whole"], false);
    let bad = |column: usize| copy["columns"][column]["bad"].clone();
    assert_eq!((bad(0), bad(1)), (false.into(), true.into()));
    let said = appliance.run(&["content", "stat", "/a.mp4"]).done();
    assert!(said.out.contains("BAD, waits for its repair"), "{said:?}");
}
