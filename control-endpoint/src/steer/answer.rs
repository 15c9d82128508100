//! Decisions in words.

use std::net::IpAddr;
use std::sync::PoisonError;

use protocol::steer::{Choice, ORIGIN, PassedOver, Rank, Steered};
use steering::decide::fleet::MemberId;
use steering::decide::limits::{DISTANCE_STEP_KM, TTL_LEAVING_S, TTL_SPREAD_PERCENT};
use steering::decide::{Decision, Question, Ranked, decide, prefix_of};

use super::{Found, Scene, Steering, now};

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer<'a> {
    pub(crate) client: IpAddr,
    pub(crate) path: &'a str,
}

impl Steering {
    /// Where to send a viewer of what was found at his path.
    pub(crate) fn answer(&self, viewer: Viewer<'_>, found: &Found) -> Steered {
        let scene = self.scene();
        let [a, b, c, d, e, f, g, h, ..] = found.root.0;
        let decision = decide(
            steering::decide::Scene {
                view: &scene.view,
                routes: &scene.feeds.routes,
                places: &self.places,
            },
            Question {
                client: viewer.client,
                object: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                holders: &found.holders,
            },
        );
        let origin = decision
            .wants_origin()
            .then(|| self.origin(viewer, &decision))
            .flatten();
        let choices = self.choices(&scene, viewer, &decision, origin);
        let why = summary(&decision, &choices);
        let passed_over = decision.passed_over.iter().map(|(member, why)| PassedOver {
            id: scene.view.id(*member).to_owned(),
            why: why.as_str().to_owned(),
        });
        Steered {
            client: viewer.client,
            path: viewer.path.to_owned(),
            root: found.root,
            ttl_s: self.ttl(&scene, &decision),
            choices,
            passed_over: passed_over.collect(),
            panic: scene.view.panics(),
            why,
        }
    }

    /// Seconds: few while somebody leaves; spread, so that players do not all come at once.
    fn ttl(&self, scene: &Scene, decision: &Decision) -> u32 {
        let ranked = decision.ranked.iter().map(|ranked| ranked.member);
        let mut all = ranked.chain(decision.passed_over.iter().map(|(member, _)| *member));
        if all.any(|member| scene.view.is_draining(member)) {
            return TTL_LEAVING_S;
        }
        let ttl = self.terms.ttl_s();
        let spread = ttl * TTL_SPREAD_PERCENT / 100;
        rand::random_range(ttl - spread..=ttl + spread)
    }

    /// The origin, if it takes one more.
    fn origin(&self, viewer: Viewer<'_>, decision: &Decision) -> Option<Choice> {
        let url = self.terms.origin.as_ref()?;
        let mut origin = self
            .origin
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let why = match decision.ranked.len() {
            0 => "no appliance is to be used for this viewer",
            _ => "those that are to be used near their capacity, and give this viewer away",
        };
        origin.grant(now()).then(|| Choice {
            id: ORIGIN.to_owned(),
            url: joined(url, viewer.path),
            rank: None,
            why: why.to_owned(),
        })
    }

    fn choices(
        &self,
        scene: &Scene,
        viewer: Viewer<'_>,
        decision: &Decision,
        origin: Option<Choice>,
    ) -> Vec<Choice> {
        let chosen = |(at, ranked): (usize, &Ranked)| {
            Some(Choice {
                id: scene.view.id(ranked.member).to_owned(),
                url: joined(
                    &self.base_url(scene, ranked.member, viewer.client)?,
                    viewer.path,
                ),
                rank: rank(scene, viewer.client, ranked),
                why: why(decision, at),
            })
        };
        let all = decision.ranked.iter().enumerate();
        let mut choices: Vec<Choice> = all.filter_map(chosen).collect();
        if let Some(origin) = origin {
            // It is asked only if all appliances give the viewer away.
            choices.insert(0, origin);
        }
        choices
    }

    /// https before http, and the viewer's own family before the other.
    fn base_url(&self, scene: &Scene, member: MemberId, client: IpAddr) -> Option<String> {
        if let Some(url) = &self.terms.url {
            return Some(url.replace("{appliance}", scene.view.id(member)));
        }
        let rank = |url: &&String| {
            let is_v6 = url.contains("//[");
            (
                url.starts_with("http://"),
                is_v6 == client.to_canonical().is_ipv4(),
            )
        };
        scene.serves_at[usize::from(member.0)]
            .iter()
            .min_by_key(rank)
            .cloned()
    }
}

fn rank(scene: &Scene, client: IpAddr, ranked: &Ranked) -> Option<Rank> {
    let by = ranked.rank;
    let percent = scene.view.load(ranked.member) * 100.0;
    Some(Rank {
        prefix: prefix_of(client, by)?.to_string(),
        hops: (by.hops != u16::MAX).then_some(by.hops),
        med: (by.med != u32::MAX).then_some(by.med),
        distance_km: (by.distance != u16::MAX)
            .then(|| u32::from(by.distance) * DISTANCE_STEP_KM as u32),
        site: scene.view.site(ranked.member).to_owned(),
        load_percent: percent.clamp(0.0, 1000.0) as u32,
        standing: scene.view.standing(ranked.member).as_str().to_owned(),
    })
}

/// By what the appliance at `at` differs from the one before it.
fn why(decision: &Decision, at: usize) -> String {
    let ranked = &decision.ranked;
    let equals = ranked
        .iter()
        .filter(|other| other.rank == ranked[at].rank)
        .count();
    if at == decision.busy {
        return "behind the others: its group nears its capacity and gives this viewer away"
            .to_owned();
    }
    let Some(before) = at.checked_sub(1) else {
        return match equals {
            1 => "the best rank".to_owned(),
            _ => format!(
                "the best rank, which {equals} have; the viewer falls to this one by its weight"
            ),
        };
    };
    let (one, other) = (ranked[before].rank, ranked[at].rank);
    let by = if one.host_bits != other.host_bits {
        "its prefix is shorter"
    } else if one.hops != other.hops {
        "it is more AS hops away"
    } else if one.med != other.med {
        "its MED is higher"
    } else if one.distance != other.distance {
        "it is farther away"
    } else {
        "of the same rank as the one before; the viewer falls to that one by weight"
    };
    by.to_owned()
}

fn summary(decision: &Decision, choices: &[Choice]) -> String {
    let heard = decision.ranked.len() + decision.passed_over.len();
    let usable = decision.ranked.len();
    match choices.first() {
        None if heard == 0 => {
            "no appliance hears a prefix of this viewer, and there is no place at the origin"
                .to_owned()
        }
        None => format!(
            "none of the {heard} appliances that hear the viewer is to be used, and there is no place at the origin"
        ),
        Some(first) => format!(
            "{}: {usable} of {heard} appliances that hear the viewer hold the object and are to be used; {}",
            first.id, first.why
        ),
    }
}

fn joined(base: &str, path: &str) -> String {
    format!("{}{}", base.trim_end_matches('/'), encoded(path))
}

/// As in RFC 3986 section 3.3; paths are kept decoded.
pub(crate) fn encoded(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const SEGMENTS: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=')
        .remove(b':')
        .remove(b'@');
    utf8_percent_encode(path, SEGMENTS).to_string()
}
