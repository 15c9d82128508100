//! Which kernel interface the reactor stands on, chosen once at start.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::{Reactor, ReactorLimits, system};

/// A kernel interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// Linux io_uring: operations go in, completions come out, one system call per turn.
    Uring,
    /// Linux epoll: where io_uring is switched off.
    Epoll,
    /// FreeBSD kqueue.
    Kqueue,
}

impl Backend {
    /// The backends that this system could have, best first. Whether the best one works is found out by
    /// [`choose_backend`].
    pub const OF_THIS_SYSTEM: &'static [Backend] = system::BACKENDS;
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Uring => "uring",
            Backend::Epoll => "epoll",
            Backend::Kqueue => "kqueue",
        })
    }
}

/// Not the name of a backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a backend: uring, epoll, kqueue")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "uring" => Ok(Backend::Uring),
            "epoll" => Ok(Backend::Epoll),
            "kqueue" => Ok(Backend::Kqueue),
            other => Err(UnknownBackend(other.to_owned())),
        }
    }
}

/// The backend to use, and why it is this one: for the log and the status page.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// What [`Reactor::new`] will succeed with.
    pub backend: Backend,
    /// One sentence.
    pub reason: String,
}

/// A backend asked for by name does not work here, or (asked for none) no backend does.
#[derive(Debug, thiserror::Error)]
#[error("{backend} does not work on this system: {cause}{}", hint(.cause))]
pub struct BackendUnavailable {
    /// The one that was tried.
    pub backend: Backend,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

/// What an operator could do about it, where that is not plain from the error.
fn hint(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::EPERM) => " (refused by kernel.io_uring_disabled or a seccomp filter)",
        Some(libc::ENOSYS) => " (this kernel was built without it)",
        Some(libc::ENOMEM) => " (RLIMIT_MEMLOCK may be too low)",
        _ => "",
    }
}

/// Finds a backend that works, by letting it carry a byte. `wanted` names the only one to try; without it
/// the best that works is taken, and the reason tells what was wrong with better ones.
pub fn choose_backend(wanted: Option<Backend>) -> Result<Chosen, BackendUnavailable> {
    if let Some(backend) = wanted {
        return try_backend(backend).map(|()| Chosen {
            backend,
            reason: "asked for by configuration".to_owned(),
        });
    }
    let mut complaints = String::new();
    let mut last = None;
    for &backend in Backend::OF_THIS_SYSTEM {
        match try_backend(backend) {
            Ok(()) => return Ok(chosen(backend, complaints)),
            Err(error) => {
                complaints.push_str(&format!("{error}; "));
                last = Some(error);
            }
        }
    }
    Err(last.expect("every system has at least one backend to try"))
}

fn chosen(backend: Backend, complaints: String) -> Chosen {
    let reason = if complaints.is_empty() {
        "the best this system has".to_owned()
    } else {
        format!("{complaints}{backend} is the next best")
    };
    Chosen { backend, reason }
}

fn try_backend(backend: Backend) -> Result<(), BackendUnavailable> {
    carry_a_byte(backend).map_err(|cause| BackendUnavailable { backend, cause })
}

/// The proof: a kernel may know an interface and lack a part of it (multishot receive came with Linux 6.0),
/// or a sandbox may forbid it.
fn carry_a_byte(backend: Backend) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    let limits = ReactorLimits {
        connections: 1,
        receive_buffers: 1,
        receive_buffer_bytes: 64,
    };
    let mut reactor = Reactor::new(backend, &limits)?;
    let (mut peer, ours) = UnixStream::pair()?;
    peer.write_all(b"!")?;
    let token = reactor.adopt(ours.into())?;
    reactor.receive(token);
    reactor.turn(Some(Duration::from_secs(1)))?;
    match reactor.next_event() {
        Some(super::Event::Received { buffer, .. }) => {
            reactor.release(buffer);
            Ok(())
        }
        Some(super::Event::ReceiveFailed { error, .. }) => Err(error),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for backend in [Backend::Uring, Backend::Epoll, Backend::Kqueue] {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert!("io_uring".parse::<Backend>().is_err());
    }

    #[test]
    fn some_backend_works_here() {
        let chosen = choose_backend(None).unwrap();
        assert!(choose_backend(Some(chosen.backend)).is_ok());
    }

    #[test]
    fn the_reason_names_what_was_wrong_with_better_ones() {
        let refused = BackendUnavailable {
            backend: Backend::Uring,
            cause: io::Error::from_raw_os_error(libc::EPERM),
        };
        let reason = chosen(Backend::Epoll, format!("{refused}; ")).reason;
        assert!(reason.starts_with("uring does not work on this system: "));
        assert!(reason.contains("(refused by kernel.io_uring_disabled or a seccomp filter)"));
        assert!(reason.ends_with("; epoll is the next best"));
    }

    #[test]
    fn a_backend_of_another_system_is_refused() {
        let foreign = [Backend::Epoll, Backend::Kqueue]
            .into_iter()
            .find(|backend| !Backend::OF_THIS_SYSTEM.contains(backend))
            .unwrap();
        let error = choose_backend(Some(foreign)).unwrap_err();
        assert_eq!(error.cause.kind(), io::ErrorKind::Unsupported);
    }
}
