//! lighttpd as its documents advise for files: sendfile, epoll, cached `stat`, no access log; as many requests per
//! connection as it can be told to allow (65535; the load reconnects then). TLS by mod_openssl, with tickets.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Setting, wait_for_listener};
use crate::process::Process;
use crate::tls::Security;

pub(super) fn start(setting: &Setting<'_>) -> Result<(Process, SocketAddr)> {
    let address = setting.free_address()?;
    let configuration = setting.folder.join("lighttpd.conf");
    std::fs::write(&configuration, text(setting, address))?;
    let log = setting.folder.join("log");
    let arguments = ["-D", "-f", &configuration.display().to_string()];
    let program = Path::new("/usr/sbin/lighttpd");
    let mut process = Process::start(program, &arguments, setting.place.clone(), &log)?;
    wait_for_listener(&mut process, address)?;
    Ok((process, address))
}

fn text(setting: &Setting<'_>, address: SocketAddr) -> String {
    let content = setting.content.display();
    // With 0 it serves itself, without a process beside it.
    let workers = Some(setting.workers())
        .filter(|&workers| workers > 1)
        .unwrap_or(0);
    let tls = setting.tls.map(tls_text).unwrap_or_default();
    format!(
        "server.document-root = \"{content}\"
server.bind = \"{}\"
server.port = {}
server.max-worker = {workers}
server.event-handler = \"linux-sysepoll\"
server.network-backend = \"sendfile\"
server.max-fds = 8192
server.max-connections = 4096
server.listen-backlog = 4096
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 600
server.max-read-idle = 600
server.max-write-idle = 600
server.stat-cache-engine = \"simple\"
mimetype.assign = ( \".mp4\" => \"video/mp4\" )
{tls}",
        address.ip(),
        address.port()
    )
}

fn tls_text(security: &Security) -> String {
    let (certificate, key) = (security.certificate.display(), security.key.display());
    let suite = security.suite;
    format!(
        "server.modules = ( \"mod_openssl\" )
ssl.engine = \"enable\"
ssl.pemfile = \"{certificate}\"
ssl.privkey = \"{key}\"
ssl.openssl.ssl-conf-cmd = (
    \"MinProtocol\" => \"TLSv1.2\",
    \"CipherString\" => \"{}\",
    \"Ciphersuites\" => \"{}\",
    \"Curves\" => \"X25519\",
    \"Options\" => \"SessionTicket\"
)
",
        suite.openssl12(),
        suite.openssl13()
    )
}
