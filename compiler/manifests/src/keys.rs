//! What is in Secrets, by reference.
//!
//! Owns the values. Never prints one: `Debug` names the keys alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use vipkeeper_crds::SecretKey;

/// The values of all Secrets that were given.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<SecretKey, Arc<[u8]>>);

impl Keys {
    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &SecretKey) -> Option<&[u8]> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// The references under which there are values.
    pub fn names(&self) -> impl Iterator<Item = &SecretKey> {
        self.0.keys()
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (&SecretKey, &[u8])> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Forgets what is not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&SecretKey) -> bool) {
        self.0.retain(|key, _| wanted(key));
    }

    /// Keeps `value` under `key`, instead of what was there.
    pub fn insert(&mut self, key: SecretKey, value: impl Into<Arc<[u8]>>) {
        self.0.insert(key, value.into());
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.keys().map(ToString::to_string);
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_keys_prints_no_value() {
        let mut keys = Keys::default();
        let key = SecretKey {
            namespace: "ns".into(),
            name: "vr".into(),
            key: "password".into(),
        };
        keys.insert(key.clone(), *b"hunter2");
        assert_eq!(keys.get(&key), Some(&b"hunter2"[..]));
        let printed = format!("{keys:?} {keys:#?}");
        assert!(printed.contains("ns/vr[password]"), "{printed}");
        assert!(!printed.contains("hunter2") && !printed.contains("104, 117"));
    }
}
