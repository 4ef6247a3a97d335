//! The rules across fields, as CEL expressions that the API server evaluates (`x-kubernetes-validations`).
//!
//! The compiler's rules are the authority; these refuse at once what an object alone shows. One corpus of objects gets
//! the same verdict from both. What needs other objects, or arithmetic on addresses, is the compiler's alone.

pub(crate) mod server;

use serde_json::{Value, json};

/// A rule with what is said if it is broken.
fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// That the text `field` of `self` is an address somebody can hold, in canonical form.
fn host(field: &str) -> [Value; 2] {
    let text = format!("self.{field}");
    let absent = if field == "source" {
        "!has(self.source) || "
    } else {
        ""
    };
    [
        rule(
            &format!("{absent}(isIP({text}) && string(ip({text})) == {text})"),
            &format!(
                "{field} must be an IP address in canonical form such as 192.0.2.100 or 2001:db8::1"
            ),
        ),
        rule(
            &format!(
                "{absent}!isIP({text}) || ((ip({text}).isGlobalUnicast() || ip({text}).isLinkLocalUnicast()) && !{text}.matches('^(0|24[0-9]|25[0-5])[.]'))"
            ),
            &format!("{field} must be a unicast address that a host can have"),
        ),
    ]
}

/// Of an address of a router.
pub(crate) fn address() -> Value {
    let [form, host] = host("address");
    json!([
        form,
        host,
        rule(
            "!has(self.prefixLength) || self.prefixLength <= 32 || self.address.contains(':')",
            "prefixLength of an IPv4 address must be 1 to 32"
        ),
    ])
}

/// Of a peer.
pub(crate) fn peer() -> Value {
    json!(host("address"))
}

/// Of the choice of an interface.
pub(crate) fn interface() -> Value {
    json!([
        rule(
            "self.type == 'Name' ? has(self.name) : !has(self.name)",
            "name belongs to `type: Name`, and is required there"
        ),
        rule(
            "self.type == 'Subnet' ? has(self.subnet) : !has(self.subnet)",
            "subnet belongs to `type: Subnet`, and is required there"
        ),
        rule(
            "!has(self.name) || (self.name != '.' && self.name != '..' && !self.name.matches('[/:[:space:][:cntrl:]]'))",
            "name cannot be an interface's: 1 to 15 bytes without `/`, `:` and spaces"
        ),
        rule(
            "!has(self.subnet) || (isCIDR(self.subnet) && string(cidr(self.subnet).masked()) == self.subnet && !self.subnet.endsWith('/0') && !cidr(self.subnet).ip().isLinkLocalUnicast())",
            "subnet must be a subnet such as 192.0.2.0/24, its host bits zero, and not link-local"
        ),
    ])
}

/// Of the candidates.
pub(crate) fn nodes() -> Value {
    json!([
        rule(
            "size(self.priorities) == 0 || ((!has(self.selectors) || size(self.selectors) == 0) && !has(self.maxCandidates) && (!has(self.preferred) || size(self.preferred) == 0))",
            "selectors, maxCandidates and preferred say which nodes to choose, and priorities lists them: remove one of the two"
        ),
        rule(
            "self.priorities.filter(p, p.priority == 255).size() <= 1",
            "an address has one owner: only one node may have priority 255"
        ),
    ])
}

/// Of a requirement on a label.
pub(crate) fn requirement() -> Value {
    json!([rule(
        "self.operator == 'In' || self.operator == 'NotIn' ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
        "values belong to the operators In and NotIn, and are required there"
    )])
}

/// Of preemption.
pub(crate) fn preemption() -> Value {
    json!([
        rule(
            "self.mode == 'Delayed' ? has(self.delay) : !has(self.delay)",
            "delay belongs to `mode: Delayed`, and is required there"
        ),
        rule(
            "!has(self.delay) || (duration(self.delay) >= duration('1ms') && duration(self.delay) <= duration('1h'))",
            "delay must be 1ms to 1h"
        ),
    ])
}

/// Of the transport.
pub(crate) fn transport() -> Value {
    let [form, host] = host("source");
    json!([
        form,
        host,
        rule(
            "!has(self.source) || self.mode == 'Unicast' || !self.source.contains(':') || (isIP(self.source) && ip(self.source).isLinkLocalUnicast())",
            "source of IPv6 multicast must be link-local"
        ),
        rule(
            "!has(self.group) || self.mode == 'Multicast'",
            "group belongs to `mode: Multicast`"
        ),
        rule(
            "!has(self.group) || (isIP(self.group) && string(ip(self.group)) == self.group && (self.group.startsWith('224.0.0.') || self.group.startsWith('ff02:')))",
            "group must be a multicast group of the link: of 224.0.0.0/24 or ff02::/16"
        ),
    ])
}

/// Of authentication.
pub(crate) fn authentication() -> Value {
    json!([rule(
        "self.type == 'Password' ? has(self.password) : !has(self.password)",
        "password belongs to `type: Password`, and is required there"
    )])
}

/// Of handovers.
pub(crate) fn handover() -> Value {
    json!([rule(
        "duration(self.linger) <= duration('1m')",
        "linger must be 0s to 1m"
    )])
}

/// Of a router as a whole.
pub(crate) fn router() -> Value {
    json!([
        rule(
            "self.addresses.size() < 256 || (self.addresses.exists(a, a.address.contains(':')) && self.addresses.exists(a, !a.address.contains(':')))",
            "an advertisement has at most 255 addresses of one family"
        ),
        rule(
            "self.version == 3 || self.addresses.all(a, !a.address.contains(':'))",
            "version 2 exists for IPv4 only"
        ),
        rule(
            "has(self.interface) || self.addresses.exists(a, !has(a.interface) && isIP(a.address) && !ip(a.address).isLinkLocalUnicast())",
            "interface is required where every address is link-local or has an interface of its own: none tells where the election runs"
        ),
        rule(
            "!has(self.advertisementInterval) || self.version != 3 || (duration(self.advertisementInterval) >= duration('10ms') && duration(self.advertisementInterval) <= duration('40950ms') && self.advertisementInterval.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]*0ms)?$'))",
            "advertisementInterval of version 3 must be 10ms to 40s950ms in steps of 10ms"
        ),
        rule(
            "!has(self.advertisementInterval) || self.version != 2 || (duration(self.advertisementInterval) >= duration('1s') && duration(self.advertisementInterval) <= duration('255s') && self.advertisementInterval.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]*000ms|0+ms)?$'))",
            "advertisementInterval of version 2 must be 1s to 4m15s in whole seconds"
        ),
        rule(
            "self.authentication.type != 'Password' || self.version == 2",
            "version 3 has no password"
        ),
        rule(
            "self.checksum == 'Auto' || (self.version == 3 && self.addresses.exists(a, !a.address.contains(':')))",
            "checksum is a choice for version 3 over IPv4 alone"
        ),
        rule(
            "self.addressLifetime == 'Forever' || (duration(self.addressLifetime) >= duration('10s') && duration(self.addressLifetime) <= duration('1h'))",
            "addressLifetime must be 10s to 1h, or Forever"
        ),
        // That it is the first is the compiler's: to pick one address costs more than the API server allows.
        rule(
            "!self.election.strict || self.addresses.all(a, !a.address.contains(':')) || self.addresses.exists(a, a.address.contains(':') && isIP(a.address) && ip(a.address).isLinkLocalUnicast())",
            "with election.strict an IPv6 list begins with a link-local address (RFC 9568 §5.2.9)"
        ),
        rule(
            "!has(self.transport.source) || self.addresses.exists(a, a.address.contains(':') == self.transport.source.contains(':'))",
            "transport.source must be of a family that the router has"
        ),
        rule(
            "!has(self.transport.group) || self.addresses.exists(a, a.address.contains(':') == self.transport.group.contains(':'))",
            "transport.group must be of a family that the router has"
        ),
        rule(
            "self.transport.extraPeers.all(p, self.addresses.exists(a, a.address.contains(':') == p.address.contains(':')))",
            "transport.extraPeers must be of families that the router has"
        ),
        rule(
            "!self.addresses.exists(a, (has(self.transport.source) && a.address == self.transport.source) || self.transport.extraPeers.exists(p, p.address == a.address))",
            "transport.source and extraPeers must be addresses that stay: a virtual address moves"
        ),
    ])
}

/// Of the namespaces that may attach.
pub(crate) fn namespaces() -> Value {
    json!([rule(
        "self.from == 'Selector' ? has(self.selector) : !has(self.selector)",
        "selector belongs to `from: Selector`, and is required there"
    )])
}

/// Of heartbeats.
pub(crate) fn heartbeat() -> Value {
    json!([rule(
        "!has(self.interval) || (duration(self.interval) >= duration('100ms') && duration(self.interval) <= duration('10s'))",
        "interval must be 100ms to 10s"
    )])
}

/// Of Settings, from the root of the object.
pub(crate) fn settings() -> Value {
    json!([rule(
        "self.metadata.name == 'default'",
        "there is one object Settings, and its name is `default`"
    )])
}

/// Of a NodeConfig.
pub(crate) fn node_config() -> Value {
    json!([
        rule(
            "has(self.router) == (has(self.config) || has(self.shard))",
            "router and config or shard belong together"
        ),
        rule(
            "!has(self.shard) || !has(self.config)",
            "there is a config or a shard, not both"
        ),
        rule(
            "!has(self.shardSet) || (has(self.config) && !has(self.config.servers))",
            "shardSet belongs to a config without servers"
        ),
    ])
}
