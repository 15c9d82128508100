//! Devices that hang, in a program that has to end whatever they do: an operator's command, a check.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use platform::visit::Visit;
use protocol::config::Config;

use super::{DeviceProblem, IDENTITY_FILE, Intents};

/// Those that this process does not touch any more, and how long each was waited for.
static LEFT_ALONE: Mutex<Vec<(PathBuf, Duration)>> = Mutex::new(Vec::new());

/// Lets child processes visit all devices at once, except those that an operator took offline. One that has not answered within `wait` is
/// [`DeviceProblem::Silent`] from now on, without being touched: a thread that hangs in it would keep this process from ending.
///
/// A program that runs on does without: a device may be well again. Gives those that are left alone only now.
pub fn leave_silent_alone(roots: &[&Path], intents: &Intents, wait: Duration) -> Vec<PathBuf> {
    let asked = roots
        .iter()
        .filter(|root| intents.refuse_root(root).is_none() && refuse(root).is_none());
    // Where no child can be made, the device is looked at as if it had answered.
    let visits: Vec<(&Path, Visit)> = asked
        .filter_map(|root| Some((*root, Visit::begin(&root.join(IDENTITY_FILE)).ok()?)))
        .collect();
    let deadline = Instant::now() + wait;
    let silent = visits
        .into_iter()
        .filter_map(|(root, visit)| (!visit.is_back(deadline)).then(|| root.to_path_buf()));
    let silent: Vec<PathBuf> = silent.collect();
    left_alone().extend(silent.iter().map(|root| (root.clone(), wait)));
    silent
}

/// The same for all devices of a configuration.
pub fn leave_configured_alone(config: &Config, wait: Duration) -> Vec<PathBuf> {
    let roots: Vec<&Path> = config.devices().map(|(_, root)| root).collect();
    // Whoever uses what is wanted says that it cannot be read.
    let intents = Intents::read(&config.appliance.state_dir).unwrap_or_default();
    leave_silent_alone(&roots, &intents, wait)
}

/// Why the device is not touched, if it is not.
pub(super) fn refuse(root: &Path) -> Option<DeviceProblem> {
    let left_alone = left_alone();
    let (path, waited) = left_alone.iter().find(|(path, _)| path == root)?;
    Some(DeviceProblem::Silent {
        path: path.clone(),
        waited_s: waited.as_secs(),
    })
}

fn left_alone() -> MutexGuard<'static, Vec<(PathBuf, Duration)>> {
    // A list is whole after any panic.
    LEFT_ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
