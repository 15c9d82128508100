//! When manifests are built without being asked: each day at `build_at`, soon after something urgent, and before they end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use command_line::said::in_full;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio::sync::watch;

use super::App;
use crate::building::{self, Order, Outcome};
use crate::database::{now, uint};
use crate::limits::{DEBOUNCE, DEBOUNCE_MAX, LOOK_AGAIN, RENEW_AGAIN_S};

/// What urgent things were seen, and since when.
struct Seen {
    wish: i64,
    first: Instant,
    last: Instant,
}

pub(super) async fn run(
    app: Arc<App>,
    at: Time,
    zone: TimeZone,
    mut stopped: watch::Receiver<bool>,
) {
    let mut seen: Option<Seen> = None;
    let mut renewed = 0;
    loop {
        match due(&app, at, &zone, &mut seen, renewed).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                seen = None;
                renewed = now();
                build(&app, why).await;
            }
            Err(error) => tracing::error!("{}", in_full(error.as_ref())),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

async fn due(
    app: &App,
    at: Time,
    zone: &TimeZone,
    seen: &mut Option<Seen>,
    renewed: u64,
) -> Result<Option<&'static str>> {
    let endpoint = app.database.endpoint().await?;
    // After a stop over `build_at`, the build is made at start.
    if last_occurrence(at, zone, Timestamp::now())
        .is_some_and(|daily| daily > uint(endpoint.built_at))
    {
        return Ok(Some("build_at"));
    }
    if endpoint.wish != endpoint.built_wish && is_quiet(seen, endpoint.wish) {
        return Ok(Some("a change that does not wait"));
    }
    let end = app.database.first_end().await?;
    let near = end.is_some_and(|end| end < now() + app.terms.lifetime_s / 4);
    Ok((near && now() > renewed + RENEW_AGAIN_S).then_some("a manifest nears its end"))
}

fn is_quiet(seen: &mut Option<Seen>, wish: i64) -> bool {
    let now = Instant::now();
    let state = seen.get_or_insert(Seen {
        wish,
        first: now,
        last: now,
    });
    if state.wish != wish {
        (state.wish, state.last) = (wish, now);
    }
    now - state.last >= DEBOUNCE || now - state.first >= DEBOUNCE_MAX
}

/// The last instant, up to now, at which clocks in the zone showed `at`. One that a change of clocks skips is moved behind the gap.
fn last_occurrence(at: Time, zone: &TimeZone, now: Timestamp) -> Option<u64> {
    let today = now.to_zoned(zone.clone()).date();
    let occurrence = |date: jiff::civil::Date| {
        let at = date
            .to_datetime(at)
            .to_zoned(zone.clone())
            .ok()?
            .timestamp();
        (at <= now).then_some(at)
    };
    let last = occurrence(today).or_else(|| occurrence(today.checked_sub(1.day()).ok()?))?;
    u64::try_from(last.as_second()).ok()
}

async fn build(app: &App, why: &str) {
    tracing::info!("building manifests: {why}");
    let begin = Instant::now();
    match building::build(&app.database, &app.terms, &Order::default()).await {
        Err(error) => {
            app.metrics.built("failed");
            tracing::error!("building manifests: {}", in_full(error.as_ref()));
        }
        Ok(outcomes) => {
            for (appliance, outcome) in &outcomes {
                app.metrics.built(outcome.word());
                match outcome {
                    Outcome::Refused(_) => tracing::error!("{appliance}: {outcome}"),
                    _ => tracing::info!("{appliance}: {outcome}"),
                }
            }
            app.metrics.build_seconds(begin.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_build_at() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (at, now, last) in [
            ((0, 30), "2026-01-10T12:00:00Z", "2026-01-09T23:30:00Z"),
            ((13, 0), "2026-01-10T12:00:00Z", "2026-01-10T12:00:00Z"),
            ((13, 1), "2026-01-10T12:00:00Z", "2026-01-09T12:01:00Z"),
            // 02:30 does not exist on this day, and comes twice on that one.
            ((2, 30), "2026-03-29T01:29:00Z", "2026-03-28T01:30:00Z"),
            ((2, 30), "2026-03-29T01:31:00Z", "2026-03-29T01:30:00Z"),
            ((2, 30), "2026-10-25T01:31:00Z", "2026-10-25T00:30:00Z"),
        ] {
            let (now, last): (Timestamp, Timestamp) = (now.parse().unwrap(), last.parse().unwrap());
            let at = Time::constant(at.0, at.1, 0, 0);
            let found = last_occurrence(at, &zone, now);
            assert_eq!(
                found,
                u64::try_from(last.as_second()).ok(),
                "{at} before {now}"
            );
        }
    }
}
