//! Schemas of the unions of a NodeConfig. A derived schema would be no structural one: it repeats `type` in branches.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

const ADDRESS_LENGTH: u64 = 45;

fn peers(most: u64, description: &str) -> Value {
    json!({
        "type": "array", "maxItems": most, "x-kubernetes-list-type": "atomic", "description": description,
        "items": {
            "type": "object",
            "required": ["address", "minTtl"],
            "properties": {
                "address": {"type": "string", "maxLength": ADDRESS_LENGTH, "description": "Its address."},
                "minTtl": {
                    "type": "integer", "minimum": 0, "maximum": 255,
                    "description": "The lowest TTL or hop limit accepted from it; 0 for any.",
                },
            },
        },
    })
}

/// Of [`super::InterfaceChoice`], a router's.
pub(super) fn interface(_: &mut SchemaGenerator) -> Schema {
    choice("How this node finds its interface, which serves all families.")
}

/// Of [`super::InterfaceChoice`], an address's.
pub(super) fn address_interface(_: &mut SchemaGenerator) -> Schema {
    choice("How this node finds the address's interface; absent for the router's.")
}

fn choice(description: &str) -> Schema {
    json_schema!({
        "type": "object",
        "description": description,
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string", "enum": ["Name", "Subnet", "DefaultRoute", "Around"],
                "description": "By its name, by an address in a subnet, by a default route, or by a subnet that holds an address.",
            },
            "name": {"type": "string", "minLength": 1, "maxLength": 15, "description": "With Name: the interface's name."},
            "network": {"type": "string", "maxLength": ADDRESS_LENGTH, "description": "With Subnet: its first address."},
            "prefixLength": {"type": "integer", "minimum": 1, "maximum": 128, "description": "With Subnet: its prefix length."},
            "family": {"type": "string", "enum": ["IPv4", "IPv6"], "description": "With DefaultRoute: whose."},
            "address": {
                "type": "string", "maxLength": ADDRESS_LENGTH,
                "description": "With Around: the router's first address that is not link-local.",
            },
        },
    })
}

/// Of [`super::Transport`].
pub(super) fn transport(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "How advertisements travel.",
        "required": ["mode"],
        "properties": {
            "mode": {
                "type": "string", "enum": ["Multicast", "Unicast"],
                "description": "To a group of the link, or to each peer.",
            },
            "group": {
                "type": "string", "maxLength": ADDRESS_LENGTH,
                "description": "With Multicast: the group; absent for 224.0.0.18 or ff02::12.",
            },
            "extraPeers": peers(32, "With Multicast: peers that are also spoken to by unicast."),
            "peers": peers(64, "With Unicast: the peers; none while nobody else takes part."),
        },
    })
}

/// Of [`super::Authentication`].
pub(super) fn authentication(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "How advertisements are authenticated.",
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string", "enum": ["None", "Password"],
                "description": "Not, or by the simple text password of version 2.",
            },
            "secret": {
                "type": "object", "description": "With Password: where it is.",
                "required": ["namespace", "name", "key"],
                "properties": {
                    "namespace": {"type": "string", "maxLength": 63, "description": "The Secret's namespace."},
                    "name": {"type": "string", "maxLength": 253, "description": "The Secret's name."},
                    "key": {"type": "string", "maxLength": 253, "description": "The key in its data."},
                },
            },
        },
    })
}

/// Of [`super::Preemption`].
pub(super) fn preemption(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Who takes over from a lower priority, and when.",
        "required": ["mode"],
        "properties": {
            "mode": {
                "type": "string", "enum": ["Always", "Never", "Delayed"],
                "description": "At once, not at all, or after a delay.",
            },
            "delay": {
                "type": "string", "minLength": 2, "maxLength": 32,
                "description": "With Delayed: how long; not zero.",
            },
        },
    })
}
