//! `[tls]`: what clients are shown, and which of them are let in. Files are read again when they change, or at SIGHUP; new ones that are
//! no good leave the old ones in force.

mod listener;

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use command_line::said::in_full;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use tokio::signal::unix::Signal;
use tokio::time::sleep;
use trust::{Stamp, Validity, pem};

use super::App;
use crate::config::Tls;
use crate::limits::LOOK_AT_CERTIFICATES;

pub(super) use listener::TlsListener;

/// What handshakes take.
pub(super) struct Keys {
    files: Tls,
    loaded: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The first of a chain to end says when; seconds since 1970-01-01 UTC.
    not_after: i64,
}

impl Keys {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them. Certificates that are over are no error here: they would be as bad for a server that does not start.
    pub(super) fn load(files: Tls) -> Result<Self> {
        let loaded = load(&files).context("[tls]")?;
        if let Err(over) = still_good(&files) {
            tracing::error!("[tls]: {}", in_full(over.as_ref()));
        }
        Ok(Self {
            files,
            loaded: Mutex::new(loaded),
        })
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded().config)
    }

    /// When the certificate ends, in seconds since 1970-01-01 UTC.
    pub(super) fn not_after(&self) -> i64 {
        self.loaded().not_after
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded
            .lock()
            .expect("nothing panics while it holds this")
    }

    fn reload(&self, app: &App) {
        match still_good(&self.files).and_then(|()| load(&self.files)) {
            Ok(loaded) => {
                *self.loaded() = loaded;
                app.metrics.certificates("read");
                tracing::info!("[tls]: the certificate was read again");
            }
            Err(error) => {
                app.metrics.certificates("refused");
                let why = in_full(error.as_ref());
                tracing::error!("[tls]: the old certificate stays in force: {why}");
            }
        }
    }
}

/// Reads the files again at SIGHUP, and when they have changed and then not changed any more: a chain and its key are two files.
pub(super) async fn watch(app: Arc<App>, mut hang_up: Signal) {
    let Some(keys) = &app.keys else {
        // Whoever sends it means no end of the program.
        while hang_up.recv().await.is_some() {
            tracing::info!("SIGHUP: without [tls] nothing is read again; all else takes a restart");
        }
        return;
    };
    let mut read = Stamp::of(files(&keys.files));
    let mut seen = read.clone();
    loop {
        let is_told = tokio::select! {
            _ = hang_up.recv() => true,
            () = sleep(LOOK_AT_CERTIFICATES) => false,
        };
        let now = Stamp::of(files(&keys.files));
        if is_told || (now != read && now == seen) {
            read = now.clone();
            keys.reload(&app);
        }
        seen = now;
    }
}

/// Whether the files could be served with, and are still good.
///
/// # Errors
/// What is wrong, with the file and what to do.
pub(super) fn check(files: &Tls) -> Result<()> {
    load(files).context("[tls]")?;
    still_good(files).context("[tls]")
}

fn files(tls: &Tls) -> impl Iterator<Item = &Path> {
    let files = [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()];
    files.into_iter().flatten().map(AsRef::as_ref)
}

fn still_good(files: &Tls) -> Result<()> {
    Ok(Validity::check(
        &pem::certificates(&files.cert)?,
        &files.cert,
    )?)
}

fn load(files: &Tls) -> Result<Loaded> {
    let pair = pem::certified(&files.cert, &files.key)?;
    let ends = pair.cert.iter().filter_map(Validity::of);
    let not_after = ends.map(|validity| validity.not_after).min();
    let builder = ServerConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        Some(file) => {
            let roots = Arc::new(pem::authorities(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, trust::provider());
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        not_after: not_after.unwrap_or(0),
    })
}
