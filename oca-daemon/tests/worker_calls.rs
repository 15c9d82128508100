//! What the workers ask of the kernel while they serve, as `strace` sees it; and that serving allocates nothing.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use support::http::Client;
use support::tls::{self, Authority};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const OBJECT_BYTES: usize = 4 * MIB;
const RANGE_BYTES: usize = 300_000;
const CONNECTIONS: usize = 4;
/// Requests under trace, over all connections.
const TRACED: usize = 400;
/// A head is smaller; a body is not.
const LONGEST_HEAD: u64 = 2048;

/// Sockets, waiting for them, waking and being woken: all that a worker may ask of the kernel.
const ALLOWED: [&str; 15] = [
    "accept4",
    "clock_gettime",
    "close",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "futex",
    // Once for a new connection: neither accept4 nor the ring told who it is.
    "getpeername",
    "io_uring_enter",
    "recvfrom",
    "sched_yield",
    "sendfile",
    "sendto",
    "shutdown",
];

/// What a connection over TLS may allocate that comes, says nothing and goes.
const NEWCOMER_ALLOCATIONS: f64 = 8.0;

/// When the rate of a connection changes, and for nothing else.
const PACING: (&str, &str) = ("setsockopt", "SO_MAX_PACING_RATE");

/// A few times, however many requests there are. A debug build looks at a descriptor before it closes it: that of the self-test, which
/// comes by every ten seconds. Where a worker counts as stuck, as on a busy machine, another one takes its listening sockets. And whose send
/// buffer is full for the eighth time, sixteenth, thirty-second.. is asked how long its path is.
const SELDOM: [(&str, &str); 6] = [
    ("fcntl", "F_GETFD"),
    ("fcntl", "F_GETFL"),
    ("fcntl", "F_DUPFD_CLOEXEC"),
    ("ioctl", "FIONBIO"),
    ("getsockopt", "SO_SNDBUF"),
    ("getsockopt", "TCP_INFO"),
];
const SELDOM_CALLS: usize = 64;

/// Allowed on an eventfd, which is how a worker is woken.
const ON_EVENTFD: [&str; 2] = ["read", "write"];

/// One call: name, arguments, result.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
    result: i64,
}

/// `strace` on the worker threads of a daemon, and on no other.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    fn attach(site: &Site, daemon: &Daemon) -> Self {
        let file = site.path("calls");
        let workers = workers(daemon);
        assert_eq!(workers.len(), 2, "the daemon has its workers");
        let mut strace = Command::new("strace")
            .args(["-y", "-s", "0", "-o"])
            .arg(&file)
            .args(workers.iter().flat_map(|tid| ["-p", tid]))
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        for _ in &workers {
            let line = said.next().expect("strace attaches").unwrap();
            assert!(line.contains("attached"), "strace says: {line}");
        }
        // The rest of what it says must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        Self { strace, file }
    }

    fn calls(mut self) -> Vec<Call> {
        let pid = self.strace.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(sent.unwrap().success());
        self.strace.wait().unwrap();
        let text = fs::read_to_string(&self.file).unwrap();
        parse(&text)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn workers(daemon: &Daemon) -> Vec<String> {
    let tasks = PathBuf::from(format!("/proc/{}/task", daemon.child.id()));
    let named = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("oca-worker-"))
    };
    let tasks = fs::read_dir(tasks)
        .unwrap()
        .map(|task| task.unwrap().path());
    let tid = |task: PathBuf| task.file_name().unwrap().to_str().unwrap().to_owned();
    tasks.filter(named).map(tid).collect()
}

/// Joins what strace writes in two parts when two threads are in a call at once.
fn parse(text: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (tid, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(tid, first);
        } else if let Some(second) = rest.strip_prefix("<... ") {
            let (_, second) = second.split_once("resumed>").unwrap();
            calls.extend(call(&format!(
                "{}{second}",
                begun.remove(tid).unwrap_or("unknown(")
            )));
        } else {
            calls.extend(call(rest));
        }
    }
    // What was under way when strace let go counts as well, but for its result.
    calls.extend(
        begun
            .values()
            .filter_map(|first| call(&format!("{first}) = 0"))),
    );
    calls
}

fn call(text: &str) -> Option<Call> {
    if text.starts_with(['+', '-']) {
        return None; // a signal or an end
    }
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result = result.split(' ').next()?.parse().unwrap_or(0);
    Some(Call {
        name: name.to_owned(),
        arguments: arguments.trim_end().trim_end_matches(')').to_owned(),
        result,
    })
}

fn is_seldom(call: &Call) -> bool {
    let is = |(name, what): &(&str, &str)| call.name == *name && call.arguments.contains(what);
    SELDOM.iter().any(is)
}

fn assert_allowed(calls: &[Call]) {
    let seldom = calls.iter().filter(|call| is_seldom(call)).count();
    let forbidden = |call: &&Call| {
        let on_eventfd =
            ON_EVENTFD.contains(&&*call.name) && call.arguments.contains("anon_inode:[eventfd]");
        // A call that strace interrupted by attaching.
        let restarted = call.name == "restart_syscall";
        let paces = call.name == PACING.0 && call.arguments.contains(PACING.1);
        let is_seldom = seldom <= SELDOM_CALLS && is_seldom(call);
        !ALLOWED.contains(&&*call.name) && !on_eventfd && !restarted && !paces && !is_seldom
    };
    let found: BTreeSet<_> = calls
        .iter()
        .filter(forbidden)
        .map(|call| format!("{}({})", call.name, call.arguments))
        .collect();
    assert!(found.is_empty(), "workers called {found:#?}");
}

fn bytes_by(calls: &[Call], name: &str) -> u64 {
    let of = calls.iter().filter(|call| call.name == name);
    of.map(|call| call.result.max(0) as u64).sum()
}

/// A kept connection that asks for ranges at `at`, one after another.
struct Viewer {
    client: Client<Box<dyn Stream>>,
    at: usize,
}

/// In clear, or over TLS.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// What viewers speak HTTP over.
#[derive(Clone, Copy)]
enum Over {
    Clear,
    Tls,
}

struct Audience {
    site: Site,
    daemon: Daemon,
    bytes: Vec<u8>,
    viewers: Vec<Viewer>,
    /// What a viewer says beside the range that it asks for.
    says: &'static str,
}

impl Audience {
    fn new(backend: &str, memory: &str) -> Self {
        Self::configured(backend, memory, "", Over::Clear)
    }

    fn over_tls(backend: &str, memory: &str) -> Self {
        Self::configured(backend, memory, "", Over::Tls)
    }

    fn configured(backend: &str, memory: &str, more: &str, over: Over) -> Self {
        let site = Site::new(&Plan {
            backend,
            memory,
            workers: 2,
            // What is served is noted for the report; nobody takes it.
            control: "http://127.0.0.1:9/",
            ..Plan::default()
        });
        let config = fs::read_to_string(site.config()).unwrap();
        let log = site.path("access.log");
        let more = more.replace("LOG", log.to_str().unwrap());
        fs::write(site.config(), format!("{config}{more}")).unwrap();
        let authority = Authority::new();
        site.speak_tls(&authority, "");
        let bytes = content(5, OBJECT_BYTES);
        site.publish("/film", &bytes);
        let daemon = site.start();
        let client = Arc::new(authority.client(&[]));
        let connect = || -> Box<dyn Stream> {
            match over {
                Over::Clear => Box::new(Client::connect(daemon.http).unwrap().stream),
                Over::Tls => Box::new(tls::connect(daemon.https.unwrap(), &client).stream),
            }
        };
        let viewers = (0..CONNECTIONS)
            .map(|at| Viewer {
                client: Client::on(connect()),
                at: at * 7919,
            })
            .collect();
        Self {
            site,
            daemon,
            bytes,
            viewers,
            says: "Accept: */*",
        }
    }

    /// Asks `requests` times on each connection, all connections at once; every byte is compared.
    fn ask(&mut self, requests: usize, length: usize) {
        let (bytes, says) = (&self.bytes, self.says);
        std::thread::scope(|scope| {
            for viewer in &mut self.viewers {
                scope.spawn(move || {
                    for _ in 0..requests {
                        viewer.at = (viewer.at + 1_234_567) % (bytes.len() - length);
                        let range = viewer.at..viewer.at + length;
                        let field = format!("Range: bytes={}-{}", range.start, range.end - 1);
                        let response = viewer.client.get("/film", &[&field, says]).unwrap();
                        assert_same(&response.body, &bytes[range], "under trace");
                    }
                });
            }
        });
    }

    fn warm(&mut self) {
        for _ in 0..100 {
            if self.daemon.status().memory.locked >= OBJECT_BYTES as u64 {
                return;
            }
            self.ask(4, RANGE_BYTES);
        }
        eventually("the object is in memory", || {
            (self.daemon.status().memory.locked >= OBJECT_BYTES as u64).then_some(())
        });
    }

    /// A worker counts bytes just after the kernel has taken them: a viewer may have them before.
    fn await_sent(&self, source: &str, before: f64) {
        eventually("the bytes are counted", || {
            (self.sent(source) - before == TRACED_BYTES as f64).then_some(())
        });
    }

    fn sent(&self, source: &str) -> f64 {
        let label = format!("source=\"{source}\"");
        self.daemon.metric("oca_sent_bytes_total", &label)
    }
}

const TRACED_BYTES: u64 = (TRACED * RANGE_BYTES) as u64;

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

/// Counts what the workers allocate, but for what those may who come meanwhile: every ten seconds the self-test does.
struct Allocations {
    accepted: f64,
    before: f64,
}

impl Allocations {
    fn from_now_on(daemon: &Daemon) -> Self {
        Self {
            accepted: accepted(daemon),
            before: settled_allocations(daemon),
        }
    }

    fn until_now(&self, daemon: &Daemon) -> f64 {
        let allocated = settled_allocations(daemon) - self.before;
        let newcomers = accepted(daemon) - self.accepted;
        (allocated - newcomers * NEWCOMER_ALLOCATIONS).max(0.0)
    }
}

/// Connections that were let in so far.
fn accepted(daemon: &Daemon) -> f64 {
    daemon.metric("oca_accepted_connections_total", "")
}

/// Every worker publishes its count at the beginning of a turn, also one that has nothing to do: two more turns of each show
/// what was allocated until now.
fn settled_allocations(daemon: &Daemon) -> f64 {
    let turns = |worker: usize| {
        let label = format!("worker=\"{worker}\"");
        daemon.metric("oca_worker_turns_total", &label)
    };
    let before = [0, 1].map(|worker| (worker, turns(worker)));
    for (worker, before) in before {
        eventually("the worker has turned", || {
            (turns(worker) >= before + 2.0).then_some(())
        });
    }
    daemon.metric("oca_worker_heap_allocations_total", "")
}

const COUNTED: usize = 10_000;

fn allocates_nothing(memory: &str, source: &str, over: Over) {
    for backend in BACKENDS {
        let mut audience = Audience::configured(backend, memory, "", over);
        if source == "memory" {
            audience.warm();
        }
        // The first requests make what is kept: tables of reads, buffers for what comes early.
        audience.ask(200, 16_000);
        let allocations = Allocations::from_now_on(&audience.daemon);
        assert!(allocations.before > 0.0, "something is counted");
        let sent = audience.sent(source);
        audience.ask(COUNTED / CONNECTIONS, 16_000);
        assert_eq!(
            allocations.until_now(&audience.daemon),
            0.0,
            "for {COUNTED} {source} requests on {backend}"
        );
        let sent = audience.sent(source) - sent;
        assert!(sent >= (COUNTED * 16_000) as f64, "the load was {source}");
    }
}

#[test]
fn a_hot_request_allocates_nothing() {
    allocates_nothing("64 MiB", "memory", Over::Clear);
}

#[test]
fn a_cold_request_allocates_nothing() {
    allocates_nothing("0 B", "device", Over::Clear);
}

#[test]
fn a_hot_request_over_tls_allocates_nothing() {
    allocates_nothing("64 MiB", "memory", Over::Tls);
}

#[test]
fn a_cold_request_over_tls_allocates_nothing() {
    allocates_nothing("0 B", "device", Over::Tls);
}
