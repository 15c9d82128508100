//! The listening sockets: each worker has its own for each configured address, and the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use platform::socket::{ListenOptions, bind_listeners};

use crate::limits::SEND_BUFFER_BYTES;

/// The sockets of all workers.
pub struct Listeners {
    /// One list per worker.
    pub by_worker: Vec<Vec<TcpListener>>,
    /// The addresses as the kernel gave them (a configured port 0 is filled in).
    pub addresses: Vec<SocketAddr>,
}

/// Binds every address once per worker.
///
/// # Errors
/// The address that could not be bound, and why.
pub fn bind(addresses: &[SocketAddr], workers: usize) -> io::Result<Listeners> {
    let options = ListenOptions {
        send_buffer_bytes: SEND_BUFFER_BYTES,
        ..ListenOptions::default()
    };
    let mut listeners = Listeners {
        by_worker: (0..workers).map(|_| Vec::new()).collect(),
        addresses: Vec::new(),
    };
    for address in addresses {
        let bound = bind_listeners(*address, workers, &options).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("[listen] http: cannot listen on {address}: {error}"),
            )
        })?;
        listeners.addresses.push(
            bound
                .first()
                .map_or(Ok(*address), TcpListener::local_addr)?,
        );
        for (of_worker, listener) in listeners.by_worker.iter_mut().zip(bound) {
            of_worker.push(listener);
        }
    }
    Ok(listeners)
}
