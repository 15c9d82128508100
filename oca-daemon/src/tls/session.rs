//! A connection whose handshake is done: ciphertext in, what it means out; bytes in, records out. No socket, no clock.
//!
//! The keys come from rustls, which also makes the next ones (KeyUpdate). What a peer sends is opened one record after another, and no further
//! than somebody wants to hear: the rest is kept as it came.

use platform::kernel_tls::TransmitKeys;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, ExtractedSecrets, SupportedCipherSuite};

use super::kernel::transmit_keys;
use super::open::{Opened, Opener};
use super::records::{BODY_BYTES, Fault, HEADER_BYTES, RecordKey, record_length};
use super::seal::{Exhausted, Sealer};
use crate::limits::CIPHERTEXT_KEPT_BYTES;

/// Where records are opened; a worker has one.
pub type Plain = [u8; BODY_BYTES];

/// Keys and what was received with them.
pub struct Session {
    opener: Opener,
    sealer: Sealer,
    /// For the kernel, until it is decided who seals.
    offer: Option<TransmitKeys>,
    keys: KernelConnection<ServerConnectionData>,
    /// Ciphertext that was not opened yet, from `begin` on. Empty most of the time.
    kept: Vec<u8>,
    begin: usize,
    owes_key_update: bool,
    has_closed: bool,
}

/// What [`Session::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// So many bytes of application data.
    Data(usize),
    /// The peer will send no more.
    Closed,
    /// All input was used; a record that is not complete is kept.
    Starved,
}

impl Session {
    /// Of what rustls gives out; `None` for a suite that it has and this does not know.
    pub(super) fn new(
        secrets: &ExtractedSecrets,
        keys: KernelConnection<ServerConnectionData>,
    ) -> Option<Self> {
        let version = keys.protocol_version();
        let most = confidentiality_limit(keys.negotiated_cipher_suite());
        let (received, rx) = &secrets.rx;
        let (sent, tx) = &secrets.tx;
        Some(Self {
            opener: Opener::new(RecordKey::new(version, rx)?, *received),
            sealer: Sealer::new(RecordKey::new(version, tx)?, *sent, most),
            offer: transmit_keys(version, tx, *sent),
            keys,
            kept: Vec::new(),
            begin: 0,
            owes_key_update: false,
            has_closed: false,
        })
    }

    /// Opens records of what was kept and then of `input`, which is shortened by what was used, until one has something to say.
    ///
    /// # Errors
    /// What the peer did wrong; nothing can be received after that.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        plain: &mut Plain,
        spare: impl FnOnce() -> Vec<u8>,
    ) -> Result<Next, Fault> {
        if self.has_closed {
            *input = &[];
            return Ok(Next::Closed);
        }
        loop {
            let opened = if self.kept.is_empty() {
                match record_length(input)? {
                    Some(length) if length <= input.len() => {
                        let (record, rest) = input.split_at(length);
                        *input = rest;
                        self.opener.open(record, plain)?
                    }
                    _ => {
                        self.keep(input, spare)?;
                        *input = &[];
                        return Ok(Next::Starved);
                    }
                }
            } else {
                let Some(length) = self.complete(input)? else {
                    return Ok(Next::Starved);
                };
                let record = &self.kept[self.begin..self.begin + length];
                let opened = self.opener.open(record, plain)?;
                self.begin += length;
                if self.begin == self.kept.len() {
                    self.kept.clear();
                    self.begin = 0;
                }
                opened
            };
            match opened {
                Opened::Data(length) => return Ok(Next::Data(length)),
                Opened::Nothing => {}
                Opened::Closed => {
                    self.has_closed = true;
                    return Ok(Next::Closed);
                }
                Opened::KeyUpdate { is_asked } => self.follow(is_asked)?,
            }
        }
    }

    /// Takes what the first record that is kept still lacks from `input`; its length once it is whole.
    fn complete(&mut self, input: &mut &[u8]) -> Result<Option<usize>, Fault> {
        loop {
            let kept = &self.kept[self.begin..];
            let known = record_length(kept)?;
            let wanted = known.unwrap_or(HEADER_BYTES);
            if let (Some(length), true) = (known, kept.len() >= wanted) {
                return Ok(Some(length));
            }
            let lacking = (wanted - kept.len()).min(input.len());
            if lacking == 0 {
                return Ok(None);
            }
            let (some, rest) = input.split_at(lacking);
            self.kept.extend_from_slice(some);
            *input = rest;
        }
    }

    /// Keeps what nobody wants to hear yet. `spare` gives a buffer if there is none.
    ///
    /// # Errors
    /// More than the sockets of a peer that was told to wait can have brought.
    pub fn keep(&mut self, input: &[u8], spare: impl FnOnce() -> Vec<u8>) -> Result<(), Fault> {
        if input.is_empty() || self.has_closed {
            return Ok(());
        }
        if self.kept.capacity() == 0 {
            self.kept = spare();
        }
        self.kept.drain(..self.begin);
        self.begin = 0;
        if self.kept.len() + input.len() > CIPHERTEXT_KEPT_BYTES {
            return Err(Fault::Flood);
        }
        self.kept.extend_from_slice(input);
        Ok(())
    }

    /// Whether anything of the peer's was not opened yet.
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// An empty buffer that is no longer needed, for another connection to use.
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.kept.is_empty() && self.kept.capacity() > 0).then(|| std::mem::take(&mut self.kept))
    }

    fn follow(&mut self, is_asked: bool) -> Result<(), Fault> {
        let (_, secrets) = self
            .keys
            .update_rx_secret()
            .map_err(|_| Fault::Unexpected)?;
        self.owes_key_update |= is_asked;
        self.opener.update(&secrets)
    }

    /// Seals application data; see [`Sealer::seal`].
    ///
    /// # Errors
    /// The key can seal no more.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Exhausted> {
        self.sealer.seal(ContentType::ApplicationData, plain, out)
    }

    /// Seals an alert.
    ///
    /// # Errors
    /// The key can seal no more.
    pub fn alert(&mut self, alert: AlertDescription, out: &mut [u8]) -> Result<usize, Exhausted> {
        self.sealer.alert(alert, out)
    }

    /// Whether the peer is to be told of our next key: it asked for that, or the present one has sealed nearly all that it may.
    pub fn is_key_due(&self) -> bool {
        self.owes_key_update || self.sealer.is_tls13() && self.sealer.is_worn()
    }

    /// Seals with the next key, after telling the peer; several requests are answered once (RFC 8446 section 4.6.3).
    ///
    /// # Errors
    /// The key can seal no more.
    pub fn update_key(&mut self, out: &mut [u8]) -> Result<usize, Exhausted> {
        let (_, secrets) = self.keys.update_tx_secret().map_err(|_| Exhausted)?;
        self.owes_key_update = false;
        self.sealer.update(&secrets, out)
    }

    /// With what the kernel would seal. To be asked once, before anything is sealed.
    pub fn take_offer(&mut self) -> Option<TransmitKeys> {
        self.offer.take()
    }

    /// The kernel seals from now on, and nothing is sealed here.
    pub fn hand_over(&mut self) {
        self.sealer.hand_over();
    }

    /// Whether the kernel seals.
    pub fn is_handed_over(&self) -> bool {
        self.sealer.is_handed_over()
    }

    /// Counts `bytes` that the kernel took in one call, and sealed.
    pub fn count(&mut self, bytes: u64) {
        self.sealer.count(bytes);
    }

    /// With what the kernel is to seal after a KeyUpdate; `None` if there is nothing.
    pub fn next_keys(&mut self) -> Option<TransmitKeys> {
        let (sequence, secrets) = self.keys.update_tx_secret().ok()?;
        self.owes_key_update = false;
        self.sealer.count_anew();
        transmit_keys(self.keys.protocol_version(), &secrets, sequence)
    }

    /// The key stays, as the kernel takes no other: what the peer asked for is not done.
    pub fn keep_key(&mut self) {
        self.owes_key_update = false;
    }

    /// Whether the connection should end after its present answer: its key has sealed nearly all that it may, and cannot be replaced.
    pub fn is_worn(&self) -> bool {
        !self.sealer.is_tls13() && self.sealer.is_worn()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("opener", &self.opener)
            .field("sealer", &self.sealer)
            .finish_non_exhaustive()
    }
}

/// Records that one key may seal (RFC 8446 section 5.5).
fn confidentiality_limit(suite: SupportedCipherSuite) -> u64 {
    match suite {
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
    }
}
