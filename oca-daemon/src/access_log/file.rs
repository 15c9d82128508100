//! The file of the access log: whole lines are added; it is put aside when it is long enough, and opened anew when somebody else did
//! that. A file system that is full, gone or hung is what this thread may wait for, and nobody else.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::config;

/// Readable for the group, as a collector needs it.
const MODE: u32 = 0o640;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// Bytes from which on it is put aside; 0: never.
    rotate: u64,
    keep: u16,
    file: Option<File>,
}

impl LogFile {
    /// Opens nothing yet.
    pub(super) fn new(settings: &config::AccessLog) -> Self {
        Self {
            path: settings.path.clone(),
            rotate: settings.rotate.bytes(),
            keep: settings.keep,
            file: None,
        }
    }

    /// Opens what is at the path now, and makes it if there is nothing.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    /// Adds `lines`. Returns how many of their bytes are in the file, which are whole lines, and what went wrong.
    pub(super) fn append(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let prepared = self.prepare(lines.len() as u64);
        let Some(file) = &self.file else {
            return (0, prepared);
        };
        let (written, result) = write(file, lines);
        // A file that cannot be put aside takes lines all the same, but that is said.
        (written, result.and(prepared))
    }

    fn prepare(&mut self, more: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return self.reopen();
        };
        let found = file.metadata()?;
        let is_long = found.len() > 0 && found.len() + more > self.rotate;
        if self.rotate > 0 && found.is_file() && is_long {
            self.put_aside()?;
            self.reopen()?;
        }
        Ok(())
    }

    /// `PATH.1` becomes `PATH.2` and so on, the last one goes, and the file becomes `PATH.1`.
    fn put_aside(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            rename_if_there(&self.aside(number), &self.aside(number + 1))?;
        }
        rename_if_there(&self.path, &self.aside(1))
    }

    fn aside(&self, number: u16) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file system may take a part and then no more: the part of a line is taken back.
fn write(mut file: &File, lines: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => return whole_lines(file, &lines[..written], ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return whole_lines(file, &lines[..written], error),
        }
    }
    (written, Ok(()))
}

fn whole_lines(file: &File, written: &[u8], error: io::Error) -> (usize, io::Result<()>) {
    let end = written.iter().rposition(|byte| *byte == b'\n');
    let whole = end.map_or(0, |at| at + 1);
    let torn = (written.len() - whole) as u64;
    if torn > 0 {
        // What is no plain file cannot take it back.
        let _ = file
            .metadata()
            .and_then(|found| file.set_len(found.len().saturating_sub(torn)));
    }
    (whole, Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::units::{ByteSize, Percent};

    fn file(path: PathBuf, rotate: u64, keep: u16) -> LogFile {
        LogFile::new(&config::AccessLog {
            path,
            sample: Percent::of(100),
            addresses: config::Addresses::Full,
            rotate: ByteSize::from_bytes(rotate),
            keep,
        })
    }

    fn append(file: &mut LogFile, lines: &str) {
        let (written, result) = file.append(lines.as_bytes());
        result.unwrap();
        assert_eq!(written, lines.len());
    }

    /// The files of a folder by name, each with its text.
    fn found(folder: &Path) -> Vec<(String, String)> {
        let files = fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    fn files(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        list.iter().map(owned).collect()
    }

    #[test]
    fn a_long_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = file(folder.path().join("a.log"), 8, 2);
        for line in ["one..\n", "two..\n", "six\n", "longer than all\n", "4\n"] {
            append(&mut log, line);
        }
        assert_eq!(
            found(folder.path()),
            files(&[
                ("a.log", "4\n"),
                ("a.log.1", "longer than all\n"),
                ("a.log.2", "six\n")
            ])
        );
    }

    #[test]
    fn without_files_to_keep_the_long_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = file(folder.path().join("a.log"), 4, 0);
        append(&mut log, "one\n");
        append(&mut log, "two\n");
        assert_eq!(found(folder.path()), files(&[("a.log", "two\n")]));
    }

    #[test]
    fn a_file_that_was_renamed_is_left_when_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = file(path.clone(), 0, 2);
        append(&mut log, "one\n");
        fs::rename(&path, folder.path().join("b.log")).unwrap();
        append(&mut log, "two\n");
        log.reopen().unwrap();
        append(&mut log, "three\n");
        assert_eq!(
            found(folder.path()),
            files(&[("a.log", "three\n"), ("b.log", "one\ntwo\n")])
        );
    }

    #[test]
    fn a_file_that_is_cut_by_another_is_written_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = file(path.clone(), 100, 2);
        append(&mut log, "one\n");
        fs::write(&path, "").unwrap();
        append(&mut log, "two\n");
        assert_eq!(found(folder.path()), files(&[("a.log", "two\n")]));
    }

    #[test]
    fn a_device_that_is_full_takes_nothing_and_a_missing_folder_is_said() {
        let (written, result) = file("/dev/full".into(), 100, 2).append(b"one\n");
        assert_eq!(written, 0);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
        let folder = tempfile::tempdir().unwrap();
        let mut log = file(folder.path().join("later/a.log"), 100, 2);
        assert_eq!(
            log.append(b"one\n").1.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        fs::create_dir(folder.path().join("later")).unwrap();
        append(&mut log, "two\n");
    }

    #[test]
    fn half_a_line_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "zero\none\ntw").unwrap();
        let file = open(&path).unwrap();
        let (whole, _) = whole_lines(&file, b"one\ntw", ErrorKind::StorageFull.into());
        assert_eq!(whole, 4);
        assert_eq!(fs::read_to_string(&path).unwrap(), "zero\none\n");
    }
}
