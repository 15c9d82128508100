//! May this appliance leave? The control endpoint knows what the site has left, and sends nobody here from its answer on, until it is
//! told that the appliance is back.

use protocol::config::Config;
use protocol::operator::{Fault, Refusal};
use protocol::steer::DrainWish;
use tokio::time::timeout;

use super::endpoint::{Endpoint, Failure};
use crate::limits::LEASE_WAIT;

/// Asks for a drain. Gives how long answers of the control endpoint may still send viewers here, in seconds; `None` if nobody
/// steers them: there is no control endpoint, it is of a release that knows no leases, or it is forced and does not answer.
///
/// # Errors
/// Too few would be left, or nobody knows.
pub async fn ask(config: &Config, wish: &DrainWish) -> Result<Option<u64>, Refusal> {
    let Some(control) = &config.control else {
        return Ok(None);
    };
    let mut endpoint = Endpoint::new(control, &config.appliance.id);
    let asked = timeout(LEASE_WAIT, endpoint.ask_to_leave(wish)).await;
    let late = || Failure::Unreachable(format!("no answer within {} s", LEASE_WAIT.as_secs()));
    match asked.unwrap_or_else(|_| Err(late())) {
        Ok(lease) => Ok(Some(lease.answers_expire_s)),
        Err(Failure::Refused { status: 404, .. }) => Ok(None),
        Err(failure) if wish.force => {
            tracing::warn!("a forced drain without the control endpoint: {failure}");
            Ok(None)
        }
        Err(Failure::Refused {
            status: 409, said, ..
        }) => Err(refused(said)),
        Err(failure) => Err(refused(format!(
            "the control endpoint at {} does not say whether the site has enough left: {failure}. `ocactl drain --force` drains \
             all the same",
            control.url
        ))),
    }
}

/// Tells that a drain is over. What cannot be told is logged: the lease ends by itself.
pub async fn give_back(config: &Config) {
    let Some(control) = &config.control else {
        return;
    };
    let mut endpoint = Endpoint::new(control, &config.appliance.id);
    let told = timeout(LEASE_WAIT, endpoint.come_back()).await;
    let why = match told {
        // A release that knows no leases, or not that they are given back.
        Ok(
            Ok(())
            | Err(Failure::Refused {
                status: 404 | 405, ..
            }),
        ) => return,
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("no answer within {} s", LEASE_WAIT.as_secs()),
    };
    tracing::warn!(
        url = control.url,
        "viewers come back only when the lease of the drain ends, within a minute: {why}"
    );
}

fn refused(message: String) -> Refusal {
    Refusal {
        fault: Fault::State,
        message,
    }
}
