//! The authorities that probes over TLS believe, read once for all shapes that believe the same.
//!
//! Owns the stores of the process. A system has a hundred authorities and more: a store for each of a thousand shapes
//! would take 80 MB, and seconds in which no other target is probed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::outcome::Failure;

/// How long shapes that are made get the system's authorities as they were read.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

static SHARED: Mutex<Stores> = Mutex::new(Stores::new());

/// The store of the authorities in `pem`, or of those of the system that the agent runs in.
pub(super) fn authorities(pem: Option<&str>) -> Result<Arc<RootCertStore>, Failure> {
    // No store is changed once it is there: what a panic leaves is whole.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    match pem {
        Some(pem) => shared.bundle(pem),
        None => shared.system(Instant::now(), || {
            rustls_native_certs::load_native_certs().certs
        }),
    }
}

#[derive(Debug)]
struct Stores {
    /// The system's, and when they were read.
    system: Option<(Instant, Arc<RootCertStore>)>,
    /// Those in use, by their PEM.
    bundles: BTreeMap<String, Weak<RootCertStore>>,
}

impl Stores {
    const fn new() -> Self {
        Self {
            system: None,
            bundles: BTreeMap::new(),
        }
    }

    /// The system's at `now`, which `load` reads. That there are none is not remembered.
    fn system(
        &mut self,
        now: Instant,
        load: impl FnOnce() -> Vec<CertificateDer<'static>>,
    ) -> Result<Arc<RootCertStore>, Failure> {
        if let Some((read, store)) = &self.system
            && now.duration_since(*read) < LIFETIME
        {
            return Ok(Arc::clone(store));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(load());
        if roots.is_empty() {
            return Err(Failure::Unaskable(
                "this node has no certificate authorities",
            ));
        }
        // Shapes from before hold it still: if nothing differs, those to come share it with them.
        let before = self.system.take().map(|(_, store)| store);
        let same = before.filter(|before| before.roots == roots.roots);
        let store = same.unwrap_or_else(|| Arc::new(roots));
        self.system = Some((now, Arc::clone(&store)));
        Ok(store)
    }

    fn bundle(&mut self, pem: &str) -> Result<Arc<RootCertStore>, Failure> {
        if let Some(store) = self.bundles.get(pem).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(parsed(pem)?);
        self.bundles.retain(|_, store| store.strong_count() > 0);
        self.bundles.insert(pem.to_owned(), Arc::downgrade(&store));
        Ok(store)
    }
}

fn parsed(pem: &str) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        if !matches!(added, Some(Ok(()))) {
            return Err(Failure::Unaskable("an authority is no certificate"));
        }
    }
    if roots.is_empty() {
        return Err(Failure::Unaskable("the authorities hold no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> rcgen::Certificate {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default().self_signed(&key).unwrap()
    }

    /// An authority of its own each time.
    pub(in crate::probe) fn pem() -> String {
        certificate().pem()
    }

    #[test]
    fn the_systems_authorities_are_read_once_an_hour_for_all_shapes() {
        let mut stores = Stores::new();
        let (old, new) = (certificate(), certificate());
        let began = Instant::now();
        let first = stores.system(began, || vec![old.der().clone()]).unwrap();
        let soon = began + LIFETIME - Duration::from_secs(1);
        let second = stores.system(soon, || panic!("they were read")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let later = began + LIFETIME;
        let same = stores.system(later, || vec![old.der().clone()]).unwrap();
        assert!(Arc::ptr_eq(&first, &same), "nothing differs");
        let latest = later + LIFETIME;
        let other = stores.system(latest, || vec![new.der().clone()]).unwrap();
        assert_ne!(other.roots, first.roots);
    }

    #[test]
    fn a_system_without_authorities_is_looked_at_again_by_the_next_shape() {
        let mut stores = Stores::new();
        let now = Instant::now();
        let none = stores.system(now, Vec::new).map(drop);
        let said = "this node has no certificate authorities";
        assert_eq!(none, Err(Failure::Unaskable(said)));
        let der = certificate().der().clone();
        assert!(stores.system(now, || vec![der]).is_ok());
    }

    #[test]
    fn equal_bundles_are_one_store_and_go_with_their_last_shape() {
        let mut stores = Stores::new();
        let (ours, theirs) = (pem(), pem());
        let first = stores.bundle(&ours).unwrap();
        let second = stores.bundle(&ours).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        let _other = stores.bundle(&theirs).unwrap();
        assert_eq!(stores.bundles.keys().collect::<Vec<_>>(), [&theirs]);
    }
}
