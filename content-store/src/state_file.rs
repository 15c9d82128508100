//! Small documents in `state_dir`: one line of JSON with a format, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::limits::MAX_STATE_FILE_BYTES;

/// The version of all documents here. A new field leaves it; a changed meaning raises it.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written<T> {
    format: u32,
    #[serde(flatten)]
    document: T,
}

#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

/// What was kept last; the default if nothing was. A file that is damaged is never taken for one that is missing. `removing` says what
/// comes of removing the file. Blocks on the state disk.
pub(crate) fn read<T: DeserializeOwned + Default>(
    path: &Path,
    removing: &'static str,
) -> Result<T, StoreError> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        opened => opened
            .and_then(|file| file.take(MAX_STATE_FILE_BYTES).read_to_end(&mut text))
            .map_err(StoreError::io("read", path))?,
    };
    let unusable = |cause: String| StoreError::StateFile {
        path: path.into(),
        cause,
        removing,
    };
    let damaged = |error: serde_json::Error| unusable(format!("it is damaged: {error}"));
    let OnlyFormat { format } = serde_json::from_slice(&text).map_err(damaged)?;
    if format > FORMAT {
        return Err(unusable(format!(
            "it has format {format}, this program reads up to {FORMAT}: install the newer release"
        )));
    }
    let written: Written<T> = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(written.document)
}

/// Keeps it; it is on the disk when this returns. It belongs to whom the folder belongs, whoever writes it.
pub(crate) fn write<T: Serialize>(path: &Path, document: &T) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let replace = || -> io::Result<()> {
        let beside = path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        let written = Written {
            format: FORMAT,
            document,
        };
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        give_to_owner_of(folder, &beside)?;
        fs::rename(&beside, path)?;
        platform::file::sync_directory(folder)
    };
    replace().map_err(StoreError::io("write", path))
}

/// What root writes, the programs' own user must be able to replace.
pub(crate) fn give_to_owner_of(folder: &Path, file: &Path) -> io::Result<()> {
    let (owner, now) = (fs::metadata(folder)?, fs::metadata(file)?);
    if owner.uid() == now.uid() {
        return Ok(());
    }
    chown(file, Some(owner.uid()), Some(owner.gid()))
}
