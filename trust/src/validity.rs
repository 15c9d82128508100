//! From when until when a certificate is good: the one field of it (RFC 5280 section 4.1.2.5) that operators wait for.
//!
//! Nothing is believed because of it: rustls checks the certificates of others.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;

use crate::pem::BadFile;

/// When a certificate is good, in seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last one.
    pub not_after: i64,
}

impl Validity {
    /// Of a certificate; `None` if it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(Self {
            not_before: seconds(validity.not_before)?,
            not_after: seconds(validity.not_after)?,
        })
    }

    /// That all of a chain are good now, by the system's clock.
    ///
    /// # Errors
    /// The first one that is over, or has not begun; `file` is where it was read.
    pub fn check(chain: &[CertificateDer<'_>], file: &Path) -> Result<(), BadFile> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        let wrong = chain.iter().enumerate().find_map(|(index, certificate)| {
            let number = index + 1;
            let validity = Self::of(certificate)?;
            if validity.not_after < now {
                let days = (now - validity.not_after) / 86_400;
                return Some(format!("certificate {number} in it has expired {days} days ago; have it renewed"));
            }
            let hours = (validity.not_before - now) / 3600;
            (validity.not_before > now).then(|| {
                format!("certificate {number} in it becomes valid in {hours} hours; look at the system's clock")
            })
        });
        match wrong {
            None => Ok(()),
            Some(what) => Err(BadFile {
                file: file.to_owned(),
                what,
            }),
        }
    }
}

fn seconds(time: Time) -> Option<i64> {
    i64::try_from(time.to_unix_duration().as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let signed = params.self_signed(&KeyPair::generate().unwrap());
        signed.unwrap().der().clone()
    }

    #[test]
    fn both_ends_are_read_in_both_forms() {
        let validity = Validity::of(&certificate((1999, 1, 2), (2100, 3, 1)));
        let expected = Validity {
            not_before: 10_593 * 86_400,
            not_after: 47_541 * 86_400,
        };
        assert_eq!(validity, Some(expected));
    }

    #[test]
    fn no_bytes_are_too_bad() {
        let good = certificate((2000, 1, 1), (2050, 1, 1));
        for end in 0..good.len() {
            let _ = Validity::of(&CertificateDer::from(&good[..end]));
        }
        for at in 0..good.len().min(400) {
            let mut bad = good.to_vec();
            bad[at] ^= 0xff;
            let _ = Validity::of(&CertificateDer::from(bad));
        }
        assert_eq!(Validity::of(&CertificateDer::from(&b"\x30\x84"[..])), None);
    }

    #[test]
    fn a_chain_is_as_good_as_its_worst() {
        let good = certificate((2000, 1, 1), (2999, 1, 1));
        let over = certificate((2000, 1, 1), (2001, 1, 1));
        let to_come = certificate((2998, 1, 1), (2999, 1, 1));
        let check = |chain: &[CertificateDer<'_>]| {
            Validity::check(chain, Path::new("c.pem")).map_err(|bad| bad.to_string())
        };
        assert_eq!(check(std::slice::from_ref(&good)), Ok(()));
        let said = check(&[good.clone(), over]).unwrap_err();
        assert!(
            said.contains("c.pem: certificate 2 in it has expired"),
            "{said}"
        );
        let said = check(&[to_come, good]).unwrap_err();
        assert!(
            said.contains("becomes valid in") && said.contains("clock"),
            "{said}"
        );
    }
}
