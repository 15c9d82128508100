//! Sockets: listeners with the options their connections inherit, and the few direct calls on a connection.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::{Duration, SystemTime};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// Round trips from this on are longer than a sender's turn takes.
pub const LONG_PATH: Duration = Duration::from_millis(1);

/// How a service address is listened on.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Most bytes one connection may have in the kernel that the peer has not acknowledged. What is queued on
    /// a core competes for its cache: 256 KiB was the fastest for large objects (a third of the time per
    /// byte that autotuned buffers took). Linux doubles the figure for its own bookkeeping.
    pub send_buffer_bytes: u32,
    /// Connections the kernel completes ahead of accept. It is cut to `net.core.somaxconn`
    /// (`kern.ipc.soacceptqueue`).
    pub backlog: u32,
}

impl ListenOptions {
    /// Gives a socket that listens already what these options say of its connections.
    pub(crate) fn apply(&self, listener: &TcpListener) -> io::Result<()> {
        let socket = SockRef::from(listener);
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(self.send_buffer_bytes as usize)
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            send_buffer_bytes: 256 * 1024,
            backlog: 4096,
        }
    }
}

/// Listens on `address` with one socket per worker; the kernel spreads connections over them. Port 0 is
/// chosen once, for all. `TCP_NODELAY` is set; IPv6 sockets take IPv6 only.
///
/// Errors: what the kernel says of the address (in use, not of this host, privileged).
pub fn bind_listeners(
    address: SocketAddr,
    workers: usize,
    options: &ListenOptions,
) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let listener = bind_listener(address, options)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind_listener(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = unbound(address)?;
    system::share_port(&socket)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(options.send_buffer_bytes as usize)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Tries whether `address` could be listened on, without a moment in which anybody could connect. What a program of the same user shares,
/// as a daemon that runs does with its successor, could be.
///
/// # Errors
/// What the kernel says of the address, as of [`bind_listeners`].
pub fn try_address(address: SocketAddr) -> io::Result<()> {
    let alone = unbound(address)?.bind(&address.into());
    if !matches!(&alone, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
        return alone;
    }
    let shared = unbound(address)?;
    system::share_port(&shared)?;
    shared.bind(&address.into())
}

/// Bytes the caller has sent that have not left for the peer yet.
pub fn unsent_bytes(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one int, and `bytes` is one, alive during the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), system::UNSENT_BYTES, &mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// Throws away at most `most` bytes that have arrived, without waiting (and on Linux without copying them);
/// how many. 0 is the end of the stream, unless `most` is 0.
///
/// Errors: `WouldBlock` if there are none, or the socket's error.
pub fn discard(socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    system::discard(socket, most)
}

/// Has the kernel note when bytes arrive, for [`discard_stamped`]; whether it can.
///
/// Linux: `SO_TIMESTAMPING` (socket(7), Documentation/networking/timestamping.rst). FreeBSD notes it for datagrams only.
pub fn stamp_arrivals(socket: BorrowedFd<'_>) -> bool {
    system::stamp_arrivals(socket).is_ok()
}

/// As [`discard`]; and when the last of the bytes came in at this machine's end, however late they are taken, if the kernel noted it.
///
/// Errors: as of [`discard`].
pub fn discard_stamped(
    socket: BorrowedFd<'_>,
    most: usize,
) -> io::Result<(usize, Option<SystemTime>)> {
    system::discard_stamped(socket, most)
}

/// Bounds what one connection may have in the kernel, in bytes. See [`ListenOptions::send_buffer_bytes`].
pub fn set_send_buffer(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    SockRef::from(&socket).set_send_buffer_size(bytes as usize)
}

/// The bound, in bytes, as the kernel counts it (Linux: twice what was set).
pub fn send_buffer(socket: BorrowedFd<'_>) -> io::Result<usize> {
    SockRef::from(&socket).send_buffer_size()
}

/// Whether the path to the peer holds more than the connection's send buffer, so that the buffer bounds how fast it is sent to; `false`
/// where round trips take less than [`LONG_PATH`], as the sender has room again before the buffer runs dry.
///
/// # Errors
/// The socket's error.
pub fn outgrows_send_buffer(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // Linux gives what it doubled.
    let buffer = send_buffer(socket)? / 2;
    let path = system::path(&tcp_info(socket)?);
    Ok(path.round_trip >= LONG_PATH && path.bytes >= buffer as u64)
}

/// What a connection's path is like.
struct Path {
    /// The time of a round trip.
    round_trip: Duration,
    /// Bytes that may be under way in that time.
    bytes: u64,
}

/// `TCP_INFO` of tcp(7), tcp(4).
fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is writable for `length` bytes, and both are ours during the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is made of integers, for which zeros are values; an older kernel fills less of it.
    Ok(unsafe { info.assume_init() })
}

/// Lets a connection's send buffer grow with what its path holds.
///
/// Linux: the kernel sizes it again (`SO_BUF_LOCK`, Linux 5.15), up to `net.ipv4.tcp_wmem` (tcp(7)). FreeBSD does not take a size back: it is
/// given a larger one, once.
///
/// # Errors
/// What the kernel says.
pub fn grow_send_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    system::grow_send_buffer(socket)
}

/// Holds what a connection sends to at most `bytes_per_second`, from now on; `None`: as fast as the path takes it.
///
/// Linux paces TCP itself if no `fq` queue does it (socket(7), tcp(7)). FreeBSD takes the option on every system and obeys it only in
/// a kernel with `options RATELIMIT`, on an interface with `txrtlmt` (setsockopt(2), ifconfig(8)).
///
/// Errors: the socket's error.
pub fn set_pacing(socket: BorrowedFd<'_>, bytes_per_second: Option<NonZeroU64>) -> io::Result<()> {
    let rate = system::pacing_rate(bytes_per_second);
    set_option(socket, libc::SOL_SOCKET, system::MAX_PACING_RATE, &rate)
}

/// `setsockopt(2)` with a value of plain bytes or integers.
pub(crate) fn set_option<T: ?Sized>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is valid for its own size, and only read, during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            size_of_val(value) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A write to a connection that the peer has reset shall be an error, not the end of the process.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN runs no code of ours, so there is no handler whose safety could matter.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Raises the process's soft limit of open descriptors to the hard one; the limit now.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` is writable and of the type this call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so it has filled it.
    let mut limit = unsafe { limit.assume_init() };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid during the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(system::limit(limit.rlim_cur))
}

/// Has the kernel make its table of this process's descriptors so large that `count` are open without growing it. Linux grows it by
/// doubling, and where the process has several threads, the one that opened a descriptor then sleeps through an RCU grace period
/// (`expand_fdtable` in fs/file.c): 10 ms and more. To be called before the first thread.
///
/// # Errors
/// When `count` is above the [limit](raise_descriptor_limit), or the kernel has no memory for the table.
pub fn reserve_descriptors(count: u64) -> io::Result<()> {
    let (any, _peer) = UnixStream::pair()?;
    let last = libc::c_int::try_from(count.saturating_sub(1)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the call takes no pointers, and the descriptor is ours.
    let copy = unsafe { libc::fcntl(any.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed us this descriptor; nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(())
}

pub(crate) fn set_nonblocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_nonblocking(true)
}

pub(crate) fn shutdown_write(socket: BorrowedFd<'_>) {
    // Fails only if there is no connection any more, which is what was wanted.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
}

pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address: SockAddr = SockRef::from(&socket).peer_addr()?;
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// The next connection of a non-blocking listener, non-blocking itself. Errors: `WouldBlock` if there is none.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for, so no pointers are followed.
    let descriptor = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            ptr::null_mut(),
            ptr::null_mut(),
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether a failed accept speaks of that one connection only, which is gone now, or of a signal.
pub(crate) fn is_passing_accept_error(error: &io::Error) -> bool {
    // accept(2) on Linux hands on network errors that were pending on the new socket, "treat them like
    // EAGAIN by retrying"; EPERM is a firewall's refusal.
    const PASSING: &[i32] = &[
        libc::EINTR,
        libc::ECONNABORTED,
        libc::ECONNRESET,
        libc::EPROTO,
        libc::EPERM,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::ETIMEDOUT,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| PASSING.contains(&code))
}

/// Reads into `room` bytes at `memory`; 0 is the end of the stream. Tried again if a signal ends it.
///
/// `memory` must be writable for `room` bytes, and nobody else may use them during the call; this is private
/// to the reactor, whose buffers are raw memory because a kernel writes to them too.
pub(crate) fn receive(socket: BorrowedFd<'_>, memory: *mut u8, room: usize) -> io::Result<usize> {
    loop {
        // SAFETY: `memory` is a free receive buffer of the calling reactor: mapped for `room` bytes as long
        // as the reactor lives, and not lent to anybody.
        let received =
            unsafe { libc::recv(socket.as_raw_fd(), memory.cast(), room, libc::MSG_DONTWAIT) };
        match usize::try_from(received) {
            Ok(length) => return Ok(length),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::time::Instant;

    #[test]
    fn workers_share_one_port_and_its_options() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listeners =
                bind_listeners(address.parse().unwrap(), 3, &ListenOptions::default()).unwrap();
            let ports: Vec<_> = listeners
                .iter()
                .map(|listener| listener.local_addr().unwrap().port())
                .collect();
            assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
            for listener in &listeners {
                assert!(SockRef::from(listener).tcp_nodelay().unwrap());
                assert!(send_buffer(listener.as_fd()).unwrap() >= 256 * 1024);
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_when_bytes_came_however_late_they_are_taken() {
        use std::io::Write;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert!(stamp_arrivals(socket.as_fd()));
        // The first who wants stamps has them a moment later.
        let begun = Instant::now();
        let mut is_stamped = || {
            peer.write_all(&[7; 10]).unwrap();
            discard_stamped(socket.as_fd(), 10).unwrap().1.is_some()
        };
        while !is_stamped() {
            assert!(begun.elapsed() < Duration::from_secs(30), "no stamp");
        }
        let before = SystemTime::now();
        peer.write_all(&[7; 1000]).unwrap();
        // On loopback they are here when the call is over.
        let after = SystemTime::now();
        std::thread::sleep(Duration::from_millis(20));
        let (count, came) = discard_stamped(socket.as_fd(), 400).unwrap();
        let (rest, last) = discard_stamped(socket.as_fd(), 4000).unwrap();
        assert_eq!((count, rest), (400, 600));
        let last = last.expect("the end of a packet is stamped");
        assert!(
            before <= last && last <= after,
            "{before:?} {last:?} {after:?}"
        );
        assert!(came.is_none_or(|came| came == last));
        let nothing = discard_stamped(socket.as_fd(), 1).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(peer);
        assert_eq!(discard_stamped(socket.as_fd(), 1).unwrap(), (0, None));
    }

    #[test]
    fn unsent_bytes_are_those_the_peer_has_no_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        set_nonblocking(socket.as_fd()).unwrap();
        assert_eq!(unsent_bytes(socket.as_fd()).unwrap(), 0);
        while io::Write::write(&mut &socket, &[0; 65536]).is_ok() {}
        assert!(unsent_bytes(socket.as_fd()).unwrap() > 0);
    }

    #[test]
    fn a_paced_connection_is_held_to_its_rate_until_it_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let megabyte = vec![0; 1_000_000];
        let mut took = |rate| {
            set_pacing(socket.as_fd(), NonZeroU64::new(rate)).unwrap();
            let begun = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| io::Write::write_all(&mut &socket, &megabyte).unwrap());
                io::Read::read_exact(&mut peer, &mut vec![0; megabyte.len()]).unwrap();
            });
            begun.elapsed()
        };
        let slow = took(1_000_000);
        assert!(slow > Duration::from_millis(500), "{slow:?}");
        // The kernel forgets the old rate with the next acknowledgement.
        assert!((0..100).any(|_| took(0) < slow / 2), "never let go");
    }

    #[test]
    fn descriptor_limit_rises_to_the_hard_one() {
        let raised = raise_descriptor_limit().unwrap();
        assert_eq!(raise_descriptor_limit().unwrap(), raised);
    }
}
