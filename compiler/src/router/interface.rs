//! The rules of interfaces: the router's, and those that addresses name for themselves.

use vipkeeper_crds::{
    AddressFamily, Interface, InterfaceChoice, InterfaceType, NodeAddress, RouterAddress,
    VirtualRouterSpec,
};

use super::{anchor, required};
use crate::address;
use crate::finding::Remarks;

/// The router's own.
pub(super) fn of_router(
    spec: &VirtualRouterSpec,
    addresses: Option<&[NodeAddress]>,
    remarks: &mut Remarks,
) -> Option<InterfaceChoice> {
    let Some(interface) = &spec.interface else {
        let anchor = anchor(addresses?);
        if anchor.is_none() {
            remarks.error(
                "spec.interface",
                "required, because no address tells where the election runs: link-local ones are on every interface, and the others name one of their own; say `interface: {type: Name, name: …}`",
            );
        }
        let address = anchor?.address;
        return Some(InterfaceChoice::Around { address });
    };
    let first = addresses.and_then(<[NodeAddress]>::first);
    let family = first.map(|first| AddressFamily::of(&first.address));
    choice(interface, "spec.interface", family, remarks)
}

/// That of the address at `index`, which is of `family`; inside, `None` for the router's.
pub(super) fn of_address(
    entry: &RouterAddress,
    index: usize,
    family: AddressFamily,
    remarks: &mut Remarks,
) -> Option<Option<InterfaceChoice>> {
    let Some(interface) = &entry.interface else {
        return Some(None);
    };
    let path = format!("spec.addresses[{index}].interface");
    choice(interface, &path, Some(family), remarks).map(Some)
}

/// What `interface` says; a default route is that of `family`.
fn choice(
    interface: &Interface,
    path: &str,
    family: Option<AddressFamily>,
    remarks: &mut Remarks,
) -> Option<InterfaceChoice> {
    only_member_of_its_type(interface, path, remarks);
    match interface.kind {
        InterfaceType::Name => {
            let path = format!("{path}.name");
            let name = required(&interface.name, &path, "type: Name", remarks)?;
            match address::bad_interface_name(name) {
                Some(message) => {
                    remarks.error(path, message);
                    None
                }
                None => Some(InterfaceChoice::Name { name: name.clone() }),
            }
        }
        InterfaceType::Subnet => {
            let path = format!("{path}.subnet");
            let subnet = required(&interface.subnet, &path, "type: Subnet", remarks)?;
            match address::subnet(subnet) {
                Ok((network, prefix_length)) => Some(InterfaceChoice::Subnet {
                    network,
                    prefix_length,
                }),
                Err(message) => {
                    remarks.error(path, message);
                    None
                }
            }
        }
        InterfaceType::DefaultRoute => Some(InterfaceChoice::DefaultRoute { family: family? }),
    }
}

fn only_member_of_its_type(interface: &Interface, path: &str, remarks: &mut Remarks) {
    if interface.name.is_some() && interface.kind != InterfaceType::Name {
        remarks.error(
            format!("{path}.name"),
            "belongs to `type: Name`: remove it, or change the type",
        );
    }
    if interface.subnet.is_some() && interface.kind != InterfaceType::Subnet {
        remarks.error(
            format!("{path}.subnet"),
            "belongs to `type: Subnet`: remove it, or change the type",
        );
    }
}
