//! `oca-bench floor`: a server that does nothing but receive, `send(2)` a head and `sendfile(2)` the range, with the send
//! buffer and the quantum of ours; or that reads the range past the page cache, one read at a time, and sends it. It trusts its client, knows
//! its files beforehand, has no limits, no time-outs and no figures: what it costs is what the kernel costs, and nothing that is to be used.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use content_store::limits::CRC_BLOCK_BYTES;
use platform::buffer::{BufferPool, FilledBuffer};
use platform::file::{DIRECT_ALIGNMENT, Directness, open_direct};
use platform::sendfile::{FilePiece, More, send_head_and_file};
use platform::socket::{ListenOptions, bind_listeners};
use platform::watch::Watch;

/// Bytes of one connection per turn, and of one read, as in the daemon.
const QUANTUM_BYTES: usize = 256 * 1024;

/// Connections with bytes that were read and not yet sent.
const MAX_READ: u32 = 512;

const LISTENER: u64 = u64::MAX;

/// `oca-bench floor`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen
    address: SocketAddr,
    /// Folder of files to serve
    content: PathBuf,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Where bytes come from
    #[arg(long, value_enum, default_value_t)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Source {
    /// From the page cache, by sendfile
    #[default]
    Memory,
    /// Read past the page cache
    Disk,
    /// The same, and a CRC-32 of each 64 KiB
    CheckedDisk,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    platform::socket::ignore_sigpipe();
    let listeners = bind_listeners(
        arguments.address,
        arguments.workers,
        &ListenOptions::default(),
    )?;
    let files = open_all(&arguments.content, arguments.source)?;
    std::thread::scope(|scope| {
        let files = &files;
        let workers: Vec<_> = listeners
            .into_iter()
            .map(|listener| scope.spawn(move || serve(&listener, files, arguments.source)))
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a worker panicked"))?;
        }
        Ok(())
    })
}

type Files = HashMap<String, (File, u64)>;

/// All files of the folder by their path in a URL, with their sizes.
fn open_all(folder: &Path, source: Source) -> Result<Files> {
    let entries = folder
        .read_dir()
        .with_context(|| folder.display().to_string())?;
    entries
        .map(|entry| {
            let entry = entry?;
            let file = match source {
                Source::Memory => File::open(entry.path())?,
                Source::Disk | Source::CheckedDisk => {
                    let (file, directness) = open_direct(&entry.path())?;
                    ensure!(
                        directness == Directness::Direct,
                        "{}: no O_DIRECT",
                        folder.display()
                    );
                    file
                }
            };
            let size = file.metadata()?.len();
            Ok((
                format!("/{}", entry.file_name().to_string_lossy()),
                (file, size),
            ))
        })
        .collect()
}

struct Connection<'a> {
    socket: TcpStream,
    request: Vec<u8>,
    head: Vec<u8>,
    head_sent: usize,
    body: Option<(&'a File, u64)>,
    left: usize,
    /// What was read and not yet sent, and how much of it was.
    read: Option<(FilledBuffer, usize)>,
}

fn serve(listener: &TcpListener, files: &Files, source: Source) -> Result<()> {
    listener.set_nonblocking(true)?;
    let pool = BufferPool::new(MAX_READ, QUANTUM_BYTES, 1)?;
    let mut watch = Watch::new()?;
    watch.add(listener.as_fd(), LISTENER)?;
    // A place is free again when its connection has ended.
    let mut connections: Vec<Option<Connection<'_>>> = Vec::new();
    // Those that have had their quantum.
    let mut ready: Vec<usize> = Vec::new();
    loop {
        let patience = if ready.is_empty() {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        let mut turn = std::mem::take(&mut ready);
        for number in 0..watch.wait(patience)? {
            match watch.key(number) {
                LISTENER => accept(listener, &watch, &mut connections)?,
                key => turn.push(key as usize),
            }
        }
        for number in turn {
            let Some(connection) = &mut connections[number] else {
                continue;
            };
            match connection.advance(files, source, &pool)? {
                Next::More => ready.push(number),
                Next::Wait => {}
                Next::End => connections[number] = None,
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    watch: &Watch,
    connections: &mut Vec<Option<Connection<'_>>>,
) -> Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.set_nonblocking(true)?;
        let number = match connections.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                connections.push(None);
                connections.len() - 1
            }
        };
        watch.add(socket.as_fd(), number as u64)?;
        connections[number] = Some(Connection {
            socket,
            request: Vec::with_capacity(1024),
            head: Vec::with_capacity(256),
            head_sent: 0,
            body: None,
            left: 0,
            read: None,
        });
    }
}

/// What a connection is to do.
enum Next {
    /// Send more, after the others.
    More,
    /// Wait for bytes or room.
    Wait,
    /// The client has gone.
    End,
}

impl<'a> Connection<'a> {
    fn advance(
        &mut self,
        files: &'a Files,
        source: Source,
        pool: &Arc<BufferPool>,
    ) -> Result<Next> {
        if self.body.is_none() {
            if self.receive().is_err() {
                return Ok(Next::End);
            }
            if !self.request.ends_with(b"\r\n\r\n") {
                return Ok(Next::Wait);
            }
            self.answer(files)
                .context("a request that the load generator would not make")?;
        }
        match source {
            Source::Memory => Ok(self.send()),
            Source::Disk | Source::CheckedDisk => self.read_and_send(source, pool),
        }
    }

    /// Errors: the client has gone.
    fn receive(&mut self) -> std::io::Result<()> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.request.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn answer(&mut self, files: &'a Files) -> Result<()> {
        let text = std::str::from_utf8(&self.request)?;
        let path = text.split(' ').nth(1).context("no path")?;
        let (file, size) = files.get(path).context("no such file")?;
        let (_, range) = text.split_once("Range: bytes=").context("no range")?;
        let (first, rest) = range.split_once('-').context("no range")?;
        let first: u64 = first.parse()?;
        let last: u64 = rest.lines().next().context("no end")?.parse()?;
        self.body = Some((file, first));
        self.left = usize::try_from(last + 1 - first)?;
        self.head_sent = 0;
        self.head.clear();
        write!(
            self.head,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n",
            self.left
        )?;
        self.request.clear();
        Ok(())
    }

    fn send(&mut self) -> Next {
        let Some((file, offset)) = &mut self.body else {
            return Next::Wait;
        };
        let length = self.left.min(QUANTUM_BYTES);
        let piece = FilePiece {
            file: file.as_fd(),
            offset: *offset,
            length,
        };
        let head = &self.head[self.head_sent..];
        let sent = match send_head_and_file(self.socket.as_fd(), head, piece, More::No) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
            Err(_) => return Next::End,
        };
        self.head_sent += sent.head;
        self.left -= sent.body;
        *offset += sent.body as u64;
        if self.left == 0 {
            self.body = None;
            return Next::Wait;
        }
        if sent.body == length {
            Next::More
        } else {
            Next::Wait
        }
    }

    fn read_and_send(&mut self, source: Source, pool: &Arc<BufferPool>) -> Result<Next> {
        let Some((file, offset)) = &mut self.body else {
            return Ok(Next::Wait);
        };
        if self.head_sent == 0 {
            // A head always fits: nothing else waits in the socket.
            self.head_sent = match self.socket.write(&self.head) {
                Ok(sent) => sent,
                Err(_) => return Ok(Next::End),
            };
        }
        let (buffer, sent) = match self.read.take() {
            Some(read) => read,
            None => (read(file, *offset, self.left, source, pool)?, 0),
        };
        let rest = &buffer.bytes()[sent..];
        let now = match self.socket.write(rest) {
            Ok(now) => now,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return Ok(Next::End),
        };
        let is_all = now == rest.len();
        self.left -= now;
        *offset += now as u64;
        if !is_all {
            self.read = Some((buffer, sent + now));
            return Ok(Next::Wait);
        }
        if self.left == 0 {
            self.body = None;
            return Ok(Next::Wait);
        }
        Ok(Next::More)
    }
}

/// At most [`QUANTUM_BYTES`] of `left`, with one call.
fn read(
    file: &File,
    offset: u64,
    left: usize,
    source: Source,
    pool: &Arc<BufferPool>,
) -> Result<FilledBuffer> {
    ensure!(
        offset.is_multiple_of(DIRECT_ALIGNMENT as u64),
        "a range that the load generator would not ask for"
    );
    let length = left.min(QUANTUM_BYTES);
    let mut buffer = pool.try_take().context("more connections than buffers")?;
    let space = &mut buffer.space()[..length.next_multiple_of(DIRECT_ALIGNMENT)];
    let read = file.read_at(space, offset)?;
    ensure!(read >= length, "a file that was cut");
    if source == Source::CheckedDisk {
        for block in space[..length].chunks(CRC_BLOCK_BYTES as usize) {
            black_box(crc32fast::hash(block));
        }
    }
    Ok(buffer.freeze(offset, length))
}
