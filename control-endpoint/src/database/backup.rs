//! Backup and restore.
//!
//! Appliances refuse serials older than what they have accepted. A backup is older, so restoring it begins a new epoch: its serials
//! are newer than all of the old one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::{Database, FILE, manifests};

/// Writes the whole database to a new file, while others use it.
///
/// # Errors
/// When the file exists or cannot be written; then there is no new file.
pub async fn write(database: &Database, file: &Path) -> Result<()> {
    let name = file
        .to_str()
        .with_context(|| format!("{}: its name is not UTF-8", file.display()))?;
    // SQLite takes an empty file, and says less of one that it cannot make.
    let made = File::create_new(file).map_err(|error| cannot_make(file, &error))?;
    let written = sqlx::query("VACUUM INTO ?")
        .bind(name)
        .execute(&database.pool)
        .await;
    let synced = match written {
        Ok(_) => made.sync_all().map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    synced.inspect_err(|_| drop(fs::remove_file(file))).with_context(|| {
        let file = file.display();
        format!("{file}: the backup was not written; name a file on another disk if this one is full")
    })
}

fn cannot_make(file: &Path, error: &io::Error) -> anyhow::Error {
    let file = file.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => anyhow!("{file} is there already; nothing is overwritten"),
        _ => anyhow!(
            "{file}: cannot be made: {error}; name a new file in a folder that is there and can be written"
        ),
    }
}

/// Puts a backup in the place of the database in `state_dir`; gives the new epoch. The old file stays beside it.
///
/// # Errors
/// When `serve` runs, or the file is no backup; then nothing has changed.
pub async fn restore(file: &Path, state_dir: &Path) -> Result<u64> {
    let _alone = crate::serve::lock(state_dir)?;
    let incoming = state_dir.join(format!("{FILE}.restored"));
    fs::copy(file, &incoming)
        .with_context(|| format!("cannot copy {} to {}", file.display(), incoming.display()))?;
    let old = epoch_of(state_dir).await;
    let restored = Database::open_file(&incoming, state_dir)
        .await
        .context("the backup cannot be used; nothing was changed")?;
    let epoch = super::uint(restored.endpoint().await?.epoch).max(old) + 1;
    let mut change = restored.change().await?;
    manifests::raise(&mut change, epoch).await?;
    // Times of builds and reports are of another day: all is built anew.
    sqlx::query("UPDATE endpoint SET built_at = 0")
        .execute(&mut *change)
        .await?;
    change.commit().await?;
    // Closing the last connection puts the log into the file.
    restored.close().await;
    File::open(&incoming)?.sync_all()?;
    put_in_place(state_dir, &incoming)?;
    Ok(epoch)
}

/// Of the database that is replaced, if it can still be read.
async fn epoch_of(state_dir: &Path) -> u64 {
    if !state_dir.join(FILE).exists() {
        return 0;
    }
    let Ok(database) = Database::open(state_dir).await else {
        return 0;
    };
    let epoch = database
        .endpoint()
        .await
        .map_or(0, |endpoint| super::uint(endpoint.epoch));
    database.close().await;
    epoch
}

fn put_in_place(state_dir: &Path, incoming: &Path) -> Result<()> {
    let place = state_dir.join(FILE);
    for end in ["", "-wal", "-shm"] {
        let from = state_dir.join(format!("{FILE}{end}"));
        if from.exists() {
            fs::rename(&from, state_dir.join(format!("{FILE}.replaced{end}")))
                .with_context(|| format!("cannot rename {}", from.display()))?;
        }
    }
    fs::rename(incoming, &place)
        .with_context(|| format!("cannot rename {}", incoming.display()))?;
    File::open(state_dir)
        .and_then(|folder| folder.sync_all())
        .context("cannot sync state_dir")
}
