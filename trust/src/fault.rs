//! Why two sides do not believe each other, in one of a few words, and what to do about each.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What is wrong with TLS between a client and its server, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The server's certificate is signed by nobody who is believed.
    Authority,
    /// It is another one's: of other names.
    Name,
    /// It is over, or has not begun.
    Expired,
    /// The server wants a certificate of the client, or does not accept the one that it has.
    ClientRefused,
    /// The server does not speak TLS there.
    NotTls,
    /// Everything else: no common version or suite, records that are none, a certificate that cannot be read.
    Other,
}

impl Fault {
    /// All, in the order of [`word`](Self::word)s in metrics.
    pub const ALL: [Self; 6] = [
        Self::Authority,
        Self::Name,
        Self::Expired,
        Self::ClientRefused,
        Self::NotTls,
        Self::Other,
    ];

    /// Its label in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authority => "tls_authority",
            Self::Name => "tls_name",
            Self::Expired => "tls_expired",
            Self::ClientRefused => "tls_client_refused",
            Self::NotTls => "tls_not_spoken",
            Self::Other => "tls_other",
        }
    }

    /// The fault and the words of rustls, if an error comes from TLS, however deep.
    #[must_use]
    pub fn find(error: &(dyn StdError + 'static)) -> Option<(Self, String)> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(of_tls) = error.downcast_ref::<Error>() {
                return Some((Self::of(of_tls), of_tls.to_string()));
            }
            // What an `io::Error` wraps is not its source.
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(wrong) => Self::of_certificate(wrong),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        }
    }

    fn of_certificate(wrong: &CertificateError) -> Self {
        match wrong {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Authority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::Name
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            _ => Self::Other,
        }
    }

    /// A server that has begun to speak sends these only about the client's certificate (RFC 8446 section 6.2).
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::ClientRefused,
            _ => Self::Other,
        }
    }

    /// What to do. `ca` and `client` are the keys of the configuration that say who is believed and who one is; `name` is what the
    /// certificate must be for.
    #[must_use]
    pub fn way_out(self, name: &str, ca: &str, client: &str) -> String {
        match self {
            Self::Authority => format!(
                "put the certificate of the authority that signed it into {ca}, or have the server send its whole chain"
            ),
            Self::Name => format!(
                "its certificate must name \"{name}\": have it issued anew, or correct the address"
            ),
            Self::Expired => {
                "have its certificate renewed, or look at the clock of this box".to_owned()
            }
            Self::ClientRefused => format!(
                "the server wants a certificate of this box that its client_ca signed: see {client}"
            ),
            Self::NotTls => {
                "what listens there does not speak TLS: correct the address, or its scheme"
                    .to_owned()
            }
            Self::Other => "see the log of the server".to_owned(),
        }
    }
}
