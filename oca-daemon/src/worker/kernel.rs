//! Connections over TLS whose records the kernel makes: they are handed over when their handshake is done, and then sent to as plain ones
//! are, but for alerts and new keys.

use std::io;

use content_store::Index;
use platform::kernel_tls::{allow_zero_copy, replace_keys, send_record, start_transmit};
use platform::reactor::{More, Token};
use rustls::ContentType;

use super::drive::Then;
use super::secure::Secure;
use super::{Slot, Worker, slot};
use crate::tls::Path;
use crate::tls::kernel::{Fallback, Kernel};
use crate::tls::seal::{KEY_UPDATE, alert_content};

impl Slot {
    /// Counts what the kernel sealed of one call, if it is the one who does.
    pub(super) fn count_records(&mut self, bytes: u64) {
        if let Some(session) = self.secure.as_deref_mut().and_then(Secure::session)
            && session.is_handed_over()
        {
            session.count(bytes);
        }
    }
}

impl Worker {
    /// Who seals what is sent, from now on.
    pub(super) fn choose_path(&mut self, token: Token) -> Path {
        match self.hand_over(token) {
            Ok(()) => Path::Kernel,
            Err(fallback) => {
                let counters = &self.thought.counters.tls.fallbacks;
                fallback.inspect(|reason| counters[reason.number()].add(1));
                Path::User
            }
        }
    }

    /// Gives the keys to the kernel.
    ///
    /// # Errors
    /// Why it does not seal; `None` if it was not to.
    fn hand_over(&mut self, token: Token) -> Result<(), Option<Fallback>> {
        let kernel = self.kernel();
        let secure = slot(&mut self.connections, token).and_then(|slot| slot.secure.as_deref_mut());
        let secure = secure.ok_or(None)?;
        let keys = secure.session().and_then(|session| session.take_offer());
        if kernel == Kernel::Off {
            return Err(None);
        }
        let keys = keys.ok_or(Some(Fallback::Suite))?;
        kernel.takes(&keys)?;
        // What rustls has sealed must be in the socket before: the kernel would seal it again.
        if let Some(unsent) = &mut secure.unsent {
            let sent = self.reactor.send(token, unsent.rest(), More::No);
            unsent.sent(sent.unwrap_or(0));
            if !unsent.rest().is_empty() {
                return Err(Some(Fallback::Unsent));
            }
        }
        if let Some(unsent) = secure.unsent.take() {
            self.sealing.give_back(unsent);
        }
        let socket = self.reactor.descriptor(token);
        start_transmit(socket, &keys).map_err(|refusal| Some(Fallback::of(&refusal)))?;
        // Objects never change. What comes of it is speed or nothing.
        let _ = allow_zero_copy(socket);
        secure.by_kernel = true;
        secure
            .session()
            .into_iter()
            .for_each(|session| session.hand_over());
        Ok(())
    }

    fn kernel(&self) -> Kernel {
        let tls = self.thought.shared.tls.as_deref();
        tls.map_or(Kernel::Off, |tls| tls.kernel)
    }

    /// The next key, if one is due; a connection whose key cannot be replaced ends after its present answer.
    pub(super) fn before_kernel_step(&mut self, token: Token, index: &Index) -> Option<Then> {
        let replaces = matches!(self.kernel(), Kernel::Available(kernel) if kernel.replaces_keys());
        let slot = slot(&mut self.connections, token)?;
        let session = slot.secure.as_deref_mut()?.session()?;
        if session.is_key_due() && replaces {
            let socket = self.reactor.descriptor(token);
            let sent = send_record(socket, ContentType::Handshake.into(), &KEY_UPDATE);
            if is_full(&sent) {
                return Some(self.await_room(token, index));
            }
            let keys = session.next_keys();
            let replaced = keys.map(|keys| replace_keys(socket, &keys));
            self.thought.counters.tls.key_updates.add(1);
            let is_done = sent.is_ok() && replaced.is_some_and(|replaced| replaced.is_ok());
            return Some(if is_done { Then::Again } else { Then::Close });
        }
        if session.is_key_due() {
            session.keep_key();
            if slot.connection.end_soon(&self.thought.context(index)) {
                self.thought.counters.tls.stale_keys.add(1);
            }
        }
        None
    }

    /// Sends alerts as far as there is room.
    pub(super) fn send_alerts(&mut self, token: Token, index: &Index) -> Then {
        let Some(slot) = slot(&mut self.connections, token) else {
            return Then::Wait;
        };
        let Some(secure) = slot.secure.as_deref_mut() else {
            return Then::Wait;
        };
        let socket = self.reactor.descriptor(token);
        while let Some(alert) = secure.alerts.first() {
            let sent = send_record(socket, ContentType::Alert.into(), &alert_content(*alert));
            if is_full(&sent) {
                return self.await_room(token, index);
            }
            if sent.is_err() {
                return Then::Close;
            }
            secure.alerts.remove(0);
        }
        Then::Again
    }

    /// No more will be sent to a connection that lingers.
    ///
    /// Where the kernel seals, the connection is not closed for writing: Linux may hold a sealed record for which the socket had no room, and
    /// could not send it any more then (`tls_tx_records` in net/tls/tls_sw.c fails after tcp_shutdown). The peer knows the end by close_notify.
    pub(super) fn end_writing(&mut self, token: Token) {
        let slot = slot(&mut self.connections, token);
        let secure = slot.and_then(|slot| slot.secure.as_deref());
        if !secure.is_some_and(|secure| secure.by_kernel) {
            self.reactor.shutdown_write(token);
        }
        self.reactor.receive(token);
    }
}

fn is_full(sent: &io::Result<()>) -> bool {
    matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
