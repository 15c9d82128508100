//! `ocactl content import`: what is typed, and what a child says that publishes ([`publishing`]).

mod publishing;

use std::path::{Path, PathBuf};

use content_store::intake::{self, Skipped};
use protocol::config::{Config, Tier, TierRole};
use serde::{Deserialize, Serialize};

use crate::device::named_tier;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count};
use crate::progress::Progress;
use crate::watched::{self, Work};

/// What was typed.
pub(super) struct Wanted {
    pub(super) dir: PathBuf,
    pub(super) prefix: String,
    pub(super) tier: Option<String>,
}

/// Publishes all files.
pub(super) fn run(config: &Config, format: Format, wanted: &Wanted) -> Result<Outcome, Failure> {
    let prefix = intake::url_prefix(&wanted.prefix).map_err(Failure::usage)?;
    let tier = match &wanted.tier {
        Some(name) => named_tier(config, name)?,
        None => first_tier(config),
    };
    if let Some(after) = watched::place()? {
        let found = intake::find(&wanted.dir, &prefix).map_err(|error| {
            Failure::failed(format!("{}: cannot import: {error}", wanted.dir.display()))
        })?;
        return publishing::publish(config, &tier.name, found, &after);
    }
    let mut importing = Importing {
        progress: Progress::new(0),
        after: String::new(),
        report: None,
    };
    let ended = watched::run(config, &mut importing)?;
    drop(importing.progress);
    let Some(report) = importing.report else {
        return ended.with(Outcome::Partly);
    };
    output::print(format, &report)?;
    ended.with(if report.skipped.is_empty() {
        Outcome::Done
    } else {
        Outcome::Partly
    })
}

/// The first tier of role `hot`, else the first one.
fn first_tier(config: &Config) -> &Tier {
    let hot = config.tiers.iter().find(|tier| tier.role == TierRole::Hot);
    hot.unwrap_or_else(|| {
        config
            .tiers
            .first()
            .expect("a configuration has at least one tier")
    })
}

/// What a child says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// So many bytes are to be read.
    All(u64),
    /// A step begins with the file of a path.
    Begins(String, String),
    /// So many of the bytes are done with.
    At(u64),
    /// A file is not taken.
    Skips(Skipped),
    /// All files up to the one with this path are done with, and what was published of them is committed: this has come since it said
    /// so last.
    Done(String, Imported),
}

/// What children have said.
struct Importing {
    progress: Progress,
    /// The path of the last file that is done with.
    after: String,
    report: Option<Imported>,
}

impl Work for Importing {
    fn begin(&self) -> String {
        self.after.clone()
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        match serde_json::from_str(line)? {
            Said::All(bytes) => self.progress.expect(bytes),
            Said::Begins(step, path) => self.progress.name(&step, Path::new(&path)),
            Said::At(position) => self.progress.jump_to(position),
            Said::Skips(skipped) => {
                let (file, reason) = (skipped.file.display(), &skipped.reason);
                self.progress.say(&format!("skipped {file}: {reason}"));
            }
            Said::Done(after, more) => {
                self.after = after;
                self.report.get_or_insert_default().add(more);
            }
        }
        Ok(())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Imported {
    /// The catalog's state with all of it; `None` if nothing was new.
    generation: Option<u64>,
    /// Paths that were set.
    published: u64,
    /// Their bytes.
    bytes: u64,
    /// How many of them have bytes that were stored before, wherever that is.
    stored_before: u64,
    /// Paths that led to the same bytes already.
    unchanged: u64,
    /// Names that begin with a dot.
    hidden: u64,
    /// What was not published.
    skipped: Vec<Skipped>,
    /// Whether the daemon serves it now.
    served: bool,
}

impl Imported {
    fn add(&mut self, more: Self) {
        self.generation = more.generation.or(self.generation);
        self.published += more.published;
        self.bytes += more.bytes;
        self.stored_before += more.stored_before;
        self.unchanged += more.unchanged;
        self.hidden += more.hidden;
        self.skipped.extend(more.skipped);
        self.served = more.served;
    }
}

impl Report for Imported {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "published {}, {}",
            count(self.published, "file"),
            bytes(self.bytes)
        )];
        if self.stored_before > 0 {
            lines.push(format!(
                "          {} of them with bytes that are stored already",
                self.stored_before
            ));
        }
        if self.unchanged > 0 {
            lines.push(format!("unchanged {}", count(self.unchanged, "file")));
        }
        if !self.skipped.is_empty() {
            lines.push(format!(
                "skipped   {}, named above",
                count(self.skipped.len() as u64, "file")
            ));
        }
        if self.hidden > 0 {
            lines.push(format!(
                "left out  {} with a dot in front",
                count(self.hidden, "name")
            ));
        }
        if self.generation.is_some() && !self.served {
            lines.push("The daemon is not running: it will serve this when it starts.".to_owned());
        }
        lines.join("\n")
    }
}
