//! The rules of single values: addresses, subnets, names.
//!
//! Each answers with the value or with what is wrong and the way out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipkeeper_crds::AddressFamily;

/// An address in its canonical form.
pub(crate) fn parse(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.to_string() == text => Ok(address),
        Ok(address) => Err(format!(
            "`{text}` is not in canonical form: write `{address}`"
        )),
        Err(_) => Err(why_no_address(text)),
    }
}

fn why_no_address(text: &str) -> String {
    let address_before = |mark: char| {
        let (before, after) = text.split_once(mark)?;
        Some((before.parse::<IpAddr>().ok()?, after))
    };
    if let Some((address, length)) = address_before('/') {
        return format!(
            "`{text}` has a prefix length: write `{address}`, and `prefixLength: {length}` where one is wanted"
        );
    }
    if let Some((address, _)) = address_before('%') {
        return format!(
            "`{text}` names an interface: write `{address}`, and the interface in spec.interface"
        );
    }
    format!("`{text}` is not an IP address such as 192.0.2.100 or 2001:db8::1")
}

/// Why nobody can hold or send from `address`, if so.
pub(crate) fn unusable(address: IpAddr) -> Option<String> {
    let what = match address {
        IpAddr::V4(a) => unusable_ipv4(a)?,
        IpAddr::V6(a) => unusable_ipv6(a)?,
    };
    Some(format!(
        "{address} is {what}: choose a unicast address of the link's subnet"
    ))
}

/// Why nobody at `address` can be sent anything by IPVS or a probe, if so. Loopback and link-local are another question.
pub(crate) fn no_target(address: IpAddr) -> Option<String> {
    let what = match address {
        IpAddr::V4(a) if a.is_loopback() => None,
        IpAddr::V6(a) if a.is_loopback() => None,
        IpAddr::V4(a) if a.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(a) => unusable_ipv4(a),
        IpAddr::V6(a) => unusable_ipv6(a),
    };
    what.map(|what| format!("{address} is {what}: name the unicast address of a host"))
}

fn unusable_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.octets()[0] == 0 {
        Some("in 0.0.0.0/8, which is no host")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.octets()[0] >= 240 {
        Some("in the reserved range 240.0.0.0/4")
    } else {
        None
    }
}

fn unusable_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("the loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.to_ipv4_mapped().is_some() {
        Some("an IPv4 address in IPv6 form")
    } else {
        None
    }
}

/// Why `address` is no host of its own subnet, if so (IPv4; RFC 3021 makes /31 an exception).
pub(crate) fn no_host(address: IpAddr, prefix_length: u8) -> Option<String> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    if prefix_length > 30 {
        return None;
    }
    let host = u32::MAX.checked_shr(u32::from(prefix_length)).unwrap_or(0);
    let what = match address.to_bits() & host {
        0 => "network",
        bits if bits == host => "broadcast",
        _ => return None,
    };
    Some(format!(
        "{address} is the {what} address of its /{prefix_length}: choose another address, or a prefixLength of 32"
    ))
}

/// Whether `address` is of link-local scope.
pub(crate) fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// Whether `address` is a multicast group of link-local scope (RFC 5771 §4, RFC 4291 §2.7).
pub(crate) fn link_local_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.octets()[..3] == [224, 0, 0],
        IpAddr::V6(a) => a.segments()[0] == 0xff02,
    }
}

/// A subnet in canonical form with no host bits.
pub(crate) fn subnet(text: &str) -> Result<(IpAddr, u8), String> {
    let malformed = || format!("`{text}` is not a subnet such as 192.0.2.0/24 or 2001:db8::/64");
    let (address, length) = text.split_once('/').ok_or_else(malformed)?;
    let address = parse(address)?;
    let prefix: u8 = length.parse().map_err(|_| malformed())?;
    let bits = AddressFamily::of(&address).bits();
    if prefix.to_string() != length || prefix == 0 || prefix > bits {
        return Err(malformed());
    }
    let network = network(address, prefix);
    if network != address {
        return Err(format!(
            "`{text}` has host bits: write `{network}/{prefix}`"
        ));
    }
    match address {
        IpAddr::V6(a) if a.is_unicast_link_local() => Err(format!(
            "every interface has an address in {text}: name a global subnet, or the interface"
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok((address, prefix)),
    }
}

/// The first address of the subnet of `address`.
pub(crate) fn network(address: IpAddr, prefix_length: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix_length.into()))
                .unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix_length.into()))
                .unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

/// Whether the subnet of `first` holds `address`.
pub(crate) fn holds(first: IpAddr, prefix_length: u8, address: IpAddr) -> bool {
    AddressFamily::of(&first) == AddressFamily::of(&address)
        && network(first, prefix_length) == network(address, prefix_length)
}

/// Why `name` cannot name an interface, if so (Linux `dev_valid_name`).
pub(crate) fn bad_interface_name(name: &str) -> Option<String> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let bad =
        name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(odd);
    bad.then(|| {
        format!(
            "`{name}` cannot be an interface: a name has 1 to 15 bytes without `/`, `:` and spaces"
        )
    })
}

/// Why `name` cannot name an object, if so (RFC 1123 subdomain).
pub(crate) fn bad_object_name(name: &str) -> Option<String> {
    let label = |l: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        l.bytes().all(inner) && !l.is_empty() && !l.starts_with('-') && !l.ends_with('-')
    };
    let good = name.len() <= 253 && name.split('.').all(label);
    (!good).then(|| {
        format!(
            "`{name}` cannot be a name: use lower case letters, digits, `-` and `.`, at most 253"
        )
    })
}
