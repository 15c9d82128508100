//! From when until when a certificate is good: the one field of it (RFC 5280 section 4.1.2.5) that operators wait for.
//!
//! Nothing is believed because of it: rustls checks the certificates of others.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

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
        let certificate = Der(certificate).content(SEQUENCE)?;
        let mut fields = Der(certificate).content(SEQUENCE).map(Der)?;
        if fields.0.first() == Some(&VERSION) {
            fields.take(VERSION)?;
        }
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        fields.take(SEQUENCE)?;
        let mut both = Der(fields.take(SEQUENCE)?);
        Some(Self {
            not_before: both.time()?,
            not_after: both.time()?,
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

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Values of DER (X.690), one after another.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// Of the first value alone.
    fn content(mut self, tag: u8) -> Option<&'d [u8]> {
        self.take(tag)
    }

    /// The content of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        (found == tag).then_some(content)
    }

    /// `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
    fn time(&mut self) -> Option<i64> {
        let tag = *self.0.first()?;
        let text = std::str::from_utf8(self.take(tag)?)
            .ok()?
            .strip_suffix('Z')?;
        let whole = match tag {
            UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        if whole.len() != 14 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| whole[range].parse::<i64>().ok();
        let days = days_since_1970(part(0..4)?, part(4..6)?, part(6..8)?);
        Some(days * 86_400 + part(8..10)? * 3600 + part(10..12)? * 60 + part(12..14)?)
    }
}

/// Of the Gregorian calendar; years are counted from March on, so that a leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let from_march = (month + 9) % 12;
    let year = year - from_march / 10;
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (from_march * 306 + 5) / 10 + day - 719_469
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
    fn days_are_those_of_the_calendar() {
        for (year, month, day, expected) in [
            (1970, 1, 1, 0),
            (1969, 12, 31, -1),
            (2000, 2, 29, 11_016),
            (2000, 3, 1, 11_017),
            (2100, 3, 1, 47_541),
            (2026, 11, 21, 20_778),
        ] {
            assert_eq!(days_since_1970(year, month, day), expected);
        }
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
