//! Who is Active for a router, of those who say so. Pure.
//!
//! What an agent reported is a claim, not proof: a node that died goes on claiming. While two claim one family, each is
//! asked to give a nonce back (`spec.confirm` of its NodeConfig, `status.confirm`). Until somebody does, the claim that
//! came last counts, so that a failover never looks like two holders. Order and patience are by arrival here, never by
//! the clocks of nodes.
//!
//! What was asked and answered is in the NodeConfigs: an operator that begins finds it there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vipkeeper_crds::AddressFamily;

use crate::change::Now;

/// For how long two may claim before they are asked: a planned move is over before.
const GRACE: Duration = Duration::from_secs(1);
/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Those that confirmed a claim which should not be are asked again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// A node says that it is Active for a family.
pub(crate) type Claim<'a> = (&'a str, AddressFamily);

/// What there is to judge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearing<'a> {
    /// Who claims.
    pub(crate) claims: BTreeSet<Claim<'a>>,
    /// What each claiming node is asked for, and what it gave back.
    pub(crate) asked: BTreeMap<&'a str, (Option<&'a str>, Option<&'a str>)>,
    /// Claiming nodes that need proof although nobody else claims: the cluster does not hear from them.
    pub(crate) doubted: BTreeSet<&'a str>,
    /// Whether all need proof: something is going to be built on it.
    pub(crate) prove: bool,
    /// Who counted before, for an operator that begins.
    pub(crate) before: BTreeSet<Claim<'a>>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// The claims that count.
    pub(crate) counted: BTreeSet<(String, AddressFamily)>,
    /// What to ask of the nodes whose claims need proof.
    pub(crate) nonce: Option<(String, BTreeSet<String>)>,
    /// The nodes that gave the present nonce back.
    pub(crate) proven: BTreeSet<String>,
    /// Whether some claim waits for proof.
    pub(crate) open: bool,
    /// When to look again, if nothing happens before.
    pub(crate) wake: Option<Duration>,
}

/// What is remembered about the claims to one router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// When each present claim came, in their order.
    arrivals: BTreeMap<(String, AddressFamily), u64>,
    arrived: u64,
    /// Since when some claim needs proof.
    since: Option<Duration>,
    /// The nonce, and when it was asked for.
    asked: Option<(String, Duration)>,
    /// Who gave the nonce before this one back.
    earlier: BTreeSet<String>,
}

impl Claims {
    /// Judges what is claimed now.
    pub(crate) fn judge(&mut self, hearing: &Hearing<'_>, now: &Now) -> Verdict {
        self.note_arrivals(hearing);
        let mut rivals: BTreeMap<AddressFamily, Vec<&str>> = BTreeMap::new();
        for (node, family) in &hearing.claims {
            rivals.entry(*family).or_default().push(node);
        }
        let in_doubt = |nodes: &Vec<&str>| {
            nodes.len() > 1 || nodes.iter().any(|n| hearing.doubted.contains(n))
        };
        let mut suspects: BTreeSet<&str> = rivals
            .values()
            .filter(|nodes| hearing.prove || in_doubt(nodes))
            .flatten()
            .copied()
            .collect();
        if suspects.is_empty() {
            self.since = None;
            self.asked = None;
            self.earlier.clear();
        }
        let mut verdict = Verdict::default();
        self.ask(hearing, &suspects, now, &mut verdict);
        let answered = |node: &str| self.answered(hearing, node);
        let expired = self.expired(now);
        for (family, nodes) in &rivals {
            let counts: Vec<&str> = if in_doubt(nodes) {
                let proven = |n: &&str| answered(n) || (!expired && self.earlier.contains(*n));
                let proven: Vec<&str> = nodes.iter().copied().filter(proven).collect();
                verdict.open |= !expired && nodes.iter().any(|n| !answered(n));
                match (proven.is_empty(), expired) {
                    (false, _) => proven,
                    (true, true) => Vec::new(),
                    (true, false) => self.latest(nodes, *family).into_iter().collect(),
                }
            } else {
                verdict.open |= hearing.prove && !expired && nodes.iter().any(|n| !answered(n));
                nodes.clone()
            };
            let counts = counts.into_iter().map(|n| (n.to_owned(), *family));
            verdict.counted.extend(counts);
        }
        suspects.retain(|n| answered(n));
        verdict.proven = suspects.into_iter().map(str::to_owned).collect();
        verdict
    }

    /// Asks anew: an answer to what was asked before does not count any more.
    pub(crate) fn renew(&mut self, now: &Now) -> String {
        let nonce = nonce(now);
        self.asked = Some((nonce.clone(), now.clock));
        self.earlier.clear();
        nonce
    }

    fn note_arrivals(&mut self, hearing: &Hearing<'_>) {
        let is_first = self.arrived == 0;
        let present =
            |key: &(String, AddressFamily)| hearing.claims.contains(&(key.0.as_str(), key.1));
        self.arrivals.retain(|key, _| present(key));
        for claim in &hearing.claims {
            let key = (claim.0.to_owned(), claim.1);
            if self.arrivals.contains_key(&key) {
                continue;
            }
            self.arrived = self.arrived.saturating_add(1);
            // Whoever an earlier operator counted goes on to count.
            let late = u64::from(is_first && hearing.before.contains(claim)) * u64::from(u32::MAX);
            self.arrivals.insert(key, self.arrived.saturating_add(late));
        }
        if is_first {
            let last = self.arrivals.values().copied().max().unwrap_or(0);
            self.arrived = self.arrived.max(last);
        }
    }

    fn latest<'a>(&self, nodes: &[&'a str], family: AddressFamily) -> Option<&'a str> {
        let arrival = |n: &&str| self.arrivals.get(&((*n).to_owned(), family));
        nodes.iter().copied().max_by_key(arrival)
    }

    /// Decides what to ask, and when to look again.
    fn ask(
        &mut self,
        hearing: &Hearing<'_>,
        suspects: &BTreeSet<&str>,
        now: &Now,
        verdict: &mut Verdict,
    ) {
        if suspects.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now.clock);
        if self.asked.is_none() {
            let known = suspects.iter().filter_map(|n| hearing.asked.get(n)?.0);
            let known = known.max().map(str::to_owned);
            let begin = since.saturating_add(if hearing.prove { Duration::ZERO } else { GRACE });
            if let Some(nonce) = known {
                self.asked = Some((nonce, now.clock));
            } else if now.clock >= begin {
                self.asked = Some((nonce(now), now.clock));
            } else {
                verdict.wake = Some(begin);
                return;
            }
        }
        // Several that confirm, and one that is alive although its node is not heard, may die unseen.
        let answers = suspects.iter().filter(|n| self.answered(hearing, n));
        let answers: BTreeSet<String> = answers.map(|n| (*n).to_owned()).collect();
        let odd = answers.len() > 1 || hearing.doubted.iter().any(|n| answers.contains(*n));
        let again = self.asked.as_ref().map(|(_, at)| at.saturating_add(AGAIN));
        if odd && !hearing.prove && again.is_some_and(|again| now.clock >= again) {
            self.renew(now);
            self.earlier = answers;
        }
        let Some((nonce, at)) = self.asked.clone() else {
            return;
        };
        let ends = at.saturating_add(PATIENCE);
        verdict.wake = if now.clock < ends {
            Some(ends)
        } else if odd && !hearing.prove {
            Some(at.saturating_add(AGAIN))
        } else {
            None
        };
        let nodes = suspects.iter().map(|n| (*n).to_owned()).collect();
        verdict.nonce = Some((nonce, nodes));
    }

    fn answered(&self, hearing: &Hearing<'_>, node: &str) -> bool {
        let nonce = self.asked.as_ref().map(|(nonce, _)| nonce.as_str());
        let asked = hearing.asked.get(node);
        nonce.is_some() && asked.is_some_and(|asked| asked.0 == nonce && asked.1 == nonce)
    }

    fn expired(&self, now: &Now) -> bool {
        let asked = self.asked.as_ref();
        asked.is_some_and(|(_, at)| now.clock >= at.saturating_add(PATIENCE))
    }
}

/// Another one each time, and by another operator too.
fn nonce(now: &Now) -> String {
    format!("{:x}-{:x}", now.date.0.as_second(), now.clock.as_nanos())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const V4: AddressFamily = AddressFamily::V4;

    fn at(millis: u64) -> Now {
        let seconds = 1_800_000_000 + i64::try_from(millis / 1_000).unwrap();
        Now {
            date: Time(Timestamp::from_second(seconds).unwrap()),
            clock: Duration::from_millis(millis),
        }
    }

    /// Nodes with what they are asked and gave back.
    #[derive(Default)]
    struct World {
        claims: Claims,
        nodes: BTreeMap<String, (Option<String>, Option<String>)>,
        doubted: BTreeSet<&'static str>,
    }

    impl World {
        fn claim(&mut self, node: &str) {
            self.nodes.insert(node.to_owned(), (None, None));
        }

        fn hear(&mut self, millis: u64) -> Verdict {
            let nodes = self.nodes.clone();
            let hearing = Hearing {
                claims: nodes.keys().map(|n| (n.as_str(), V4)).collect(),
                asked: nodes
                    .iter()
                    .map(|(n, (a, b))| (n.as_str(), (a.as_deref(), b.as_deref())))
                    .collect(),
                doubted: self.doubted.clone(),
                ..Hearing::default()
            };
            let verdict = self.claims.judge(&hearing, &at(millis));
            let nonce = verdict.nonce.clone();
            for (name, node) in &mut self.nodes {
                let asked = nonce.as_ref().filter(|(_, all)| all.contains(name));
                node.0 = asked.map(|(nonce, _)| nonce.clone());
            }
            verdict
        }

        fn echo(&mut self, node: &str) {
            let node = self.nodes.get_mut(node).unwrap();
            node.1 = node.0.clone();
        }
    }

    fn counted(verdict: &Verdict) -> Vec<&str> {
        verdict.counted.iter().map(|(n, _)| n.as_str()).collect()
    }

    #[test]
    fn one_claim_needs_no_proof() {
        let mut world = World::default();
        world.claim("a");
        let verdict = world.hear(0);
        assert_eq!(counted(&verdict), ["a"]);
        assert_eq!((verdict.nonce, verdict.wake), (None, None));
    }

    #[test]
    fn a_crash_shows_one_active_at_every_moment_and_never_two() {
        for newcomer in ["b", "0"] {
            let mut world = World::default();
            world.claim("a");
            world.hear(0);
            world.claim(newcomer);
            // The claim of the dead one stays, that of the new one came last.
            for millis in [10, 500, 999, 1_000, 3_000] {
                assert_eq!(counted(&world.hear(millis)), [newcomer], "{millis}");
            }
            world.echo(newcomer);
            for millis in [3_100, 5_999, 6_000, 60_000, 600_000] {
                let verdict = world.hear(millis);
                assert_eq!(counted(&verdict), [newcomer], "{millis}");
                assert!(
                    verdict.nonce.is_some(),
                    "the dead one is asked until it answers"
                );
            }
            assert_eq!(
                world.hear(700_000).wake,
                None,
                "and nothing is written meanwhile"
            );
        }
    }

    #[test]
    fn a_planned_move_is_over_before_anybody_is_asked() {
        let mut world = World::default();
        world.claim("a");
        world.hear(0);
        world.claim("b");
        let verdict = world.hear(100);
        assert_eq!(verdict.nonce, None);
        assert_eq!(verdict.wake, Some(Duration::from_millis(1_100)));
        world.nodes.remove("a");
        let verdict = world.hear(900);
        assert_eq!(counted(&verdict), ["b"]);
        assert_eq!((verdict.nonce, verdict.wake), (None, None));
    }

    #[test]
    fn two_that_answer_are_two_holders_until_one_does_not_answer_again() {
        let mut world = World::default();
        world.claim("a");
        world.claim("b");
        world.hear(0);
        world.hear(1_000);
        world.echo("b");
        assert_eq!(counted(&world.hear(1_500)), ["b"]);
        world.echo("a");
        let verdict = world.hear(2_000);
        assert_eq!(counted(&verdict), ["a", "b"]);
        assert_eq!(world.hear(10_000).wake, Some(Duration::from_secs(61)));
        // Asked again, both count until the time is over; only b answers.
        assert_eq!(counted(&world.hear(61_000)), ["a", "b"]);
        world.echo("b");
        assert_eq!(counted(&world.hear(62_000)), ["a", "b"]);
        assert_eq!(counted(&world.hear(66_000)), ["b"]);
    }

    #[test]
    fn nobody_counts_when_nobody_answers() {
        let mut world = World::default();
        world.claim("a");
        world.claim("b");
        world.hear(0);
        assert_eq!(world.hear(1_000).wake, Some(Duration::from_secs(6)));
        assert_eq!(counted(&world.hear(5_999)).len(), 1);
        assert_eq!(counted(&world.hear(6_000)), [""; 0]);
        world.echo("a");
        assert_eq!(
            counted(&world.hear(9_000)),
            ["a"],
            "late is better than never"
        );
    }

    #[test]
    fn a_holder_whose_node_is_not_heard_needs_proof() {
        let mut world = World::default();
        world.doubted.insert("a");
        world.claim("a");
        world.hear(0);
        assert_eq!(counted(&world.hear(1_000)), ["a"]);
        assert_eq!(counted(&world.hear(6_000)), [""; 0]);
        world.echo("a");
        assert_eq!(counted(&world.hear(7_000)), ["a"]);
    }

    #[test]
    fn an_operator_that_begins_finds_what_was_asked_and_answered() {
        let mut world = World::default();
        world.claim("a");
        world.hear(0);
        world.claim("b");
        world.hear(500);
        world.hear(1_600);
        world.echo("b");
        world.claims = Claims::default();
        let verdict = world.hear(5_000_000);
        assert_eq!(counted(&verdict), ["b"]);
        // Nobody answered yet: whoever counted before goes on.
        for before in ["a", "b"] {
            let hearing = Hearing {
                claims: BTreeSet::from([("a", V4), ("b", V4)]),
                before: BTreeSet::from([(before, V4)]),
                ..Hearing::default()
            };
            let verdict = Claims::default().judge(&hearing, &at(0));
            assert_eq!(counted(&verdict), [before]);
        }
    }
}
