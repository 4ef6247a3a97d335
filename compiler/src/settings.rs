//! The rules of Settings.
//!
//! Settings that break a rule are refused as a whole: what was before stays in force, and a finding says why.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_crds::{KEY_NAMESPACE, NodeSettings, SETTINGS_NAME, SecretKey, Settings};

use crate::SecretName;
use crate::finding::{Finding, ObjectName, Remarks};
use crate::secret;

/// What a number may be.
const FRAMES_PER_SECOND: std::ops::RangeInclusive<i64> = 10..=100_000;
const BURST: std::ops::RangeInclusive<i64> = 1..=100_000;
/// The shortest and longest time between two heartbeats, in milliseconds.
const HEARTBEAT: std::ops::RangeInclusive<u64> = 100..=10_000;

/// What `object` says to every agent, if no rule is broken, and what there is to say about it; `secrets` are the keys
/// of each Secret that is known.
#[must_use]
pub fn settings(
    object: &Settings,
    secrets: &BTreeMap<SecretName, BTreeSet<String>>,
) -> (Option<NodeSettings>, Vec<Finding>) {
    check(object, Some(secrets))
}

/// As [`settings`], where Secrets are not to be read: whether they exist is for the agents to say.
#[must_use]
pub fn settings_of_cluster(object: &Settings) -> (Option<NodeSettings>, Vec<Finding>) {
    check(object, None)
}

fn check(
    object: &Settings,
    secrets: Option<&BTreeMap<SecretName, BTreeSet<String>>>,
) -> (Option<NodeSettings>, Vec<Finding>) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let mut remarks = Remarks::of(ObjectName::new("Settings", name));
    if object.metadata.namespace.is_some() {
        let message = "Settings live in no namespace: remove this";
        remarks.warn("metadata.namespace", message);
    }
    if name != SETTINGS_NAME {
        let message =
            format!("`{name}`: there is one object Settings, and its name is `{SETTINGS_NAME}`");
        remarks.error("metadata.name", message);
    }
    let (announcements, heartbeat) = (&object.spec.announcements, &object.spec.heartbeat);
    let per_second = number(
        announcements.frames_per_second,
        FRAMES_PER_SECOND,
        "spec.announcements.framesPerSecond",
        &mut remarks,
    );
    let burst = number(
        announcements.burst,
        BURST,
        "spec.announcements.burst",
        &mut remarks,
    );
    let interval = heartbeat.interval;
    if let Some(interval) = interval
        && !HEARTBEAT.contains(&interval.as_millis())
    {
        let message = format!("{interval}: choose 100ms to 10s");
        remarks.error("spec.heartbeat.interval", message);
    }
    let key = heartbeat.secret_ref.as_ref().map(|reference| SecretKey {
        namespace: reference
            .namespace
            .clone()
            .unwrap_or_else(|| KEY_NAMESPACE.to_owned()),
        name: reference.name.clone(),
        key: reference.key.clone(),
    });
    if let (Some(key), Some(secrets)) = (&key, secrets) {
        let find = |name: &SecretName| secrets.get(name);
        secret::exists(key, "spec.heartbeat.secretRef", find, &mut remarks);
    }
    let settings = per_second.zip(burst).filter(|_| !remarks.refused());
    let settings = settings.map(|(per_second, burst)| NodeSettings {
        announcements_per_second: per_second,
        announcement_burst: burst,
        heartbeat_interval: interval,
        heartbeat_key: key,
    });
    (settings, remarks.into_findings())
}

fn number(
    given: i64,
    range: std::ops::RangeInclusive<i64>,
    path: &str,
    remarks: &mut Remarks,
) -> Option<u32> {
    let good = range.contains(&given).then(|| u32::try_from(given).ok());
    if good.is_none() {
        let message = format!("{given}: choose {} to {}", range.start(), range.end());
        remarks.error(path, message);
    }
    good.flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Severity;

    fn read(name: &str, spec: Value) -> (Option<NodeSettings>, Vec<Finding>) {
        let object = json!({
            "apiVersion": "vipkeeper.io/v1alpha1", "kind": "Settings",
            "metadata": {"name": name}, "spec": spec,
        });
        let secret = SecretName {
            namespace: KEY_NAMESPACE.into(),
            name: "installation".into(),
        };
        let secrets = BTreeMap::from([(secret, BTreeSet::from(["key".to_owned()]))]);
        settings(&serde_json::from_value(object).unwrap(), &secrets)
    }

    #[test]
    fn what_settings_do_not_say_has_its_default() {
        assert_eq!(
            read("default", json!({})),
            (Some(NodeSettings::default()), vec![])
        );
        let (settings, findings) = read(
            "default",
            json!({
                "announcements": {"framesPerSecond": 50, "burst": 7},
                "heartbeat": {"interval": "200ms", "secretRef": {"name": "installation", "key": "key"}},
            }),
        );
        assert_eq!(findings, []);
        let settings = settings.unwrap();
        assert_eq!(
            (
                settings.announcements_per_second,
                settings.announcement_burst
            ),
            (50, 7)
        );
        assert_eq!(settings.heartbeat_interval.unwrap().as_millis(), 200);
        let key = settings.heartbeat_key.unwrap().to_string();
        assert_eq!(key, "vipkeeper-keys/installation[key]");
    }

    #[test]
    fn the_operator_reads_no_secret() {
        let object = json!({
            "apiVersion": "vipkeeper.io/v1alpha1", "kind": "Settings", "metadata": {"name": "default"},
            "spec": {"heartbeat": {"secretRef": {"name": "nothing", "key": "key"}}},
        });
        let (settings, findings) = settings_of_cluster(&serde_json::from_value(object).unwrap());
        assert_eq!(findings, []);
        let key = settings.unwrap().heartbeat_key.unwrap().to_string();
        assert_eq!(key, "vipkeeper-keys/nothing[key]");
    }

    #[test]
    fn each_broken_rule_of_settings_names_its_field_and_the_way_out() {
        let secret =
            |name: &str, key: &str| json!({"heartbeat": {"secretRef": {"name": name, "key": key}}});
        let bad = [
            ("other", json!({}), "metadata.name", "its name is `default`"),
            (
                "default",
                json!({"announcements": {"framesPerSecond": 9}}),
                "spec.announcements.framesPerSecond",
                "choose 10 to 100000",
            ),
            (
                "default",
                json!({"announcements": {"burst": 0}}),
                "spec.announcements.burst",
                "choose 1 to 100000",
            ),
            (
                "default",
                json!({"heartbeat": {"interval": "99ms"}}),
                "spec.heartbeat.interval",
                "100ms to 10s",
            ),
            (
                "default",
                json!({"heartbeat": {"interval": "11s"}}),
                "spec.heartbeat.interval",
                "100ms to 10s",
            ),
            (
                "default",
                secret("nothing", "key"),
                "spec.heartbeat.secretRef.name",
                "there is no Secret nothing in namespace vipkeeper-keys",
            ),
            (
                "default",
                secret("installation", "nothing"),
                "spec.heartbeat.secretRef.key",
                "has no key `nothing`",
            ),
        ];
        for (name, spec, path, message) in bad {
            let (settings, findings) = read(name, spec.clone());
            assert_eq!(settings, None, "{spec}");
            let [finding] = &findings[..] else {
                panic!("{spec}: {findings:?}");
            };
            assert_eq!(
                (finding.severity, finding.path.as_str()),
                (Severity::Error, path)
            );
            assert!(finding.message.contains(message), "{finding:?}");
            assert_eq!(finding.object, ObjectName::new("Settings", name));
        }
    }
}
