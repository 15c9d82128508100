//! Whether site-mates answer at their service addresses: asked of each every few seconds, told in the next report. So the control
//! endpoint knows a box that is dead from one that it merely does not hear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::status::ListenerPurpose;
use protocol::steer::{Neighbour, Reached};
use tokio::time::sleep;

use crate::control::self_test;
use crate::limits::{NEIGHBOUR_FAILURES, NEIGHBOUR_PAUSE, NEIGHBOURS_MAX};

/// The site-mates that the control endpoint has named.
#[derive(Clone, Default)]
pub struct Neighbours(Arc<Mutex<Vec<Tried>>>);

struct Tried {
    neighbour: Neighbour,
    /// In a row; `None`: not tried yet.
    failures: Option<u32>,
}

impl Neighbours {
    /// These are to be tried from now on.
    pub fn are(&self, named: &[Neighbour]) {
        let mut tried = self.lock();
        let before = std::mem::take(&mut *tried);
        let of = |neighbour: &Neighbour| {
            let known = before.iter().find(|tried| tried.neighbour == *neighbour);
            Tried {
                neighbour: neighbour.clone(),
                failures: known.and_then(|tried| tried.failures),
            }
        };
        *tried = named.iter().take(NEIGHBOURS_MAX).map(of).collect();
    }

    /// What is known of those that were tried.
    #[must_use]
    pub fn told(&self) -> Vec<Reached> {
        let tried = self.lock();
        let told = tried.iter().filter_map(|tried| {
            Some(Reached {
                id: tried.neighbour.id.clone(),
                answers: tried.failures? < NEIGHBOUR_FAILURES,
            })
        });
        told.collect()
    }

    /// Tries them, one after another, for ever.
    pub async fn try_for_ever(self) {
        loop {
            let all: Vec<Neighbour> = self.lock().iter().map(|it| it.neighbour.clone()).collect();
            for neighbour in all {
                let answers = answers(&neighbour).await;
                self.note(&neighbour, answers);
            }
            sleep(NEIGHBOUR_PAUSE).await;
        }
    }

    fn note(&self, neighbour: &Neighbour, answers: bool) {
        let mut tried = self.lock();
        if let Some(tried) = tried.iter_mut().find(|it| it.neighbour == *neighbour) {
            tried.failures = Some(match answers {
                true => 0,
                false => tried.failures.unwrap_or(0).saturating_add(1),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At one of its addresses at least.
async fn answers(neighbour: &Neighbour) -> bool {
    for url in &neighbour.serves_at {
        if let Some((address, purpose)) = address(url)
            && self_test::ask(address, purpose).await.is_ok()
        {
            return true;
        }
    }
    false
}

fn address(url: &str) -> Option<(SocketAddr, ListenerPurpose)> {
    let (scheme, address) = url.split_once("://")?;
    let purpose = match scheme {
        "http" => ListenerPurpose::Http,
        "https" => ListenerPurpose::Https,
        _ => return None,
    };
    Some((address.trim_end_matches('/').parse().ok()?, purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(id: &str, port: u16) -> Neighbour {
        Neighbour {
            id: id.to_owned(),
            serves_at: vec![format!("http://127.0.0.1:{port}")],
        }
    }

    #[test]
    fn one_that_does_not_answer_three_times_is_told_so_and_one_that_was_not_tried_is_not_told() {
        let neighbours = Neighbours::default();
        let (one, other) = (neighbour("c1", 1), neighbour("c2", 2));
        neighbours.are(&[one.clone(), other.clone()]);
        assert_eq!(neighbours.told(), []);
        let told = |answers| {
            vec![Reached {
                id: "c1".to_owned(),
                answers,
            }]
        };
        for failures in 1..=NEIGHBOUR_FAILURES {
            neighbours.note(&one, false);
            assert_eq!(neighbours.told(), told(failures < NEIGHBOUR_FAILURES));
        }
        neighbours.are(std::slice::from_ref(&one));
        assert_eq!(neighbours.told(), told(false), "what is known stays");
        neighbours.note(&one, true);
        neighbours.note(&other, true);
        assert_eq!(neighbours.told(), told(true));
        neighbours.are(&[neighbour("c1", 3)]);
        assert_eq!(neighbours.told(), [], "another address is not tried yet");
    }

    #[test]
    fn addresses_are_those_that_appliances_report() {
        let parsed =
            |url: &str| address(url).map(|(address, purpose)| (address.to_string(), purpose));
        let http = ("192.0.2.1:80".to_owned(), ListenerPurpose::Http);
        assert_eq!(parsed("http://192.0.2.1:80"), Some(http));
        let https = ("[2001:db8::1]:443".to_owned(), ListenerPurpose::Https);
        assert_eq!(parsed("https://[2001:db8::1]:443/"), Some(https));
        assert_eq!(parsed("ftp://192.0.2.1:80"), None);
        assert_eq!(
            parsed("http://name:80"),
            None,
            "nobody looks up names for it"
        );
    }
}
