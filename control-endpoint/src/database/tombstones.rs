//! Takedowns: what must not be held any more.

use anyhow::Result;
use protocol::manifest::Tombstone;

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

    /// Forgets those that every appliance has carried out long ago.
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget_old_tombstones(&self) -> Result<()> {
        let mut change = self.change().await?;
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
