//! `state_dir` is lost and made anew from the devices: viewers get what they got before, with the same heads.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use protocol::status::DeviceState;
use support::http::{self, Response};
use support::load::{Audience, Film, Met};
use support::publish::publish;
use support::{Daemon, Plan, Site, assert_same, eventually};

const MIB: usize = 1 << 20;

fn films(site: &Site) -> std::sync::Arc<Vec<Film>> {
    let films: Vec<Film> = (0..8)
        .map(|number| Film::new(number, (1 + number as usize % 3) * MIB + 4_321))
        .collect();
    let mut store = site.store();
    films
        .iter()
        .for_each(|film| publish(&mut store, &film.path, &film.bytes));
    std::sync::Arc::new(films)
}

/// All that a viewer can tell of an answer, but for the time.
fn answers(daemon: &Daemon, films: &[Film]) -> Vec<(String, Vec<u8>)> {
    let seen = |response: Response| {
        let lines = response.head.lines();
        let head: Vec<&str> = lines.filter(|line| !line.starts_with("Date:")).collect();
        (head.join("\n"), response.body)
    };
    let answer = |film: &Film| {
        let response = http::get(daemon.http, &film.path, &[]).unwrap();
        for field in ["ETag", "Last-Modified", "Content-Type", "Cache-Control"] {
            assert!(response.field(field).is_some(), "{}", response.head);
        }
        assert_same(&response.body, &film.bytes, &film.path);
        seen(response)
    };
    films.iter().map(answer).collect()
}

fn lose_state(site: &Site) {
    fs::remove_dir_all(site.path("state")).unwrap();
}

#[test]
fn a_box_that_lost_its_state_while_it_was_down_serves_as_before() {
    let site = Site::new(&Plan::default());
    let films = films(&site);
    let mut daemon = site.start();
    let before = answers(&daemon, &films);
    daemon.kill();
    lose_state(&site);
    let rebuilt = site.rebuild();
    assert_eq!((rebuilt.objects, rebuilt.incomplete.len()), (8, 0));
    let daemon = site.start();
    assert!(answers(&daemon, &films) == before, "heads and bodies");
}

/// The index in memory does not need the catalog: nobody is hurt while it is gone, nor when the new one is taken in.
#[test]
fn a_box_that_loses_its_state_while_it_runs_goes_on() {
    let site = Site::new(&Plan::default());
    let films = films(&site);
    let daemon = site.start();
    let before = answers(&daemon, &films);
    let audience = Audience::new(daemon.http, &films, 4, 400_000);
    audience.await_served(20);
    let generation = daemon.status().catalog.generation;
    lose_state(&site);
    eventually("the loss is said", || {
        (!daemon.status().catalog.problems.is_empty()).then_some(())
    });
    audience.await_served(50);
    site.rebuild();
    eventually("the new catalog is followed", || {
        let catalog = daemon.status().catalog;
        (catalog.problems.is_empty() && catalog.generation > generation).then_some(())
    });
    assert!(answers(&daemon, &films) == before, "heads and bodies");
    // And what is published now is seen at once. The machine may be busy with other things: the quickest counts.
    let seen = (90..94).map(|number| {
        let late = Film::new(number, MIB);
        site.publish(&late.path, &late.bytes);
        let published = Instant::now();
        eventually("new content", || {
            (http::get(daemon.http, &late.path, &[]).unwrap().status == 200).then_some(())
        });
        published.elapsed()
    });
    assert!(seen.min().unwrap() < Duration::from_secs(1));
    audience.await_served(50);
    let visits = audience.end();
    assert!(visits.iter().all(|visit| visit.met == Met::Right));
}

/// The second loss takes all that was known of the first rebuild; what the returned device holds is served all the same.
#[test]
fn a_running_box_follows_each_of_many_rebuilds() {
    let site = Site::new(&Plan::default());
    let films = films(&site);
    let daemon = site.start();
    let before = answers(&daemon, &films);
    let status = |path: &str| http::get(daemon.http, path, &[]).unwrap().status;
    let rebuild_all = || {
        lose_state(&site);
        eventually("the loss is said", || {
            (!daemon.status().catalog.problems.is_empty()).then_some(())
        });
        let generation = site.rebuild().generation.0;
        eventually("the new catalog is followed", || {
            let catalog = daemon.status().catalog;
            (catalog.problems.is_empty() && catalog.generation == generation).then_some(())
        });
    };
    for round in 0..3 {
        let taken_down = Film::new(90 + round, MIB);
        site.publish(&taken_down.path, &taken_down.bytes);
        let away = site.devices_of(&films[0].bytes)[0];
        fs::rename(site.device(away), site.path("aside")).unwrap();
        rebuild_all();
        assert_eq!(status(&films[0].path), 404, "not known without its device");
        fs::rename(site.path("aside"), site.device(away)).unwrap();
        eventually("the device is back", || {
            (daemon.status().devices[away].state == DeviceState::Ok).then_some(())
        });
        rebuild_all();
        assert!(answers(&daemon, &films) == before, "heads and bodies");
        assert_eq!(status(&taken_down.path), 200);
        site.store().remove(&[&*taken_down.path]).unwrap();
        rebuild_all();
        assert_eq!(status(&taken_down.path), 404, "taken down");
        assert!(answers(&daemon, &films) == before, "heads and bodies");
    }
}
