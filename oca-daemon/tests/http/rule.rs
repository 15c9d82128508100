//! A rule: bytes that are sent, answers that must come, and whether the connection goes on.

use std::io::Write;

use crate::support::http::{Client, Response};
use crate::support::{Daemon, Plan, Site, content};

/// One byte more than what fits in one device read, so that answers come in several pieces.
pub(crate) const SIZE: usize = 600_001;

/// A real daemon with a film.
pub(crate) struct Server {
    _site: Site,
    pub(crate) daemon: Daemon,
    film: Vec<u8>,
    etag: String,
}

impl Server {
    pub(crate) fn start(backend: &str) -> Self {
        let site = Site::new(&Plan {
            backend,
            ..Plan::default()
        });
        let film = content(7, SIZE);
        site.publish("/film", &film);
        site.publish("/a b/100%", b"spaced");
        site.publish("/end", b"end");
        site.publish("/empty", b"");
        let daemon = site.start();
        let response = Client::connect(daemon.http).unwrap().get("/film", &[]);
        let etag = response.unwrap().field("ETag").unwrap().to_owned();
        Self {
            _site: site,
            daemon,
            film,
            etag,
        }
    }
}

/// What must be in a body.
#[derive(Clone, Debug)]
enum Body {
    Any,
    /// These bytes of the film.
    Film(usize, usize),
    /// These bytes of the film, each `first, last`, as parts.
    Parts(Vec<(usize, usize)>),
    Text(&'static str),
}

/// One answer.
#[derive(Clone, Debug)]
struct Expected {
    status: u16,
    to_head: bool,
    lines: Vec<&'static str>,
    lacks: Vec<&'static str>,
    body: Body,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    section: &'static str,
    pub(crate) name: &'static str,
    send: Vec<u8>,
    answers: Vec<Expected>,
    closes: bool,
}

/// A head with a good `Host`.
pub(crate) fn head(line: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

/// `{etag}` in what is sent, and in lines that are expected, stands for the film's.
pub(crate) fn rule(section: &'static str, name: &'static str, send: impl AsRef<[u8]>) -> Rule {
    Rule {
        section,
        name,
        send: send.as_ref().to_vec(),
        answers: Vec::new(),
        closes: false,
    }
}

/// A GET of the film with these fields.
pub(crate) fn get(section: &'static str, name: &'static str, fields: &[&str]) -> Rule {
    rule(section, name, head("GET /film", fields))
}

impl Rule {
    /// The next answer has this status.
    pub(crate) fn is(mut self, status: u16) -> Self {
        self.answers.push(Expected {
            status,
            to_head: false,
            lines: Vec::new(),
            lacks: Vec::new(),
            body: Body::Any,
        });
        self
    }

    /// 200 with the whole film.
    pub(crate) fn whole(self) -> Self {
        self.is(200).body(Body::Film(0, SIZE - 1))
    }

    /// 206 with these bytes of the film.
    pub(crate) fn part(self, first: usize, last: usize) -> Self {
        self.is(206).body(Body::Film(first, last))
    }

    /// 206 with these parts of the film.
    pub(crate) fn parts(self, parts: &[(usize, usize)]) -> Self {
        self.is(206).body(Body::Parts(parts.to_vec()))
    }

    pub(crate) fn text(self, text: &'static str) -> Self {
        self.body(Body::Text(text))
    }

    fn body(mut self, body: Body) -> Self {
        self.last().body = body;
        self
    }

    /// The last answer is to HEAD: it has no body.
    pub(crate) fn for_head(mut self) -> Self {
        self.last().to_head = true;
        self
    }

    /// The last answer has this line.
    pub(crate) fn has(mut self, line: &'static str) -> Self {
        self.last().lines.push(line);
        self
    }

    /// The last answer lacks this field.
    pub(crate) fn lacks(mut self, field: &'static str) -> Self {
        self.last().lacks.push(field);
        self
    }

    /// The connection ends after the last answer.
    pub(crate) fn closes(mut self) -> Self {
        self.closes = true;
        self
    }

    fn last(&mut self) -> &mut Expected {
        self.answers.last_mut().expect("is() comes first")
    }

    /// The rule's line in the document.
    pub(crate) fn row(&self) -> String {
        let answers: Vec<String> = self.answers.iter().map(Expected::in_words).collect();
        let close = if self.closes { ", close" } else { "" };
        let (section, name) = (self.section, self.name);
        format!("| {section} | {name} | {}{close} |", answers.join(", "))
    }

    /// Sends in pieces of `cut` bytes, and says what was not as expected.
    pub(crate) fn check(&self, server: &Server, cut: usize) -> Result<(), String> {
        let cut = if self.send.len() > 1000 {
            cut.max(997)
        } else {
            cut
        };
        let answered = self.exchange(server, cut);
        answered.map_err(|problem| {
            let (section, name) = (self.section, self.name);
            format!("RFC {section}: {name} (pieces of {cut}): {problem}")
        })
    }

    fn exchange(&self, server: &Server, cut: usize) -> Result<(), String> {
        let mut client = Client::connect(server.daemon.http).map_err(|error| error.to_string())?;
        let send = replace(&self.send, b"{etag}", server.etag.as_bytes());
        for piece in send.chunks(cut.min(send.len())) {
            // The daemon may have heard enough before the end.
            if client.stream.write_all(piece).is_err() {
                break;
            }
        }
        for (at, expected) in self.answers.iter().enumerate() {
            let response = client
                .response(expected.to_head)
                .map_err(|error| format!("answer {at}: {error}"))?;
            let is_last = self.closes && at + 1 == self.answers.len();
            expected
                .check(&response, server, is_last)
                .map_err(|problem| format!("answer {at}: {problem} in {:?}", response.head))?;
        }
        if self.closes {
            return client
                .is_closed()
                .then_some(())
                .ok_or("it did not close".to_owned());
        }
        let end = client
            .get("/end", &[])
            .map_err(|error| format!("it closed: {error}"))?;
        (end.body == b"end")
            .then_some(())
            .ok_or(format!("it goes on with {:?}", end.head))
    }
}

impl Expected {
    fn in_words(&self) -> String {
        match &self.body {
            Body::Parts(parts) => format!("{} with {} parts", self.status, parts.len()),
            Body::Any | Body::Film(..) | Body::Text(_) => self.status.to_string(),
        }
    }

    fn check(&self, response: &Response, server: &Server, is_last: bool) -> Result<(), String> {
        let wrong = |what: &str| Err(what.to_owned());
        if response.status != self.status {
            return Err(format!("{} is expected", self.status));
        }
        always(response, is_last)?;
        for line in &self.lines {
            let line = line.replace("{etag}", &server.etag);
            if !response.head.lines().any(|has| has == line) {
                return Err(format!("{line:?} is not there"));
            }
        }
        if let Some(field) = self
            .lacks
            .iter()
            .find(|field| response.field(field).is_some())
        {
            return Err(format!("{field} is there"));
        }
        let is_right = match &self.body {
            Body::Any => true,
            Body::Text(text) => response.body == text.as_bytes(),
            Body::Film(first, last) => response.body == server.film[*first..=*last],
            Body::Parts(parts) => return multipart(response, parts, &server.film),
        };
        if is_right {
            Ok(())
        } else {
            wrong("the body is another")
        }
    }
}

/// What every answer has to have.
fn always(response: &Response, is_last: bool) -> Result<(), String> {
    let count = |name: &str| {
        let fields = response
            .head
            .lines()
            .filter_map(|line| line.split_once(": "));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .count()
    };
    let has_length = !matches!(response.status, 204 | 304);
    let says_close = response.field("Connection") == Some("close");
    let tells_when = |status| matches!(status, 429 | 503);
    let checks = [
        // RFC 9110 section 6.6.1.
        (count("Date") == 1, "one Date"),
        (
            response.field("Date").is_some_and(is_imf_date),
            "a Date of RFC 9110 section 5.6.7",
        ),
        (response.field("Server") == Some("oca"), "Server"),
        // RFC 9110 section 8.6.
        (
            count("Content-Length") == usize::from(has_length),
            "the right number of Content-Length",
        ),
        (count("Transfer-Encoding") == 0, "no Transfer-Encoding"),
        // RFC 9112 section 9.6.
        (
            says_close == is_last,
            "Connection: close just when it closes",
        ),
        // RFC 9110 section 12.5.5: no field of a request changes what is sent. RFC 9111 section 5.1: nothing here is a cache's.
        (
            count("Vary") == 0 && count("Age") == 0,
            "neither Vary nor Age",
        ),
        (
            response.field("Access-Control-Allow-Origin") == Some("*"),
            "CORS",
        ),
        // RFC 9110 section 15.5.6.
        (
            count("Allow") == usize::from(matches!(response.status, 204 | 405)),
            "Allow",
        ),
        (
            count("Retry-After") == usize::from(tells_when(response.status)),
            "Retry-After",
        ),
        (
            count("Content-Range") == 1 || !is_single_part(response),
            "one Content-Range",
        ),
        (
            response.status < 400
                || matches!(response.status, 412 | 416)
                || response.field("Cache-Control") == Some("no-store"),
            "an error that is not stored",
        ),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(format!("wanted: {what}")),
        None => Ok(()),
    }
}

fn is_single_part(response: &Response) -> bool {
    let kind = response.field("Content-Type").unwrap_or_default();
    response.status == 416 || response.status == 206 && !kind.starts_with("multipart/")
}

fn is_imf_date(text: &str) -> bool {
    text.len() == 29 && text.ends_with(" GMT") && text.as_bytes()[3..5] == *b", "
}

/// RFC 9110 section 14.6, byte for byte.
fn multipart(response: &Response, parts: &[(usize, usize)], film: &[u8]) -> Result<(), String> {
    let kind = response.field("Content-Type").unwrap_or_default();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or("it is not multipart/byteranges")?;
    if response.field("Content-Range").is_some() || boundary.len() < 16 {
        return Err("Content-Range is there, or the boundary is short".into());
    }
    let mut expected = Vec::new();
    for (first, last) in parts {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&film[*first..=*last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let is_right = response.body == expected;
    is_right.then_some(()).ok_or("the parts are others".into())
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match text.windows(from.len()).position(|window| window == from) {
        Some(at) => {
            let rest = replace(&text[at + from.len()..], from, to);
            [&text[..at], to, &rest].concat()
        }
        None => text.to_vec(),
    }
}
