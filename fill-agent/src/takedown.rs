//! Takedowns: what the control endpoint lists is unreachable within a minute, at any hour, paused or not, whatever the clock says.
//!
//! ```text
//! sealed bytes --open--> Tombstones --carry_out--> Removed      retried until it is done; never fetched again (the planner)
//! ```

use std::sync::Arc;

use protocol::manifest::keys::PublicKey;
use protocol::manifest::seal;
use protocol::manifest::{Serial, Tombstone, Tombstones};
use tokio::time::sleep;

use crate::daemon::{Daemon, DaemonError};
use crate::limits::TAKEDOWN_AGAIN;
use crate::manifest::Refusal;
use crate::publish::{Publisher, Removed};

/// Opens a list, and refuses an older one.
///
/// # Errors
/// [`Refusal`].
pub fn open(
    sealed: &[u8],
    keys: &[PublicKey],
    appliance: &str,
    seen: Option<Serial>,
) -> Result<Tombstones, Refusal> {
    let list: Tombstones = seal::open(sealed, keys, appliance)?;
    let theirs = list.serial;
    match seen.filter(|seen| theirs < *seen) {
        Some(seen) => Err(Refusal::Older { theirs, seen }),
        None => Ok(list),
    }
}

/// Takes the paths away and has the daemon let go of them. Tried again until it is done: somebody else may hold the writer lock for
/// a while. `problem` is told what keeps it.
pub async fn carry_out(
    publisher: &Publisher,
    daemon: &Daemon,
    tombstones: &Arc<Vec<Tombstone>>,
    problem: impl Fn(Option<String>),
) -> Removed {
    loop {
        match publisher.take_down(Arc::clone(tombstones)).await {
            Ok(removed) => {
                if removed.generation.is_some() {
                    reload(daemon).await;
                }
                problem(None);
                return removed;
            }
            Err(not_done) => {
                tracing::error!("a takedown waits: {not_done}");
                problem(Some(format!("a takedown waits: {not_done}")));
                sleep(TAKEDOWN_AGAIN).await;
            }
        }
    }
}

async fn reload(daemon: &Daemon) {
    match daemon.reload().await {
        Ok(()) | Err(DaemonError::NotRunning) => {}
        // It looks at the catalog by itself as well.
        Err(error) => tracing::warn!(%error, "the daemon was not told of a takedown"),
    }
}
