//! A control endpoint that records reports: a real HTTP server of a few lines, as honest, dead, slow or lying as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use protocol::control::{Answer, REPORT_VERSION, Report};

use super::eventually;

/// What came, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) request_line: String,
    pub(crate) authorization: String,
    pub(crate) packed: bool,
    pub(crate) report: Report,
}

/// Gives the whole response to a report; `None` leaves the connection open without a word.
pub(crate) type Reply = Box<dyn FnMut(&Report) -> Option<Vec<u8>> + Send>;

#[derive(Clone)]
pub(crate) struct ControlEndpoint {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    reply: Arc<Mutex<Reply>>,
    /// The whole response to each wish to drain.
    lease: Arc<Mutex<Vec<u8>>>,
    /// The methods of those wishes: POST to leave, DELETE to be back.
    wishes: Arc<Mutex<Vec<String>>>,
}

impl ControlEndpoint {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = Self {
            address: listener.local_addr().expect("an address"),
            posted: Arc::default(),
            reply: Arc::new(Mutex::new(Box::new(known))),
            lease: Arc::new(Mutex::new(ok(b"{\"lease_s\":60,\"answers_expire_s\":5}"))),
            wishes: Arc::default(),
        };
        let serving = endpoint.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || while serving.serve(&stream).is_some() {});
            }
        });
        endpoint
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// From now on.
    pub(crate) fn reply(&self, reply: impl FnMut(&Report) -> Option<Vec<u8>> + Send + 'static) {
        *self.reply.lock().expect("no panic") = Box::new(reply);
    }

    /// From now on, to wishes to drain.
    pub(crate) fn lease(&self, response: &str) {
        *self.lease.lock().expect("no panic") = response.as_bytes().to_vec();
    }

    /// The methods of all wishes to drain so far.
    pub(crate) fn wishes(&self) -> Vec<String> {
        self.wishes.lock().expect("no panic").clone()
    }

    /// All reports so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("no panic").clone()
    }

    /// The first report after the first `seen` ones that `fits`.
    pub(crate) fn await_report(
        &self,
        what: &str,
        seen: usize,
        fits: impl Fn(&Report) -> bool,
    ) -> Report {
        eventually(what, || {
            let posted = self.posted();
            let mut news = posted.into_iter().skip(seen).map(|posted| posted.report);
            news.find(|report| fits(report))
        })
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reading = BufReader::new(stream);
        let (head, body) = read_post(&mut reading)?;
        if head[0].contains("/drain ") {
            let lease = self.lease.lock().expect("no panic").clone();
            let method = head[0].split(' ').next().unwrap_or_default().to_owned();
            self.wishes.lock().expect("no panic").push(method);
            let mut writing = stream;
            return writing.write_all(&lease).ok();
        }
        let posted = posted(&head, body);
        let response = (self.reply.lock().expect("no panic"))(&posted.report);
        self.posted.lock().expect("no panic").push(posted);
        let mut writing = stream;
        match response {
            Some(bytes) => writing.write_all(&bytes).ok(),
            // Until the other side has had enough.
            None => reading.read(&mut [0]).ok().map(drop),
        }
    }
}

/// The lines of the head, and the body.
fn read_post(reading: &mut BufReader<&TcpStream>) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reading.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let length = field(&head, "content-length");
    let mut body = vec![
        0;
        if length.is_empty() {
            0
        } else {
            length.parse().ok()?
        }
    ];
    reading.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn posted(head: &[String], mut body: Vec<u8>) -> Posted {
    let packed = field(head, "content-encoding") == "zstd";
    if packed {
        body = zstd::decode_all(&*body).expect("zstd");
    }
    Posted {
        request_line: head[0].clone(),
        authorization: field(head, "authorization"),
        packed,
        report: serde_json::from_slice(&body).expect("a report"),
    }
}

fn field(head: &[String], name: &str) -> String {
    let mut fields = head.iter().filter_map(|line| line.split_once(": "));
    let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map_or_else(String::new, |(_, value)| value.to_owned())
}

/// As a good endpoint answers: it knows what it was just told.
pub(crate) fn known(report: &Report) -> Option<Vec<u8>> {
    Some(answer(Some((report.started, report.inventory.revision)), 1))
}

pub(crate) fn answer(known: Option<(u64, u64)>, next_s: u32) -> Vec<u8> {
    let answer = Answer {
        version: REPORT_VERSION,
        known,
        next_s,
        manifest: None,
        routes_wanted: false,
        neighbours: Vec::new(),
    };
    ok(&serde_json::to_vec(&answer).expect("an answer"))
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
