//! One connection: writes a request, reads head and body of its response.
//!
//! What is asked for before the handshake is over is sent after it.
//!
//! ```text
//! Idle --request--> Head --206 of what was asked--> Body --last byte--> Idle
//!                        --another status---------> Refusal --last byte--> Idle
//! ```

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use platform::socket::{discard_stamped, stamp_arrivals};
use socket2::SockRef;

use super::head::{self, HEAD_MAX_BYTES, Head};
use super::tls::Session;
use super::{Check, Object, SILENCE, Target};

/// Bytes compared at a time.
const COMPARE_BYTES: usize = 64 * 1024;

/// What may wait in the kernel to be read. It grows by itself from 128 KiB on (tcp(7)), but on loopback that is two segments: their window
/// closed some hundred times in ten seconds, and a server can do nothing about it.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

pub(crate) struct Connection<'a> {
    channel: Channel,
    check: Check,
    state: State<'a>,
    /// When the request under way was due, by either clock.
    due: Instant,
    due_by_the_wall: SystemTime,
    /// When the last bytes of its response came, if the kernel has noted it.
    came: Option<SystemTime>,
    /// Text of the request; emptied when it is sent.
    text: Vec<u8>,
    /// Start of the response: the head and perhaps some of the body.
    start: Vec<u8>,
    /// Where bodies are read to.
    room: Box<[u8]>,
    /// The last response said that the server closes.
    closes: bool,
}

enum State<'a> {
    Idle,
    Head(Range<'a>),
    Body { wanted: Range<'a>, received: u64 },
    Refusal { refusal: Refusal, left: u64 },
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All of it.
    Served,
    Refused(Refusal),
    /// The server has closed the connection before the end of the response.
    Cut,
}

/// A whole response that is not a 206.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) status: u16,
    /// When to come again.
    pub(super) after: Option<Duration>,
}

/// Bytes of an object to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) object: &'a Object,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Whether the socket has more for us now.
enum Step {
    Again,
    Wait,
    Over(Answer),
}

impl<'a> Connection<'a> {
    /// Connects. A handshake is begun, and goes on with [`advance`](Self::advance).
    pub(crate) fn open(target: &Target, check: Check) -> Result<Self> {
        Ok(Self {
            channel: Channel::open(target)?,
            check,
            state: State::Idle,
            due: Instant::now(),
            due_by_the_wall: SystemTime::now(),
            came: None,
            text: Vec::new(),
            start: Vec::with_capacity(HEAD_MAX_BYTES),
            room: vec![0; if check == Check::Read { READ_BYTES } else { 0 }].into(),
            closes: false,
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.channel.socket
    }

    /// No handshake is under way.
    pub(super) fn is_open(&self) -> bool {
        self.channel.is_open()
    }

    /// The server has closed, or is about to, as it said.
    pub(crate) fn must_reopen(&self) -> bool {
        self.closes
    }

    /// Asks for `range`.
    pub(crate) fn request(&mut self, range: Range<'a>) -> Result<()> {
        self.request_due(range, Instant::now())
    }

    /// As [`request`](Self::request), if that was due a moment ago.
    pub(super) fn request_due(&mut self, range: Range<'a>, due: Instant) -> Result<()> {
        self.text.clear();
        write!(
            self.text,
            "GET {} HTTP/1.1\r\nHost: bench\r\nRange: bytes={}-{}\r\n\r\n",
            range.object.path,
            range.offset,
            range.offset + range.length - 1
        )?;
        self.due = due;
        self.due_by_the_wall = SystemTime::now() - due.elapsed();
        self.came = None;
        self.start.clear();
        self.state = State::Head(range);
        if self.is_open() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        let sent = self.channel.write_all(&text);
        self.text = text;
        self.text.clear();
        sent.context("writing a request")
    }

    /// How long ago the last request was due.
    pub(super) fn age(&self) -> Duration {
        self.due.elapsed()
    }

    /// How long the request took whose response is whole: until its last byte was here, not until this program found time for it, where
    /// the kernel says so.
    pub(super) fn took(&self) -> Duration {
        let noted = self
            .came
            .map(|came| came.duration_since(self.due_by_the_wall));
        // A wall clock may have been set back.
        noted.and_then(Result::ok).unwrap_or_else(|| self.age())
    }

    /// A response is awaited.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Nothing more is expected of this connection.
    pub(super) fn give_up(&mut self) {
        self.state = State::Idle;
        self.closes = true;
    }

    /// Takes what has arrived; what came of the request, if that was the end of its response.
    ///
    /// Errors: a 206 that is not what was asked for; what is no HTTP, or no TLS; a handshake that fails.
    pub(crate) fn advance(&mut self) -> Result<Option<Answer>> {
        if !self.is_open() {
            let went_on = arrived(self.channel.shake_hands().map(|()| 1))?;
            if matches!(went_on, Arrived::End) {
                let asked = self.is_busy();
                self.give_up();
                ensure!(asked, "the server closes within the handshake");
                return Ok(Some(Answer::Cut));
            }
            if !self.is_open() {
                return Ok(None);
            }
            if !self.text.is_empty() {
                self.send()?;
            }
        }
        loop {
            let step = match self.state {
                State::Idle => return Ok(None),
                State::Head(wanted) => self.read_head(wanted)?,
                State::Body { wanted, received } => self.read_body(wanted, received)?,
                State::Refusal { refusal, left } => self.read_refusal(refusal, left)?,
            };
            match step {
                Step::Again => {}
                Step::Wait => return Ok(None),
                Step::Over(answer) => {
                    self.state = State::Idle;
                    self.closes |= answer == Answer::Cut;
                    return Ok(Some(answer));
                }
            }
        }
    }

    fn read_head(&mut self, wanted: Range<'a>) -> Result<Step> {
        let room = HEAD_MAX_BYTES - self.start.len();
        let mut piece = [0; HEAD_MAX_BYTES];
        let count = match arrived(self.channel.read(&mut piece[..room]))? {
            Arrived::Bytes(count) => count,
            Arrived::Nothing => return Ok(Step::Wait),
            Arrived::End => return Ok(Step::Over(Answer::Cut)),
        };
        self.start.extend_from_slice(&piece[..count]);
        let Some(head) = head::parse(&self.start)? else {
            return Ok(Step::Again);
        };
        self.closes = head.closes;
        let body = &self.start[head.length..];
        if head.status != 206 {
            let refusal = Refusal {
                status: head.status,
                after: head.retry_after_s.map(Duration::from_secs),
            };
            let left = head.content_length.saturating_sub(body.len() as u64);
            self.state = State::Refusal { refusal, left };
            return Ok(Step::Again);
        }
        wanted.check(&head)?;
        ensure!(
            body.len() as u64 <= wanted.length,
            "more bytes than were asked for"
        );
        if self.check == Check::Content {
            wanted.compare(0, body)?;
        }
        Ok(self.received(wanted, body.len() as u64))
    }

    fn read_body(&mut self, wanted: Range<'a>, received: u64) -> Result<Step> {
        let left = usize::try_from(wanted.length - received).unwrap_or(usize::MAX);
        let arrived = match self.check {
            Check::Length => {
                let discarded = self.channel.discard(left);
                arrived(discarded.map(|(count, came)| {
                    self.came = came;
                    count
                }))?
            }
            Check::Read => {
                let room = left.min(self.room.len());
                arrived(self.channel.read(&mut self.room[..room]))?
            }
            Check::Content => {
                let mut piece = [0; COMPARE_BYTES];
                let arrived = arrived(self.channel.read(&mut piece[..left.min(COMPARE_BYTES)]))?;
                if let Arrived::Bytes(count) = arrived {
                    wanted.compare(received, &piece[..count])?;
                }
                arrived
            }
        };
        Ok(match arrived {
            Arrived::Bytes(count) => self.received(wanted, received + count as u64),
            Arrived::Nothing => Step::Wait,
            Arrived::End => Step::Over(Answer::Cut),
        })
    }

    fn received(&mut self, wanted: Range<'a>, received: u64) -> Step {
        if received == wanted.length {
            return Step::Over(Answer::Served);
        }
        self.state = State::Body { wanted, received };
        Step::Again
    }

    fn read_refusal(&mut self, refusal: Refusal, left: u64) -> Result<Step> {
        if left == 0 {
            return Ok(Step::Over(Answer::Refused(refusal)));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX);
        let discarded = self.channel.discard(room).map(|(count, _)| count);
        Ok(match arrived(discarded)? {
            Arrived::Bytes(count) => {
                let left = left - count as u64;
                self.state = State::Refusal { refusal, left };
                Step::Again
            }
            Arrived::Nothing => Step::Wait,
            Arrived::End => Step::Over(Answer::Cut),
        })
    }
}

/// A socket, and perhaps TLS on it.
struct Channel {
    socket: TcpStream,
    session: Option<Session>,
}

impl Channel {
    fn open(target: &Target) -> Result<Self> {
        let address = target.address;
        let socket =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        stamp_arrivals(socket.as_fd());
        let start = |client| Session::start(client, &socket);
        let session = target.tls.as_ref().map(start).transpose()?;
        Ok(Self { socket, session })
    }

    fn is_open(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_open)
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => session.advance(&self.socket),
            None => Ok(()),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.session {
            Some(session) => session.write_all(&self.socket, bytes),
            None => self.socket.write_all(bytes),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            Some(session) => session.read(&self.socket, into),
            None => self.socket.read(into),
        }
    }

    /// Bytes are thrown away, in the kernel where that can be; how many, and when the last came.
    fn discard(&mut self, most: usize) -> io::Result<(usize, Option<SystemTime>)> {
        match &mut self.session {
            Some(session) => session
                .discard(&self.socket, most)
                .map(|count| (count, None)),
            None => discard_stamped(self.socket.as_fd(), most),
        }
    }
}

impl Range<'_> {
    fn check(&self, head: &Head) -> Result<()> {
        let path = &self.object.path;
        ensure!(
            head.content_length == self.length,
            "{path}: Content-Length {} for a range of {}",
            head.content_length,
            self.length
        );
        let expected = (self.offset, self.offset + self.length - 1, self.object.size);
        ensure!(
            head.range == Some(expected),
            "{path}: Content-Range {:?}, expected {expected:?}",
            head.range
        );
        Ok(())
    }

    /// `bytes` stand at `position` of the body.
    fn compare(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let file = self
            .object
            .file
            .as_ref()
            .context("no file to compare with")?;
        let mut expected = vec![0; bytes.len()];
        let offset = self.offset + position;
        File::open(file)?.read_exact_at(&mut expected, offset)?;
        ensure!(
            bytes == expected,
            "{}: wrong bytes after offset {offset}",
            self.object.path
        );
        Ok(())
    }
}

/// What a read of the socket gave.
enum Arrived {
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The server has closed the connection.
    End,
}

fn arrived(result: std::io::Result<usize>) -> Result<Arrived> {
    match result {
        Ok(0) => Ok(Arrived::End),
        Ok(count) => Ok(Arrived::Bytes(count)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(Arrived::Nothing),
            ErrorKind::Interrupted => Ok(Arrived::Bytes(0)),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                Ok(Arrived::End)
            }
            _ => Err(error).context("reading a response"),
        },
    }
}

/// The length of the object at `path`.
pub(super) fn ask_size(target: &Target, path: &str) -> Result<u64> {
    let mut channel = Channel::open(target)?;
    channel.socket.set_nonblocking(false)?;
    channel.socket.set_read_timeout(Some(SILENCE))?;
    while !channel.is_open() {
        channel.shake_hands()?;
    }
    let text = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nRange: bytes=0-0\r\n\r\n");
    channel.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; HEAD_MAX_BYTES];
        match arrived(channel.read(&mut piece))? {
            Arrived::Bytes(count) => bytes.extend_from_slice(&piece[..count]),
            Arrived::Nothing => bail!("{path}: no answer in {SILENCE:?}"),
            Arrived::End => bail!("{path}: the server has closed the connection"),
        }
        if let Some(head) = head::parse(&bytes)? {
            let (_, _, whole) = head
                .range
                .with_context(|| format!("{path}: status {}, no range", head.status))?;
            return Ok(whole);
        }
    }
}
