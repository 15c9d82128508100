//! What appliances report: the last report of each, its inventory, and the popularity that comes of all of them.

use std::collections::HashMap;

use anyhow::Result;
use protocol::control::{Inventory, Report};
use protocol::manifest::Serial;
use protocol::root::Root;

use super::{Change, Database, int, manifests, now, uint, wish};
use crate::limits::{EPOCH_MAX, REPORT_KEPT_BYTES};
use crate::popularity;

/// The last report of one appliance. Its inventory and what it served are empty: they are stored by themselves.
#[derive(Debug, Clone)]
pub struct Kept {
    /// When it came, by our clock.
    pub received: u64,
    /// What it said.
    pub report: Report,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// `Answer::known`.
    pub known: Option<(u64, u64)>,
    /// The epoch that it made necessary.
    pub raised: Option<u64>,
}

impl Database {
    /// Takes a report, as a whole. One that came before (the answer was lost, and it was sent again) counts once.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take_report(&self, mut report: Report) -> Result<Taken> {
        let served = std::mem::take(&mut report.served);
        let empty = Inventory {
            revision: 0,
            since: None,
            added: Vec::new(),
            removed: Vec::new(),
        };
        let inventory = std::mem::replace(&mut report.inventory, empty);
        let mut body = serde_json::to_string(&report)?;
        if body.len() > REPORT_KEPT_BYTES {
            report.steering = serde_json::Value::Null;
            report.misses.clear();
            body = serde_json::to_string(&report)?;
        }
        let mut change = self.change().await?;
        let before = last(&mut change, &report.appliance).await?;
        if let Some((started, sequence, revision)) = before
            && started == report.started
            && report.sequence <= sequence
        {
            return Ok(Taken {
                known: revision.map(|revision| (started, revision)),
                raised: None,
            });
        }
        if stands_elsewhere(&mut change, &report).await? {
            wish(&mut change).await?;
        }
        keep(&mut change, &report, &body).await?;
        let known = before.and_then(|(started, _, revision)| Some((started, revision?)));
        let known = take_inventory(&mut change, &report, &inventory, known).await?;
        for object in served {
            add_popularity(&mut change, &report.appliance, object.root, object.bytes).await?;
        }
        let raised = raise_epoch(&mut change, &report).await?;
        change.commit().await?;
        Ok(Taken { known, raised })
    }

    /// The last reports, by appliance.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reports(&self) -> Result<HashMap<String, Kept>> {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT appliance, received, body FROM report")
                .fetch_all(&self.pool)
                .await?;
        let kept = |(appliance, received, body): (String, i64, String)| {
            let report = serde_json::from_str(&body).ok()?;
            Some((
                appliance,
                Kept {
                    received: uint(received),
                    report,
                },
            ))
        };
        // One that another release wrote is as good as none: the next comes in seconds.
        Ok(rows.into_iter().filter_map(kept).collect())
    }

    /// How many objects each appliance holds.
    ///
    /// # Errors
    /// Of the database.
    pub async fn held(&self) -> Result<HashMap<String, u64>> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT appliance, count(*) FROM inventory GROUP BY appliance")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(appliance, held)| (appliance, uint(held)))
            .collect())
    }

    /// Forgets what nobody has asked for in a long time.
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget_unpopular(&self) -> Result<()> {
        sqlx::query("DELETE FROM popularity WHERE weight < ?")
            .bind(popularity::weight(1, now()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

type Last = (u64, u64, Option<u64>);

async fn last(change: &mut Change, appliance: &str) -> Result<Option<Last>> {
    let row: Option<(i64, i64, Option<i64>)> =
        sqlx::query_as("SELECT started, sequence, revision FROM report WHERE appliance = ?")
            .bind(appliance)
            .fetch_optional(&mut **change)
            .await?;
    Ok(
        row.map(|(started, sequence, revision)| {
            (uint(started), uint(sequence), revision.map(uint))
        }),
    )
}

/// Whether its cluster does not know yet how large it is, or where it can be fetched from.
async fn stands_elsewhere(change: &mut Change, report: &Report) -> Result<bool> {
    let before: Option<(String,)> =
        sqlx::query_as("SELECT body ->> 'serves_at' FROM report WHERE appliance = ?")
            .bind(&report.appliance)
            .fetch_optional(&mut **change)
            .await?;
    let before = before.and_then(|(urls,)| serde_json::from_str::<Vec<String>>(&urls).ok());
    Ok(before.as_ref() != Some(&report.serves_at))
}

async fn keep(change: &mut Change, report: &Report, body: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO report (appliance, received, started, sequence, body) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (appliance) DO UPDATE SET received = excluded.received, started = excluded.started,
           sequence = excluded.sequence, body = excluded.body",
    )
    .bind(&report.appliance)
    .bind(int(now()))
    .bind(int(report.started))
    .bind(int(report.sequence))
    .bind(body)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Gives the state that is known then. Changes to a state that is not known here are left: the answer makes the next report list all.
async fn take_inventory(
    change: &mut Change,
    report: &Report,
    inventory: &Inventory,
    known: Option<(u64, u64)>,
) -> Result<Option<(u64, u64)>> {
    match inventory.since {
        None => {
            sqlx::query("DELETE FROM inventory WHERE appliance = ?")
                .bind(&report.appliance)
                .execute(&mut **change)
                .await?;
        }
        Some(since) if known == Some((report.started, since)) => {}
        Some(_) => return forget_state(change, &report.appliance).await,
    }
    for removed in &inventory.removed {
        sqlx::query("DELETE FROM inventory WHERE appliance = ? AND root = ?")
            .bind(&report.appliance)
            .bind(&removed.0[..])
            .execute(&mut **change)
            .await?;
    }
    for added in &inventory.added {
        sqlx::query("INSERT OR IGNORE INTO inventory (appliance, root) VALUES (?, ?)")
            .bind(&report.appliance)
            .bind(&added.0[..])
            .execute(&mut **change)
            .await?;
    }
    sqlx::query("UPDATE report SET revision = ? WHERE appliance = ?")
        .bind(int(inventory.revision))
        .bind(&report.appliance)
        .execute(&mut **change)
        .await?;
    Ok(Some((report.started, inventory.revision)))
}

/// The objects stay until all are listed anew: they are most likely right.
async fn forget_state(change: &mut Change, appliance: &str) -> Result<Option<(u64, u64)>> {
    sqlx::query("UPDATE report SET revision = NULL WHERE appliance = ?")
        .bind(appliance)
        .execute(&mut **change)
        .await?;
    Ok(None)
}

async fn add_popularity(
    change: &mut Change,
    appliance: &str,
    root: Root,
    bytes: u64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO popularity (cluster, root, weight) SELECT cluster, ?, ? FROM appliance WHERE id = ?
         ON CONFLICT (cluster, root) DO UPDATE SET weight = weight + excluded.weight",
    )
    .bind(&root.0[..])
    .bind(popularity::weight(bytes, now()))
    .bind(appliance)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// An appliance that has accepted a number that was never given: this database was put back by copying an old file. Its numbers
/// would be refused by the whole fleet, so the epoch is raised above all that is known to be out there.
async fn raise_epoch(change: &mut Change, report: &Report) -> Result<Option<u64>> {
    let Some(fill) = &report.fill else {
        return Ok(None);
    };
    let (epoch, number, tombstones): (i64, i64, i64) =
        sqlx::query_as("SELECT epoch, number, tombstones FROM endpoint")
            .fetch_one(&mut **change)
            .await?;
    let ours = |number: i64| Serial {
        epoch: uint(epoch),
        number: uint(number),
    };
    let manifest = fill.manifest.as_ref().map(|facts| facts.serial);
    let held = fill.held.as_ref().map(|held| held.serial);
    let newest = manifest.max(held).filter(|serial| *serial > ours(number));
    let newest = newest.max(fill.tombstones.filter(|serial| *serial > ours(tombstones)));
    let other = other_of_same_serial(change, report).await?;
    let Some(newest) = newest.max(other).filter(|serial| serial.epoch < EPOCH_MAX) else {
        return Ok(None);
    };
    manifests::raise(change, newest.epoch + 1).await?;
    Ok(Some(newest.epoch + 1))
}

/// The number of the manifest in force there, if we gave that number to another one.
async fn other_of_same_serial(change: &mut Change, report: &Report) -> Result<Option<Serial>> {
    let Some(facts) = report.fill.as_ref().and_then(|fill| fill.manifest.as_ref()) else {
        return Ok(None);
    };
    let other: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM manifest WHERE appliance = ? AND epoch = ? AND number = ? AND built_at <> ?",
    )
    .bind(&report.appliance)
    .bind(int(facts.serial.epoch))
    .bind(int(facts.serial.number))
    .bind(int(facts.built_at))
    .fetch_optional(&mut **change)
    .await?;
    Ok(other.map(|_| facts.serial))
}
