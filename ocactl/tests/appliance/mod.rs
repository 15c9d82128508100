//! An appliance in a temporary folder, and `ocactl` run on it. Everything lies on one file system, so `shared_fs = true`.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod daemon;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use content_store::catalog::WriterLock;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Appliance {
    folder: TempDir,
}

/// What a command has said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Appliance {
    /// With four empty folders in two tiers.
    pub(crate) fn bare() -> Self {
        Self::bare_in(tempfile::tempdir().expect("a temporary folder"))
    }

    /// With four devices, in memory if this system has such a place: for what is done a hundred times.
    pub(crate) fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::bare_in(folder.expect("a temporary folder")).with_devices()
    }

    fn bare_in(folder: TempDir) -> Self {
        let appliance = Self { folder };
        for name in ["nvme0", "nvme1", "hdd0", "hdd1", "state", "run", "media"] {
            std::fs::create_dir(appliance.path(name)).expect("a new folder");
        }
        appliance.configure(|text| text);
        appliance
    }

    /// With four devices in two tiers.
    pub(crate) fn new() -> Self {
        Self::bare().with_devices()
    }

    fn with_devices(self) -> Self {
        for name in ["nvme0", "nvme1", "hdd0", "hdd1"] {
            let path = self.path(name);
            self.run(&["device", "add", text(&path)]).done();
        }
        self
    }

    /// Writes the configuration, changed.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let folder = self.folder.path().display();
        let plain = format!(
            "[appliance]\nid = \"c001.fra001.example\"\nstate_dir = \"{folder}/state\"\nrun_dir = \"{folder}/run\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\ndevices = [\"{folder}/nvme0\", \"{folder}/nvme1\"]\nshared_fs = true\n\
             [[tier]]\nname = \"hdd\"\nrole = \"capacity\"\ndevices = [\"{folder}/hdd0\", \"{folder}/hdd1\"]\nshared_fs = true\n"
        );
        std::fs::write(self.path("oca.toml"), change(plain)).expect("the folder is writable");
    }

    /// A place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in `media`.
    pub(crate) fn media(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("media").join(name);
        std::fs::create_dir_all(path.parent().expect("below media"))
            .expect("the folder is writable");
        std::fs::write(&path, bytes).expect("the folder is writable");
        path
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::cargo_bin("ocactl").expect("this package builds it");
        let output = command
            .arg("--config")
            .arg(self.path("oca.toml"))
            .args(arguments)
            .output();
        Said::of(&output.expect("it can be started"))
    }

    /// Runs it with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let said = self.run(&[arguments, &["--json"]].concat());
        (
            said.code,
            serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}")),
        )
    }

    pub(crate) fn import_media(&self) -> Said {
        self.run(&["content", "import", text(&self.path("media"))])
    }

    /// Until nobody writes: of a command that was killed, the child that did the work ends a little later.
    pub(crate) fn wait_for_writer(&self) {
        let begun = Instant::now();
        while WriterLock::take(&self.path("state"), "a test").is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it writes on");
            std::thread::yield_now();
        }
    }

    /// The paths that are published.
    pub(crate) fn published(&self) -> Vec<String> {
        let (_, listing) = self.json(&["content", "ls"]);
        let paths = listing["paths"].as_array().expect("a list");
        paths
            .iter()
            .map(|path| path["path"].as_str().expect("a text").to_owned())
            .collect()
    }

    /// All column files on all devices.
    pub(crate) fn columns(&self) -> Vec<PathBuf> {
        let mut columns = Vec::new();
        for device in ["nvme0", "nvme1", "hdd0", "hdd1"] {
            collect(&self.path(device).join("objects"), &mut columns);
        }
        columns.sort();
        columns
    }
}

fn collect(folder: &Path, columns: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, columns);
        } else if path.extension().is_some_and(|end| end == "col") {
            columns.push(path);
        }
    }
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have worked.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It must have ended with `code`, and said `words` on standard error.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "{words:?} is not in {self:?}");
        self
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
