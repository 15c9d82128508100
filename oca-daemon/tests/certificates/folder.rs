//! A folder with certificates of an authority, and configurations that name them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oca_daemon::tls::Tls;
use protocol::config::{self, Certificate};
use protocol::paths::Paths;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use steering::UnixTime;
use tempfile::TempDir;

/// 2026-09-21.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

/// The years in which a certificate is valid, from the first of January.
pub(crate) const GOOD: (i32, i32) = (2020, 2049);
pub(crate) const OVER: (i32, i32) = (2010, 2020);
pub(crate) const TO_COME: (i32, i32) = (2048, 2049);

pub(crate) struct Folder {
    folder: TempDir,
    pub(crate) authority: CertifiedIssuer<'static, KeyPair>,
}

/// A chain and a key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) fn authority((from, to): (i32, i32)) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The leaf alone, without its issuer.
pub(crate) fn issue(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
    (from, to): (i32, i32),
) -> Issued {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().unwrap();
    Issued {
        chain: params.signed_by(&key, issuer).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            authority: authority(GOOD),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that its owner alone reads; its name.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn issue(&self, names: &[&str], years: (i32, i32)) -> Issued {
        issue(&self.authority, names, years)
    }

    /// The files `name.pem` and `name.key`.
    pub(crate) fn put(&self, name: &str, issued: &Issued) -> Certificate {
        self.write(&format!("{name}.pem"), &issued.chain);
        self.write(&format!("{name}.key"), &issued.key);
        self.files(name)
    }

    pub(crate) fn files(&self, name: &str) -> Certificate {
        Certificate {
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// The daemon's, with `more` in `[tls]`.
    pub(crate) fn tls(&self, certificates: &[Certificate], more: &str) -> anyhow::Result<Tls> {
        let listed = certificates.iter().map(|files| {
            let Certificate { cert, key } = files;
            format!("{{ cert = {cert:?}, key = {key:?} }}")
        });
        let listed: Vec<String> = listed.collect();
        let text = format!(
            "[appliance]\nid = \"a.b.c\"\n[listen]\nhttps = [\"127.0.0.1:8443\"]\n\
             [tls]\ncertificates = [{}]\n{more}\n\
             [[tier]]\nname = \"hot\"\nrole = \"hot\"\ndevices = [\"/a\"]\n",
            listed.join(", ")
        );
        let config = config::parse(&text, Path::new("oca.toml"), Paths::here()).unwrap();
        Ok(Tls::of(&config, NOW)?.unwrap())
    }
}
