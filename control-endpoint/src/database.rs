//! The database in `state_dir`: SQLite with a write-ahead log. Whatever several processes (`serve`, `ingest`, `rm`) change, they
//! change in transactions, so one that is killed leaves the old state or the new one.
//!
//! One file for each kind of thing: [`appliances`], [`objects`], [`manifests`], [`reports`], [`steer`], [`tombstones`].

pub mod appliances;
pub mod backup;
pub mod manifests;
pub mod objects;
pub mod reports;
pub mod steer;
pub mod tombstones;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use protocol::root::Root;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::limits::{DATABASE_CONNECTIONS, DATABASE_PATIENCE};

/// Name of the file in `state_dir`.
pub const FILE: &str = "control.sqlite";

/// The database.
#[derive(Clone)]
pub struct Database {
    /// Connections to it.
    pub pool: SqlitePool,
    state_dir: PathBuf,
}

/// A change that is made as a whole or not at all.
pub type Change = Transaction<'static, Sqlite>;

/// The life of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Rises when the database was restored.
    pub epoch: i64,
    /// Number of the list of tombstones.
    pub tombstones: i64,
    /// When it last changed.
    pub tombstones_at: i64,
    /// Rises when something is published that must not wait.
    pub wish: i64,
    /// The last of them that a build has seen.
    pub built_wish: i64,
    /// The last number given to a manifest.
    pub number: i64,
    /// When all manifests were last built, or refused.
    pub built_at: i64,
}

impl Database {
    /// Opens or makes the database, and brings it to this release's form.
    ///
    /// # Errors
    /// When the folder cannot be written, the file is no database, or a newer release wrote it.
    pub async fn open(state_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(state_dir)
            .with_context(|| format!("cannot make {}", state_dir.display()))?;
        Self::open_file(&state_dir.join(FILE), state_dir).await
    }

    async fn open_file(file: &Path, state_dir: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a commit is on the disk when it returns, also after a loss of power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(DATABASE_PATIENCE)
            .foreign_keys(true)
            .row_buffer_size(1024);
        let pool = SqlitePoolOptions::new()
            .max_connections(DATABASE_CONNECTIONS)
            .connect_with(options)
            .await
            .with_context(|| format!("cannot open the database {}", file.display()))?;
        migrations()
            .run(&pool)
            .await
            .with_context(|| format!("{} is of another release", file.display()))?;
        Ok(Self {
            pool,
            state_dir: state_dir.to_owned(),
        })
    }

    /// Where sealed manifests and copied objects lie as well.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Begins a change; no other is made meanwhile.
    ///
    /// # Errors
    /// Of the database.
    pub async fn change(&self) -> Result<Change> {
        // IMMEDIATE: a transaction that reads first and then writes would fail if another wrote between.
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// Of the database.
    pub async fn endpoint(&self) -> Result<Endpoint> {
        let row = sqlx::query_as(
            "SELECT epoch, tombstones, tombstones_at, wish, built_wish, number, built_at FROM endpoint",
        );
        let row: (i64, i64, i64, i64, i64, i64, i64) = row.fetch_one(&self.pool).await?;
        Ok(Endpoint {
            epoch: row.0,
            tombstones: row.1,
            tombstones_at: row.2,
            wish: row.3,
            built_wish: row.4,
            number: row.5,
            built_at: row.6,
        })
    }

    /// Closes it; what the log holds is written to the file.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// Asks `serve` to build soon.
pub(crate) async fn wish(change: &mut Change) -> Result<()> {
    sqlx::query("UPDATE endpoint SET wish = wish + 1")
        .execute(&mut **change)
        .await?;
    Ok(())
}

fn migrations() -> Migrator {
    let step = |number, name: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![
        step(1, "start", include_str!("../migrations/0001_start.sql")),
        step(
            2,
            "steering",
            include_str!("../migrations/0002_steering.sql"),
        ),
    ])
}

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// As SQLite stores numbers. Nothing that is stored is larger: sizes end at 4 TiB, the rest is time and counts.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(crate) fn root(bytes: &[u8]) -> Result<Root> {
    let bytes = bytes
        .try_into()
        .context("the database has a root that is not of 32 bytes")?;
    Ok(Root(bytes))
}
