//! What goes out: bytes in, records out. No socket, no allocation.

use rustls::{AlertDescription, ConnectionTrafficSecrets, ContentType};

use super::records::{OVERHEAD_BYTES, PLAINTEXT_BYTES, RecordKey};
use crate::limits::WORN_RECORDS;

/// The most bytes that sealing `plain` bytes takes.
pub const fn sealed_bound(plain: usize) -> usize {
    plain + plain.div_ceil(PLAINTEXT_BYTES) * OVERHEAD_BYTES
}

/// Bytes that are enough for an alert, or the answer to a KeyUpdate.
pub const CONTROL_BYTES: usize = 5 + OVERHEAD_BYTES;

/// Bytes of the pages that `sendfile` hands on one by one.
const SMALLEST_KERNEL_RECORD: u64 = 4096;

/// A KeyUpdate that asks for none in return (RFC 8446 section 4.6.3).
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The content of an alert.
pub fn alert_content(alert: AlertDescription) -> [u8; 2] {
    const WARNING: u8 = 1;
    const FATAL: u8 = 2;
    let level = match alert {
        AlertDescription::CloseNotify | AlertDescription::NoRenegotiation => WARNING,
        _ => FATAL,
    };
    [level, alert.into()]
}

/// The key can seal no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no record can be sealed any more")]
pub struct Exhausted;

/// The sending direction of one connection.
#[derive(Debug)]
pub struct Sealer {
    /// None if the kernel seals: here records are counted then.
    key: Option<RecordKey>,
    is_tls13: bool,
    sequence: u64,
    /// Records that one key may seal.
    most: u64,
}

impl Sealer {
    pub(super) fn new(key: RecordKey, sequence: u64, most: u64) -> Self {
        Self {
            is_tls13: key.is_tls13(),
            key: Some(key),
            sequence,
            most,
        }
    }

    /// Seals all of `plain` at the beginning of `out`, in as few records as can be; how many bytes that makes. Have
    /// [`sealed_bound`] bytes of room.
    ///
    /// # Errors
    /// The key has sealed as many records as it may.
    pub fn seal(
        &mut self,
        kind: ContentType,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Exhausted> {
        let mut length = 0;
        for part in plain.chunks(PLAINTEXT_BYTES) {
            if self.sequence >= self.most {
                return Err(Exhausted);
            }
            let rest = out.get_mut(length..).ok_or(Exhausted)?;
            let key = self.key.as_ref().ok_or(Exhausted)?;
            let record = key.seal(self.sequence, kind, part, rest);
            self.sequence += 1;
            length += record.ok_or(Exhausted)?;
        }
        Ok(length)
    }

    /// Seals an alert.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn alert(&mut self, alert: AlertDescription, out: &mut [u8]) -> Result<usize, Exhausted> {
        self.seal(ContentType::Alert, &alert_content(alert), out)
    }

    /// Tells the peer that the next records are sealed with the key of `secrets`, and seals with it from then on (RFC 8446 section
    /// 4.6.3). The peer is not asked for a new key of its own.
    ///
    /// # Errors
    /// As [`Sealer::seal`]; or a suite that is not known.
    pub(super) fn update(
        &mut self,
        secrets: &ConnectionTrafficSecrets,
        out: &mut [u8],
    ) -> Result<usize, Exhausted> {
        let length = self.seal(ContentType::Handshake, &KEY_UPDATE, out)?;
        let version = rustls::ProtocolVersion::TLSv1_3;
        self.key = Some(RecordKey::new(version, secrets).ok_or(Exhausted)?);
        self.sequence = 0;
        Ok(length)
    }

    /// Whether the key should be replaced, or the connection ended after its present answer.
    pub fn is_worn(&self) -> bool {
        self.sequence >= self.most.saturating_sub(WORN_RECORDS)
    }

    /// Whether the key can be replaced.
    pub(super) fn is_tls13(&self) -> bool {
        self.is_tls13
    }

    /// The kernel seals from now on: nothing can be sealed here any more.
    pub(super) fn hand_over(&mut self) {
        self.key = None;
    }

    /// Whether the kernel seals.
    pub(super) fn is_handed_over(&self) -> bool {
        self.key.is_none()
    }

    /// Counts the records of `bytes` that the kernel took in one call. It says how many it made of them nowhere: none is smaller than a
    /// page of a file, but for those at the ends.
    pub(super) fn count(&mut self, bytes: u64) {
        self.sequence += bytes / SMALLEST_KERNEL_RECORD + 2;
    }

    /// The kernel seals with another key.
    pub(super) fn count_anew(&mut self) {
        self.sequence = 0;
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};
    use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

    use super::*;

    fn secrets(fill: u8) -> ConnectionTrafficSecrets {
        ConnectionTrafficSecrets::Aes256Gcm {
            key: AeadKey::from([fill; 32]),
            iv: Iv::from([fill; 12]),
        }
    }

    fn key(fill: u8) -> RecordKey {
        RecordKey::new(ProtocolVersion::TLSv1_3, &secrets(fill)).unwrap()
    }

    #[test]
    fn a_key_seals_as_many_records_as_it_may_and_another_takes_over() {
        let mut out = [0; 256];
        let most = WORN_RECORDS + 3;
        let mut sealer = Sealer::new(key(1), 0, most);
        let mut seal =
            |sealer: &mut Sealer| sealer.seal(ContentType::ApplicationData, b"x", &mut out);
        for worn in [false, false, false, true] {
            assert_eq!(sealer.is_worn(), worn);
            seal(&mut sealer).unwrap();
        }
        let mut sealer = Sealer::new(key(1), most - 1, most);
        seal(&mut sealer).unwrap();
        assert_eq!(seal(&mut sealer), Err(Exhausted));
        let mut sealer = Sealer::new(key(1), most - 1, most);
        sealer.update(&secrets(2), &mut [0; CONTROL_BYTES]).unwrap();
        assert!(!sealer.is_worn());
        seal(&mut sealer).unwrap();
    }

    /// Too little room: nothing is sent, and the number is not used again.
    #[test]
    fn what_does_not_fit_is_no_record() {
        let mut sealer = Sealer::new(key(1), 0, 10);
        let mut out = [0; 64];
        assert_eq!(
            sealer.seal(ContentType::ApplicationData, &[0; 64], &mut out),
            Err(Exhausted)
        );
        assert_eq!(sealer.sequence, 1);
    }

    #[test]
    fn the_bound_is_never_below_what_sealing_takes() {
        for length in [0, 1, 16_383, 16_384, 16_385, 40_000, 65_536] {
            let mut out = vec![0; sealed_bound(length)];
            let mut sealer = Sealer::new(key(1), 0, 10);
            let plain = vec![7; length];
            let sealed = sealer
                .seal(ContentType::ApplicationData, &plain, &mut out)
                .unwrap();
            assert!(sealed <= out.len() && sealed >= length);
        }
    }
}
