//! Takedowns: what must not be held any more.

use anyhow::Result;
use protocol::limits::TOMBSTONES_MAX_BYTES;
use protocol::manifest::Tombstone;
use protocol::root::Root;

use super::{Change, Database, int, now, objects, root, uint, wish};
use crate::limits::TOMBSTONE_KEPT_S;

impl Database {
    /// Takes a path down, and deletes a copy of ours that nothing leads to any more. `false`: nothing is published there.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take_down(&self, path: &str) -> Result<bool> {
        let mut change = self.change().await?;
        let found: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT object.id, root FROM path JOIN object ON object.id = path.object WHERE path = ?",
        )
        .bind(path)
        .fetch_optional(&mut *change)
        .await?;
        let Some((object, root)) = found else {
            return Ok(false);
        };
        sqlx::query("INSERT OR REPLACE INTO tombstone (path, root, at) VALUES (?, ?, ?)")
            .bind(path)
            .bind(root)
            .bind(int(now()))
            .execute(&mut *change)
            .await?;
        sqlx::query("DELETE FROM path WHERE path = ?")
            .bind(path)
            .execute(&mut *change)
            .await?;
        objects::forget_unreachable(&mut change, Some(object)).await?;
        number(&mut change).await?;
        wish(&mut change).await?;
        change.commit().await?;
        Ok(true)
    }

    /// All of them, by path.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        let rows: Vec<(String, Vec<u8>, i64)> =
            sqlx::query_as("SELECT path, root, at FROM tombstone ORDER BY path, root")
                .fetch_all(&self.pool)
                .await?;
        let tombstone = |(path, bytes, at): (String, Vec<u8>, i64)| {
            Ok(Tombstone {
                path: path.into(),
                root: root(&bytes)?,
                at: uint(at),
            })
        };
        rows.into_iter().map(tombstone).collect()
    }

    /// When this object was taken down at this path, if it was.
    ///
    /// # Errors
    /// Of the database.
    pub async fn taken_down_at(&self, path: &str, root: Root) -> Result<Option<u64>> {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT at FROM tombstone WHERE path = ? AND root = ?")
                .bind(path)
                .bind(&root.0[..])
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(at,)| uint(at)))
    }

    /// Forgets those that every appliance has carried out long ago, and the oldest of more than fit in a list.
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget_old_tombstones(&self) -> Result<()> {
        let mut change = self.change().await?;
        if let Some(oldest) = oldest_that_fits(&mut change).await? {
            tracing::warn!(
                "more takedowns than fit in a list: those up to {oldest} s since 1970 are forgotten"
            );
            sqlx::query("DELETE FROM tombstone WHERE at <= ?")
                .bind(oldest)
                .execute(&mut *change)
                .await?;
            number(&mut change).await?;
        }
        let done = sqlx::query("DELETE FROM tombstone WHERE at < ?")
            .bind(int(now().saturating_sub(TOMBSTONE_KEPT_S)))
            .execute(&mut *change)
            .await?;
        if done.rows_affected() > 0 {
            number(&mut change).await?;
        }
        change.commit().await?;
        Ok(())
    }
}

/// `None`: all fit.
async fn oldest_that_fits(change: &mut Change) -> Result<Option<i64>> {
    // Newest first, as long as the sum of their bytes as JSON is within the limit; an escaped character has two bytes.
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT at FROM (SELECT at, sum(2 * octet_length(path) + 160) OVER (ORDER BY at DESC, path, root) AS bytes FROM tombstone)
         WHERE bytes > ? ORDER BY at DESC LIMIT 1",
    )
    .bind(int(TOMBSTONES_MAX_BYTES))
    .fetch_optional(&mut **change)
    .await?;
    Ok(row.map(|(at,)| at))
}

/// What is published again is not taken down any more.
pub(super) async fn lift(change: &mut Change, path: &str, root: &[u8]) -> Result<()> {
    let done = sqlx::query("DELETE FROM tombstone WHERE path = ? AND root = ?")
        .bind(path)
        .bind(root)
        .execute(&mut **change)
        .await?;
    if done.rows_affected() > 0 {
        number(change).await?;
    }
    Ok(())
}

/// The list has changed.
async fn number(change: &mut Change) -> Result<()> {
    sqlx::query("UPDATE endpoint SET tombstones = tombstones + 1, tombstones_at = ?")
        .bind(int(now()))
        .execute(&mut **change)
        .await?;
    Ok(())
}
