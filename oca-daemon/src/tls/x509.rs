//! What a certificate says of itself (RFC 5280), as far as operators and the choice by name need it.

use rustls::pki_types::CertificateDer;
use steering::UnixTime;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509 {
    /// The host names, in lower case; `*.example` for all names with one label more. Common names do not count (RFC 9525).
    pub names: Vec<String>,
    /// From when on it is valid.
    pub not_before: UnixTime,
    /// Until when.
    pub not_after: UnixTime,
    /// As in `ECDSA P-256` or `RSA 2048`.
    pub key_type: String,
}

impl X509 {
    /// # Errors
    /// Why it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let said = |error: x509_cert::der::Error| error.to_string();
        let parsed = Certificate::from_der(certificate).map_err(said)?;
        let parsed = parsed.tbs_certificate();
        let names = parsed.get_extension::<SubjectAltName>().map_err(said)?;
        let names = names.map_or_else(Vec::new, |(_, names)| names.0);
        Ok(Self {
            names: names.iter().filter_map(host_name).collect(),
            not_before: unix(parsed.validity().not_before),
            not_after: unix(parsed.validity().not_after),
            key_type: key_type(parsed.subject_public_key_info()),
        })
    }
}

fn host_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

fn unix(time: Time) -> UnixTime {
    UnixTime::from_seconds(time.to_unix_duration().as_secs())
}

/// RFC 3279, RFC 5480, RFC 8410.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

fn key_type(key: &SubjectPublicKeyInfoOwned) -> String {
    let parameters = key.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    match key.algorithm.oid {
        ED25519 => "Ed25519".to_owned(),
        RSA => modulus_bits(key.subject_public_key.raw_bytes())
            .map_or_else(|| "RSA".to_owned(), |bits| format!("RSA {bits}")),
        EC => match curve {
            Some(P256) => "ECDSA P-256".to_owned(),
            Some(P384) => "ECDSA P-384".to_owned(),
            Some(P521) => "ECDSA P-521".to_owned(),
            Some(other) => format!("ECDSA {other}"),
            None => "ECDSA".to_owned(),
        },
        other => other.to_string(),
    }
}

/// The first number of an RSAPublicKey (RFC 8017, appendix A.1.1).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let modulus = |reader: &mut SliceReader<'_>| {
        let bits = UintRef::decode(reader).map(|it| it.as_bytes().len() * 8);
        let rest = reader.remaining_len();
        reader.read_slice(rest)?;
        bits
    };
    let mut reader = SliceReader::new(key).ok()?;
    reader.sequence(modulus).ok()
}
