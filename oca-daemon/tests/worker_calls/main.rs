//! What the workers ask of the kernel while they serve, as `strace` sees it; and that serving allocates nothing.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod allocations;
mod audience;
#[path = "../support/mod.rs"]
mod support;
mod trace;

use allocations::{Allocations, accepted, settled_allocations};
use audience::{Audience, CONNECTIONS, Over};
use support::http::Client;
use support::{BACKENDS, assert_same, eventually};
use trace::{Call, PACING, Trace, assert_allowed, bytes_by, parse};

const RANGE_BYTES: usize = 300_000;
/// Requests under trace, over all connections.
const TRACED: usize = 400;
const TRACED_BYTES: u64 = (TRACED * RANGE_BYTES) as u64;
/// A head is smaller; a body is not.
const LONGEST_HEAD: u64 = 2048;

#[test]
fn hot_ranges_are_sent_from_files_and_nothing_else_is_asked() {
    for backend in BACKENDS {
        let mut audience = Audience::new(backend, "64 MiB");
        audience.warm();
        audience.ask(2, RANGE_BYTES);
        settled_allocations(&audience.daemon);
        let (hot, cold) = (audience.sent("memory"), audience.sent("device"));
        let trace = Trace::attach(&audience.site, &audience.daemon);
        audience.ask(TRACED / CONNECTIONS, RANGE_BYTES);
        let calls = trace.calls();
        audience.await_sent("memory", hot);
        assert_eq!(audience.sent("device"), cold, "the load was hot");
        assert_allowed(&calls);
        assert_eq!(
            bytes_by(&calls, "sendfile"),
            TRACED_BYTES,
            "bodies leave by sendfile"
        );
        let large = |call: &&Call| call.name == "sendto" && call.result > LONGEST_HEAD as i64;
        assert!(calls.iter().find(large).is_none(), "a body was copied");
        let heads = calls.iter().filter(|call| call.name == "sendto").count();
        assert!(heads >= TRACED, "every head was seen: {heads}");
    }
}

#[test]
fn cold_ranges_are_sent_from_buffers_and_no_file_is_touched() {
    for backend in BACKENDS {
        let mut audience = Audience::new(backend, "0 B");
        audience.ask(2, RANGE_BYTES);
        settled_allocations(&audience.daemon);
        let cold = audience.sent("device");
        let trace = Trace::attach(&audience.site, &audience.daemon);
        audience.ask(TRACED / CONNECTIONS, RANGE_BYTES);
        let calls = trace.calls();
        audience.await_sent("device", cold);
        assert_eq!(audience.sent("memory"), 0.0, "the load was cold");
        assert_allowed(&calls);
        assert_eq!(bytes_by(&calls, "sendfile"), 0);
        assert!(bytes_by(&calls, "sendto") >= TRACED_BYTES);
    }
}

/// Over TLS all leave by `send`, 64 KiB at a time, wherever they come from; and nothing is asked that is not asked in clear.
#[test]
fn sealed_ranges_are_sent_in_few_calls_and_nothing_else_is_asked() {
    const SENDS: usize = 1 + RANGE_BYTES / (64 * 1024);
    // Of 400 requests one or two allocate, and the heap of a thread grows for it by a page at most.
    const FEW: usize = 4;
    for backend in BACKENDS {
        for (memory, source) in [("64 MiB", "memory"), ("0 B", "device")] {
            let mut audience = Audience::over_tls(backend, memory);
            if source == "memory" {
                audience.warm();
            }
            // A worker under trace is slow: sockets are full in other places.
            let trace = Trace::attach(&audience.site, &audience.daemon);
            audience.ask(20, RANGE_BYTES);
            trace.calls();
            let allocations = Allocations::from_now_on(&audience.daemon);
            let sent = audience.sent(source);
            let trace = Trace::attach(&audience.site, &audience.daemon);
            audience.ask(TRACED / CONNECTIONS, RANGE_BYTES);
            let calls = trace.calls();
            audience.await_sent(source, sent);
            let (grows, calls): (Vec<_>, Vec<_>) =
                calls.into_iter().partition(|call| call.name == "mprotect");
            assert!(grows.len() <= FEW, "{grows:?}");
            assert_allowed(&calls);
            assert_eq!(bytes_by(&calls, "sendfile"), 0);
            assert!(bytes_by(&calls, "sendto") >= TRACED_BYTES);
            if source == "memory" {
                let sends = calls.iter().filter(|call| call.name == "sendto").count();
                assert!(sends <= 2 * SENDS * TRACED, "{sends} calls");
            }
            let allocated = allocations.until_now(&audience.daemon);
            assert!(
                allocated <= FEW as f64,
                "{allocated} on {backend} from {source}"
            );
        }
    }
}

/// Logged, and with a rate that the player asks for: one call when a viewer comes, one when the rate changes, and nothing is allocated.
#[test]
fn a_line_of_the_log_costs_no_call_and_a_rate_one_when_it_changes() {
    const MORE: &str = "[serve]\npacing = { cmcd = true }\n[log]\naccess = { path = \"LOG\", sample = \"100 %\" }\n";
    for backend in BACKENDS {
        let mut audience = Audience::configured(backend, "64 MiB", MORE, Over::Clear);
        audience.warm();
        audience.ask(200, 16_000);
        let allocations = Allocations::from_now_on(&audience.daemon);
        let trace = Trace::attach(&audience.site, &audience.daemon);
        for says in ["CMCD-Status: rtp=9000000", "CMCD-Status: rtp=8000000"] {
            audience.says = says;
            audience.ask(TRACED / CONNECTIONS, 16_000);
        }
        let lines = || audience.daemon.metric("oca_access_log_lines_total", "");
        let before = lines();
        let mut newcomer = Client::connect(audience.daemon.http).unwrap();
        let part = newcomer.get("/film", &["Range: bytes=0-9"]).unwrap();
        assert_same(&part.body, &audience.bytes[..10], "of a newcomer");
        eventually("the last line is written", || {
            (lines() > before).then_some(())
        });
        let calls = trace.calls();
        assert_allowed(&calls);
        let count = |name: &str| calls.iter().filter(|call| call.name == name).count();
        assert_eq!(count(PACING.0), 2 * CONNECTIONS);
        // The self-test may have come by as well.
        let newcomers = accepted(&audience.daemon) - allocations.accepted;
        let asked = count("getpeername") as f64;
        assert!(
            1.0 <= asked && asked <= newcomers,
            "{asked} for {newcomers}"
        );
        assert_eq!(allocations.until_now(&audience.daemon), 0.0, "{backend}");
    }
}

/// An answer with several parts is nothing special: its bytes leave as those of one range do, and nothing is allocated for it once
/// there is a place for it.
#[test]
fn parts_leave_as_a_range_does() {
    const PART_BYTES: usize = 150_000;
    for backend in BACKENDS {
        let mut audience = Audience::new(backend, "64 MiB");
        audience.warm();
        let (daemon, bytes) = (&audience.daemon, &audience.bytes);
        let mut client = Client::connect(daemon.http).unwrap();
        let mut ask = || {
            let field = "Range: bytes=1000000-1149999,3000000-3149999";
            let response = client.get("/film", &[field]).unwrap();
            assert_eq!(response.status, 206);
            let mut rest = &response.body[..];
            for start in [1_000_000, 3_000_000] {
                let head = rest.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                let (part, after) = rest[head..].split_at(PART_BYTES);
                assert_same(part, &bytes[start..start + PART_BYTES], "a part");
                rest = after;
            }
        };
        ask();
        let allocations = Allocations::from_now_on(daemon);
        let trace = Trace::attach(&audience.site, daemon);
        (0..50).for_each(|_| ask());
        let calls = trace.calls();
        assert_allowed(&calls);
        assert_eq!(
            bytes_by(&calls, "sendfile"),
            (50 * 2 * PART_BYTES) as u64,
            "parts leave by sendfile"
        );
        assert_eq!(allocations.until_now(daemon), 0.0, "{backend}");
    }
}

/// The list has to find a file that is opened or read: strace sees calls of the shape that the parser understands.
#[test]
fn the_list_refuses_files() {
    for line in [
        "12 openat(AT_FDCWD</srv>, \"/srv/x\", O_RDONLY) = 5</srv/x>",
        "12 read(5</srv/x>, \"\"..., 4096) = 4096",
        "12 pread64(5</srv/x>, \"\"..., 4096, 0) = 4096",
        "12 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 5</srv/x>, 0) = 0x7f0000000000",
        "12 munmap(0x7f0000000000, 4096) = 0",
        "12 setsockopt(9<TCP:[1]>, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
        "12 newfstatat(5</srv/x>, \"\", {}, AT_EMPTY_PATH) = 0",
        "12 statx(5</srv/x>, \"\",  <unfinished ...>\n13 futex(0x1, FUTEX_WAKE) = 1\n12 <... statx resumed>{}) = 0",
    ] {
        let calls = parse(line);
        assert!(!calls.is_empty(), "{line}");
        let refused = std::panic::catch_unwind(|| assert_allowed(&calls));
        assert!(refused.is_err(), "{line}");
    }
    let eventfd = parse("12 read(5<anon_inode:[eventfd]>, \"\"..., 8) = 8");
    assert_allowed(&eventfd);
}
