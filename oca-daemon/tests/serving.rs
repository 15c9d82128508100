//! What viewers get, from the real daemon, on each backend.

mod support;

use support::http::Client;
use support::{BACKENDS, Plan, Site, assert_same, content, eventually};

fn each_backend(test: impl Fn(&Plan<'_>)) {
    for backend in BACKENDS {
        test(&Plan {
            backend,
            ..Plan::default()
        });
    }
}

const MIB: usize = 1 << 20;

#[test]
fn every_range_is_the_bytes_of_the_file() {
    each_backend(|plan| {
        let site = Site::new(plan);
        let bytes = content(1, 7 * MIB + 12_345);
        site.publish("/title/video.mp4", &bytes);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).unwrap();
        let size = bytes.len();
        let ranges = [
            (0, 0),
            (0, size - 1),
            (MIB - 1, MIB),
            (65_535, 65_536),
            (3 * MIB + 7, 6 * MIB + 9),
            (size - 1, size - 1),
            (size - 100_000, size - 1),
        ];
        for (first, last) in ranges {
            let response = client
                .get(
                    "/title/video.mp4",
                    &[&format!("Range: bytes={first}-{last}")],
                )
                .unwrap();
            assert_eq!(response.status, 206, "{}", response.head);
            assert_eq!(
                response.field("Content-Range"),
                Some(&*format!("bytes {first}-{last}/{size}"))
            );
            assert_same(
                &response.body,
                &bytes[first..=last],
                &format!("{first}-{last} on {}", plan.backend),
            );
        }
        let whole = client.get("/title/video.mp4", &[]).unwrap();
        assert!(
            whole.status == 200 && whole.body == bytes,
            "the whole differs on {}",
            plan.backend
        );
    });
}

#[test]
fn small_and_empty_objects() {
    each_backend(|plan| {
        let site = Site::new(plan);
        site.publish("/one", b"x");
        site.publish("/empty", b"");
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).unwrap();
        assert_eq!(client.get("/one", &[]).unwrap().body, b"x");
        let empty = client.get("/empty", &[]).unwrap();
        assert_eq!(
            (empty.status, empty.field("Content-Length")),
            (200, Some("0"))
        );
        assert_eq!(
            client.get("/empty", &["Range: bytes=0-"]).unwrap().status,
            416
        );
        assert_eq!(client.get("/one", &[]).unwrap().body, b"x");
    });
}

#[test]
fn what_is_hot_comes_from_memory_and_is_the_same() {
    each_backend(|plan| {
        let site = Site::new(plan);
        let bytes = content(2, 3 * MIB);
        site.publish("/hot", &bytes);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).unwrap();
        eventually("the object is in memory", || {
            let response = client.get("/hot", &[]).unwrap();
            assert_same(&response.body, &bytes, plan.backend);
            (daemon.status().memory.locked >= 3 * MIB as u64).then_some(())
        });
        // A worker counts bytes just after the kernel has taken them, and before it answers what the same viewer asks next.
        client.get("/hot", &["Range: bytes=0-9"]).unwrap();
        let cold = || daemon.metric("oca_sent_bytes_total", "source=\"device\"");
        let before = cold();
        assert!(before > 0.0, "the first requests came from the devices");
        let part = client.get("/hot", &["Range: bytes=1000000-2999999"]);
        assert_same(&part.unwrap().body, &bytes[1_000_000..3_000_000], "a part");
        client.get("/hot", &["Range: bytes=0-9"]).unwrap();
        assert_eq!(cold(), before, "what is in memory is not read again");
    });
}
