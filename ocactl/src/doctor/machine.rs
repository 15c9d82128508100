//! The machine, as its own files tell of it. They lie below a folder that is `/` but in tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What is asked of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
    /// Whether what has no file may be asked of `sysctl(8)`.
    has_sysctl: bool,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
            has_sysctl: true,
        }
    }

    /// One that is made of files below `root`.
    #[cfg(test)]
    pub(super) fn at(root: &std::path::Path) -> Self {
        Self {
            root: root.to_path_buf(),
            has_sysctl: false,
        }
    }

    /// A file without the blanks at its ends; none if it cannot be read. `path` is without the first slash.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A number in a file.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// The names in a folder, in order.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path))
            .into_iter()
            .flatten();
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A setting of the kernel: sysctl(8).
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        let file = format!("proc/sys/{}", name.replace('.', "/"));
        self.read(&file).or_else(|| self.ask_sysctl(name))
    }

    fn ask_sysctl(&self, name: &str) -> Option<String> {
        if !self.has_sysctl {
            return None;
        }
        let asked = Command::new("sysctl")
            .args(["-n", name])
            .stdin(Stdio::null())
            .output();
        let answer = asked.ok().filter(|answer| answer.status.success())?;
        let text = String::from_utf8(answer.stdout).ok()?;
        Some(text.trim().to_owned())
    }
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use tempfile::TempDir;

    /// A machine of these files.
    pub(in crate::doctor) fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            let parent = path.parent().expect("below the folder");
            std::fs::create_dir_all(parent).expect("the folder is writable");
            std::fs::write(path, text).expect("the folder is writable");
        }
        let machine = Machine::at(folder.path());
        (folder, machine)
    }
}
