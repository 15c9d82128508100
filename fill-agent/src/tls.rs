//! Whom the agent believes over https, who it is there, and how often that went wrong.
//!
//! Control endpoint, peers and upstream appliances are the operator's own: `control.ca` and `control.client` are for them. Origins
//! that a manifest names may be anybody's: `fill.origin_ca`, and they see no certificate of this box.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use protocol::config::{Certificate, Config};
use rustls::ClientConfig;
use trust::{Client, ClientError, Fault, Identity};

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The control endpoint.
    Control,
    /// A peer or an upstream appliance.
    Appliance,
    /// An origin.
    Origin,
}

impl Side {
    /// All, for metrics.
    pub const ALL: [Self; 3] = [Self::Control, Self::Appliance, Self::Origin];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Appliance => "appliance",
            Self::Origin => "origin",
        }
    }
}

/// Handshakes that failed, by who was asked and why.
#[derive(Debug, Default)]
pub struct Failures([[AtomicU64; Fault::ALL.len()]; Side::ALL.len()]);

impl Failures {
    /// Each pair of words with its count, also 0.
    pub fn counts(&self) -> impl Iterator<Item = (Side, Fault, u64)> {
        let of = |side: Side| {
            let faults = Fault::ALL.into_iter().zip(&self.0[side as usize]);
            faults.map(move |(fault, count)| (side, fault, count.load(Relaxed)))
        };
        Side::ALL.into_iter().flat_map(of)
    }
}

/// The files that a configuration names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files<'c> {
    /// `control.ca`.
    pub ca: Option<&'c PathBuf>,
    /// `control.client`.
    pub client: Option<&'c Certificate>,
    /// `fill.origin_ca`.
    pub origin_ca: Option<&'c PathBuf>,
}

impl<'c> Files<'c> {
    /// Of a configuration.
    #[must_use]
    pub fn of(config: &'c Config) -> Self {
        let (control, fill) = (config.control.as_ref(), config.fill.as_ref());
        Self {
            ca: control.and_then(|control| control.ca.as_ref()),
            client: control.and_then(|control| control.client.as_ref()),
            origin_ca: fill.and_then(|fill| fill.origin_ca.as_ref()),
        }
    }
}

/// What the configuration says of TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    fleet: Arc<Client>,
    origins: Arc<Client>,
    failures: Arc<Failures>,
}

impl Tls {
    /// Of these files; reads none yet. Failures are counted in `failures`.
    #[must_use]
    pub fn new(files: &Files<'_>, failures: Arc<Failures>) -> Self {
        let identity = files.client.map(|client| Identity {
            cert: client.cert.clone(),
            key: client.key.clone(),
        });
        Self {
            fleet: Arc::new(Client::new(files.ca.cloned(), identity)),
            origins: Arc::new(Client::new(files.origin_ca.cloned(), None)),
            failures,
        }
    }

    /// For a handshake now; the same one as before if no file has changed.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub async fn config(&self, side: Side) -> Result<Arc<ClientConfig>, ClientError> {
        let client = Arc::clone(self.client(side));
        // The files are on a disk that may be slow.
        let read = tokio::task::spawn_blocking(move || client.config());
        read.await.expect("reading files does not panic")
    }

    /// What is wrong with the files that are named, whether they will be needed or not.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let clients = [&self.fleet, &self.origins];
        let named = clients.into_iter().filter(|client| client.names_files());
        let checked = named.filter_map(|client| client.check().err());
        checked.map(|error| error.to_string()).collect()
    }

    /// Counts a failed handshake with the one called `name`. Gives what happened and what to do.
    pub fn failed(&self, side: Side, name: &str, fault: Fault, said: &str) -> String {
        self.failures.0[side as usize][fault as usize].fetch_add(1, Relaxed);
        let (ca, client) = match side {
            Side::Control | Side::Appliance => ("control.ca", "control.client"),
            Side::Origin => ("fill.origin_ca", "docs/operate.md: origins are shown none"),
        };
        format!("{said}; {}", fault.way_out(name, ca, client))
    }

    fn client(&self, side: Side) -> &Arc<Client> {
        match side {
            Side::Control | Side::Appliance => &self.fleet,
            Side::Origin => &self.origins,
        }
    }
}
