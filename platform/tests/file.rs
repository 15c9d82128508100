//! Files as the store writes and reads them: exact lengths, no page cache, a full disk seen early.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use platform::file::{self, Directness, WRITE_BYTES};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 4096) as u8).collect()
}

/// How many of the file's pages are in the page cache, `mincore(2)`.
fn cached_pages(path: &Path) -> usize {
    let file = File::open(path).unwrap();
    // SAFETY: nobody changes the file while the test runs.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    let mut pages = vec![0u8; map.len().div_ceil(4096)];
    // SAFETY: the mapping is alive and `pages` has a byte for each of its pages.
    let result = unsafe {
        libc::mincore(
            map.as_ptr().cast_mut().cast(),
            map.len(),
            pages.as_mut_ptr().cast(),
        )
    };
    assert_eq!(result, 0);
    pages.iter().filter(|page| **page & 1 == 1).count()
}

fn write(path: &Path, content: &[u8], hint: u64) -> Directness {
    let mut writer = file::create_direct(path, hint).unwrap();
    // Odd pieces, so that they never fall on the writer's own bounds.
    for piece in content.chunks(70_001) {
        writer.write_all(piece).unwrap();
    }
    assert_eq!(writer.length(), content.len() as u64);
    let directness = writer.directness();
    let written = writer.finish().unwrap();
    assert_eq!(written.metadata().unwrap().len(), content.len() as u64);
    directness
}

#[test]
fn written_files_have_exact_length_and_content() {
    let folder = tempfile::tempdir().unwrap();
    let around = [
        0,
        1,
        4095,
        4096,
        4097,
        WRITE_BYTES - 1,
        WRITE_BYTES,
        WRITE_BYTES + 1,
        3 * WRITE_BYTES + 12_345,
    ];
    for length in around {
        for hint in [0, length as u64 + 1, 2 * length as u64 + 9_999] {
            let path = folder.path().join(format!("{length}-{hint}"));
            let content = pattern(length);
            write(&path, &content, hint);
            assert!(
                std::fs::read(&path).unwrap() == content,
                "length {length}, hint {hint}"
            );
        }
    }
}

#[test]
fn a_writer_goes_on_where_another_was_killed() {
    let memory = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let content = pattern(3 * WRITE_BYTES + 12_345);
    let moments = [
        0,
        5,
        WRITE_BYTES,
        WRITE_BYTES + 4097,
        2 * WRITE_BYTES,
        content.len(),
    ];
    for (number, written) in moments.into_iter().enumerate() {
        for (folder, hint) in [(&memory, 0), (&disk, content.len() as u64)] {
            let path = folder.path().join(format!("{number}"));
            let mut file = content[..written].to_vec();
            file.resize(file.len().max(hint as usize), 0);
            std::fs::write(&path, &file).unwrap();
            let mut writer = file::resume_direct(&path, written as u64).unwrap();
            assert_eq!(writer.length(), written as u64);
            writer.write_all(&content[written..]).unwrap();
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == content, "{written}");
            let refused = file::resume_direct(&path, content.len() as u64 + 1).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn direct_writes_and_reads_leave_the_page_cache_alone() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("column");
    let content = pattern(3 * WRITE_BYTES + 500);
    assert_eq!(
        write(&path, &content, 0),
        Directness::Direct,
        "needs a target folder on a disk's file system"
    );
    assert_eq!(cached_pages(&path), 0);

    let (opened, directness) = file::open_direct(&path).unwrap();
    assert_eq!(directness, Directness::Direct);
    let mut memory = memmap2::MmapMut::map_anon(4 * WRITE_BYTES).unwrap();
    let read = opened.read_at(&mut memory, 0).unwrap();
    assert_eq!(read, content.len(), "a read across the end is short");
    assert!(memory[..read] == content);
    assert_eq!(cached_pages(&path), 0);
}

#[test]
fn an_existing_file_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("column");
    write(&path, b"first", 0);
    assert_eq!(
        file::create_direct(&path, 0).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_file_systems_are_called_buffered() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("column");
    let content = pattern((9 << 20) + 77);
    assert_eq!(
        write(&path, &content, content.len() as u64),
        Directness::Buffered
    );
    assert!(std::fs::read(&path).unwrap() == content);
    assert_eq!(file::open_direct(&path).unwrap().1, Directness::Buffered);
}

/// Runs one test of this file again, alone, in a mount namespace of its own. Root needs no more; anyone else becomes root of a user namespace.
#[cfg(target_os = "linux")]
fn in_own_mounts(test: &str, script: &str) {
    // SAFETY: geteuid only returns a number.
    let flags = if unsafe { libc::geteuid() } == 0 {
        "-m"
    } else {
        "-Urm"
    };
    let this = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("unshare")
        .args([
            flags,
            "sh",
            "-ec",
            &format!("{script}\nexec \"$0\" --exact \"$1\" --nocapture"),
        ])
        .arg(&this)
        .arg(test)
        .env("OWN_MOUNTS", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_seen_early() {
    let Some(folder) = std::env::var_os("OWN_MOUNTS") else {
        let script = "mount --make-rprivate / && mount -t tmpfs -o size=4m tiny \"$OWN_MOUNTS\"";
        return in_own_mounts("a_full_disk_is_seen_early", script);
    };
    let folder = Path::new(&folder);
    let path = folder.join("column");
    let refused = file::create_direct(&path, 5 << 20).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    assert!(!path.exists(), "the empty file is removed");

    let mut unannounced = file::create_direct(&path, 0).unwrap();
    let content = pattern(5 << 20);
    let refused = unannounced.write_all(&content).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    let space = file::space(folder).unwrap();
    assert_eq!(space.total_bytes, 4 << 20);
    assert_eq!(space.available_bytes, 0);
}
