//! Builds manifests: the database's content goes through [`crate::builder`], what comes out is compared with what is in
//! force, judged, signed, and put into force.
//!
//! Refused is what an operator most likely did not mean: a manifest without objects, or with fewer than half the objects of the
//! one in force. That one stays; serving and fills go on.

mod load;

pub(crate) use load::is_alive;

use std::fs::{self, File};
use std::io;

use anyhow::{Context, Result};
use protocol::manifest::keys::PrivateKey;
use protocol::manifest::{Manifest, Serial, Source, seal};

use crate::builder::{self, Label};
use crate::config::{Config, FurtherCopies, SiteTerms};
use crate::database::manifests::Built;
use crate::database::{Database, now};
use crate::own_copy;

/// By what manifests are made beside the database.
pub struct Terms {
    /// All sign.
    pub keys: Vec<PrivateKey>,
    /// How long a manifest is acted upon.
    pub lifetime_s: u64,
    /// Further sources.
    pub origins: Vec<Source>,
    /// What is said of single sites.
    pub sites: Vec<SiteTerms>,
    /// Copies of what is asked for most.
    pub copies: Option<FurtherCopies>,
}

/// What is to be built.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Only this appliance's.
    pub only: Option<String>,
    /// Also one that is implausibly small.
    pub allow_shrink: bool,
}

/// What became of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    New(Built),
    /// It says what the one in force says.
    Same(Serial),
    /// It is not plausible: why.
    Refused(String),
    /// The appliance or the epoch was changed meanwhile; another build follows.
    Overtaken,
}

impl Terms {
    /// Reads the keys.
    ///
    /// # Errors
    /// Which file is no key, or cannot be read.
    pub fn of(config: &Config) -> Result<Self> {
        let key = |file: &std::path::PathBuf| {
            let text = fs::read_to_string(file).with_context(|| {
                format!(
                    "signing_keys: cannot read {}; `oca-control keygen {0}` writes one",
                    file.display()
                )
            })?;
            PrivateKey::from_pem(&text).with_context(|| format!("signing_keys: {}", file.display()))
        };
        Ok(Self {
            keys: config.signing_keys.iter().map(key).collect::<Result<_>>()?,
            lifetime_s: config.manifest_lifetime_s,
            origins: config.origins.clone(),
            sites: config.sites.clone(),
            copies: config.copies,
        })
    }
}

/// Builds what is ordered; gives what became of each appliance's manifest. One process builds at a time.
///
/// # Errors
/// Of the database or the disk; manifests that were put into force before stay so.
pub async fn build(
    database: &Database,
    terms: &Terms,
    order: &Order,
) -> Result<Vec<(String, Outcome)>> {
    let _alone = alone(database).await?;
    let wish = database.endpoint().await?.wish;
    if order.only.is_none() {
        database.forget_old_tombstones().await?;
    }
    let world = load::world(database, terms, now()).await?;
    let mut outcomes = Vec::new();
    for cluster in &world.clusters {
        let selections =
            tokio::task::block_in_place(|| builder::selections(&world.library, cluster));
        for (index, member) in cluster.members.iter().enumerate() {
            if order.only.as_ref().is_some_and(|only| *only != member.id) {
                continue;
            }
            let built = tokio::task::block_in_place(|| {
                builder::manifest(&world.library, cluster, &selections, index, UNLABELLED)
            });
            let outcome = settle(database, terms, order, built).await?;
            outcomes.push((member.id.clone(), outcome));
        }
    }
    if order.only.is_none() {
        database.forget_unreachable().await?;
        database.forget_unpopular().await?;
        database.tidy_manifests().await?;
        own_copy::tidy(database, now()).await?;
        database.built_all(wish, now()).await?;
    }
    Ok(outcomes)
}

const UNLABELLED: Label = Label {
    serial: Serial {
        epoch: 0,
        number: 0,
    },
    built_at: 0,
    not_after: 1,
};

/// A lock that the kernel lets go of when the process ends, however it ends.
async fn alone(database: &Database) -> Result<File> {
    let file = database.state_dir().join("build.lock");
    let locked = tokio::task::spawn_blocking(move || {
        let lock = File::create(file)?;
        lock.lock()?;
        io::Result::Ok(lock)
    });
    locked.await?.context("cannot lock build.lock in state_dir")
}

async fn settle(
    database: &Database,
    terms: &Terms,
    order: &Order,
    mut manifest: Manifest,
) -> Result<Outcome> {
    let appliance = manifest.appliance.clone();
    let content = tokio::task::block_in_place(|| content(&manifest, &terms.keys))?;
    let before = database.manifest(&appliance).await?;
    let now = now();
    let (objects, bytes) = totals(&manifest);
    if let Some(in_force) = database.manifest_in_force(&appliance).await? {
        let is_there = database.manifest_file(&appliance, in_force.serial).exists();
        let is_young = now + terms.lifetime_s / 2 < in_force.not_after;
        if is_there && is_young && in_force.content == content {
            return Ok(Outcome::Same(in_force.serial));
        }
    }
    if !order.allow_shrink
        && let Some(why) = implausible(before.as_ref(), objects)
    {
        return Ok(Outcome::Refused(why));
    }
    let serial = database.next_serial().await?;
    let built = Built {
        serial,
        built_at: now,
        not_after: now + terms.lifetime_s,
        objects,
        bytes,
        content,
    };
    (manifest.serial, manifest.built_at, manifest.not_after) = (serial, now, built.not_after);
    let keys: Vec<&PrivateKey> = terms.keys.iter().collect();
    let sealed = tokio::task::block_in_place(|| seal::seal(&manifest, &keys))
        .with_context(|| format!("the manifest of {appliance}"))?;
    drop(manifest);
    match database.put_manifest(&appliance, &built, &sealed).await? {
        true => Ok(Outcome::New(built)),
        false => Ok(Outcome::Overtaken),
    }
}

fn implausible(before: Option<&Built>, objects: u64) -> Option<String> {
    let in_force = before.map_or(String::new(), |before| {
        format!(
            "the one in force, {}, has {}",
            before.serial, before.objects
        )
    });
    match before {
        _ if objects == 0 && before.is_none_or(|before| before.objects == 0) => {
            Some("it would have no objects: ingest something first".to_owned())
        }
        Some(before) if objects.saturating_mul(2) < before.objects => Some(format!(
            "it would have {objects} objects; {in_force}. If that is meant: `oca-control build --allow-shrink`"
        )),
        _ => None,
    }
}

/// Objects by roots, and their bytes.
fn totals(manifest: &Manifest) -> (u64, u64) {
    let mut sizes: Vec<_> = manifest
        .objects
        .iter()
        .map(|wanted| (wanted.root, wanted.size))
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    (sizes.len() as u64, sizes.iter().map(|(_, size)| size).sum())
}

/// Of a manifest without number and times; and of who signs it, so that a new key soon stands under all of them.
fn content(manifest: &Manifest, keys: &[PrivateKey]) -> Result<[u8; 32]> {
    let mut hasher = io::BufWriter::with_capacity(1 << 16, blake3::Hasher::new());
    serde_json::to_writer(&mut hasher, manifest)?;
    let mut hasher = hasher
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    for key in keys {
        hasher.update(key.public().id().as_bytes());
    }
    Ok(*hasher.finalize().as_bytes())
}

impl Outcome {
    /// The word in metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Same(_) => "same",
            Self::Refused(_) => "refused",
            Self::Overtaken => "overtaken",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New(built) => write!(
                f,
                "manifest {}: {} objects, {}",
                built.serial,
                built.objects,
                indicatif::BinaryBytes(built.bytes)
            ),
            Self::Same(serial) => write!(f, "nothing has changed since manifest {serial}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Overtaken => f.write_str("changed meanwhile: another build follows"),
        }
    }
}
