//! Registered appliances and their tokens.

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Database, int, now, uint};

/// A registered appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appliance {
    /// `appliance.id`.
    pub id: String,
    /// Its site.
    pub site: String,
    /// Its cluster.
    pub cluster: String,
    /// Registered size of its tier of role `hot`.
    pub hot_bytes: Option<u64>,
    /// Registered size of its tier of role `capacity`.
    pub capacity_bytes: Option<u64>,
    /// Appliances it may fill from, the nearest first.
    pub upstreams: Vec<String>,
}

type Row = (String, String, String, Option<i64>, Option<i64>, String);

fn appliance(row: Row) -> Result<Appliance> {
    Ok(Appliance {
        id: row.0,
        site: row.1,
        cluster: row.2,
        hot_bytes: row.3.map(uint),
        capacity_bytes: row.4.map(uint),
        upstreams: serde_json::from_str(&row.5)?,
    })
}

/// What a token is stored as. A token has 256 random bits, so a plain hash cannot be searched.
fn hash(token: &str) -> Vec<u8> {
    blake3::hash(token.as_bytes()).as_bytes().to_vec()
}

/// A new secret: 32 random bytes in 43 letters.
pub(crate) fn new_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

impl Database {
    /// Registers one; gives its token, which is not kept. `None`: it is registered already.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_appliance(&self, new: &Appliance) -> Result<Option<String>> {
        let token = new_token()?;
        let mut change = self.change().await?;
        let done = sqlx::query(
            "INSERT INTO appliance (id, site, cluster, token_hash, registered, hot_bytes, capacity_bytes, upstreams)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&new.id)
        .bind(&new.site)
        .bind(&new.cluster)
        .bind(hash(&token))
        .bind(int(now()))
        .bind(new.hot_bytes.map(int))
        .bind(new.capacity_bytes.map(int))
        .bind(serde_json::to_string(&new.upstreams)?)
        .execute(&mut *change)
        .await?;
        super::wish(&mut change).await?;
        change.commit().await?;
        Ok((done.rows_affected() == 1).then_some(token))
    }

    /// Gives it another token; the old one is worth nothing from now on. `None`: no such appliance.
    ///
    /// # Errors
    /// Of the database.
    pub async fn renew_token(&self, id: &str) -> Result<Option<String>> {
        let token = new_token()?;
        let done = sqlx::query("UPDATE appliance SET token_hash = ? WHERE id = ?")
            .bind(hash(&token))
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok((done.rows_affected() == 1).then_some(token))
    }

    /// Forgets it, with its reports and its manifest. `false`: no such appliance.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_appliance(&self, id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM appliance WHERE id = ?")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// All of them, by id.
    ///
    /// # Errors
    /// Of the database.
    pub async fn appliances(&self) -> Result<Vec<Appliance>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, site, cluster, hot_bytes, capacity_bytes, upstreams FROM appliance ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(appliance).collect()
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn holder(&self, token: &str) -> Result<Option<String>> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT id FROM appliance WHERE token_hash = ?")
                .bind(hash(token))
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|row| row.0))
    }
}
