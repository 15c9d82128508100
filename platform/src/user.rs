//! Who this process is.

/// The user that file permissions are checked against; 0 is root.
#[must_use]
pub fn effective() -> u32 {
    // SAFETY: geteuid(2) has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_that_we_make_is_ours() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(file.metadata().unwrap().uid(), super::effective());
    }
}
