//! What the daemon is told of the agent, every 5 s: for its reports and its health. Its silence is tolerated.

use std::sync::Arc;

use protocol::fill::{Facts, Request as Ask, Response as Answer, Status};
use protocol::manifest::Serial;
use protocol::operator::Request;
use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::Daemon;
use crate::limits::FACTS_EVERY;
use crate::metrics::Counters;
use crate::operator::Agent;

/// Tells until the future is dropped.
pub async fn tell(agent: Agent, daemon: Daemon, counters: Arc<Counters>) {
    let mut every = interval(FACTS_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Answer::Status(status) = agent.ask(Ask::Status).await {
            let facts = Box::new(facts(*status, counters.tombstones_applied()));
            if let Err(error) = daemon.ask(&Request::Fill(facts)).await {
                tracing::debug!(%error, "the daemon was not told the facts");
            }
        }
    }
}

fn facts(status: Status, tombstones: Option<Serial>) -> Facts {
    Facts {
        as_of: status.as_of,
        activity: status.activity,
        why: status.why,
        manifest: status.manifest,
        held: status.held,
        tombstones,
        progress: status.progress,
        rate_now: status.rate_now,
        window_open: status.window_open,
        control: status.control,
        clock_synchronised: status.clock_synchronised,
    }
}
