//! Listening sockets that the service manager holds and hands to the process that it starts (`sd_listen_fds(3)`): they outlive the
//! process, so that a new one goes on where a killed one stopped, and no connection is lost between them.
//!
//! FreeBSD has no such manager; there, as anywhere without `LISTEN_FDS`, nothing is handed over. A process that takes the place of another
//! has its sockets from that one ([`Inherited::of`]).

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Socket, Type};

use crate::socket::ListenOptions;

/// The first descriptor that is handed over: `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// More are not expected: one for each worker and address.
const MOST: RawFd = 4096;

/// The sockets that were handed over and not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// What this process was handed. Once: a second call finds nothing. Call it before anything else opens descriptors.
    ///
    /// # Errors
    /// A descriptor that is no listening TCP socket, by its number and name.
    pub fn of_process() -> io::Result<Self> {
        Self::meant_for(std::process::id())
    }

    /// What the process that started this one was handed, and left open for it. As [`Inherited::of_process`].
    ///
    /// # Errors
    /// As of [`Inherited::of_process`].
    pub fn of_parent() -> io::Result<Self> {
        Self::meant_for(std::os::unix::process::parent_id())
    }

    /// Sockets that another process has handed over.
    ///
    /// # Errors
    /// One that is no listening TCP socket.
    pub fn of(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let sockets = sockets
            .into_iter()
            .map(listener)
            .collect::<io::Result<_>>()?;
        Ok(Self { sockets })
    }

    fn meant_for(process: u32) -> io::Result<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let handed = match TAKEN.swap(true, Ordering::SeqCst) {
            false => handed_over(process),
            true => 0,
        };
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let sockets = (FIRST..FIRST + handed).map(|number| {
            // SAFETY: by the protocol these descriptors were opened for this process and nobody else in it knows them; `TAKEN` keeps
            // this from happening twice.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            let name = names.next().unwrap_or_default();
            listener(descriptor).map_err(|error| {
                let what = format!("descriptor {number} ({name}) of the service manager: {error}");
                io::Error::new(error.kind(), what)
            })
        });
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Self { sockets })
    }

    /// Takes the sockets that listen on `address`, as if they had been made with `options`.
    ///
    /// # Errors
    /// What the kernel says of an option.
    pub fn take(
        &mut self,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<Vec<TcpListener>> {
        let taken = self.sockets.extract_if(.., |(of, _)| *of == address);
        let taken: Vec<TcpListener> = taken.map(|(_, listener)| listener).collect();
        for listener in &taken {
            options.apply(listener)?;
        }
        Ok(taken)
    }

    /// Addresses of the sockets that nobody took.
    pub fn left(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address)
    }
}

/// How many descriptors are meant for `process`.
fn handed_over(process: u32) -> RawFd {
    let number = |name| env::var(name).ok()?.parse::<i64>().ok();
    let is_ours = number("LISTEN_PID") == Some(i64::from(process));
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0);
    RawFd::try_from(count).unwrap_or(0).clamp(0, MOST)
}

fn listener(descriptor: OwnedFd) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = Socket::from(descriptor);
    let is_tcp = socket.r#type()? == Type::STREAM && socket.is_listener()?;
    let address = socket.local_addr()?.as_socket();
    let Some(address) = address.filter(|_| is_tcp) else {
        return Err(io::Error::other("it is no listening TCP socket"));
    };
    socket.set_cloexec(true)?;
    Ok((address, socket.into()))
}
