//! Selectors of nodes by label: whether one is well-formed, and whether it matches. As Kubernetes reads them.

use std::collections::BTreeMap;

use vipkeeper_crds::{LabelOperator, LabelRequirement, LabelSelector};

use crate::address;
use crate::finding::Remarks;

/// The labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// The label that tells the system of a node.
const SYSTEM: &str = "kubernetes.io/os";
/// The most labels, and the most requirements, of one selector.
const MAX_REQUIREMENTS: usize = 32;
/// The most values of one requirement.
const MAX_VALUES: usize = 64;

/// Whether an object with `labels` is meant.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.match_labels.iter().all(equal)
        && selector.match_expressions.iter().all(|r| holds(r, labels))
}

/// Whether a node with `labels` may run the agent. One that does not tell its system may.
pub(crate) fn linux(labels: &Labels) -> bool {
    labels.get(SYSTEM).is_none_or(|system| system == "linux")
}

/// The system of a node that cannot run the agent.
pub(crate) fn other_system(labels: &Labels) -> Option<&str> {
    let system = labels.get(SYSTEM)?;
    (!linux(labels)).then_some(system)
}

/// What an object with `labels` lacks to be meant: the first that does not hold, in words.
pub(crate) fn missing(selector: &LabelSelector, labels: &Labels) -> Option<String> {
    let has = |key: &str| match labels.get(key) {
        Some(value) => format!("it has `{value}`"),
        None => "it has none".to_owned(),
    };
    let mut equal = selector.match_labels.iter();
    let mut expressions = selector.match_expressions.iter();
    if let Some((key, value)) = equal.find(|(key, value)| labels.get(*key) != Some(*value)) {
        return Some(format!("label {key} `{value}`, and {}", has(key)));
    }
    let broken = expressions.find(|r| !holds(r, labels))?;
    let LabelRequirement { key, values, .. } = broken;
    let listed = values.join(", ");
    Some(match broken.operator {
        LabelOperator::In => format!("label {key} in ({listed}), and {}", has(key)),
        LabelOperator::NotIn => format!("label {key} not in ({listed}), and {}", has(key)),
        LabelOperator::Exists => format!("a label {key}, and {}", has(key)),
        LabelOperator::DoesNotExist => format!("no label {key}, and {}", has(key)),
    })
}

/// Says what is malformed in the selector at `path`.
pub(crate) fn check(selector: &LabelSelector, path: &str, remarks: &mut Remarks) {
    let expressions = &selector.match_expressions;
    for (name, count) in [
        ("matchLabels", selector.match_labels.len()),
        ("matchExpressions", expressions.len()),
    ] {
        if count > MAX_REQUIREMENTS {
            let message = format!("{count} entries: at most {MAX_REQUIREMENTS}");
            remarks.error(format!("{path}.{name}"), message);
        }
    }
    for (key, value) in &selector.match_labels {
        if let Some(message) = bad_key(key).or_else(|| bad_value(value)) {
            remarks.error(format!("{path}.matchLabels"), message);
        }
    }
    for (i, requirement) in expressions.iter().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        check_requirement(requirement, &path, remarks);
    }
}

fn holds(requirement: &LabelRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|v| requirement.values.contains(v));
    match requirement.operator {
        LabelOperator::In => listed,
        LabelOperator::NotIn => !listed,
        LabelOperator::Exists => value.is_some(),
        LabelOperator::DoesNotExist => value.is_none(),
    }
}

fn check_requirement(requirement: &LabelRequirement, path: &str, remarks: &mut Remarks) {
    if let Some(message) = bad_key(&requirement.key) {
        remarks.error(format!("{path}.key"), message);
    }
    let count = requirement.values.len();
    let values = format!("{path}.values");
    match requirement.operator {
        LabelOperator::In | LabelOperator::NotIn if count == 0 || count > MAX_VALUES => {
            let message = format!("{count} values: `In` and `NotIn` have 1 to {MAX_VALUES}");
            remarks.error(&values, message);
        }
        LabelOperator::Exists | LabelOperator::DoesNotExist if count > 0 => {
            let message = "`Exists` and `DoesNotExist` have no values: remove them, or say `In`";
            remarks.error(&values, message);
        }
        LabelOperator::In
        | LabelOperator::NotIn
        | LabelOperator::Exists
        | LabelOperator::DoesNotExist => {}
    }
    for (i, value) in requirement.values.iter().enumerate() {
        if let Some(message) = bad_value(value) {
            remarks.error(format!("{values}[{i}]"), message);
        }
    }
}

fn bad_key(key: &str) -> Option<String> {
    let good = match key.split_once('/') {
        Some((prefix, name)) => address::bad_object_name(prefix).is_none() && word(name),
        None => word(key),
    };
    (!good).then(|| {
        format!(
            "`{key}` cannot be a label's key: write 1 to 63 letters, digits, `-`, `_` and `.`, perhaps after a domain and `/`"
        )
    })
}

fn bad_value(value: &str) -> Option<String> {
    let good = value.is_empty() || word(value);
    (!good).then(|| {
        format!(
            "`{value}` cannot be a label's value: write at most 63 letters, digits, `-`, `_` and `.`"
        )
    })
}

/// Whether `text` is what a label's name or value may be.
fn word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && text.bytes().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> LabelSelector {
        serde_json::from_value(value).unwrap()
    }

    fn labels(value: Value) -> Labels {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_requirement_must_hold() {
        let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]});
        let both = json!({"matchLabels": {"role": "edge"}, "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]});
        let node = json!({"role": "edge", "zone": "a"});
        for (given, node, expected) in [
            (json!({}), json!({}), true),
            (json!({"matchLabels": {"role": "edge"}}), node.clone(), true),
            (
                json!({"matchLabels": {"role": "core"}}),
                node.clone(),
                false,
            ),
            (json!({"matchLabels": {"role": "edge"}}), json!({}), false),
            (expression("In", json!(["b", "a"])), node.clone(), true),
            (expression("In", json!(["b"])), node.clone(), false),
            (expression("In", json!(["b"])), json!({}), false),
            (expression("NotIn", json!(["a"])), node.clone(), false),
            (expression("NotIn", json!(["b"])), node.clone(), true),
            (expression("NotIn", json!(["b"])), json!({}), true),
            (expression("Exists", json!([])), node.clone(), true),
            (expression("Exists", json!([])), json!({}), false),
            (expression("DoesNotExist", json!([])), node.clone(), false),
            (expression("DoesNotExist", json!([])), json!({}), true),
            (both.clone(), node, true),
            (both.clone(), json!({"role": "edge"}), false),
            (both, json!({"zone": "a"}), false),
        ] {
            let found = matches(&selector(given.clone()), &labels(node.clone()));
            assert_eq!(found, expected, "{given} {node}");
        }
    }

    #[test]
    fn a_node_of_another_system_never_takes_part() {
        assert!(linux(&labels(json!({}))));
        assert!(linux(&labels(json!({"kubernetes.io/os": "linux"}))));
        assert!(!linux(&labels(json!({"kubernetes.io/os": "windows"}))));
    }
}
