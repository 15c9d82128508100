//! The commands that are not `serve`: each opens the database, does one thing, and ends.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use command_line::out;
use control_endpoint::building::{self, Order, Outcome as Built, Terms};
use control_endpoint::config::Config;
use control_endpoint::database::appliances::Appliance;
use control_endpoint::database::{Database, backup};
use control_endpoint::error::{Outcome, Usage};
use control_endpoint::ingest::{self, Expectation, Wanted};
use control_endpoint::limits::{LIST_MAX, UPSTREAMS_MAX};
use protocol::config::TierRole;
use protocol::units::ByteSize;

use crate::arguments::{ApplianceCommand, Command};

pub(crate) async fn run(config: Config, command: Command) -> Result<Outcome> {
    if let Command::Restore { file } = &command {
        let epoch = backup::restore(file, &config.state_dir).await?;
        out::line(format_args!(
            "restored; the epoch is now {epoch}. All manifests are built anew by `serve`, or by `build`"
        ))?;
        return Ok(Outcome::Done);
    }
    let database = Database::open(&config.state_dir).await?;
    let outcome = obey(&config, &database, command).await;
    database.close().await;
    outcome
}

async fn obey(config: &Config, database: &Database, command: Command) -> Result<Outcome> {
    match command {
        Command::Appliance(command) => appliance(database, command).await,
        Command::Ingest {
            dir,
            prefix,
            demand,
            urgent,
            copy,
            lift_takedown,
        } => {
            let expectation = Expectation {
                demand: demand.map(ByteSize::bytes),
                urgent,
            };
            let done = ingest::run(
                database,
                &Wanted {
                    dir,
                    prefix,
                    expectation,
                    copy,
                    lift_takedown,
                },
            )
            .await?;
            out::line(&done)?;
            Ok(if done.skipped == 0 {
                Outcome::Done
            } else {
                Outcome::Partly
            })
        }
        Command::Rm { paths } => take_down(database, &paths).await,
        Command::Ls { prefix } => list(database, &prefix).await,
        Command::Build {
            appliance,
            allow_shrink,
        } => {
            let only = appliance;
            let order = Order { only, allow_shrink };
            build(database, &Terms::of(config)?, order).await
        }
        Command::Backup { file } => {
            backup::write(database, &file).await?;
            out::line(format_args!("written {}", file.display()))?;
            Ok(Outcome::Done)
        }
        Command::Serve
        | Command::Check
        | Command::Keygen { .. }
        | Command::Restore { .. }
        | Command::Generate(_) => {
            unreachable!("these do not use an open database")
        }
    }
}

async fn appliance(database: &Database, command: ApplianceCommand) -> Result<Outcome> {
    match command {
        ApplianceCommand::Add {
            id,
            site,
            cluster,
            tiers,
            upstreams,
        } => {
            let new = Appliance {
                hot_bytes: size_of(&tiers, TierRole::Hot),
                capacity_bytes: size_of(&tiers, TierRole::Capacity),
                id: name("ID", id)?,
                site: name("--site", site)?,
                cluster: name("--cluster", cluster)?,
                upstreams,
            };
            if new.upstreams.len() > UPSTREAMS_MAX || new.upstreams.contains(&new.id) {
                bail!(Usage(format!(
                    "--upstream: allowed: at most {UPSTREAMS_MAX} other appliances"
                )));
            }
            let token = database.add_appliance(&new).await?;
            let token = token.with_context(|| {
                format!(
                    "{} is registered already; `appliance token` gives it a new token",
                    new.id
                )
            })?;
            out::line(token)?;
        }
        ApplianceCommand::Ls => list_appliances(database).await?,
        ApplianceCommand::Rm { id } => {
            anyhow::ensure!(
                database.remove_appliance(&id).await?,
                "no appliance {id} is registered"
            );
        }
        ApplianceCommand::Token { id } => {
            let token = database.renew_token(&id).await?;
            out::line(token.with_context(|| format!("no appliance {id} is registered"))?)?;
        }
    }
    Ok(Outcome::Done)
}

fn size_of(tiers: &[(TierRole, ByteSize)], role: TierRole) -> Option<u64> {
    let sizes = tiers
        .iter()
        .filter(|(of, _)| *of == role)
        .map(|(_, size)| size.bytes());
    sizes.reduce(u64::saturating_add)
}

/// Names of appliances stand in URLs and in names of files.
fn name(what: &str, text: String) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_taken = what == "ID" && text == protocol::steer::ORIGIN;
    if text.is_empty()
        || text.len() > 200
        || text.starts_with('.')
        || !text.bytes().all(plain)
        || is_taken
    {
        bail!(Usage(format!(
            "{what} \"{text}\": allowed: letters, digits, \".\", \"-\" and \"_\", not beginning with \".\", at most 200; \"origin\" is taken"
        )));
    }
    Ok(text)
}

async fn list_appliances(database: &Database) -> Result<()> {
    let reports = database.reports().await?;
    let held = database.held().await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "ID", "SITE", "CLUSTER", "STATE", "REPORTED", "HELD", "MANIFEST",
    ]);
    for appliance in database.appliances().await? {
        let kept = reports.get(&appliance.id);
        let age = kept.map(|kept| {
            format!(
                "{} s ago",
                control_endpoint::database::now().saturating_sub(kept.received)
            )
        });
        let manifest = database.manifest(&appliance.id).await?;
        table.add_row([
            appliance.id.clone(),
            appliance.site,
            appliance.cluster,
            kept.map_or("-".to_owned(), |kept| kept.report.state.to_string()),
            age.unwrap_or_else(|| "never".to_owned()),
            held.get(&appliance.id).copied().unwrap_or(0).to_string(),
            manifest.map_or("-".to_owned(), |built| built.serial.to_string()),
        ]);
    }
    let text = table.to_string();
    text.lines().try_for_each(|line| out::line(line.trim()))?;
    Ok(())
}

async fn take_down(database: &Database, paths: &[String]) -> Result<Outcome> {
    let mut outcome = Outcome::Done;
    for path in paths {
        if database.take_down(path).await? {
            out::line(format_args!("taken down {path}"))?;
        } else {
            eprintln!("oca-control: nothing is published at {path}; `oca-control ls` lists paths");
            outcome = Outcome::Partly;
        }
    }
    Ok(outcome)
}

async fn list(database: &Database, prefix: &str) -> Result<Outcome> {
    let mut lines = io::BufWriter::new(io::stdout().lock());
    // From the last path that does not begin with the prefix on: paths are in the order of their bytes.
    let mut after = String::new();
    if database.published(prefix, 1).await?.is_empty() {
        return Ok(Outcome::Done);
    }
    loop {
        let page = database.published(&after, LIST_MAX).await?;
        let Some(last) = page.last() else {
            break;
        };
        after.clone_from(&last.path);
        for published in page
            .iter()
            .filter(|published| published.path.starts_with(prefix))
        {
            let remark = published
                .broken
                .as_ref()
                .map(|why| format!("  BROKEN: {why}"))
                .unwrap_or_default();
            let line = writeln!(
                lines,
                "{} {:>15} {}{remark}",
                published.root, published.size, published.path
            );
            match line {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Outcome::Done);
                }
                other => other?,
            }
        }
    }
    out::written(lines.flush())?;
    Ok(Outcome::Done)
}

async fn build(database: &Database, terms: &Terms, order: Order) -> Result<Outcome> {
    let outcomes = building::build(database, terms, &order).await?;
    if outcomes.is_empty() {
        bail!("no such appliance is registered; `oca-control appliance add` registers one");
    }
    let mut outcome = Outcome::Done;
    for (appliance, built) in outcomes {
        if let Built::Refused(_) = built {
            eprintln!("oca-control: {appliance}: {built}");
            outcome = Outcome::Partly;
        } else {
            out::line(format_args!("{appliance}: {built}"))?;
        }
    }
    Ok(outcome)
}
