//! Entries of systemd's journal with a field for each value, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>):
//! `journalctl -u oca-daemon` shows the line, `journalctl -u oca-daemon OCA_DEVICE=nvme0` chooses by a value, `-p warning` by its weight.
//!
//! A journal that does not keep up delays nobody: what it does not take at once is left out, and counted in the next entry.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    program: &'static str,
    lost: AtomicU64,
}

/// The journal, if standard error leads there: systemd says so in `JOURNAL_STREAM` (systemd.exec(5)), which a child of a service whose
/// output leads elsewhere has inherited.
pub(super) fn of_standard_error(program: &'static str) -> Option<Journal> {
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let stream = io::stderr().as_fd().try_clone_to_owned().ok()?;
    let stream = std::fs::File::from(stream).metadata().ok()?;
    (named == format!("{}:{}", stream.dev(), stream.ino()))
        .then(|| Journal::open(program).ok())
        .flatten()
}

impl Journal {
    pub(super) fn open(program: &'static str) -> io::Result<Self> {
        Self::at(Path::new(SOCKET), program)
    }

    fn at(path: &Path, program: &'static str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // Nothing, which journald takes and forgets: is it there?
        socket.send_to(&[], path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            program,
            lost: AtomicU64::new(0),
        })
    }

    fn send(&self, entry: Entry, level: Level, target: &str) {
        let lost = self.lost.swap(0, Relaxed);
        let message = match lost {
            0 => entry.line(),
            lost => format!("{} ({lost} entries were lost before)", entry.line()),
        };
        let mut bytes = entry.fields;
        put(&mut bytes, "MESSAGE", &message);
        put(&mut bytes, "PRIORITY", priority(level));
        put(&mut bytes, "SYSLOG_IDENTIFIER", self.program);
        put(&mut bytes, "OCA_PART", target);
        match self.socket.send_to(&bytes, &self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.lost.fetch_add(lost + 1, Relaxed);
            }
            // Too long, or a journald that starts anew: the stream takes it.
            Err(_) => {
                let _ = writeln!(io::stderr(), "{message}");
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        self.send(entry, *event.metadata().level(), event.metadata().target());
    }
}

/// As syslog(3) counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// What an event says, in words and as fields.
#[derive(Default)]
struct Entry {
    message: String,
    values: String,
    fields: Vec<u8>,
}

impl Entry {
    fn line(&self) -> String {
        format!("{}{}", self.message, self.values)
    }

    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        let _ = write!(self.values, " {}={value}", field.name());
        // Upper case, digits and `_`, at most 64 of them (systemd.journal-fields(7)).
        let name = field.name().chars().map(|letter| match letter {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
            _ => '_',
        });
        let name: String = "OCA_".chars().chain(name).take(64).collect();
        put(&mut self.fields, &name, value);
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
}

/// `NAME=value`, or with its length where it has several lines.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_event_becomes_an_entry_with_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path, "oca-test").unwrap();
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            let (device, errors) = ("nvme0", 3);
            tracing::warn!(device, errors, why = %"one\ntwo", "a device fails");
        });
        let mut entry = [0; 4096];
        assert_eq!(
            journald.recv(&mut entry).unwrap(),
            0,
            "the first one asks whether it is there"
        );
        let length = journald.recv(&mut entry).unwrap();
        let mut expected =
            b"OCA_DEVICE=nvme0\nOCA_ERRORS=3\nOCA_WHY\n\x07\0\0\0\0\0\0\0one\ntwo\nMESSAGE\n"
                .to_vec();
        let message = "a device fails device=nvme0 errors=3 why=one\ntwo";
        expected.extend_from_slice(&(message.len() as u64).to_le_bytes());
        expected.extend_from_slice(message.as_bytes());
        expected.extend_from_slice(b"\nPRIORITY=4\nSYSLOG_IDENTIFIER=oca-test\nOCA_PART=command_line::log::journal::tests\n");
        assert_eq!(
            String::from_utf8_lossy(&entry[..length]),
            String::from_utf8_lossy(&expected)
        );
    }

    #[test]
    fn a_journal_that_does_not_keep_up_delays_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path, "oca-test").unwrap();
        let say = |message: &str| {
            let message = message.to_owned();
            let entry = Entry {
                message,
                ..Entry::default()
            };
            journal.send(entry, Level::INFO, "test");
        };
        while journal.lost.load(Relaxed) < 3 {
            say("more");
        }
        let mut entry = [0; 4096];
        journald.recv(&mut entry).unwrap();
        journald.set_nonblocking(true).unwrap();
        while journald.recv(&mut entry).is_ok() {}
        say("again");
        let length = journald.recv(&mut entry).unwrap();
        let said = String::from_utf8_lossy(&entry[..length]).into_owned();
        assert!(
            said.contains("MESSAGE=again (3 entries were lost before)\n"),
            "{said}"
        );
    }

    #[test]
    fn no_journald_is_no_journal() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journal::at(&folder.path().join("socket"), "oca-test").is_err());
    }
}
