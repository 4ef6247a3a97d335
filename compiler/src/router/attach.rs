//! The rules of who may attach.

use vipkeeper_crds::{Attach, AttachFrom};

use crate::finding::Remarks;
use crate::selector;

pub(super) fn attach(attach: &Attach, remarks: &mut Remarks) {
    let path = "spec.attach.namespaces.selector";
    let namespaces = &attach.namespaces;
    match (namespaces.from, &namespaces.selector) {
        (AttachFrom::Selector, Some(selector)) => selector::check(selector, path, remarks),
        (AttachFrom::Selector, None) => remarks.error(path, "required with `from: Selector`"),
        (AttachFrom::None | AttachFrom::All, None) => {}
        (AttachFrom::None | AttachFrom::All, Some(_)) => {
            let message = "belongs to `from: Selector`: remove it, or change `from`";
            remarks.error(path, message);
        }
    }
}
