//! Small documents in `state_dir`: one line of JSON with a format and a checksum, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use protocol::summed::{self, BadSum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::limits::MAX_STATE_FILE_BYTES;

/// The version of all documents here. A new field leaves it; a changed meaning raises it. From 2 on they carry a checksum
/// ([`protocol::summed`]).
const FORMAT: u32 = 2;

/// The last version without a checksum.
const UNSUMMED: u32 = 1;

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
    match summed::check(&text) {
        Ok(()) => {}
        Err(BadSum::Missing) if format == UNSUMMED => {}
        Err(cause) => return Err(unusable(format!("it is damaged: {cause}"))),
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
        file.write_all(&summed::sum(serde_json::to_vec(&written)?))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Document {
        devices: Vec<String>,
    }

    fn document() -> Document {
        Document {
            devices: vec!["nvme0".to_owned()],
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.json");
        write(&path, &document()).unwrap();
        assert_eq!(read::<Document>(&path, "").unwrap(), document());
        let text = fs::read(&path).unwrap();
        // The newline at the end says nothing.
        let length = text.len() - 1;
        for bit in 0..length * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(read::<Document>(&path, "").is_err(), "bit {bit}");
        }
        for cut in 0..length {
            fs::write(&path, &text[..cut]).unwrap();
            assert!(read::<Document>(&path, "").is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn the_version_before_is_read_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.json");
        fs::write(&path, b"{\"format\":1,\"devices\":[\"nvme0\"]}\n").unwrap();
        assert_eq!(read::<Document>(&path, "").unwrap(), document());
        fs::write(&path, b"{\"format\":2,\"devices\":[\"nvme0\"]}\n").unwrap();
        let unsummed = read::<Document>(&path, "").unwrap_err().to_string();
        assert!(unsummed.contains("checksum"), "{unsummed}");
        fs::write(&path, b"{\"format\":3}\n").unwrap();
        let newer = read::<Document>(&path, "").unwrap_err().to_string();
        assert!(newer.contains("install the newer release"), "{newer}");
    }
}
