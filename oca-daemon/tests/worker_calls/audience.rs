//! Viewers on kept connections, and the daemon that they ask.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use crate::support::http::Client;
use crate::support::tls::{self, Authority};
use crate::support::{Daemon, Plan, Site, assert_same, content, eventually};
use crate::{RANGE_BYTES, TRACED_BYTES};

const OBJECT_BYTES: usize = 4 << 20;
pub(crate) const CONNECTIONS: usize = 4;

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
pub(crate) enum Over {
    Clear,
    Tls,
}

pub(crate) struct Audience {
    pub(crate) site: Site,
    pub(crate) daemon: Daemon,
    pub(crate) bytes: Vec<u8>,
    viewers: Vec<Viewer>,
    /// What a viewer says beside the range that it asks for.
    pub(crate) says: &'static str,
}

impl Audience {
    pub(crate) fn new(backend: &str, memory: &str) -> Self {
        Self::configured(backend, memory, "", Over::Clear)
    }

    pub(crate) fn over_tls(backend: &str, memory: &str) -> Self {
        Self::configured(backend, memory, "", Over::Tls)
    }

    pub(crate) fn configured(backend: &str, memory: &str, more: &str, over: Over) -> Self {
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
    pub(crate) fn ask(&mut self, requests: usize, length: usize) {
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

    pub(crate) fn warm(&mut self) {
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
    pub(crate) fn await_sent(&self, source: &str, before: f64) {
        eventually("the bytes are counted", || {
            (self.sent(source) - before == TRACED_BYTES as f64).then_some(())
        });
    }

    pub(crate) fn sent(&self, source: &str) -> f64 {
        let label = format!("source=\"{source}\"");
        self.daemon.metric("oca_sent_bytes_total", &label)
    }
}
