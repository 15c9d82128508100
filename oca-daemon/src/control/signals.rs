//! What the system asks of the process.

use std::io;

use platform::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// The signals that are listened for.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    user_1: unix::Signal,
}

impl Signals {
    /// Listens from now on: none of them ends the process any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            user_1: unix::signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one; SIGINT is a stop as well.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
            _ = self.user_1.recv() => Signal::ReopenLog,
        }
    }
}
