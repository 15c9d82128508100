//! The newest manifest of each appliance. Its sealed bytes are a file, sent without reading it into memory; the row names it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::manifest::Serial;

use super::{Change, Database, int, uint};

/// What is known of a manifest that was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Its number.
    pub serial: Serial,
    /// When it was built.
    pub built_at: u64,
    /// When it ends.
    pub not_after: u64,
    /// Objects in it, by roots.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// BLAKE3 of all that it says beside number and times.
    pub content: [u8; 32],
}

impl Database {
    /// The newest manifest for an appliance.
    ///
    /// # Errors
    /// Of the database.
    pub async fn manifest(&self, appliance: &str) -> Result<Option<Built>> {
        type Row = (i64, i64, i64, i64, i64, i64, Vec<u8>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT epoch, number, built_at, not_after, objects, bytes, content FROM manifest WHERE appliance = ?",
        )
        .bind(appliance)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Built {
            serial: Serial {
                epoch: uint(row.0),
                number: uint(row.1),
            },
            built_at: uint(row.2),
            not_after: uint(row.3),
            objects: uint(row.4),
            bytes: uint(row.5),
            content: row.6.try_into().unwrap_or_default(),
        }))
    }

    /// The same, unless it is of an older epoch: appliances would refuse it, and another one is about to be built.
    ///
    /// # Errors
    /// Of the database.
    pub async fn manifest_in_force(&self, appliance: &str) -> Result<Option<Built>> {
        let epoch = uint(self.endpoint().await?.epoch);
        let newest = self.manifest(appliance).await?;
        Ok(newest.filter(|built| built.serial.epoch == epoch))
    }

    /// Where the sealed bytes of a manifest are.
    #[must_use]
    pub fn manifest_file(&self, appliance: &str, serial: Serial) -> PathBuf {
        self.state_dir()
            .join("manifests")
            .join(format!("{appliance}@{serial}"))
    }

    /// The next number. Numbers are given once, also when the build fails after it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn next_serial(&self) -> Result<Serial> {
        let (epoch, number): (i64, i64) =
            sqlx::query_as("UPDATE endpoint SET number = number + 1 RETURNING epoch, number")
                .fetch_one(&self.pool)
                .await?;
        Ok(Serial {
            epoch: uint(epoch),
            number: uint(number),
        })
    }

    /// Puts a manifest into force: the file first, then the row, then the old file goes. `false`: the appliance was removed, or
    /// the epoch was raised meanwhile.
    ///
    /// # Errors
    /// Of the disk or the database.
    pub async fn put_manifest(
        &self,
        appliance: &str,
        built: &Built,
        sealed: &[u8],
    ) -> Result<bool> {
        let file = self.manifest_file(appliance, built.serial);
        write_durably(&file, sealed)?;
        let old = self.manifest(appliance).await?;
        let mut change = self.change().await?;
        let done = sqlx::query(
            "INSERT OR REPLACE INTO manifest (appliance, epoch, number, built_at, not_after, objects, bytes, content)
             SELECT id, ?, ?, ?, ?, ?, ?, ? FROM appliance, endpoint WHERE id = ? AND epoch = ?",
        )
        .bind(int(built.serial.epoch))
        .bind(int(built.serial.number))
        .bind(int(built.built_at))
        .bind(int(built.not_after))
        .bind(int(built.objects))
        .bind(int(built.bytes))
        .bind(&built.content[..])
        .bind(appliance)
        .bind(int(built.serial.epoch))
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        let taken = done.rows_affected() == 1;
        let unused = if taken {
            old.map(|old| self.manifest_file(appliance, old.serial))
        } else {
            Some(file)
        };
        if let Some(unused) = unused {
            // Who is sending it goes on: the file is open. One that stays is removed by `tidy_manifests`.
            let _ = fs::remove_file(unused);
        }
        Ok(taken)
    }

    /// Removes files that no row names: of removed appliances, of builds that were killed.
    ///
    /// # Errors
    /// Of the disk or the database.
    pub async fn tidy_manifests(&self) -> Result<()> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT appliance, epoch, number FROM manifest")
                .fetch_all(&self.pool)
                .await?;
        let named = |(appliance, epoch, number): &(String, i64, i64)| {
            self.manifest_file(
                appliance,
                Serial {
                    epoch: uint(*epoch),
                    number: uint(*number),
                },
            )
        };
        let named: Vec<PathBuf> = rows.iter().map(named).collect();
        let folder = self.state_dir().join("manifests");
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(());
        };
        for file in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if !named.contains(&file) {
                fs::remove_file(&file)
                    .with_context(|| format!("cannot delete {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// When the first manifest ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn first_end(&self) -> Result<Option<u64>> {
        let (end,): (Option<i64>,) = sqlx::query_as("SELECT min(not_after) FROM manifest")
            .fetch_one(&self.pool)
            .await?;
        Ok(end.map(uint))
    }

    /// A build of all manifests has ended; it has seen `wish`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn built_all(&self, wish: i64, at: u64) -> Result<()> {
        sqlx::query("UPDATE endpoint SET built_wish = ?, built_at = ?")
            .bind(wish)
            .bind(int(at))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// A new epoch: all manifests are to be built anew.
pub(super) async fn raise(change: &mut Change, epoch: u64) -> Result<()> {
    sqlx::query("UPDATE endpoint SET epoch = ?, wish = wish + 1")
        .bind(int(epoch))
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// The file is whole and on the disk when this returns, or it is not there.
pub(crate) fn write_durably(file: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let folder = file.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(cannot)?;
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let mut open = File::create(&temporary).with_context(cannot)?;
    open.write_all(bytes).with_context(cannot)?;
    open.sync_all().with_context(cannot)?;
    fs::rename(&temporary, file).with_context(cannot)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(cannot)
}
