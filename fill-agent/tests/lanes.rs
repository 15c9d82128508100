//! Devices that hang: they hold up their own thread and nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use content_store::DeviceId;
use fill_agent::lanes::{LaneState, Lanes};

const HUNG: DeviceId = DeviceId([1; 16]);
const WELL: DeviceId = DeviceId([2; 16]);

fn lanes() -> Arc<Lanes> {
    Arc::new(Lanes::new(Duration::from_millis(100)))
}

#[tokio::test]
async fn a_device_that_hangs_has_failed_until_its_write_returns() {
    let lanes = lanes();
    let (release, held) = mpsc::channel::<()>();
    let (dropped, was_dropped) = mpsc::channel::<()>();
    let hanging = lanes.run(HUNG, 1, move || {
        held.recv().unwrap();
        drop(dropped);
    });
    // Who waits for the same device is told when it fails, and keeps its own.
    let (first, second) = tokio::join!(hanging, lanes.run(HUNG, 1, || ()));
    let cause = "a write has not returned for 0.1 s";
    assert_eq!(first.unwrap_err().cause, cause);
    assert_eq!(second.unwrap_err().cause, cause);
    // Whoever comes later is told at once; other devices go on.
    assert_eq!(lanes.run(HUNG, 1, || ()).await.unwrap_err().device, HUNG);
    assert_eq!(lanes.run(WELL, 7, || 5).await, Ok(5));
    assert_eq!(lanes.problem(HUNG).as_deref(), Some(cause));
    assert_eq!(lanes.problem(WELL), None);
    // The late write has what it was given until it returns, and then the device is well again.
    assert_eq!(was_dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
    release.send(()).unwrap();
    assert!(was_dropped.recv().is_err());
    let well = async {
        while lanes.problem(HUNG).is_some() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(10), well)
        .await
        .unwrap();
    assert_eq!(lanes.run(HUNG, 1, || 6).await, Ok(6));
    assert!(
        lanes
            .status()
            .iter()
            .all(|lane| lane.state == LaneState::Ok && lane.queue == 0)
    );
}

#[tokio::test]
async fn a_device_is_judged_also_when_nobody_waits_for_its_write() {
    let lanes = lanes();
    let (_release, held) = mpsc::channel::<()>();
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let shared = lanes.clone();
    let waiter = tokio::spawn(async move {
        let job = move || {
            began.send(()).unwrap();
            let _ = held.recv();
        };
        shared.run(HUNG, 1, job).await
    });
    has_begun.await.unwrap();
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    let failed = async {
        while lanes.problem(HUNG).is_none() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(10), failed)
        .await
        .unwrap();
}

#[test]
fn a_thread_that_hangs_does_not_keep_the_runtime_from_ending() {
    let (_release, held) = mpsc::channel::<()>();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let late = runtime.block_on(async { lanes().run(HUNG, 1, move || held.recv().is_err()).await });
    assert!(late.is_err());
    drop(runtime);
}

#[tokio::test]
async fn jobs_of_one_device_run_one_after_the_other() {
    let lanes = lanes();
    let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let job = || {
        let running = running.clone();
        move || {
            use std::sync::atomic::Ordering::SeqCst;
            assert_eq!(running.fetch_add(1, SeqCst), 0);
            std::thread::yield_now();
            running.fetch_sub(1, SeqCst);
        }
    };
    let jobs = (0..100).map(|_| lanes.run(WELL, 1, job()));
    let results = futures_util::future::join_all(jobs).await;
    assert!(results.iter().all(Result::is_ok));
}
