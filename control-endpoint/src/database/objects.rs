//! Bytes by root, and the paths that lead to them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use protocol::root::Root;

use super::{Change, Database, int, root, tombstones, uint, wish};

/// A path that shall lead to an object, and where the bytes are.
#[derive(Debug, Clone)]
pub struct Registration {
    /// URL path.
    pub path: String,
    /// The object.
    pub root: Root,
    /// Its size.
    pub size: u64,
    /// Group values of its chunk tree, one after another; empty if it has one group.
    pub tree: Vec<u8>,
    /// Where its bytes are.
    pub file: PathBuf,
    /// Whether the file is a copy of ours.
    pub owned: bool,
    /// Of the file.
    pub mtime_ns: i64,
    /// Value of `Content-Type`.
    pub content_type: String,
    /// Value of `Cache-Control`.
    pub cache_control: String,
    /// For `Last-Modified`.
    pub modified: u64,
    /// Bytes a day expected.
    pub demand: u64,
    /// When it was published.
    pub published: u64,
    /// Until when it is fetched outside the window; 0: it is not.
    pub urgent_until: u64,
}

/// Where the bytes of an object are.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Number of its row.
    pub id: i64,
    /// The object.
    pub root: Root,
    /// Its size.
    pub size: u64,
    /// The file.
    pub file: PathBuf,
    /// When the file was last written to, as it was registered.
    pub mtime_ns: i64,
    /// Why the file does not hold it any more.
    pub broken: Option<String>,
}

/// One path, for lists.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Published {
    /// The path.
    pub path: String,
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Value of `Content-Type`.
    pub content_type: String,
    /// Bytes a day expected when it was published.
    pub demand: u64,
    /// When it was published.
    pub published: u64,
    /// Why its bytes cannot be had here any more.
    pub broken: Option<String>,
}

impl Database {
    /// Publishes a batch: all or none. With `urgent_until` in one of them, manifests are built soon.
    ///
    /// # Errors
    /// Of the database.
    pub async fn register(&self, batch: &[Registration]) -> Result<()> {
        let mut change = self.change().await?;
        for new in batch {
            // Whoever deletes an unreachable copy does it within a change: what is there now stays.
            ensure!(
                !new.owned || new.file.exists(),
                "{} has vanished meanwhile: try again",
                new.file.display()
            );
            let object = register_object(&mut change, new).await?;
            register_path(&mut change, new, object).await?;
            tombstones::lift(&mut change, &new.path, &new.root.0).await?;
        }
        if batch.iter().any(|new| new.urgent_until > 0) {
            wish(&mut change).await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// The object with this root.
    ///
    /// # Errors
    /// Of the database.
    pub async fn object(&self, wanted: Root) -> Result<Option<Stored>> {
        type Row = (i64, i64, Vec<u8>, i64, Option<String>);
        let row: Option<Row> =
            sqlx::query_as("SELECT id, size, file, mtime_ns, broken FROM object WHERE root = ?")
                .bind(&wanted.0[..])
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(id, size, file, mtime_ns, broken)| Stored {
            id,
            root: wanted,
            size: uint(size),
            file: PathBuf::from(std::ffi::OsString::from_vec(file)),
            mtime_ns,
            broken,
        }))
    }

    /// The object that `path` leads to, if it is registered with this very file and no doubt is known.
    ///
    /// # Errors
    /// Of the database.
    pub async fn is_registered(
        &self,
        path: &str,
        file: &Path,
        size: u64,
        mtime_ns: i64,
    ) -> Result<bool> {
        let row: Option<(i64,)> = sqlx::query_as(
            "SELECT 1 FROM path JOIN object ON object.id = path.object
             WHERE path = ? AND file = ? AND size = ? AND mtime_ns = ? AND broken IS NULL",
        )
        .bind(path)
        .bind(file.as_os_str().as_bytes())
        .bind(int(size))
        .bind(mtime_ns)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.is_some())
    }

    /// Changes what is expected of a path that is published.
    ///
    /// # Errors
    /// Of the database.
    pub async fn expect_of(
        &self,
        path: &str,
        demand: Option<u64>,
        urgent_until: u64,
        now: u64,
    ) -> Result<()> {
        let mut change = self.change().await?;
        if let Some(demand) = demand {
            sqlx::query("UPDATE path SET demand = ?, published = ? WHERE path = ?")
                .bind(int(demand))
                .bind(int(now))
                .bind(path)
                .execute(&mut *change)
                .await?;
        }
        if urgent_until > 0 {
            sqlx::query("UPDATE path SET urgent_until = ? WHERE path = ?")
                .bind(int(urgent_until))
                .bind(path)
                .execute(&mut *change)
                .await?;
            wish(&mut change).await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// Size and group values of the object with this root; no values if it has one group.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tree(&self, wanted: Root) -> Result<Option<Vec<u8>>> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT tree FROM object WHERE root = ?")
            .bind(&wanted.0[..])
            .fetch_optional(&self.pool)
            .await?;
        // One group: its only value is the root.
        Ok(row.map(|(tree,)| {
            if tree.is_empty() {
                wanted.0.to_vec()
            } else {
                tree
            }
        }))
    }

    /// Marks a file that does not hold its object any more; it is registered anew by the next ingest.
    ///
    /// # Errors
    /// Of the database.
    pub async fn mark_broken(&self, object: &Stored, why: &str) -> Result<()> {
        sqlx::query("UPDATE object SET broken = ? WHERE id = ? AND file = ? AND mtime_ns = ?")
            .bind(why)
            .bind(object.id)
            .bind(object.file.as_os_str().as_bytes())
            .bind(object.mtime_ns)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The next paths behind `after`, in their order.
    ///
    /// # Errors
    /// Of the database.
    pub async fn published(&self, after: &str, limit: u32) -> Result<Vec<Published>> {
        type Row = (String, Vec<u8>, i64, String, i64, i64, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT path, root, size, content_type, demand, published, broken
             FROM path JOIN object ON object.id = path.object WHERE path > ? ORDER BY path LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let published = |row: Row| {
            Ok(Published {
                path: row.0,
                root: root(&row.1)?,
                size: uint(row.2),
                content_type: row.3,
                demand: uint(row.4),
                published: uint(row.5),
                broken: row.6,
            })
        };
        rows.into_iter().map(published).collect()
    }

    /// Number of paths, of objects, their bytes, and of objects that are broken.
    ///
    /// # Errors
    /// Of the database.
    pub async fn counts(&self) -> Result<[u64; 4]> {
        let (paths,): (i64,) = sqlx::query_as("SELECT count(*) FROM path")
            .fetch_one(&self.pool)
            .await?;
        let (objects, bytes, broken): (i64, i64, i64) =
            sqlx::query_as("SELECT count(*), coalesce(sum(size), 0), count(broken) FROM object")
                .fetch_one(&self.pool)
                .await?;
        Ok([paths, objects, bytes, broken].map(uint))
    }

    /// Deletes a file of ours, unless the object of this root has it.
    ///
    /// # Errors
    /// Of the database, or of the file.
    pub async fn delete_unless_registered(&self, root: Option<Root>, file: &Path) -> Result<()> {
        // Within a change, so that nobody registers it meanwhile.
        let mut change = self.change().await?;
        let registered: Option<(i64,)> =
            sqlx::query_as("SELECT 1 FROM object WHERE root = ? AND owned AND file = ?")
                .bind(root.map(|root| root.0.to_vec()))
                .bind(file.as_os_str().as_bytes())
                .fetch_optional(&mut *change)
                .await?;
        if registered.is_none() {
            remove_file(file)?;
        }
        change.commit().await?;
        Ok(())
    }

    /// Forgets objects that no path leads to, and deletes those files of theirs that are ours.
    ///
    /// # Errors
    /// Of the database, or of a file.
    pub async fn forget_unreachable(&self) -> Result<()> {
        let mut change = self.change().await?;
        forget_unreachable(&mut change, None).await?;
        change.commit().await?;
        Ok(())
    }
}

/// All objects, or one. The files go before the commit: a row without a file is found again, a file without a row is not.
pub(super) async fn forget_unreachable(change: &mut Change, only: Option<i64>) -> Result<()> {
    let files: Vec<(Vec<u8>, bool)> = sqlx::query_as(
        "DELETE FROM object WHERE id NOT IN (SELECT object FROM path) AND coalesce(id = ?, TRUE) RETURNING file, owned",
    )
    .bind(only)
    .fetch_all(&mut **change)
    .await?;
    for (file, _) in files.iter().filter(|(_, owned)| *owned) {
        remove_file(Path::new(OsStr::from_bytes(file)))?;
    }
    Ok(())
}

fn remove_file(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", file.display()))
        }
        _ => Ok(()),
    }
}

async fn register_object(change: &mut Change, new: &Registration) -> Result<i64> {
    // A good copy of ours is kept: a file in place may change at any time.
    sqlx::query(
        "INSERT INTO object (root, size, file, owned, mtime_ns, tree) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (root) DO UPDATE SET file = excluded.file, owned = excluded.owned, mtime_ns = excluded.mtime_ns, broken = NULL
         WHERE NOT object.owned OR object.broken IS NOT NULL OR excluded.owned",
    )
    .bind(&new.root.0[..])
    .bind(int(new.size))
    .bind(new.file.as_os_str().as_bytes())
    .bind(new.owned)
    .bind(new.mtime_ns)
    .bind(&new.tree)
    .execute(&mut **change)
    .await?;
    let (id,) = sqlx::query_as("SELECT id FROM object WHERE root = ?")
        .bind(&new.root.0[..])
        .fetch_one(&mut **change)
        .await?;
    Ok(id)
}

async fn register_path(change: &mut Change, new: &Registration, object: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO path (path, object, content_type, cache_control, modified, demand, published, urgent_until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (path) DO UPDATE SET object = excluded.object, content_type = excluded.content_type,
           cache_control = excluded.cache_control, modified = excluded.modified, demand = excluded.demand,
           published = excluded.published, urgent_until = excluded.urgent_until",
    )
    .bind(&new.path)
    .bind(object)
    .bind(&new.content_type)
    .bind(&new.cache_control)
    .bind(int(new.modified))
    .bind(int(new.demand))
    .bind(int(new.published))
    .bind(int(new.urgent_until))
    .execute(&mut **change)
    .await?;
    Ok(())
}
