//! How long a million objects take: registered, reported as held, built, sealed, sent, opened.
//!
//! `cargo run --release -p control-endpoint --example scale -- [objects] [appliances]`

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use control_endpoint::building::{self, Order, Terms};
use control_endpoint::config::{self, Config};
use control_endpoint::database::Database;
use control_endpoint::database::appliances::Appliance;
use control_endpoint::database::objects::Registration;
use control_endpoint::{keygen, serve};
use protocol::control::{Inventory, REPORT_VERSION, Report};
use protocol::manifest::{Manifest, keys::PublicKey, seal};
use protocol::root::Root;
use protocol::status::State;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: usize| arguments.next().map_or(Ok(otherwise), |text| text.parse());
    let (objects, appliances) = (number(1_000_000)?, number(2)?);
    _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new()?.block_on(run(objects, appliances))
}

async fn run(objects: usize, appliances: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, public) = keygen::run(&folder.path().join("k.key"))?;
    let key = PublicKey::from_pem(&std::fs::read_to_string(public)?)?;
    let config = configuration(folder.path())?;
    let terms = Terms::of(&config)?;
    let database = Database::open(&config.state_dir).await?;
    let mut tokens = Vec::new();
    for index in 0..appliances {
        let token = database.add_appliance(&appliance(index)).await?;
        tokens.push(token.context("a new appliance has a token")?);
    }
    timed("register", register(&database, objects)).await?;
    timed(
        "one report of all as held",
        database.take_report(report(objects)),
    )
    .await?;
    let order = Order::default();
    let build = || building::build(&database, &terms, &order);
    let name = format!("build, seal, store {appliances} manifests");
    let built = timed(&name, build()).await?;
    built
        .iter()
        .for_each(|(id, outcome)| println!("    {id}: {outcome}"));
    timed("build again, nothing has changed", build()).await?;
    let address_file = config.state_dir.join(serve::ADDRESS_FILE);
    let serving = tokio::spawn(serve::run(config));
    while !address_file.exists() {
        ensure!(!serving.is_finished(), "serve has ended");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let address = std::fs::read_to_string(address_file)?;
    let url = format!(
        "http://{}/v1/appliances/{}/manifest",
        address.trim(),
        appliance(0).id
    );
    let sealed = timed("send", fetch(&url, &tokens[0])).await?;
    println!("    {:.1} MB", sealed.len() as f64 / 1e6);
    let open = async { Ok(seal::open::<Manifest>(&sealed, &[key], &appliance(0).id)?) };
    let manifest = timed("open and check", open).await?;
    ensure!(
        manifest.objects.len() == objects,
        "{} objects",
        manifest.objects.len()
    );
    println!("largest size of this process: {}", peak());
    serving.abort();
    Ok(())
}

async fn timed<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begin = Instant::now();
    let done = work.await?;
    println!("{:>8.2} s  {what}", begin.elapsed().as_secs_f64());
    Ok(done)
}

fn configuration(folder: &Path) -> Result<Config> {
    let file = folder.join("oca-control.toml");
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nstate_dir = {:?}\nsigning_keys = [{:?}]\n",
        folder.join("state"),
        folder.join("k.key")
    );
    std::fs::write(&file, text)?;
    Ok(config::load(&file)?)
}

fn appliance(index: usize) -> Appliance {
    Appliance {
        id: format!("c{index:03}.site.example"),
        site: "site.example".to_owned(),
        cluster: "site".to_owned(),
        hot_bytes: Some(1 << 50),
        capacity_bytes: None,
        upstreams: Vec::new(),
    }
}

fn root(index: usize) -> Root {
    Root(*blake3::hash(&index.to_le_bytes()).as_bytes())
}

/// In batches like those of `ingest`, without files.
async fn register(database: &Database, objects: usize) -> Result<()> {
    let registration = |index: usize| Registration {
        path: format!(
            "/titles/{:05}/video/1080p/segment-{index:08}.m4s",
            index / 300
        ),
        root: root(index),
        size: 500_000 + (index as u64 * 7919) % 3_000_000,
        tree: Vec::new(),
        file: format!("/srv/media/{index}").into(),
        owned: false,
        mtime_ns: 0,
        content_type: "video/iso.segment".to_owned(),
        cache_control: "public, max-age=31536000, immutable".to_owned(),
        modified: 1_790_000_000,
        demand: (index as u64 * 104_729) % 10_000_000,
        published: control_endpoint::database::now(),
        urgent_until: 0,
    };
    for begin in (0..objects).step_by(5000) {
        let batch: Vec<Registration> = (begin..objects.min(begin + 5000))
            .map(registration)
            .collect();
        database.register(&batch).await?;
    }
    Ok(())
}

fn report(objects: usize) -> Report {
    Report {
        version: REPORT_VERSION,
        appliance: appliance(0).id,
        site: "site.example".to_owned(),
        software: "scale".to_owned(),
        started: 1,
        sequence: 1,
        sent_at: 1,
        state: State::Ok,
        causes: Vec::new(),
        steering: serde_json::Value::Null,
        serves_at: vec!["http://192.0.2.1:80".to_owned()],
        devices: Vec::new(),
        fill: None,
        inventory: Inventory {
            revision: 1,
            since: None,
            added: (0..objects).map(root).collect(),
            removed: Vec::new(),
        },
        served: Vec::new(),
        misses: Vec::new(),
        routes: None,
        reached: Vec::new(),
    }
}

async fn fetch(url: &str, token: &str) -> Result<Vec<u8>> {
    let request = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(url)
        .bearer_auth(token);
    Ok(request
        .send()
        .await?
        .error_for_status()?
        .bytes()
        .await?
        .to_vec())
}

/// Linux says it; elsewhere `time -l` does.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |size| size.trim().to_owned())
}
