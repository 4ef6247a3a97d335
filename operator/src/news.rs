//! What is worth telling when a status changes: the Events of an object. Pure.
//!
//! What was told is what the status said before, which the API server keeps: an unchanged state tells nothing, and
//! neither does an operator that begins.

use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType};
use vipkeeper_crds::status::{VirtualRouterStatus, VirtualServerStatus};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody may have to do something.
    pub warning: bool,
    /// What, in one word.
    pub reason: String,
    /// What, in a sentence.
    pub note: String,
}

/// What happened between two statuses of a router.
#[must_use]
pub fn news(before: Option<&VirtualRouterStatus>, after: &VirtualRouterStatus) -> Vec<News> {
    let nothing = VirtualRouterStatus::default();
    let before = before.unwrap_or(&nothing);
    let mut all = holders(before, after);
    all.extend(conditions(&before.conditions, &after.conditions));
    all
}

/// What happened between two statuses of a VirtualServer.
#[must_use]
pub fn server_news(before: Option<&VirtualServerStatus>, after: &VirtualServerStatus) -> Vec<News> {
    let before = before.map_or(&[][..], |b| &b.conditions);
    conditions(before, &after.conditions)
}

fn conditions(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let kinds = before.iter().chain(after);
    let mut kinds: Vec<ConditionType> = kinds.map(|c| c.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let refused =
        |c: &Condition| c.kind == ConditionType::Accepted && c.status == ConditionStatus::False;
    if after.iter().any(refused) {
        // That a refused object is not ready is no news.
        kinds.retain(|kind| *kind != ConditionType::Ready);
    }
    let news = kinds.into_iter().filter_map(|kind| {
        let find = |all: &'_ [Condition]| all.iter().find(|c| c.kind == kind).cloned();
        condition(kind, find(before).as_ref(), find(after).as_ref())
    });
    news.collect()
}

fn holders(before: &VirtualRouterStatus, after: &VirtualRouterStatus) -> Vec<News> {
    let changes = after.families.iter().filter_map(|now| {
        let earlier = before.families.iter().find(|f| f.family == now.family);
        let from = earlier.and_then(|f| f.active_node.as_deref());
        let to = now.active_node.as_deref();
        if from == to {
            return None;
        }
        let rows = after.nodes.iter();
        let mut rows = rows.filter(|n| n.family == now.family && Some(n.name.as_str()) == to);
        let why = rows.next().map(|n| n.reason.as_str());
        let why = why.filter(|why| !why.is_empty());
        let why = why.map_or(String::new(), |why| format!(" ({why})"));
        Some(News {
            warning: to.is_none(),
            reason: if to.is_some() {
                "ActiveChanged"
            } else {
                "ActiveLost"
            }
            .to_owned(),
            note: format!(
                "{}: from {} to {}{why}",
                now.family,
                from.unwrap_or("nobody"),
                to.unwrap_or("nobody")
            ),
        })
    });
    changes.collect()
}

fn condition(
    kind: ConditionType,
    before: Option<&Condition>,
    after: Option<&Condition>,
) -> Option<News> {
    let name = kind.as_str();
    let is_good = kind.when_well() == ConditionStatus::True;
    let bad = |c: &&Condition| c.status != ConditionStatus::Unknown && c.status != kind.when_well();
    let said = |c: &Condition| (c.status, c.reason);
    match (before.filter(bad), after.filter(bad)) {
        (None, Some(now)) => Some(News {
            warning: true,
            reason: format!("{:?}", now.reason),
            note: format!("{name}={:?}: {}", now.status, now.message),
        }),
        (Some(was), Some(now)) if said(was) != said(now) => Some(News {
            warning: true,
            reason: format!("{:?}", now.reason),
            note: format!("{name}={:?}: {}", now.status, now.message),
        }),
        (Some(_), None) => {
            let unknown = after.is_some_and(|c| c.status == ConditionStatus::Unknown);
            (!unknown).then(|| News {
                warning: false,
                reason: if is_good {
                    name.to_owned()
                } else {
                    format!("{name}Over")
                },
                note: after.map_or_else(
                    || format!("{name} is over"),
                    |c| format!("{name}={:?}: {}", c.status, c.message),
                ),
            })
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(active: Option<&str>, conditions: &[(&str, &str, &str)]) -> VirtualRouterStatus {
        let conditions = conditions.iter().map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "because",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        });
        let nodes = active.map(|name| {
            json!({"name": name, "family": "IPv4", "state": "Active", "priority": 254,
                "effectivePriority": 254, "reason": "NoResponse"})
        });
        serde_json::from_value(json!({
            "families": [{"family": "IPv4", "virtualRouterId": 7, "activeNode": active}],
            "nodes": nodes.into_iter().collect::<Vec<_>>(),
            "conditions": conditions.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn told(
        before: &VirtualRouterStatus,
        after: &VirtualRouterStatus,
    ) -> Vec<(bool, String, String)> {
        let all = news(Some(before), after).into_iter();
        all.map(|n| (n.warning, n.reason, n.note)).collect()
    }

    fn one(warning: bool, reason: &str, note: &str) -> Vec<(bool, String, String)> {
        vec![(warning, reason.to_owned(), note.to_owned())]
    }

    #[test]
    fn an_unchanged_state_tells_nothing() {
        let same = status(
            Some("a"),
            &[
                ("Accepted", "False", "Conflict"),
                ("Degraded", "True", "AddressSkipped"),
            ],
        );
        assert_eq!(told(&same, &same), []);
        let good = [
            ("Accepted", "True", "Valid"),
            ("Ready", "Unknown", "Pending"),
        ];
        assert_eq!(news(None, &status(None, &good)), []);
    }

    #[test]
    fn a_new_holder_is_told_with_both_and_the_reason() {
        let states = [None, Some("a"), Some("b")].map(|active| status(active, &[]));
        let [nobody, a, b] = &states;
        assert_eq!(
            told(nobody, a),
            one(
                false,
                "ActiveChanged",
                "IPv4: from nobody to a (NoResponse)"
            )
        );
        assert_eq!(
            told(a, b),
            one(false, "ActiveChanged", "IPv4: from a to b (NoResponse)")
        );
        assert_eq!(
            told(b, nobody),
            one(true, "ActiveLost", "IPv4: from b to nobody")
        );
    }

    #[test]
    fn what_is_refused_is_told_again_only_for_another_reason() {
        let with = |reason: &str, state: &str| status(None, &[("Accepted", state, reason)]);
        let (good, invalid) = (with("Valid", "True"), with("Invalid", "False"));
        let conflict = with("Conflict", "False");
        assert_eq!(
            told(&good, &invalid),
            one(true, "Invalid", "Accepted=False: because")
        );
        assert_eq!(
            told(&invalid, &conflict),
            one(true, "Conflict", "Accepted=False: because")
        );
        assert_eq!(
            told(&conflict, &good),
            one(false, "Accepted", "Accepted=True: because")
        );
    }

    #[test]
    fn what_is_abnormal_is_told_when_it_begins_and_ends() {
        let split = status(None, &[("SplitBrain", "True", "SeveralActive")]);
        let calm = status(None, &[]);
        assert_eq!(
            told(&calm, &split),
            one(true, "SeveralActive", "SplitBrain=True: because")
        );
        assert_eq!(
            told(&split, &calm),
            one(false, "SplitBrainOver", "SplitBrain is over")
        );
        let ready = |state: &str| status(None, &[("Ready", state, "NobodyActive")]);
        assert_eq!(
            told(&ready("True"), &ready("Unknown")),
            [],
            "an edit on its way is no news"
        );
        assert_eq!(told(&ready("False"), &ready("Unknown")), []);
    }
}
