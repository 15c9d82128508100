//! The clients that people have: curl, aria2c, ffmpeg, against the real daemon on each backend. One that is missing fails its test.
//! Browser players: `scripts/players.sh`.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use support::{BACKENDS, Plan, Site, assert_same, content};

const MIB: usize = 1 << 20;

fn each_backend(test: impl Fn(&Plan<'_>)) {
    for backend in BACKENDS {
        test(&Plan {
            backend,
            ..Plan::default()
        });
    }
}

/// What the program prints; it must end well and complain of nothing.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("timeout")
        .args(["-k", "5", "120", program])
        .args(arguments)
        .output()
        .expect("timeout of coreutils");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program} {}: {}: {complaints}\n(scripts/setup.sh installs what is missing)",
        arguments.join(" "),
        output.status
    );
    output.stdout
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn curl_gets_a_range() {
    each_backend(|plan| {
        let site = Site::new(plan);
        let bytes = content(1, 7 * MIB + 12_345);
        site.publish("/title.mp4", &bytes);
        let daemon = site.start();
        let url = url(daemon.http, "/title.mp4");
        let get = |range| run("curl", &["-fsS", "-r", range, &url]);
        assert_same(
            &get("1000000-3999999"),
            &bytes[1_000_000..4_000_000],
            plan.backend,
        );
        assert_same(
            &get("-100000"),
            &bytes[bytes.len() - 100_000..],
            plan.backend,
        );
        assert_same(&get("5000000-"), &bytes[5_000_000..], plan.backend);
    });
}

#[test]
fn curl_resumes_what_was_cut() {
    each_backend(|plan| {
        let site = Site::new(plan);
        let bytes = content(2, 7 * MIB + 12_345);
        site.publish("/title.mp4", &bytes);
        let daemon = site.start();
        let file = site.path("title.mp4");
        fs::write(&file, &bytes[..3_333_333]).expect("the first part");
        let url = url(daemon.http, "/title.mp4");
        run("curl", &["-fsS", "-C", "-", "-o", text(&file), &url]);
        assert_same(&fs::read(&file).expect("the whole"), &bytes, plan.backend);
    });
}

#[test]
fn aria2_downloads_on_16_connections() {
    each_backend(|plan| {
        let site = Site::new(plan);
        let bytes = content(3, 16 * MIB);
        site.publish("/title.mp4", &bytes);
        let daemon = site.start();
        let folder = site.path("downloads");
        // Slow enough that the last connection is opened before the first one is done.
        run(
            "aria2c",
            &[
                "--no-conf",
                "--quiet",
                "--file-allocation=none",
                "--max-connection-per-server=16",
                "--split=16",
                "--min-split-size=1M",
                "--max-download-limit=8M",
                "--dir",
                text(&folder),
                &url(daemon.http, "/title.mp4"),
            ],
        );
        let got = fs::read(folder.join("title.mp4")).expect("the download");
        assert_same(&got, &bytes, plan.backend);
        let connections = daemon.metric("oca_accepted_connections_total", "");
        assert!(connections >= 16.0, "{connections} connections");
    });
}

#[test]
fn ffmpeg_decodes_every_frame_of_hls_and_dash() {
    let folder = tempfile::tempdir().expect("a folder");
    encode(folder.path());
    let streams = |file: &str| text(&folder.path().join(file)).to_owned();
    let pictures = frames(&streams("title-stream0.mp4"), "v");
    let sounds = frames(&streams("title-stream1.mp4"), "a");
    assert_eq!(pictures.lines().count(), 25 * SECONDS);
    each_backend(|plan| {
        let site = Site::new(plan);
        for file in fs::read_dir(folder.path()).expect("the title") {
            let file = file.expect("an entry");
            let path = format!("/title/{}", file.file_name().display());
            site.publish(&path, &fs::read(file.path()).expect("a file"));
        }
        let daemon = site.start();
        for playlist in ["/title/master.m3u8", "/title/title.mpd"] {
            let url = url(daemon.http, playlist);
            assert!(frames(&url, "v") == pictures, "pictures of {url}");
            assert!(frames(&url, "a") == sounds, "sounds of {url}");
        }
    });
}

const SECONDS: usize = 6;

/// A moving picture and a tone, as HLS and DASH that name byte ranges of the same two files.
fn encode(folder: &Path) {
    let picture = format!("testsrc2=size=320x180:rate=25:duration={SECONDS}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={SECONDS}");
    let manifest = folder.join("title.mpd");
    let input = ["-nostdin", "-v", "error", "-f", "lavfi", "-i"];
    let codecs = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "50",
        "-c:a",
        "aac",
    ];
    let format = [
        "-f",
        "dash",
        "-single_file",
        "1",
        "-hls_playlist",
        "1",
        "-seg_duration",
        "2",
    ];
    let arguments = [
        &input[..],
        &[&picture, "-f", "lavfi", "-i", &tone],
        &codecs,
        &format,
        &[text(&manifest)],
    ];
    run("ffmpeg", &arguments.concat());
    // ffmpeg 5.1 skips the first segment for it, though it says nothing in a list of segments.
    let written = fs::read_to_string(&manifest).expect("a manifest");
    fs::write(&manifest, written.replace(" startNumber=\"1\"", "")).expect("a manifest");
}

/// A line with length and hash for each picture (`v`) or piece of sound (`a`) that is decoded; times are left out.
fn frames(url: &str, stream: &str) -> String {
    let input = ["-nostdin", "-v", "error", "-xerror", "-i", url];
    let output = [
        "-map",
        &format!("0:{stream}"),
        "-f",
        "framehash",
        "-hash",
        "murmur3",
        "-",
    ];
    let said = run("ffmpeg", &[&input[..], &output].concat());
    let said = String::from_utf8(said).expect("text");
    let lines = said.lines().filter(|line| !line.starts_with('#'));
    let without_times = lines.map(|line| line.splitn(5, ',').nth(4).expect("five fields"));
    without_times.map(|line| format!("{line}\n")).collect()
}
