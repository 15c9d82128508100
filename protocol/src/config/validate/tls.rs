//! `[tls]`

use super::{Findings, absolute};
use crate::config::{Config, Suite, Tls, TlsVersion};
use crate::limits::{CERTIFICATES_MAX, HANDSHAKE_TIMEOUT_MAX};
use crate::units::Interval;

pub(super) fn tls(config: &Config, findings: &mut Findings<'_, '_>) {
    let Some(tls) = &config.tls else {
        if !config.listen.https.is_empty() {
            findings.add(
                "listen.https",
                "has addresses, but there is no [tls]; allowed: [] or a section [tls] with \
                 certificates = [{ cert = \"..\", key = \"..\" }]",
            );
        }
        return;
    };
    certificates(tls, findings);
    suites(tls, findings);
    if !(Interval::from_seconds(1)..=HANDSHAKE_TIMEOUT_MAX).contains(&tls.handshake_timeout) {
        findings.add(
            "tls.handshake_timeout",
            format!(
                "is {}; allowed: 1 s to {HANDSHAKE_TIMEOUT_MAX}",
                tls.handshake_timeout
            ),
        );
    }
}

fn certificates(tls: &Tls, findings: &mut Findings<'_, '_>) {
    if tls.certificates.is_empty() || tls.certificates.len() > CERTIFICATES_MAX {
        findings.add(
            "tls.certificates",
            format!(
                "has {}; allowed: 1 to {CERTIFICATES_MAX} of {{ cert = \"..\", key = \"..\" }}",
                tls.certificates.len()
            ),
        );
    }
    for (index, files) in tls.certificates.iter().enumerate() {
        let key = |name: &str| format!("tls.certificates.{index}.{name}");
        absolute(&files.cert, &key("cert"), findings);
        absolute(&files.key, &key("key"), findings);
        let before = &tls.certificates[..index];
        if before.iter().any(|other| other.cert == files.cert) {
            findings.add(
                &key("cert"),
                format!(
                    "\"{}\" is there twice; allowed: each file once",
                    files.cert.display()
                ),
            );
        }
    }
    if let Some(authorities) = &tls.client_ca {
        absolute(authorities, "tls.client_ca", findings);
    }
}

/// A version without a suite would be offered, and end in a failed handshake for each viewer who takes it.
fn suites(tls: &Tls, findings: &mut Findings<'_, '_>) {
    let spoken = |version| {
        tls.suites
            .iter()
            .any(|suite: &Suite| suite.version() == version)
    };
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let least = tls.min_version;
        if version >= least && !spoken(version) {
            findings.add(
                "tls.suites",
                format!(
                    "names no suite of TLS {}; allowed with min_version = \"{}\": one or more of each version from it on",
                    version.as_str(),
                    least.as_str()
                ),
            );
        }
        if version < least && tls.suites != Suite::ALL && spoken(version) {
            findings.add(
                "tls.suites",
                format!(
                    "names a suite of TLS {}; allowed with min_version = \"{}\": only those of versions from it on",
                    version.as_str(),
                    least.as_str()
                ),
            );
        }
    }
    let twice = |(index, suite): (usize, &Suite)| tls.suites[..index].contains(suite);
    if tls.suites.iter().enumerate().any(twice) {
        findings.add("tls.suites", "names a suite twice; allowed: each once");
    }
}
