//! Opening an LMDB environment: the one call of `heed` that the compiler cannot vouch for, because it maps a file.

use std::path::Path;

use heed::{Env, EnvOpenOptions, WithoutTls};

/// Opens, or creates, the environment in `folder`, with durable commits and a map of exactly `map_bytes` (a multiple of
/// the page; address space, not disk). Read transactions are not tied to a thread.
///
/// The caller sees to it that nothing but LMDB writes to or truncates the files in `folder` while it is open, that it
/// lies on a local file system, and that its pages were looked over before: LMDB trusts them.
///
/// # Errors
/// `EnvAlreadyOpened` if this process has it open; else what LMDB or the kernel says.
pub fn open(folder: &Path, map_bytes: usize, readers: u32) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_bytes).max_readers(readers);
    // SAFETY: the map stays valid as long as the file is only changed by LMDB under its own locks; the folder belongs to the appliance
    // alone, no flag that weakens locking or syncing is set, and `heed` keeps this process from mapping it twice.
    unsafe { options.open(folder) }
}
