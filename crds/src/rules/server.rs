//! The rules of VirtualServers.

use serde_json::{Value, json};

use super::rule;

/// A name of an object: of labels with dots between.
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A host by name or, as far as its characters tell, by address.
const HOST: &str = "^([A-Za-z0-9_-]{1,63}[.])*[A-Za-z0-9_-]{1,63}[.]?$";

/// That an address is in canonical form, and somebody can be sent packets there. Whether it is the node itself is the
/// compiler's: that takes the router's trust.
fn target(field: &str, of_link: &str) -> [Value; 2] {
    let text = format!("self.{field}");
    let absent = if field == "address" && of_link.is_empty() {
        "!has(self.address) || "
    } else {
        ""
    };
    [
        rule(
            &format!("{absent}(isIP({text}) && string(ip({text})) == {text})"),
            &format!(
                "{field} must be an IP address in canonical form such as 10.0.0.1 or 2001:db8::1"
            ),
        ),
        rule(
            &format!(
                "{absent}!isIP({text}) || ((ip({text}).isGlobalUnicast() || ip({text}).isLoopback() || (ip({text}).isLinkLocalUnicast(){of_link})) && !{text}.matches('^(0|24[0-9]|25[0-5])[.]'))"
            ),
            &format!("{field} must be the unicast address of a host"),
        ),
    ]
}

/// IPVS does not know on which link an IPv6 link-local address is.
const NO_IPV6_OF_A_LINK: &str = " && !self.address.contains(':')";

/// Of a VirtualServer as a whole.
pub(crate) fn server() -> Value {
    let all = "(has(self.all) && self.all)";
    let ports = "(has(self.ports) ? self.ports : [])";
    let real = "(has(self.realServers) ? self.realServers : [])";
    let udp = format!("!{all} && {ports}.all(p, p.protocol == 'UDP')");
    json!([
        rule(
            &format!(
                "!has(self.fwmark) || ((!has(self.addresses) || size(self.addresses) == 0) && size({ports}) == 0 && !{all})"
            ),
            "fwmark serves packets whatever their address and port: remove it, or addresses, ports and all"
        ),
        rule(
            &format!("has(self.fwmark) || {all} || size({ports}) > 0"),
            "ports is required, or `all: true` with persistence"
        ),
        rule(
            &format!("!{all} || (has(self.persistence) && size({ports}) == 0)"),
            "`all: true` needs persistence, and leaves ports out"
        ),
        rule(
            "!has(self.addresses) || self.addresses.all(a, isIP(a) && string(ip(a)) == a)",
            "addresses must be IP addresses in canonical form such as 192.0.2.100 or 2001:db8::1"
        ),
        rule(
            &format!("!has(self.persistence) || !has(self.persistence.engine) || ({udp})"),
            "persistence.engine sip is for UDP: every port must be of it"
        ),
        rule(
            &format!("!has(self.onePacket) || !self.onePacket || ({udp})"),
            "onePacket is for UDP: every port must be of it"
        ),
        rule(
            &format!(
                "!has(self.onePacket) || !self.onePacket || (has(self.persistence) && has(self.persistence.engine)) || (!(self.forwarding.method in ['NAT', 'FullNAT']) && {real}.all(r, !has(r.forwarding) || !(r.forwarding.method in ['NAT', 'FullNAT'])) && (!has(self.sorryServer) || !has(self.sorryServer.forwarding) || !(self.sorryServer.forwarding.method in ['NAT', 'FullNAT'])))"
            ),
            "onePacket is for DR and Tunnel: with NAT and FullNAT the answer comes back to be changed"
        ),
        rule(
            &format!("(size({real}) > 0) != has(self.serviceRef)"),
            "exactly one of realServers and serviceRef is required"
        ),
        rule(
            &format!("!has(self.serviceRef) || {ports}.all(p, !has(p.targetPort))"),
            "ports[].targetPort belongs to realServers: the endpoints of a Service say their ports"
        ),
        rule(
            &format!("!has(self.serviceRef) || !has(self.serviceRef.port) || !{all}"),
            "serviceRef.port has no meaning with `all: true`: a connection keeps its port"
        ),
        rule(
            &format!(
                "(!has(self.fwmark) && !{all}) || (self.forwarding.method != 'FullNAT' && {real}.all(r, !has(r.forwarding) || r.forwarding.method != 'FullNAT') && (!has(self.sorryServer) || !has(self.sorryServer.forwarding) || self.sorryServer.forwarding.method != 'FullNAT'))"
            ),
            "FullNAT tells its connections by virtual address and port: it goes with ports alone"
        ),
        rule(
            &format!(
                "self.forwarding.method in ['NAT', 'FullNAT'] || {ports}.all(p, !has(p.targetPort) || p.targetPort == p.port)"
            ),
            "DR and Tunnel cannot change ports: targetPort must be port"
        ),
        rule(
            &format!(
                "{real}.all(r, r.port == 0 || (!{all} && ((has(r.forwarding) ? r.forwarding.method : self.forwarding.method) in ['NAT', 'FullNAT'] || (!has(self.fwmark) && {ports}.all(p, p.port == r.port)))))"
            ),
            "realServers[].port cannot differ from port with DR and Tunnel, nor be set with `all: true`"
        ),
        rule(
            &format!(
                "{real}.all(r, !has(r.forwarding) || r.forwarding.method in ['NAT', 'FullNAT'] || r.port != 0 || {ports}.all(p, !has(p.targetPort) || p.targetPort == p.port))"
            ),
            "realServers[].forwarding of DR and Tunnel cannot change ports: targetPort must be port"
        ),
        rule(
            &format!(
                "!has(self.sorryServer) || (has(self.sorryServer.port) && !{all} && !has(self.fwmark) && {ports}.all(p, p.port == self.sorryServer.port)) || (!has(self.sorryServer.port) && {ports}.all(p, !has(p.targetPort) || p.targetPort == p.port)) || (!(has(self.sorryServer.port) && {all}) && (has(self.sorryServer.forwarding) ? self.sorryServer.forwarding.method : self.forwarding.method) in ['NAT', 'FullNAT'])"
            ),
            "sorryServer.port cannot differ from port with DR and Tunnel, nor be set with `all: true`"
        ),
        // That the sorry server is no real server, and that all of these can be asked from a probe's source, are the
        // compiler's: to compare each of them costs more than the API server allows.
        rule(
            &format!(
                "(!has(self.fwmark) && !{all}) || !has(self.probes) || self.probes.all(p, has(p.port) || p.type in ['Ping', 'File', 'Exec'] || (has(self.serviceRef) ? has(self.serviceRef.port) && self.forwarding.method in ['NAT', 'FullNAT'] : {real}.all(r, r.port != 0)))"
            ),
            "probes[].port is required where real servers have no port: with fwmark and `all: true`"
        ),
        rule(
            "!has(self.probes) || self.probes.all(p, !has(p.source) || !has(p.address) || p.address.contains(':') == p.source.contains(':'))",
            "probes[].source must be of the family of those who are asked"
        ),
    ])
}

/// Of a reference to a router.
pub(crate) fn router_ref() -> Value {
    json!([rule(
        &format!("self.name.matches('{NAME}')"),
        "name must be that of an object: lower case letters, digits, `-` and `.`"
    )])
}

/// Of a scheduler.
pub(crate) fn scheduler() -> Value {
    json!([rule(
        "!has(self.flags) || size(self.flags) == 0 || self.name in ['sh', 'mh']",
        "flags belong to the schedulers sh and mh"
    )])
}

/// Of a way of forwarding.
pub(crate) fn forwarding() -> Value {
    json!([rule(
        "!has(self.tunnel) || self.method == 'Tunnel'",
        "tunnel belongs to `method: Tunnel`"
    )])
}

/// Of a tunnel.
pub(crate) fn tunnel() -> Value {
    json!([
        rule(
            "self.type == 'GUE' ? has(self.port) : !has(self.port)",
            "port belongs to `type: GUE`, and is required there"
        ),
        rule(
            "self.type == 'GUE' || self.checksum == 'None' || (self.type == 'GRE' && self.checksum == 'Full')",
            "checksum is None, Full with GRE and GUE, or Remote with GUE"
        ),
    ])
}

/// Of persistence.
pub(crate) fn persistence() -> Value {
    json!([rule(
        "duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('744h') && self.timeout.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]*000ms|0+ms)?$')",
        "timeout must be 1s to 744h in whole seconds"
    )])
}

/// Of a real server.
pub(crate) fn real_server() -> Value {
    let [form, host] = target("address", NO_IPV6_OF_A_LINK);
    json!([
        form,
        host,
        rule(
            "self.lowerThreshold <= self.upperThreshold",
            "lowerThreshold must be at most upperThreshold"
        ),
    ])
}

/// Of a sorry server.
pub(crate) fn sorry_server() -> Value {
    json!(target("address", NO_IPV6_OF_A_LINK))
}

/// Of a reference to a Service.
pub(crate) fn service_ref() -> Value {
    json!([rule(
        "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "name must be that of a Service: lower case letters, digits and `-`"
    )])
}

/// Of a quorum.
pub(crate) fn quorum() -> Value {
    json!([rule(
        "self.hysteresis < self.weight",
        "hysteresis must be below weight"
    )])
}

/// Of draining.
pub(crate) fn drain() -> Value {
    json!([rule(
        "duration(self.timeout) <= duration('24h')",
        "timeout must be 0s to 24h"
    )])
}

/// Of a probe.
pub(crate) fn probe() -> Value {
    let [form, host] = target("address", "");
    let [source_form, source_host] = super::host("source");
    let mut rules = vec![form, host, source_form, source_host];
    for (member, kind) in [
        ("http", "HTTP"),
        ("https", "HTTPS"),
        ("udp", "UDP"),
        ("dns", "DNS"),
        ("smtp", "SMTP"),
        ("grpc", "GRPC"),
    ] {
        rules.push(rule(
            &format!("!has(self.{member}) || self.type == '{kind}'"),
            &format!("{member} belongs to `type: {kind}`"),
        ));
    }
    for (member, kind) in [("file", "File"), ("exec", "Exec")] {
        rules.push(rule(
            &format!("has(self.{member}) == (self.type == '{kind}')"),
            &format!("{member} belongs to `type: {kind}`, and is required there"),
        ));
    }
    rules.extend([
        rule(
            "duration(self.interval) >= duration('100ms') && duration(self.interval) <= duration('1h')",
            "interval must be 100ms to 1h",
        ),
        rule(
            "duration(self.timeout) >= duration('10ms') && duration(self.timeout) <= duration('10m')",
            "timeout must be 10ms to 10m",
        ),
        rule(
            "!has(self.delayAfterFailure) || (duration(self.delayAfterFailure) >= duration('100ms') && duration(self.delayAfterFailure) <= duration(self.interval))",
            "delayAfterFailure must be 100ms to the interval",
        ),
        rule(
            "!has(self.interface) || (self.interface != '.' && self.interface != '..' && !self.interface.matches('[/:[:space:][:cntrl:]]'))",
            "interface cannot be an interface's name: 1 to 15 bytes without `/`, `:` and spaces",
        ),
        rule(
            "!(self.type in ['File', 'Exec']) || (!has(self.source) && !has(self.interface) && !has(self.mark))",
            "source, interface and mark have no meaning with File and Exec",
        ),
        rule(
            "!(self.type in ['File', 'Ping']) || !has(self.port)",
            "port has no meaning with File and Ping",
        ),
        rule(
            "self.type != 'File' || !has(self.address)",
            "address has no meaning with File",
        ),
    ]);
    json!(rules)
}

/// Of an HTTP request.
pub(crate) fn http() -> Value {
    json!(request())
}

fn request() -> Vec<Value> {
    vec![
        rule(
            "self.path.matches('^/[!-~]*$') && !self.path.contains('#')",
            "path begins with `/` and has no spaces, no `#`, and nothing that is not ASCII",
        ),
        rule(
            "!has(self.host) || self.host.matches('^[^/?#@[:space:][:cntrl:]]+$')",
            "host must be a host's name or address, perhaps with a port",
        ),
        rule(
            // That the first is not the greater is the compiler's.
            "self.statuses.all(s, s.matches('^[1-9][0-9][0-9](-[1-9][0-9][0-9])?$'))",
            "statuses must be as `200`, or as `200-299`",
        ),
        rule(
            "self.method != 'HEAD' || (!has(self.bodyDigest) && !has(self.bodyRegex))",
            "an answer to HEAD has no body: bodyDigest and bodyRegex need another method",
        ),
    ]
}

/// Of an HTTP request over TLS.
pub(crate) fn https() -> Value {
    let mut rules = request();
    rules.extend([
        rule(
            &format!("!has(self.serverName) || isIP(self.serverName) || self.serverName.matches('{HOST}')"),
            "serverName must be a host's name or address",
        ),
        rule(
            "!has(self.caRef) || !has(self.insecureSkipVerify) || !self.insecureSkipVerify",
            "caRef has no meaning with insecureSkipVerify",
        ),
    ]);
    json!(rules)
}

/// Of a header.
pub(crate) fn header() -> Value {
    json!([
        rule(
            "self.name.matches(\"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$\") && !self.name.matches('^(?i)(host|connection|content-length|transfer-encoding|upgrade)$')",
            "name must be a header's, and none that the request has of itself: host has a field"
        ),
        rule(
            "self.value.matches('^[ -~]*$')",
            "value must be ASCII without controls"
        ),
    ])
}

/// Of a digest.
pub(crate) fn digest() -> Value {
    json!([rule(
        "self.value.matches('^[0-9a-fA-F]+$') && size(self.value) == (self.algorithm == 'MD5' ? 32 : 64)",
        "value must be 32 hexadecimal digits with MD5, and 64 with SHA256"
    )])
}

/// Of a key of a ConfigMap.
pub(crate) fn config_map_key() -> Value {
    json!([
        rule(
            &format!("self.name.matches('{NAME}')"),
            "name must be that of an object: lower case letters, digits, `-` and `.`"
        ),
        rule(
            "self.key.matches('^[A-Za-z0-9_.-]+$')",
            "key must be letters, digits, `-`, `_` and `.`"
        ),
    ])
}

/// Of a datagram.
pub(crate) fn udp() -> Value {
    json!([
        rule(
            "!has(self.payload) || self.payload.matches('^([0-9a-fA-F]{2})*$')",
            "payload must be an even number of hexadecimal digits"
        ),
        rule(
            "!has(self.reply) || self.reply.matches('^([0-9a-fA-FxX]{2})*$')",
            "reply must be an even number of hexadecimal digits, or `X` for any"
        ),
    ])
}

/// Of a question by DNS.
pub(crate) fn dns() -> Value {
    json!([rule(
        "self.name == '.' || self.name.matches('^([!-,/-~-]{1,63}[.])*[!-,/-~-]{1,63}[.]?$')",
        "name must be labels of 1 to 63 characters with dots between, or `.`"
    )])
}

/// Of a greeting.
pub(crate) fn smtp() -> Value {
    json!([rule(
        &format!("isIP(self.helo) || self.helo.matches('{HOST}')"),
        "helo must be a host's name or address"
    )])
}

/// Of the health protocol of gRPC.
pub(crate) fn grpc() -> Value {
    json!([rule(
        "!has(self.service) || !self.service.matches('[[:cntrl:]]')",
        "service cannot have controls"
    )])
}

/// Of a file.
pub(crate) fn file() -> Value {
    json!([rule(
        "self.path.startsWith('/') && !self.path.matches('[[:cntrl:]]')",
        "path must be absolute"
    )])
}

/// Of a script.
pub(crate) fn exec() -> Value {
    json!([rule(
        "self.script.matches('^[A-Za-z0-9_-][A-Za-z0-9_.-]*$')",
        "script must be the name of a file: letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )])
}
