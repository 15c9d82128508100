//! An appliance that is filled: a store with three devices, and what the agent would join for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use content_store::device::{self, InitOptions};
use content_store::{Content, NewPath, Publication, Store, StoreConfig, TierConfig, TierRole};
use fill_agent::fetch::{Fill, Job, Outcome, Progress};
use fill_agent::lanes::Lanes;
use fill_agent::rate::Limiter;
use fill_agent::source::{Credentials, Settings, Sources, Timeouts, Transport, Wanted};
use fill_agent::tls::{Files, Tls};
use protocol::manifest::Source as Listed;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::MIB;

pub const APPLIANCE: &str = "c001.fra001.example";
pub const TOKEN: &str = "secret";

pub struct Appliance {
    pub store: Arc<Mutex<Store>>,
    pub folder: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Appliance {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_path_buf();
        let roots = ["nvme0", "nvme1", "hdd0"].map(|name| folder.join(name));
        for root in &roots {
            std::fs::create_dir_all(root).unwrap();
            let options = InitOptions {
                now_s: 1_800_000_000,
                tier: None,
                shared_fs: true,
            };
            device::initialise(root, &options).unwrap();
        }
        let [nvme0, nvme1, hdd0] = roots;
        let tier = |name: &str, role, stripe_width, devices| TierConfig {
            name: name.into(),
            role,
            stripe_unit: MIB,
            read_unit: 256 << 10,
            stripe_width,
            devices,
        };
        let config = StoreConfig {
            state_dir: folder.join("state"),
            tiers: vec![
                tier("nvme", TierRole::Hot, 2, vec![nvme0, nvme1]),
                tier("hdd", TierRole::Capacity, 1, vec![hdd0]),
            ],
            program: "test".into(),
        };
        Self {
            store: Arc::new(Mutex::new(Store::open(config).unwrap())),
            folder,
            _temporary: temporary,
        }
    }

    /// All that a fill needs, with sources as listed.
    pub fn fill(&self, sources: Sources) -> Fill {
        let (store, repairing) = (self.store.clone(), self.store.clone());
        Fill {
            sources,
            repair: Arc::new(move |object, placed, tree| {
                repairing.lock().unwrap().repair(&object, placed, tree)
            }),
            stage: Arc::new(move |tree, tier| store.lock().unwrap().stage(tree, tier)),
            lanes: Arc::new(Lanes::new(Duration::from_secs(30))),
            progress: Arc::new(Progress::default()),
            parallel: 4,
            peer_patience: Duration::from_secs(1800),
            // The shortest pauses.
            chance: || 0.0,
        }
    }

    /// Publishes what was fetched, which checks that it is whole.
    pub fn publish(&self, path: &str, content: Content) {
        let path = NewPath {
            path: path.into(),
            content_type: "video/mp4".into(),
            cache_control: "max-age=31536000, immutable".into(),
            modified_s: 1_700_000_000,
        };
        let publication = Publication {
            content,
            paths: vec![path],
        };
        self.store
            .lock()
            .unwrap()
            .publish(vec![publication])
            .unwrap();
    }
}

/// Short, so that a test of a bad source is over soon.
pub const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    head: Duration::from_millis(300),
    idle: Duration::from_millis(300),
    speed_window: Duration::from_millis(400),
    speed_bytes_per_s: 16 << 10,
};

pub struct Setup {
    pub settings: Settings,
    pub timeouts: Timeouts,
    pub tls: Tls,
    pub limiter: Arc<Limiter>,
}

impl Setup {
    pub fn new(control_url: &str) -> Self {
        Self {
            settings: Settings {
                appliance: APPLIANCE.into(),
                control_url: control_url.into(),
                token: TOKEN.into(),
                credentials: Some(Credentials {
                    key_id: "AKEXAMPLE".into(),
                    secret: "not so secret".into(),
                }),
            },
            timeouts: Timeouts::default(),
            tls: Tls::new(&Files::default(), Arc::default()),
            limiter: Arc::new(Limiter::new(100_000_000_000)),
        }
    }

    pub fn short(control_url: &str) -> Self {
        Self {
            timeouts: SHORT,
            ..Self::new(control_url)
        }
    }

    pub fn sources(&self, listed: &[Listed]) -> Sources {
        let transport = Arc::new(Transport::new(self.timeouts, self.tls.clone()));
        Sources::new(listed, &self.settings, &transport, &self.limiter, None)
    }
}

pub fn peer(url: &str) -> Listed {
    Listed::Peer {
        appliance: "c002.fra001.example".into(),
        urls: vec![url.into()],
    }
}

pub fn upstream(url: &str) -> Listed {
    Listed::Upstream {
        appliance: "c001.ams001.example".into(),
        urls: vec![url.into()],
    }
}

pub fn http(name: &str, url: &str) -> Listed {
    Listed::Http {
        name: name.into(),
        url: url.into(),
    }
}

pub fn job(wanted: &Wanted, via: Option<u16>) -> Job {
    Job {
        wanted: wanted.clone(),
        tier: "nvme".into(),
        via,
        repairs: None,
    }
}

/// Runs jobs to their end.
pub async fn run(fill: &Fill, jobs: Vec<Job>) -> Vec<Outcome> {
    let (sender, mut receiver) = mpsc::channel(jobs.len().max(1));
    fill.run(jobs, sender, CancellationToken::new()).await;
    let mut outcomes = Vec::new();
    while let Some(outcome) = receiver.recv().await {
        outcomes.push(outcome);
    }
    outcomes
}

/// The content of the only outcome.
pub async fn run_one(fill: &Fill, job: Job) -> Content {
    match run(fill, vec![job]).await.pop().unwrap() {
        Outcome::Fetched { content, .. } => content,
        Outcome::Repaired { .. } => panic!("nothing was to be repaired"),
        Outcome::Failed { failure, .. } => panic!("{failure}"),
    }
}
