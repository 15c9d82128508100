//! nginx as its documents advise for files: sendfile, `tcp_nopush`, `sendfile_max_chunk` against one fast client holding the
//! worker, a cache of open files, no access log; as many requests per connection as come. Or, as they advise against disks that block:
//! a pool of threads that reads past the page cache.
//!
//! With TLS it seals in its own process, records of 16 KiB each with a call of its own (`ssl_buffer_size`, its default and the largest; smaller
//! ones are for the first byte's sake); a larger `output_buffers` saves calls that read. Whoever comes back shows a ticket, and nothing is kept
//! in the server, as with ours.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Setting, wait_for_listener};
use crate::process::Process;
use crate::tls::Security;

/// How files are sent.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    Sendfile,
    /// What is larger than 4 KiB is read by threads, O_DIRECT.
    Threads,
}

impl Reading {
    fn text(self) -> &'static str {
        match self {
            Self::Sendfile => "",
            Self::Threads => "aio threads; directio 4k; output_buffers 2 512k;",
        }
    }
}

pub(super) fn start(setting: &Setting<'_>, reading: Reading) -> Result<(Process, SocketAddr)> {
    let address = setting.free_address()?;
    let configuration = setting.folder.join("nginx.conf");
    std::fs::write(&configuration, text(setting, address, reading))?;
    let log = setting.folder.join("log");
    let arguments = [
        "-p",
        &setting.folder.display().to_string(),
        "-c",
        &configuration.display().to_string(),
        "-e",
        "stderr",
    ];
    let mut process = Process::start(
        Path::new("/usr/sbin/nginx"),
        &arguments,
        setting.place.clone(),
        &log,
    )?;
    wait_for_listener(&mut process, address)?;
    Ok((process, address))
}

fn text(setting: &Setting<'_>, address: SocketAddr, reading: Reading) -> String {
    let folder = setting.folder.display();
    let reading = reading.text();
    let content = setting.content.display();
    let workers = setting.workers();
    let ssl = if setting.tls.is_some() { "ssl" } else { "" };
    let tls = setting.tls.map(tls_text).unwrap_or_default();
    format!(
        "daemon off;
worker_processes {workers};
user root;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 4096; use epoll; }}
http {{
    sendfile on;
    {reading}
    sendfile_max_chunk 1m;
    tcp_nopush on;
    tcp_nodelay on;
    access_log off;
    keepalive_timeout 600;
    keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=600s;
    open_file_cache_valid 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ video/mp4 mp4; }}
    server {{
        listen {address} {ssl} backlog=4096;
        {tls}
        root {content};
        # What is to be served from memory is not read past the page cache.
        location /hot/ {{ directio off; }}
    }}
}}
"
    )
}

fn tls_text(security: &Security) -> String {
    let (certificate, key) = (security.certificate.display(), security.key.display());
    let suite = security.suite;
    format!(
        "ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers {};
        ssl_conf_command Ciphersuites {};
        ssl_ecdh_curve X25519;
        ssl_session_tickets on;
        ssl_session_cache none;
        ssl_session_timeout 1d;
        ssl_buffer_size 16k;",
        suite.openssl12(),
        suite.openssl13()
    )
}
