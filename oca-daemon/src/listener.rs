//! The listening sockets of viewers: taken over from the service manager where it holds one for a configured address, made where it does
//! not. Of those that are made each worker has its own for each address, and the kernel spreads connections over them.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use platform::inherited::Inherited;
use platform::reactor::Listening;
use platform::socket::{ListenOptions, bind_listeners};
use protocol::config::Listen;
use protocol::service;
use protocol::status::{Listener, ListenerPurpose};

use crate::limits::SEND_BUFFER_BYTES;

/// The sockets of all workers.
pub struct Listeners {
    /// One list per worker.
    pub by_worker: Vec<Vec<ViewerSocket>>,
    /// The addresses as the kernel gave them (a configured port 0 is filled in).
    pub addresses: Vec<Listener>,
    /// One name of each socket, for who takes them over.
    pub kept: Vec<TcpListener>,
}

/// A socket on which a worker accepts viewers.
pub struct ViewerSocket {
    /// The socket.
    pub listening: Listening,
    /// Whether they speak TLS.
    pub is_tls: bool,
}

/// Takes over or binds every address for every worker.
///
/// # Errors
/// The address that could not be bound, and why.
pub fn bind(listen: &Listen, workers: usize, inherited: &mut Inherited) -> io::Result<Listeners> {
    let mut listeners = Listeners {
        by_worker: (0..workers).map(|_| Vec::new()).collect(),
        addresses: Vec::new(),
        kept: Vec::new(),
    };
    for (key, purpose, addresses) in [
        ("http", ListenerPurpose::Http, &listen.http),
        ("https", ListenerPurpose::Https, &listen.https),
    ] {
        for address in addresses {
            let bound = listeners.add(*address, purpose, inherited);
            bound.map_err(|error| cannot_listen(key, *address, &error))?;
        }
    }
    Ok(listeners)
}

/// What is wrong with an address of `[listen]`, and what to do.
#[must_use]
pub fn cannot_listen(key: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let way_out = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program has it: `{}`",
            service::who_listens(address.port())
        ),
        ErrorKind::AddrNotAvailable => format!(
            "it is no address of this machine: `{}`",
            service::addresses()
        ),
        ErrorKind::PermissionDenied => {
            format!("ports below 1024 take {}", service::low_ports())
        }
        _ => "see the kernel log".to_owned(),
    };
    let what = format!("[listen] {key}: cannot listen on {address}: {error}; {way_out}");
    io::Error::new(error.kind(), what)
}

/// Refuses what the service manager holds and nobody took: viewers who come there would wait for ever.
///
/// # Errors
/// The first such address, and what to do.
pub fn refuse_left(inherited: &Inherited) -> io::Result<()> {
    match inherited.left().next() {
        None => Ok(()),
        Some(address) => Err(io::Error::other(format!(
            "the service manager holds a socket for {address}, which is not among the addresses of [listen]: let ListenStream= of \
             oca-daemon.socket name the same addresses, or do without it (`systemctl disable --now oca-daemon.socket`)"
        ))),
    }
}

impl Listeners {
    /// One address for all workers.
    fn add(
        &mut self,
        address: SocketAddr,
        purpose: ListenerPurpose,
        inherited: &mut Inherited,
    ) -> io::Result<()> {
        let (sockets, bound) = self.listen(address, inherited)?;
        let is_tls = purpose == ListenerPurpose::Https;
        for (of_worker, sockets) in self.by_worker.iter_mut().zip(sockets) {
            let speaking = |listening| ViewerSocket { listening, is_tls };
            of_worker.extend(sockets.into_iter().map(speaking));
        }
        self.addresses.push(Listener {
            address: bound,
            purpose,
        });
        Ok(())
    }

    /// The sockets of each worker for `address`, and the address as the kernel gave it.
    fn listen(
        &mut self,
        address: SocketAddr,
        inherited: &mut Inherited,
    ) -> io::Result<(Vec<Vec<Listening>>, SocketAddr)> {
        let workers = self.by_worker.len();
        let options = ListenOptions {
            send_buffer_bytes: SEND_BUFFER_BYTES,
            ..ListenOptions::default()
        };
        let taken = inherited.take(address, &options)?;
        if !taken.is_empty() {
            tracing::info!(%address, sockets = taken.len(), "taken over");
            let shared = share(&taken, workers)?;
            self.kept.extend(taken);
            return Ok((shared, address));
        }
        let own = bind_listeners(address, workers, &options)?;
        let bound = own.first().map_or(Ok(address), TcpListener::local_addr)?;
        for socket in &own {
            self.kept.push(socket.try_clone()?);
        }
        let own = own.into_iter().map(|socket| vec![Listening::Own(socket)]);
        Ok((own.collect(), bound))
    }
}

/// Sockets on which the workers of a successor have their trial, one for each worker and each way to speak, and their addresses: on
/// loopback, where no viewer comes.
///
/// # Errors
/// What the kernel says.
pub fn trial(
    listen: &Listen,
    workers: usize,
) -> io::Result<(Vec<Vec<ViewerSocket>>, Vec<Listener>)> {
    let spoken = [
        (ListenerPurpose::Http, !listen.http.is_empty()),
        (ListenerPurpose::Https, !listen.https.is_empty()),
    ];
    let (mut by_worker, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let mut of_worker = Vec::new();
        for (purpose, _) in spoken.iter().filter(|(_, is_spoken)| *is_spoken) {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            addresses.push(Listener {
                address: socket.local_addr()?,
                purpose: *purpose,
            });
            of_worker.push(ViewerSocket {
                listening: Listening::Own(socket),
                is_tls: *purpose == ListenerPurpose::Https,
            });
        }
        by_worker.push(of_worker);
    }
    Ok((by_worker, addresses))
}

/// Every worker gets a socket and every socket a worker: where there are fewer of the one, some are in several hands.
fn share(sockets: &[TcpListener], workers: usize) -> io::Result<Vec<Vec<Listening>>> {
    let mut by_worker: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
    for at in 0..workers.max(sockets.len()) {
        let socket = sockets[at % sockets.len()].try_clone()?;
        by_worker[at % workers].push(Listening::Shared(socket));
    }
    Ok(by_worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_and_every_socket_has_its_part() {
        for (sockets, workers) in [(1, 1), (1, 3), (3, 3), (5, 2), (2, 3)] {
            let own = (0..sockets).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
            let own: Vec<_> = own.collect();
            let all: Vec<_> = own.iter().map(|it| it.local_addr().unwrap()).collect();
            let by_worker = share(&own, workers).unwrap();
            assert!(by_worker.iter().all(|sockets| !sockets.is_empty()));
            let address = |listening: &Listening| match listening {
                Listening::Own(listener) | Listening::Shared(listener) => {
                    listener.local_addr().unwrap()
                }
            };
            let held: Vec<_> = by_worker.iter().flatten().map(address).collect();
            assert!(all.iter().all(|address| held.contains(address)));
        }
    }
}
