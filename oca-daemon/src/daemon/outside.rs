//! What `oca-daemon check` tries of the machine, as the daemon would when it starts: its addresses, the folders that it writes to, and the
//! files by which the control endpoint knows it. A daemon that runs already has its addresses.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use platform::file::{try_to_write, way_out};
use platform::{sandbox, socket, user};
use protocol::config::Config;
use protocol::limits::LINE_MAX_BYTES;
use protocol::operator::{self, Request, Response};

use super::Findings;
use crate::listener::cannot_listen;
use crate::report::endpoint::Endpoint;

/// A daemon that runs has answered long before.
const STATUS_WAIT: Duration = Duration::from_secs(5);

/// What the service manager holds for the daemon is root's.
const SOCKET_UNIT: &str = "; if oca-daemon.socket holds it for a daemon that is stopped, only root can tell: run this as root";

pub(super) fn look(config: &Config, findings: &mut Findings) {
    addresses(config, findings);
    folders(config, findings);
    let control = config.control.as_ref();
    let endpoint = control.map(|control| Endpoint::new(control, &config.appliance.id));
    let faults = endpoint.map(|endpoint| endpoint.check());
    findings.faults.extend(faults.into_iter().flatten());
}

fn addresses(config: &Config, findings: &mut Findings) {
    let listen = &config.listen;
    let running = running(&config.daemon_socket());
    let is_held = |wanted: SocketAddr| {
        let held = running.as_ref();
        held.is_none_or(|held| held.iter().any(|held| covers(*held, wanted)))
    };
    for (key, addresses) in [
        ("http", &listen.http[..]),
        ("https", &listen.https),
        ("admin", &[listen.admin]),
        ("metrics", &listen.metrics),
    ] {
        for address in addresses {
            let Err(error) = socket::try_address(*address) else {
                continue;
            };
            match error.kind() {
                ErrorKind::AddrInUse if is_held(*address) => {}
                // The daemon's unit may allow what this user may not.
                ErrorKind::PermissionDenied => findings.notes.push(format!(
                    "[listen] {key}: {address} was not tried: this user may not listen there"
                )),
                kind => {
                    let fault = cannot_listen(key, *address, &error);
                    let is_others = kind == ErrorKind::AddrInUse && user::effective() != 0;
                    let remark = if is_others { SOCKET_UNIT } else { "" };
                    findings.faults.push(format!("{fault}{remark}"));
                }
            }
        }
    }
}

/// Whether who listens at `held` is there for all who come to `wanted`, or a part of them.
fn covers(held: SocketAddr, wanted: SocketAddr) -> bool {
    let is_any = held.ip().is_unspecified() || wanted.ip().is_unspecified();
    held.port() == wanted.port() && (is_any || held.ip() == wanted.ip())
}

/// Where the daemon listens that answers at `socket`; `None` if there is one and it does not say.
fn running(socket: &Path) -> Option<Vec<SocketAddr>> {
    match status(socket) {
        Ok(Response::Status(status)) => {
            let listeners = status.listeners.iter();
            Some(listeners.map(|listener| listener.address).collect())
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Some(Vec::new())
        }
        _ => None,
    }
}

fn status(socket: &Path) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(STATUS_WAIT))?;
    stream.set_write_timeout(Some(STATUS_WAIT))?;
    stream.write_all(&operator::encode(&Request::Status))?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(LINE_MAX_BYTES as u64);
    reader.read_until(b'\n', &mut line)?;
    operator::decode(&line).map_err(io::Error::other)
}

fn folders(config: &Config, findings: &mut Findings) {
    let appliance = &config.appliance;
    for (key, folder) in [
        ("appliance.state_dir", &appliance.state_dir),
        ("appliance.run_dir", &appliance.run_dir),
    ] {
        findings.faults.extend(unwritable(key, folder));
    }
    let log = config.log.access.as_ref();
    findings
        .faults
        .extend(log.and_then(|log| unwritable_log(&log.path)));
}

/// Of a log that is there it is enough that lines can be added to it.
fn unwritable_log(path: &Path) -> Option<String> {
    const KEY: &str = "log.access";
    if path.exists() {
        let opened = File::options().append(true).open(path);
        return opened.err().map(|error| cannot_write(KEY, path, &error));
    }
    let folder = path.parent().filter(|folder| folder.is_dir())?;
    unwritable(KEY, folder)
}

/// Why a folder, or the one in which it will be made, cannot be written to. Who starts the daemon may make what this user may not.
fn unwritable(key: &str, folder: &Path) -> Option<String> {
    let error = try_to_write(sandbox::existing(folder)).err()?;
    let is_made_by_another = !folder.exists() && error.kind() == ErrorKind::PermissionDenied;
    (!is_made_by_another).then(|| cannot_write(key, folder, &error))
}

/// Says so of the folder of what operators want, which a daemon that serves can do without.
pub(super) fn warn_of_state_dir(config: &Config) {
    let folder = &config.appliance.state_dir;
    if let Err(error) = try_to_write(sandbox::existing(folder)) {
        let problem = cannot_write("appliance.state_dir", folder, &error);
        tracing::error!("{problem}. Until then a drain is refused: it would not survive a restart");
    }
}

fn cannot_write(key: &str, path: &Path, error: &io::Error) -> String {
    let path = path.display();
    format!(
        "{key}: {path} cannot be written to: {error}; {}",
        way_out(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_covered_by_itself_and_by_any() {
        for (held, wanted, is_covered) in [
            ("192.0.2.1:80", "192.0.2.1:80", true),
            ("192.0.2.1:80", "192.0.2.1:81", false),
            ("192.0.2.1:80", "192.0.2.2:80", false),
            ("0.0.0.0:80", "192.0.2.1:80", true),
            ("192.0.2.1:80", "0.0.0.0:80", true),
        ] {
            let [held, wanted] = [held, wanted].map(|text| text.parse().unwrap());
            assert_eq!(covers(held, wanted), is_covered, "{held} {wanted}");
        }
    }
}
