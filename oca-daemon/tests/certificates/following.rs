//! Files that change while viewers are served. The clock is the test's.

use std::time::{Duration, Instant};

use oca_daemon::tls::{Occasion, Tls, Watch};
use protocol::config::Certificate;

use crate::folder::{Folder, GOOD, NOW, OVER};

/// Looks every two seconds, as the control loop does.
struct Follower {
    tls: Tls,
    watch: Watch,
    now: Instant,
}

impl Follower {
    fn new(folder: &Folder, certificates: &[Certificate]) -> Self {
        let tls = folder.tls(certificates, "").unwrap();
        Self {
            watch: tls.watch(),
            tls,
            now: Instant::now(),
        }
    }

    fn look(&mut self, occasion: Occasion) {
        self.now += Duration::from_secs(2);
        let look = self.watch.looker(occasion).look(NOW);
        self.watch.judge(look, occasion, self.now, NOW);
    }

    fn looks(&mut self, times: usize) {
        (0..times).for_each(|_| self.look(Occasion::Routine));
    }

    /// The first names of what is shown.
    fn shown(&self) -> Vec<String> {
        let set = self.tls.certificates.set();
        let first = |pair: &std::sync::Arc<oca_daemon::tls::Pair>| pair.leaf.names[0].clone();
        set.pairs.iter().map(first).collect()
    }

    fn problems(&self) -> Vec<String> {
        let reload = self.tls.certificates.last_reload();
        reload.problems.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn files_that_stay_are_no_news() {
    let folder = Folder::new();
    let files = folder.put("a", &folder.issue(&["old"], GOOD));
    let mut follower = Follower::new(&folder, &[files]);
    let before = follower.tls.certificates.set();
    follower.looks(20);
    assert!(std::sync::Arc::ptr_eq(
        &before,
        &follower.tls.certificates.set()
    ));
    assert_eq!(follower.tls.certificates.last_reload().at, None);
}

#[test]
fn a_renewed_pair_is_shown_at_the_next_look_and_others_stay_as_they_were() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["old"], GOOD));
    let b = folder.put("b", &folder.issue(&["b"], GOOD));
    let mut follower = Follower::new(&folder, &[a, b]);
    let before = follower.tls.certificates.set();
    folder.put("a", &folder.issue(&["new"], GOOD));
    follower.looks(1);
    assert_eq!(follower.shown(), ["new", "b"]);
    let after = follower.tls.certificates.set();
    assert!(std::sync::Arc::ptr_eq(&before.pairs[1], &after.pairs[1]));
    assert_eq!(follower.tls.certificates.last_reload().at, Some(NOW));
    assert_eq!(follower.tls.certificates.failures(), 0);
}

#[test]
fn the_two_files_may_be_replaced_one_after_the_other() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["old"], GOOD));
    let mut follower = Follower::new(&folder, &[a]);
    let new = folder.issue(&["new"], GOOD);
    folder.write("a.pem", &new.chain);
    follower.looks(4);
    assert_eq!(
        (follower.shown(), follower.problems()),
        (vec!["old".to_owned()], vec![])
    );
    folder.write("a.key", &new.key);
    follower.looks(1);
    assert_eq!(
        (follower.shown(), follower.problems()),
        (vec!["new".to_owned()], vec![])
    );
    assert_eq!(follower.tls.certificates.failures(), 0);
}

#[test]
fn files_that_stay_wrong_are_said_once_and_until_they_are_right() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["old"], GOOD));
    let b = folder.put("b", &folder.issue(&["b"], GOOD));
    let mut follower = Follower::new(&folder, &[a, b]);
    folder.write("a.pem", "");
    folder.put("b", &folder.issue(&["new b"], GOOD));
    follower.looks(1);
    assert_eq!(
        follower.shown(),
        ["old", "new b"],
        "one does not keep the other"
    );
    assert_eq!(follower.problems(), Vec::<String>::new(), "not yet");
    follower.looks(20);
    let problems = follower.problems();
    assert!(
        problems.len() == 1 && problems[0].ends_with("a.pem: is empty"),
        "{problems:?}"
    );
    assert_eq!(follower.tls.certificates.failures(), 1);
    folder.put("a", &folder.issue(&["new"], GOOD));
    follower.looks(1);
    assert_eq!(follower.shown(), ["new", "new b"]);
    assert_eq!(follower.problems(), Vec::<String>::new());
    assert_eq!(follower.tls.certificates.failures(), 1);
}

#[test]
fn an_operator_who_asks_has_an_answer_at_once() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["old"], GOOD));
    let mut follower = Follower::new(&folder, &[a]);
    folder.write("a.key", "");
    follower.look(Occasion::Asked);
    assert_eq!(
        (follower.shown(), follower.problems().len()),
        (vec!["old".to_owned()], 1)
    );
    follower.looks(20);
    assert_eq!(follower.tls.certificates.failures(), 1);
    follower.look(Occasion::Asked);
    assert_eq!(follower.tls.certificates.failures(), 2);
}

#[test]
fn what_has_expired_does_not_replace_what_is_valid() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["old"], GOOD));
    let b = folder.put("b", &folder.issue(&["expired"], OVER));
    let mut follower = Follower::new(&folder, &[a, b]);
    folder.put("a", &folder.issue(&["over"], OVER));
    folder.put("b", &folder.issue(&["expired too"], OVER));
    follower.look(Occasion::Asked);
    assert_eq!(follower.shown(), ["old", "expired too"]);
    let problems = follower.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("a.pem: certificate 1 in it expired"),
        "{problems:?}"
    );
}

#[test]
fn a_list_that_changes_is_followed() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["a"], GOOD));
    let b = folder.put("b", &folder.issue(&["b"], GOOD));
    let mut follower = Follower::new(&folder, std::slice::from_ref(&a));
    let before = follower.watch.looker(Occasion::Asked).look(NOW);
    follower.watch.follow(vec![b.clone(), a.clone()]);
    follower
        .watch
        .judge(before, Occasion::Asked, follower.now, NOW);
    assert_eq!(
        follower.shown(),
        ["a"],
        "a look that began before is of the old list"
    );
    follower.look(Occasion::Asked);
    assert_eq!(follower.shown(), ["b", "a"]);
    follower.watch.follow(vec![folder.files("none")]);
    follower.look(Occasion::Asked);
    assert_eq!(follower.shown(), ["b", "a"], "rather than nothing");
    assert_eq!(follower.problems().len(), 1);
    follower.watch.follow(vec![b]);
    follower.look(Occasion::Asked);
    assert_eq!(follower.shown(), ["b"]);
}

#[test]
fn a_disk_that_hangs_is_said_once_and_forgotten_when_it_answers() {
    let folder = Folder::new();
    let a = folder.put("a", &folder.issue(&["a"], GOOD));
    let mut follower = Follower::new(&folder, &[a]);
    follower.watch.no_answer(NOW);
    follower.watch.no_answer(NOW);
    let problems = follower.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("the disk does not answer"),
        "{problems:?}"
    );
    assert_eq!(follower.tls.certificates.failures(), 1);
    follower.looks(1);
    assert_eq!(follower.problems(), Vec::<String>::new());
    follower.watch.no_answer(NOW);
    assert_eq!(follower.tls.certificates.failures(), 2);
}
