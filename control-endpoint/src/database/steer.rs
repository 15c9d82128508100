//! What steering keeps: drains that were granted, and the routes that appliances hear. And who holds what a path leads to.

use std::collections::HashMap;

use anyhow::Result;
use protocol::root::Root;

use super::{Database, int, now, root, uint};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The object.
    pub root: Root,
    /// The appliances that hold it.
    pub holders: Vec<String>,
}

impl Database {
    /// Who holds what `path` leads to; `None`: nothing is published there.
    ///
    /// # Errors
    /// Of the database.
    pub async fn held_at(&self, path: &str) -> Result<Option<Held>> {
        let rows: Vec<(Vec<u8>, Option<String>)> = sqlx::query_as(
            "SELECT object.root, inventory.appliance FROM path JOIN object ON object.id = path.object
             LEFT JOIN inventory ON inventory.root = object.root WHERE path = ?",
        )
        .bind(path)
        .fetch_all(&self.pool)
        .await?;
        let Some((bytes, _)) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Held {
            root: root(bytes)?,
            holders: rows.into_iter().filter_map(|row| row.1).collect(),
        }))
    }

    /// Keeps that `appliance` may leave.
    ///
    /// # Errors
    /// Of the database.
    pub async fn let_leave(&self, appliance: &str, until: u64) -> Result<()> {
        sqlx::query("UPDATE appliance SET leaving_until = ? WHERE id = ?")
            .bind(int(until))
            .bind(appliance)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Until when each appliance may leave.
    ///
    /// # Errors
    /// Of the database.
    pub async fn leaving(&self) -> Result<HashMap<String, u64>> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT id, leaving_until FROM appliance")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(id, until)| (id, uint(until)))
            .collect())
    }

    /// The lines of a table of routes, packed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn route_table(&self, digest: Root) -> Result<Option<Vec<u8>>> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT lines FROM route_table WHERE digest = ?")
                .bind(&digest.0[..])
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|row| row.0))
    }

    /// Keeps a table of routes, and forgets those that are not `used` and older than a day.
    ///
    /// # Errors
    /// Of the database.
    pub async fn put_route_table(&self, digest: Root, lines: &[u8], used: &[Root]) -> Result<()> {
        let mut change = self.change().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO route_table (digest, received, lines) VALUES (?, ?, ?)",
        )
        .bind(&digest.0[..])
        .bind(int(now()))
        .bind(lines)
        .execute(&mut *change)
        .await?;
        let old: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT digest FROM route_table WHERE received < ?")
                .bind(int(now().saturating_sub(86_400)))
                .fetch_all(&mut *change)
                .await?;
        for (old,) in old {
            if !used.iter().any(|used| used.0[..] == old) {
                sqlx::query("DELETE FROM route_table WHERE digest = ?")
                    .bind(old)
                    .execute(&mut *change)
                    .await?;
            }
        }
        change.commit().await?;
        Ok(())
    }
}
