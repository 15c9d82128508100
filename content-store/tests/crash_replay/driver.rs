//! The program that is watched: this test binary again, on a box that the test made.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use content_store::{Step, Store, StoreError};

use crate::plan::{Deed, Item, Plan, perform, publish};
use crate::support::Appliance;

const FOLDER: &str = "OCA_CRASH_FOLDER";
const PLAN: &str = "OCA_CRASH_PLAN";
const PATIENCE: &str = "OCA_CRASH_PATIENCE";

/// The body of the test `driver`: in the child it follows the plan, anywhere else it does nothing.
pub fn run() {
    let (Ok(folder), Ok(plan)) = (std::env::var(FOLDER), std::env::var(PLAN)) else {
        return;
    };
    let patience = std::env::var(PATIENCE).unwrap().parse().unwrap();
    let folder = Path::new(&folder);
    let log = Log::default();
    log.clone().begin();
    let mut driver = Driver {
        appliance: Appliance::at(folder),
        store: None,
        marks: File::create(folder.join("marks")).unwrap(),
        patience,
    };
    call_often(folder);
    for (number, deed) in Plan::of(&plan).deeds.iter().enumerate() {
        driver.insist(number, deed);
    }
    std::fs::metadata(folder.join(END)).unwrap_err();
    println!("{}", log.said());
}

/// The command that runs it. `patience` is how often a deed may fail.
pub fn command(folder: &Path, plan: &str, patience: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "driver", "--nocapture"]);
    command
        .env(FOLDER, folder)
        .env(PLAN, plan)
        .env(PATIENCE, patience.to_string());
    command
}

/// Names that are asked for when the plan begins, and when it ends.
pub const BEGIN: &str = "begin";
pub const END: &str = "end";

/// What the store has logged, kept until the end: to write it at once would be calls too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin(self) {
        let subscriber = tracing_subscriber::fmt().with_writer(move || self.clone());
        let subscriber = subscriber.with_max_level(tracing::Level::WARN);
        subscriber.with_ansi(false).try_init().unwrap();
    }

    fn said(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `strace` makes the N-th call of *every* thread fail, and those that start this program must not: so this thread is ahead of them.
fn call_often(folder: &Path) {
    for _ in 0..64 {
        let mut null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        null.read_at(&mut [0], 0).unwrap();
        assert_eq!(null.read(&mut [0]).unwrap(), 0);
        null.write_all(b"0").unwrap();
        null.metadata().unwrap();
        std::fs::read_dir(folder).unwrap().for_each(drop);
    }
    std::fs::metadata(folder.join(BEGIN)).unwrap_err();
}

struct Driver {
    appliance: Appliance,
    store: Option<Store>,
    marks: File,
    patience: u32,
}

impl Driver {
    /// Does it, if need be again, at last with the store opened anew: a device that failed is looked at again after a while only.
    fn insist(&mut self, number: usize, deed: &Deed) {
        for attempt in 0..=self.patience {
            match self.perform(deed) {
                Ok(()) => {
                    self.note(&format!("done {number} {attempt}"));
                    return;
                }
                Err(error) => {
                    self.note(&format!("failed {number} {attempt} {deed:?}: {error}"));
                    self.expect_nothing_unsynced(&error);
                }
            }
            if attempt > 0 {
                self.store = None;
            }
        }
        self.note(&format!("gave up {number}"));
    }

    /// A column whose sync failed is never resumed: its bytes may be lost, and a second sync that succeeds would not say so.
    fn expect_nothing_unsynced(&self, error: &StoreError) {
        let words = error.to_string();
        if let (Some(store), true) = (&self.store, words.contains(".col: cannot sync")) {
            for resumable in store.resumable() {
                let is_it = words.contains(&resumable.object.to_string());
                assert!(!is_it || resumable.written < resumable.size, "{words}");
            }
        }
    }

    /// Whoever dies without unwinding leaves the same: what is staged stays.
    fn die(&self, items: &[Item]) -> Result<(), StoreError> {
        let hook = |step| assert!(step != Step::SidecarRenamed, "killed");
        let mut store = Store::open_with_hook(self.appliance.config(), Some(Arc::new(hook)))?;
        let died = catch_unwind(AssertUnwindSafe(|| publish(&mut store, items)));
        died.unwrap_or(Ok(()))
    }

    fn perform(&mut self, deed: &Deed) -> Result<(), StoreError> {
        if matches!(deed, Deed::Reopen | Deed::Killed(_)) {
            self.store = None;
        }
        if let Deed::Killed(items) = deed {
            return self.die(items);
        }
        if self.store.is_none() {
            self.store = Some(Store::open(self.appliance.config())?);
        }
        match &mut self.store {
            Some(store) => {
                store.look_at_devices();
                perform(store, &self.appliance.state_dir(), deed)
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, line: &str) {
        let line = format!("{}\n", line.replace('\n', " "));
        self.marks.write_all(line.as_bytes()).unwrap();
    }
}
