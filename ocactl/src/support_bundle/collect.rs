//! What is collected: the closed lists, and how each entry is asked within a bounded time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use protocol::config::Config;
use protocol::status::ListenerPurpose;

use super::Member;
use super::secrets::Secrets;
use crate::daemon::Daemon;
use crate::limits::{BUNDLE_MEMBER_BYTES, BUNDLE_MEMBER_TIMEOUT};

/// This program's own commands.
const OWN: [&str; 10] = [
    "status",
    "doctor",
    "check",
    "device ls",
    "fill status",
    "fill plan",
    "fill-window show",
    "scrub status",
    "tls ls",
    "bgp neighbors",
];

/// The system's: what Linux has, and what FreeBSD has. One that is not there is told so.
const SYSTEM: [&str; 14] = [
    "uname -a",
    "uptime",
    "df -h",
    "df -i",
    "mount",
    "lsblk -o NAME,SIZE,TYPE,FSTYPE,LABEL,MOUNTPOINT,MODEL,ROTA",
    "ip -s link",
    "ss -s",
    "timedatectl",
    "systemctl --no-pager status oca-daemon oca-fill-agent",
    "journalctl --no-pager --since=-2d -n 20000 -o short-iso -u oca-daemon -u oca-fill-agent",
    "dmesg",
    "netstat -ibn",
    "camcontrol devlist",
];

const FILES: [&str; 6] = [
    "/etc/os-release",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/interrupts",
    "/proc/diskstats",
    "/proc/net/tls_stat",
];

/// What concerns the appliance.
pub(super) fn of_appliance(path: &Path, config: &Config, secrets: &Secrets) -> Vec<Member> {
    let mut members = vec![configuration(config, secrets)];
    let program = std::env::current_exe().unwrap_or_else(|_| "ocactl".into());
    for words in OWN {
        let mut command = Command::new(&program);
        command.arg("--config").arg(path).arg("--json");
        command.args(words.split(' '));
        members.push(asked(&format!("ocactl-{}.json", joined(words)), command));
    }
    members.extend(metrics(config));
    members
}

/// What concerns the machine.
pub(super) fn of_system() -> Vec<Member> {
    let commands = SYSTEM.iter().map(|words| {
        let mut parts = words.split(' ');
        let mut command = Command::new(parts.next().unwrap_or_default());
        command.args(parts);
        let short: Vec<&str> = words
            .split(' ')
            .filter(|word| !word.contains(['=', ',']))
            .take(2)
            .collect();
        asked(&format!("system/{}.txt", joined(&short.join(" "))), command)
    });
    let files = FILES.iter().map(|file| Member {
        name: format!(
            "system{}",
            file.replace("/proc/", "/").replace("/etc/", "/")
        ),
        text: std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string()),
    });
    commands.chain(files).collect()
}

/// As a part of a file's name.
fn joined(words: &str) -> String {
    let parts = words.split([' ', '-']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// What the configuration means. Its text has comments, in which anything may stand.
fn configuration(config: &Config, secrets: &Secrets) -> Member {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    without_queries(&mut value);
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    Member {
        name: "configuration.json".to_owned(),
        text: secrets.removed_from(&text),
    }
}

/// The query of an address may be a key to it.
fn without_queries(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if let (true, Some(at)) = (text.contains("://"), text.find('?')) {
                text.truncate(at);
                text.push_str("?REMOVED");
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(without_queries),
        serde_json::Value::Object(map) => map.values_mut().for_each(without_queries),
        _ => {}
    }
}

/// The answers of both programs to `/metrics`, and the daemon's hint.
fn metrics(config: &Config) -> Vec<Member> {
    let status = Daemon::at(config.daemon_socket()).status().ok();
    let listeners = status.into_iter().flat_map(|status| status.listeners);
    let admin = listeners
        .filter(|it| it.purpose == ListenerPurpose::Admin)
        .map(|it| it.address)
        .next();
    let mut asked = Vec::new();
    if let Some(admin) = admin {
        asked.push(("daemon-metrics.txt", admin, "/metrics"));
        asked.push(("daemon-steering.json", admin, "/steering"));
    }
    if let Some(fill) = &config.fill {
        asked.push(("agent-metrics.txt", fill.metrics, "/metrics"));
    }
    let members = asked.into_iter().map(|(name, address, path)| Member {
        name: name.to_owned(),
        text: fetched(address, path)
            .unwrap_or_else(|error| format!("http://{address}{path}: {error}")),
    });
    members.collect()
}

/// HTTP/1.0 (RFC 1945), so that the answer ends with the connection. The head stays in front of it.
fn fetched(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, BUNDLE_MEMBER_TIMEOUT)?;
    stream.set_read_timeout(Some(BUNDLE_MEMBER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    Ok(bounded(stream))
}

/// What a command says, or why it says nothing. One that hangs on a disk is left behind.
fn asked(name: &str, command: Command) -> Member {
    let shown = format!("{command:?}");
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        // Nobody receives any more once the time is over.
        let _ = sender.send(said(command));
    });
    let answer = receiver.recv_timeout(BUNDLE_MEMBER_TIMEOUT);
    Member {
        name: name.to_owned(),
        text: match answer {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => format!("{shown}: {error}\n"),
            Err(_) => format!(
                "{shown}: no answer within {} s\n",
                BUNDLE_MEMBER_TIMEOUT.as_secs()
            ),
        },
    }
}

/// What it wrote to standard output; if that is nothing, what it complained of.
fn said(mut command: Command) -> std::io::Result<String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let complaint = child.stderr.take();
    let complaint = std::thread::spawn(move || complaint.map(bounded).unwrap_or_default());
    let mut text = child.stdout.take().map(bounded).unwrap_or_default();
    let complaint = complaint.join().unwrap_or_default();
    child.wait()?;
    if text.is_empty() {
        text = complaint;
    }
    Ok(text)
}

/// At most [`BUNDLE_MEMBER_BYTES`] of it; the rest is read and dropped, so that whoever writes can end.
fn bounded(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is worth having.
    let _ = from
        .by_ref()
        .take(BUNDLE_MEMBER_BYTES)
        .read_to_end(&mut bytes);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}
