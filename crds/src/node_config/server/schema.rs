//! Schemas of the unions of a server in a NodeConfig. A derived schema would be no structural one: it repeats `type` in
//! branches.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

const ADDRESS_LENGTH: u64 = 45;

/// Of [`super::Listener`]s.
pub(super) fn listeners(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 16384, "x-kubernetes-list-type": "atomic",
        "description": "What is served, a service of the kernel each.",
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"type": "string", "enum": ["Address", "Mark"], "description": "An address and a port, or a firewall mark."},
                "address": {"type": "string", "maxLength": ADDRESS_LENGTH, "description": "With Address: one of the router's."},
                "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "With Address: the port; 0 for all others."},
                "protocol": {"type": "string", "enum": ["TCP", "UDP", "SCTP"], "description": "With Address: the protocol."},
                "name": {"type": "string", "maxLength": 63, "description": "With Address: the port's name."},
                "targetPort": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "With Address: the port of real servers that have none of their own."},
                "mark": {"type": "integer", "minimum": 1, "maximum": 4_294_967_295_i64, "description": "With Mark: the mark."},
                "family": {"type": "string", "enum": ["IPv4", "IPv6"], "description": "With Mark: the family of the packets."},
            },
        },
    })
}

/// Of [`super::NodeForwarding`].
pub(super) fn forwarding(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "How packets reach a real server.",
        "required": ["method"],
        "properties": {
            "method": {"type": "string", "enum": ["NAT", "FullNAT", "DR", "IPIP", "GRE", "GUE"], "description": "The way."},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "With GUE: the UDP port."},
            "checksum": {"type": "string", "enum": ["None", "Full", "Remote"], "description": "With GRE and GUE: over the outer packet."},
        },
    })
}

/// Of [`super::Members`].
pub(super) fn members(generator: &mut SchemaGenerator) -> Schema {
    let real_server: Value = generator
        .subschema_for::<super::NodeRealServer>()
        .to_value();
    json_schema!({
        "type": "object",
        "description": "Who the real servers are.",
        "required": ["type"],
        "properties": {
            "type": {"type": "string", "enum": ["Static", "Service"], "description": "Those listed, or the endpoints of a Service."},
            "realServers": json!({
                "type": "array", "maxItems": 1024, "x-kubernetes-list-type": "atomic",
                "description": "With Static: the list.", "items": real_server,
            }),
            "service": {"type": "string", "maxLength": 63, "description": "With Service: its name."},
            "port": {"type": "string", "maxLength": 63, "description": "With Service: the name of its port."},
            "trusted": {"type": "boolean", "description": "With Service: whether an endpoint may be a node, or of loopback or link-local scope."},
        },
    })
}

/// Of [`super::ProbeKind`]: its members differ by type, and the compiler alone writes them.
pub(super) fn probe_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "What is asked, and what is a good answer.",
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string",
                "enum": ["TCP", "HTTP", "UDP", "DNS", "SMTP", "Ping", "GRPC", "File", "Exec"],
                "description": "The kind.",
            },
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
