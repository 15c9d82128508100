//! The sandbox, on a thread of its own: what a thread is kept to ends with it.

#![cfg(target_os = "linux")]

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use platform::sandbox::{Rules, Sandbox, enforce, existing};

/// Runs `work` behind rules, and gives what the kernel made of them. Without Landlock there is nothing to try but that it is said.
fn behind(rules: Rules, work: impl FnOnce() + Send + 'static) -> Sandbox {
    let running = thread::spawn(move || {
        let sandbox = enforce(&rules);
        if sandbox.enforced {
            work();
        } else {
            assert!(!sandbox.detail.is_empty());
        }
        sandbox
    });
    running.join().expect("it does not panic")
}

#[track_caller]
fn forbidden<T>(tried: std::io::Result<T>) {
    let kind = tried.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::PermissionDenied));
}

/// Where the kernel was built with Landlock, only its command line can have left it out.
#[track_caller]
fn enforced_if_it_can_be(sandbox: &Sandbox) {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let is_built = symbols.contains("landlock_restrict_self");
    let is_off = sandbox.detail.contains("lsm=");
    assert!(sandbox.enforced || !is_built || is_off, "{sandbox:?}");
}

#[test]
fn what_no_rule_names_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    for name in ["devices/nvme0", "state", "other"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("devices/nvme0/a.col"), "content").unwrap();
    fs::write(root.join("other/secret"), "secret").unwrap();
    let mut open = File::open(root.join("other/secret")).unwrap();
    let rules = Rules {
        read: vec![root.join("devices")],
        write: vec![root.join("state")],
        files: vec!["/dev/null".into()],
    };
    let sandbox = behind(rules, move || {
        let devices = root.join("devices");
        assert_eq!(fs::read(devices.join("nvme0/a.col")).unwrap(), b"content");
        assert_eq!(fs::read_dir(devices.join("nvme0")).unwrap().count(), 1);
        let write = |path: &Path| OpenOptions::new().write(true).open(path);
        forbidden(write(&devices.join("nvme0/a.col")));
        forbidden(fs::write(devices.join("nvme0/new"), "x"));
        forbidden(fs::remove_file(devices.join("nvme0/a.col")));
        forbidden(fs::create_dir(devices.join("nvme2")));

        fs::write(root.join("state/new"), "x").unwrap();
        fs::rename(root.join("state/new"), root.join("state/drain.json")).unwrap();
        UnixListener::bind(root.join("state/daemon.sock")).unwrap();
        fs::remove_file(root.join("state/drain.json")).unwrap();

        forbidden(File::open(root.join("other/secret")));
        forbidden(fs::read_dir(root.join("other")));
        forbidden(fs::write(root.join("other/new"), "x"));
        forbidden(fs::rename(
            root.join("state/daemon.sock"),
            root.join("other/s"),
        ));
        // By another name, it is the same file.
        let by_process = Path::new("/proc/self/root").join(root.strip_prefix("/").unwrap());
        forbidden(File::open(by_process.join("other/secret")));
        // What was open before stays open, and threads that are started are kept to the same.
        assert_eq!(std::io::read_to_string(&mut open).unwrap(), "secret");
        let started = thread::spawn(move || forbidden(File::open(root.join("other/secret"))));
        started.join().unwrap();
        let status = fs::read_to_string("/proc/thread-self/status");
        forbidden(status);
        write(Path::new("/dev/null")).unwrap();
    });
    enforced_if_it_can_be(&sandbox);
    assert!(!sandbox.enforced || sandbox.no_new_privileges);
}

#[test]
fn another_device_in_the_same_place_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let devices = folder.path().join("devices");
    fs::create_dir_all(devices.join("nvme0")).unwrap();
    let rules = Rules {
        read: vec![devices.clone()],
        ..Rules::default()
    };
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (swapped, is_swapped) = std::sync::mpsc::channel::<()>();
    let path = devices.join("nvme0/new.col");
    let watching = thread::spawn(move || {
        behind(rules, move || {
            ready.send(()).unwrap();
            is_swapped.recv().unwrap();
            assert_eq!(fs::read(path).unwrap(), b"new");
        })
    });
    // An error: there is no Landlock, and nobody waits.
    if is_ready.recv().is_ok() {
        fs::rename(devices.join("nvme0"), folder.path().join("pulled")).unwrap();
        fs::create_dir(devices.join("nvme0")).unwrap();
        fs::write(devices.join("nvme0/new.col"), "new").unwrap();
        swapped.send(()).unwrap();
    }
    watching.join().unwrap();
}

#[test]
fn no_program_that_is_started_gets_more_rights() {
    let rules = Rules {
        read: vec!["/proc".into()],
        ..Rules::default()
    };
    let sandbox = behind(rules, || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    });
    enforced_if_it_can_be(&sandbox);
}

#[test]
fn of_what_is_not_there_the_folder_above_counts() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(existing(&folder.path().join("a/b")), folder.path());
    assert_eq!(existing(folder.path()), folder.path());
    assert_eq!(existing(Path::new("/nonexistent")), Path::new("/"));
}
