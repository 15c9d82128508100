//! `ocactl content`: publish, list, verify, remove.

mod import;
mod list;
mod remove;
mod stat;
mod verify;

use content_store::{Generation, Reaped, Store};
use protocol::config::Config;

use crate::arguments::ContentCommand;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::Format;
use crate::socket::AskError;

/// Obeys.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: ContentCommand,
) -> Result<Outcome, Failure> {
    match command {
        ContentCommand::Import { dir, prefix, tier } => {
            import::run(config, format, &import::Wanted { dir, prefix, tier })
        }
        ContentCommand::Ls {
            prefix,
            after,
            limit,
        } => {
            let page = list::Page { after, limit };
            list::run(config, format, &prefix, &page)
        }
        ContentCommand::Stat { path } => stat::run(config, format, &path),
        ContentCommand::Verify { prefix } => verify::run(config, format, &prefix),
        ContentCommand::Rm { paths, recursive } => remove::run(config, format, &paths, recursive),
    }
}

/// Makes the daemon serve what was committed, and unlinks what nobody uses any more.
///
/// Without a daemon nobody uses anything. One that does not answer may use everything, so nothing is unlinked then.
fn settle(config: &Config, store: &mut Store, committed: Generation) -> Result<Settled, Failure> {
    let (served, oldest, problem) = match Daemon::at(config.daemon_socket()).reload() {
        Ok(generation) => (true, Generation(generation.oldest_in_use), None),
        Err(error) if error.is_not_running() => (false, committed, None),
        Err(error) => (false, Generation(0), Some(error)),
    };
    Ok(Settled {
        served,
        problem,
        reaped: store.reap(oldest)?,
    })
}

/// How it went.
struct Settled {
    /// The daemon serves the new state.
    served: bool,
    /// Why it may not.
    problem: Option<AskError>,
    /// What was unlinked.
    reaped: Reaped,
}

/// Whether `path` is `prefix` or lies below it, or begins with it if it ends in a slash.
fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn below_is_by_whole_names() {
        for (path, prefix, below) in [
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/a/b", "/a/b", true),
            ("/a/b", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(is_below(path, prefix), below, "{path} {prefix}");
        }
    }
}
